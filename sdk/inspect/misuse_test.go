package inspect_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// What both packages have, so that one misuse is written once for both.
type (
	rwLock interface {
		sync.Locker
		TryLock() bool
		RLock()
		RUnlock()
		TryRLock() bool
		RLocker() sync.Locker
	}
	mutexLock interface {
		sync.Locker
		TryLock() bool
	}
	units interface {
		Add(delta int)
		Done()
		Wait()
	}
	family struct {
		mutex func() mutexLock
		rw    func() rwLock
		wait  func() units
	}
)

var families = map[string]family{
	"sync": {
		func() mutexLock { return new(sync.Mutex) },
		func() rwLock { return new(sync.RWMutex) },
		func() units { return new(sync.WaitGroup) },
	},
	"inspect": {
		func() mutexLock { return new(inspect.Mutex) },
		func() rwLock { return new(inspect.RWMutex) },
		func() units { return new(inspect.WaitGroup) },
	},
	"inspect, named": {
		func() mutexLock { return inspect.NewMutex("misused mutex") },
		func() rwLock { return inspect.NewRWMutex("misused rwmutex") },
		func() units {
			g := new(inspect.WaitGroup)
			g.SetName("misused group")
			return g
		},
	},
}

// elsewhere runs f on another goroutine and waits for it.
func elsewhere(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func failsWith(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

const (
	fatalMutex     = "fatal error: sync: unlock of unlocked mutex"
	fatalRWMutex   = "fatal error: sync: Unlock of unlocked RWMutex"
	fatalRLock     = "fatal error: sync: RUnlock of unlocked RWMutex"
	panicWaitGroup = "panic: sync: negative WaitGroup counter"
	fine           = "fine"
)

// misuses are what sync is known to do with each of them, which is what the SDK has to
// do.
var misuses = []struct {
	name string
	want string
	do   func(f family)
}{
	{"Mutex: Unlock", fatalMutex, func(f family) { f.mutex().Unlock() }},
	{"Mutex: Lock, Unlock, Unlock", fatalMutex, func(f family) {
		m := f.mutex()
		m.Lock()
		m.Unlock()
		m.Unlock()
	}},
	{"Mutex: TryLock, Unlock, Unlock", fatalMutex, func(f family) {
		m := f.mutex()
		m.TryLock()
		m.Unlock()
		m.Unlock()
	}},
	{"Mutex: Unlock of another goroutine's", fine, func(f family) {
		m := f.mutex()
		m.Lock()
		elsewhere(m.Unlock)
		m.Lock()
		m.Unlock()
	}},
	{"Mutex: Unlock after another goroutine's", fatalMutex, func(f family) {
		m := f.mutex()
		m.Lock()
		elsewhere(m.Unlock)
		m.Unlock()
	}},
	{"Mutex: Unlock after a TryLock that failed", fatalMutex, func(f family) {
		m := f.mutex()
		m.Lock()
		if m.TryLock() {
			panic("locked twice")
		}
		m.Unlock()
		m.Unlock()
	}},

	{"RWMutex: RUnlock", fatalRLock, func(f family) { f.rw().RUnlock() }},
	{"RWMutex: RLocker's Unlock", fatalRLock, func(f family) { f.rw().RLocker().Unlock() }},
	{"RWMutex: RUnlock after readers", fatalRLock, func(f family) {
		m := f.rw()
		for range 3 {
			m.RLock()
			m.RUnlock()
		}
		m.RUnlock()
	}},
	{"RWMutex: RUnlock after a writer", fatalRLock, func(f family) {
		m := f.rw()
		m.Lock()
		m.Unlock()
		m.RUnlock()
	}},
	{"RWMutex: RUnlock after readers and a writer", fatalRLock, func(f family) {
		m := f.rw()
		m.RLock()
		m.RUnlock()
		m.Lock()
		m.Unlock()
		m.RUnlock()
	}},
	{"RWMutex: RUnlock of a locked one", fatalRLock, func(f family) {
		m := f.rw()
		m.Lock()
		m.RUnlock()
	}},
	{"RWMutex: RUnlock of a locked one after readers", fatalRLock, func(f family) {
		m := f.rw()
		m.RLock()
		m.RLock()
		m.RUnlock()
		m.RUnlock()
		m.Lock()
		m.RUnlock()
	}},
	{"RWMutex: one RUnlock more than RLocks", fatalRLock, func(f family) {
		m := f.rw()
		m.RLock()
		m.RLock()
		m.TryRLock()
		for range 4 {
			m.RUnlock()
		}
	}},
	{"RWMutex: RUnlock of another goroutine's", fine, func(f family) {
		m := f.rw()
		m.RLock()
		m.RLock()
		elsewhere(m.RUnlock)
		m.RUnlock()
		if !m.TryLock() {
			panic("still locked")
		}
	}},
	{"RWMutex: RUnlock after another goroutine's", fatalRLock, func(f family) {
		m := f.rw()
		m.RLock()
		elsewhere(m.RUnlock)
		m.RUnlock()
	}},
	{"RWMutex: RUnlock after a TryRLock that failed", fatalRLock, func(f family) {
		m := f.rw()
		m.Lock()
		if m.TryRLock() {
			panic("locked for reading beside a writer")
		}
		m.Unlock()
		m.RUnlock()
	}},
	{"RWMutex: Unlock", fatalRWMutex, func(f family) { f.rw().Unlock() }},
	{"RWMutex: Lock, Unlock, Unlock", fatalRWMutex, func(f family) {
		m := f.rw()
		m.Lock()
		m.Unlock()
		m.Unlock()
	}},
	{"RWMutex: Unlock of a read lock", fatalRWMutex, func(f family) {
		m := f.rw()
		m.RLock()
		m.Unlock()
	}},
	{"RWMutex: Unlock of the second read lock", fatalRWMutex, func(f family) {
		m := f.rw()
		m.RLock()
		m.RUnlock()
		m.RLock()
		m.Unlock()
	}},
	{"RWMutex: Unlock of a read lock after a writer", fatalRWMutex, func(f family) {
		m := f.rw()
		m.Lock()
		m.Unlock()
		m.RLock()
		m.Unlock()
	}},
	{"RWMutex: Unlock after a TryLock that failed", fatalRWMutex, func(f family) {
		m := f.rw()
		m.RLock()
		if m.TryLock() {
			panic("locked for writing beside a reader")
		}
		m.Unlock()
	}},
	{"RWMutex: Unlock of another goroutine's", fine, func(f family) {
		m := f.rw()
		m.Lock()
		elsewhere(m.Unlock)
		m.RLock()
		m.RUnlock()
	}},

	{"WaitGroup: Done", panicWaitGroup, func(f family) { f.wait().Done() }},
	{"WaitGroup: Add(3), Add(-4)", panicWaitGroup, func(f family) {
		g := f.wait()
		g.Add(3)
		g.Add(-4)
	}},
	{"WaitGroup: Add(2), Done thrice", panicWaitGroup, func(f family) {
		g := f.wait()
		g.Add(2)
		g.Done()
		g.Done()
		g.Done()
	}},
	{"WaitGroup: Add(2) after a negative counter leaves 1", fine, func(f family) {
		g := f.wait()
		if failsWith(g.Done) == nil {
			panic("no panic")
		}
		g.Add(2)
		g.Done()
		g.Wait()
	}},
	{"WaitGroup: Wait of an unused one, and reuse", fine, func(f family) {
		g := f.wait()
		g.Wait()
		for range 2 {
			g.Add(1)
			go g.Done()
			g.Wait()
		}
	}},
}

const misuseVariable = "ASYNC_INSPECT_TEST_MISUSE"

// TestMisuseInThisProcess is the process of one misuse, for TestMisuseEndsAsInSync.
func TestMisuseInThisProcess(t *testing.T) {
	var which, state int
	var of string
	if n, _ := fmt.Sscanf(os.Getenv(misuseVariable), "%d,%d,", &which, &state); n != 2 {
		t.Skip("run by TestMisuseEndsAsInSync")
	}
	of = strings.SplitN(os.Getenv(misuseVariable), ",", 3)[2]
	if state == amongOthers {
		if _, err := inspect.Start(t.Context(), inspect.WithoutExport(), inspect.WithReports(false)); err != nil {
			t.Fatal(err)
		}
		useOtherLocks()
	}
	if p := failsWith(func() { misuses[which].do(families[of]) }); p != nil {
		fmt.Printf("panic: %v\n", p)
	} else {
		fmt.Println(fine)
	}
	os.Exit(0)
}

// What goes before the misuse in its process.
const (
	beforeStart = iota
	amongOthers // Start, and other locks are held for reading and writing, by this goroutine too
)

var statesOf = map[string][]int{
	"sync":           {beforeStart},
	"inspect":        {beforeStart, amongOthers},
	"inspect, named": {amongOthers},
}

// useOtherLocks holds more read locks than the SDK's table has slots, and other locks.
func useOtherLocks() {
	var read, written inspect.RWMutex
	written.Lock()
	new(inspect.Mutex).Lock()
	for range 3 {
		read.RLock()
	}
	var in sync.WaitGroup
	for range 1500 {
		in.Add(1)
		go func() {
			read.RLock()
			in.Done()
			select {}
		}()
	}
	in.Wait()
}

// A program that uses a lock wrongly ends as it does with package sync: with the same
// fatal error, which nothing recovers, or with a panic.
func TestMisuseEndsAsInSync(t *testing.T) {
	for which, m := range misuses {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for of := range families {
				for _, state := range statesOf[of] {
					got, want := outcome(t, fmt.Sprintf("%d,%d,%s", which, state, of)), m.want
					if of != "sync" {
						want = strings.Replace(want, "panic: sync:", "panic: inspect:", 1)
					}
					if got != want {
						t.Errorf("%s in state %d ends with %q, want %q", of, state, got, want)
					}
				}
			}
		})
	}
}

// outcome runs one misuse in a process of its own and returns the line that says how
// it ended.
func outcome(t *testing.T, which string) string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestMisuseInThisProcess$", "-test.v=false")
	c.Env = append(os.Environ(), misuseVariable+"="+which)
	out, err := c.CombinedOutput()
	if ctx.Err() != nil {
		return "hangs"
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "panic: ") || line == fine {
			return line
		}
	}
	return fmt.Sprintf("%v: %s", err, out)
}

// What the primitives beside those of sync do with misuse, in the words of their own
// models: x/sync's semaphore and errgroup, and the channels of the language.
func TestMisuseOfTheOthers(t *testing.T) {
	ctx := t.Context()
	done, cancel := context.WithCancel(ctx)
	cancel()
	for _, one := range []struct {
		name string
		want any // what it panics with; nil: it does not
		do   func()
	}{
		{"Semaphore: Release of more than was acquired", "inspect: semaphore released more than held", func() {
			s := inspect.NewSemaphore("", 5)
			_ = s.Acquire(ctx, 2)
			s.Release(3)
		}},
		{"Semaphore: Release twice", "inspect: semaphore released more than held", func() {
			s := inspect.NewSemaphore("", 4)
			s.TryAcquire(3)
			s.Release(3)
			s.Release(1)
		}},
		{"Semaphore: after a Release of too much all is as before", nil, func() {
			s := inspect.NewSemaphore("", 5)
			_ = s.Acquire(ctx, 2)
			if failsWith(func() { s.Release(6) }) == nil {
				t.Error("no panic")
			}
			if s.TryAcquire(4) || !s.TryAcquire(3) {
				t.Error("not 3 of 5 are free")
			}
		}},
		{"Semaphore: the zero value has no permits", nil, func() {
			var s inspect.Semaphore
			if s.TryAcquire(1) || !s.TryAcquire(0) {
				t.Error("TryAcquire(1) succeeded or TryAcquire(0) failed")
			}
			if err := s.Acquire(ctx, 0); err != nil {
				t.Error(err)
			}
			if err := s.Acquire(done, 1); err != context.Canceled {
				t.Errorf("Acquire(1) returned %v", err)
			}
			s.Release(0)
		}},
		{"Semaphore: the zero value released", "inspect: semaphore released more than held", func() {
			var s inspect.Semaphore
			s.Release(1)
		}},
		{"Group: SetLimit while a task runs", "inspect: SetLimit while 2 tasks of the group run", func() {
			g, _ := inspect.NewGroup(ctx, "")
			release := make(chan struct{})
			g.SetLimit(4)
			for range 2 {
				g.Go("runs", func(context.Context) error { <-release; return nil })
			}
			defer func() {
				close(release)
				_ = g.Wait()
				g.SetLimit(3) // none runs any more
			}()
			g.SetLimit(3)
		}},
		{"Group: the zero value", nil, func() {
			var g inspect.Group
			g.SetLimit(1)
			g.Go("fails", func(ctx context.Context) error { return context.DeadlineExceeded })
			g.Go("sees no end", func(ctx context.Context) error { return ctx.Err() })
			if err := g.Wait(); err != context.DeadlineExceeded {
				t.Errorf("Wait returned %v", err)
			}
		}},
		{"Chan: Close twice", "close of closed channel", func() {
			c := inspect.NewChan[int]("", 1)
			c.Close()
			c.Close()
		}},
		{"Chan: Send on a closed one", "send on closed channel", func() {
			c := inspect.NewChan[int]("", 1)
			c.Close()
			_ = c.Send(ctx, 1)
		}},
		{"Chan: TrySend on a closed one", "send on closed channel", func() {
			c := inspect.NewChan[int]("", 1)
			c.Close()
			c.TrySend(1)
		}},
		{"Chan: Close of the zero value", "close of nil channel", func() { new(inspect.Chan[int]).Close() }},
		{"Chan: the zero value blocks", nil, func() {
			var c inspect.Chan[int]
			if _, ok := c.TryReceive(); ok || c.TrySend(1) || c.Len() != 0 || c.Cap() != 0 {
				t.Error("something passed through a nil channel")
			}
			if err := c.Send(done, 1); err != context.Canceled {
				t.Errorf("Send returned %v", err)
			}
		}},
		{"Cond: Signal and Broadcast of the zero value", nil, func() {
			var c inspect.Cond
			c.Signal()
			c.Broadcast()
		}},
		{"Flight: the zero value", nil, func() {
			var f inspect.Flight[int]
			if v, err, shared := f.Do(ctx, "k", func(context.Context) (int, error) { return 7, nil }); v != 7 || err != nil || shared {
				t.Errorf("Do returned %d, %v, %v", v, err, shared)
			}
		}},
	} {
		t.Run(one.name, func(t *testing.T) {
			if got := failsWith(one.do); fmt.Sprint(got) != fmt.Sprint(one.want) {
				t.Errorf("panics with %v, want %v", got, one.want)
			}
		})
	}
}
