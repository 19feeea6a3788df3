//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Whoever has been in the way of the pending writer wakes it when leaving, however that
// comes about: one that does not makes the writer wait for ever.
func TestWhoeverLeavesWakesThePendingWriter(t *testing.T) {
	reader, other := newActor(t), newActor(t)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, one := range []struct {
		name   string
		before func(m *RWMutex) // before the writer is pending
		leave  func(m *RWMutex)
		want   bool
	}{
		{"nobody", func(*RWMutex) {}, func(*RWMutex) {}, false},
		{"a reader that is counted", func(m *RWMutex) {
			m.quiet.Store(9)
			reader.does(m.RLock)
		}, func(m *RWMutex) { reader.does(m.RUnlock) }, true},
		{"a reader that has passed", func(m *RWMutex) {
			reader.does(m.RLock) // turns passing on
			reader.does(m.RLock)
			reader.does(m.RUnlock)
		}, func(m *RWMutex) { reader.does(m.RUnlock) }, true},
		{"a reader without a slot", func(m *RWMutex) {
			fullBucket(t, reader.id)
			reader.does(m.RLock)
		}, func(m *RWMutex) { reader.does(m.RUnlock) }, true},
		{"a reader that is not tracked", func(m *RWMutex) {
			was := moreReaderLimit.Swap(0)
			reader.does(m.RLock) // its bucket is full from above
			moreReaderLimit.Store(was)
		}, func(m *RWMutex) { reader.does(m.RUnlock) }, true},
		{"a reader whose lock another goroutine releases", func(m *RWMutex) {
			other.does(m.RLock)
		}, func(m *RWMutex) { reader.does(m.RUnlock) }, true},
		{"a reader that comes when passing is off again", func(m *RWMutex) {
			other.does(m.RLock)
			other.does(m.RUnlock)
			m.stopPassing()
			m.passing.Store(true)
			// A look at passing that is out of date by the second one.
			slot, ok := bucketOf(other.id).enter(readerKey(m.key.Load()))
			if !ok {
				t.Fatal("no slot")
			}
			m.passing.Store(false)
			slot.key().Store(0)
		}, func(m *RWMutex) { m.left() }, true},
		{"a writer", func(m *RWMutex) { other.does(m.Lock) }, func(m *RWMutex) { other.does(m.Unlock) }, true},
		{"a TryLock that fails at a reader", func(m *RWMutex) {
			other.does(m.RLock)
		}, func(m *RWMutex) {
			other.does(func() {
				if m.TryLock() {
					t.Error("locked for writing beside a reader")
				}
			})
		}, true},
		{"a TryLock that fails at a writer", func(m *RWMutex) { other.does(m.Lock) }, func(m *RWMutex) {
			reader.does(func() {
				if m.TryLock() {
					t.Error("locked twice")
				}
			})
		}, true},
		{"a LockContext that has tried and gives up", func(m *RWMutex) { other.does(m.Lock) }, func(m *RWMutex) {
			reader.does(func() {
				if err := m.LockContext(cancelled); !errors.Is(err, context.Canceled) {
					t.Errorf("LockContext returned %v", err)
				}
			})
		}, true},
		{"an RLockContext that has given up, when it gets the lock", func(m *RWMutex) {
			(*counter)(m).Lock()
		}, func(m *RWMutex) { (*counter)(m).Unlock() }, true},
	} {
		m := new(RWMutex)
		one.before(m)
		g := &gate{opened: make(chan struct{}), left: make(chan struct{}, 1)}
		m.gate.Store(g)
		one.leave(m)
		if woken := len(g.left) == 1; woken != one.want {
			t.Errorf("%s: the pending writer is woken: %v, want %v", one.name, woken, one.want)
		}
	}
}

// A writer that gives up lets the readers in that it has kept out, and leaves nothing
// behind.
func TestAWriterThatGivesUpOpensTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m RWMutex
		m.RLock()
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- m.LockContext(ctx) }()
		synctest.Wait()
		in := make(chan int, 3)
		for i := range 3 {
			go func() {
				if i == 0 {
					_ = m.RLockContext(t.Context())
				} else {
					m.RLock()
				}
				in <- i
				m.RUnlock()
			}()
		}
		synctest.Wait()
		if m.TryRLock() || len(in) != 0 {
			t.Fatalf("%d readers are in beside a pending writer, and TryRLock is %v", len(in), m.TryRLock())
		}
		cancel()
		synctest.Wait()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) || len(in) != 3 {
			t.Fatalf("LockContext returned %v, and %d of 3 readers are in", err, len(in))
		}
		m.RUnlock()
		if m.gate.Load() != nil || !m.TryLock() {
			t.Error("not free in the end")
		}
		m.Unlock()
	})
}

// A reader that gives up at the gate is in nobody's way.
func TestAReaderThatGivesUpAtTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m RWMutex
		m.RLock()
		written := make(chan struct{})
		go func() {
			m.Lock()
			close(written)
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- m.RLockContext(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Fatalf("RLockContext returned %v", err)
		}
		m.RUnlock()
		synctest.Wait()
		select {
		case <-written:
		default:
			t.Fatal("the writer was not woken")
		}
		m.Unlock()
		m.RLock()
		m.RUnlock()
	})
}

// A lock that was given up is not taken afterwards, when it gets free.
func TestALockThatWasGivenUpStaysFree(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var (
		mutex         Mutex
		read, written RWMutex
	)
	mutex.Lock()
	read.Lock()
	written.Lock()
	var all sync.WaitGroup
	for _, lock := range []func(context.Context) error{mutex.LockContext, read.RLockContext, written.LockContext} {
		for range 3 {
			all.Go(func() {
				if err := lock(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("locked, or %v", err)
				}
			})
		}
	}
	cancel()
	all.Wait()
	mutex.Unlock()
	read.Unlock()
	written.Unlock()
	free := make(chan struct{})
	go func() {
		defer close(free)
		mutex.Lock()
		mutex.Unlock() //nolint:staticcheck // only whether it can be had
		read.Lock()
		read.Unlock() //nolint:staticcheck // as above
		written.Lock()
		written.Unlock() //nolint:staticcheck // as above
	}()
	within(t, free, "a lock that was given up")
}

// The first waiter of a semaphore keeps those behind it waiting. When it gives up they
// get what fits, and no more.
func TestAnAcquireThatGivesUpServesThoseBehindIt(t *testing.T) {
	for _, one := range []struct {
		size, held int64
		big        int64   // of the waiter that gives up
		behind     []int64 // in their order
		want       []int64 // those that are served then
	}{
		{7, 4, 5, []int64{2}, []int64{2}},
		{7, 4, 7, []int64{2, 1}, []int64{1, 2}},
		{7, 4, 6, []int64{1, 3, 2}, []int64{1}}, // the 3 is in front of the 2
		{7, 4, 5, []int64{4, 1}, nil},
		{7, 4, 5, nil, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := NewSemaphore("", one.size)
			_ = s.Acquire(t.Context(), one.held)
			ctx, cancel := context.WithCancel(t.Context())
			gaveUp := make(chan error, 1)
			go func() { gaveUp <- s.Acquire(ctx, one.big) }()
			synctest.Wait()
			rest, stop := context.WithCancel(t.Context())
			var (
				mu     sync.Mutex
				served []int64
				all    sync.WaitGroup
			)
			for _, n := range one.behind {
				all.Go(func() {
					if s.Acquire(rest, n) == nil {
						mu.Lock()
						served = append(served, n)
						mu.Unlock()
					}
				})
				synctest.Wait()
			}
			if len(served) > 0 {
				t.Errorf("%+v: %v overtook", one, served)
			}
			cancel()
			synctest.Wait()
			slices.Sort(served) // they run in any order
			if err := <-gaveUp; !errors.Is(err, context.Canceled) || !slices.Equal(served, one.want) {
				t.Errorf("%+v: %v, served %v", one, err, served)
			}
			stop()
			all.Wait()
			// Afterwards all of it comes back.
			for _, n := range served {
				s.Release(n)
			}
			s.Release(one.held)
			if !s.TryAcquire(one.size) || s.front != nil || s.back != nil {
				t.Errorf("%+v: %d of %d are free in the end", one, s.free, s.size)
			}
		})
	}
}

// A permit that comes when its waiter gives up is the waiter's or the next one's, and
// never lost.
func TestAPermitThatComesTooLate(t *testing.T) {
	var late, taken int
	for i := range 200 {
		synctest.Test(t, func(t *testing.T) {
			s := NewSemaphore("", 3)
			_ = s.Acquire(t.Context(), 3)
			ctx, cancel := context.WithCancel(t.Context())
			first, next := make(chan error, 1), make(chan error, 1)
			go func() { first <- s.Acquire(ctx, 2) }()
			synctest.Wait()
			go func() { next <- s.Acquire(t.Context(), 3) }()
			synctest.Wait()
			if i%2 == 0 {
				s.Release(3) // serves the first
				cancel()
			} else {
				cancel() // wakes it, and before it has looked
				s.Release(3)
			}
			synctest.Wait()
			if err := <-first; err == nil {
				taken++
				s.Release(2)
			} else {
				late++
			}
			synctest.Wait()
			select {
			case <-next:
			default:
				t.Fatal("the next waiter was not served")
			}
			s.Release(3)
			if s.free != 3 {
				t.Fatalf("%d of 3 are free in the end", s.free)
			}
		})
	}
	if late == 0 || taken == 0 {
		t.Errorf("gave up %d times and took it %d times, want some of both", late, taken)
	}
}

// A Signal that comes when its waiter gives up wakes that one or the next.
func TestASignalThatComesTooLate(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			var m sync.Mutex
			c := NewCond("", &m)
			ctx, cancel := context.WithCancel(t.Context())
			first, next := make(chan error, 1), make(chan error, 1)
			for _, w := range []struct {
				ctx  context.Context
				done chan error
			}{{ctx, first}, {t.Context(), next}} {
				go func() {
					m.Lock()
					defer m.Unlock()
					w.done <- c.WaitContext(w.ctx)
				}()
				synctest.Wait()
			}
			c.Signal()
			cancel()
			synctest.Wait()
			if err, woken := <-first, len(next); (err == nil) == (woken == 1) {
				t.Fatalf("the first returned %v, and %d others are woken: one of them has to be", err, woken)
			}
			c.Broadcast()
			synctest.Wait()
			if len(c.waiters) != 0 {
				t.Errorf("%d waiters are left behind", len(c.waiters))
			}
		})
	}
}

// A task that waits for a place in a group gets it when another ends, also by a panic
// that is recovered or by an exit of its goroutine.
func TestPlacesOfAGroupAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := NewGroup(t.Context(), "")
		g.SetLimit(2)
		release := make([]chan error, 5)
		var ran []string
		var mu sync.Mutex
		for i := range release {
			release[i] = make(chan error)
		}
		start := func(i int) {
			g.Go("task", func(context.Context) error {
				mu.Lock()
				ran = append(ran, fmt.Sprint(i))
				mu.Unlock()
				return <-release[i]
			})
		}
		start(0)
		start(1)
		if g.TryGo("task", func(context.Context) error { return nil }) {
			t.Error("a third of two")
		}
		for i := 2; i < 5; i++ {
			go start(i)
			synctest.Wait()
			if len(ran) != i {
				t.Fatalf("%d run, want %d", len(ran), i)
			}
			release[i-2] <- nil
			synctest.Wait()
			if len(ran) != i+1 {
				t.Fatalf("after one has ended %d have run, want %d", len(ran), i+1)
			}
		}
		release[3] <- nil
		release[4] <- nil
		_ = g.Wait()
		if len(g.places.taken) != 0 || len(g.places.free) != 0 {
			t.Errorf("places are left taken: %d, %d", len(g.places.taken), len(g.places.free))
		}
	})
}

// The budget of inspection points is shared by all tasks. What a task has kept comes
// back when it ends, once.
func TestTheBudgetOfPointsIsGivenBack(t *testing.T) {
	ins, err := New(t.Context(), WithReports(false), WithoutExport(), WithSamplingRate(0), WithMaxEvents(5))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
	begin := func() *Task {
		_, task := ins.Begin(t.Context(), "points")
		return task
	}
	points := func(task *Task, n int) {
		for range n {
			task.Point("point")
		}
	}
	first, second, third := begin(), begin(), begin()
	dropped := func() int64 { return ins.drops[dropMaxEvents].Load() }
	for _, step := range []struct {
		what             string
		do               func()
		kept, notKept    int64
		ofFirst, ofThird int
	}{
		{"the first keeps 3", func() { points(first, 3) }, 3, 0, 3, 0},
		{"the second fills it", func() { points(second, 2) }, 5, 0, 3, 0},
		{"there is no room for the third", func() { points(third, 2) }, 5, 2, 3, 0},
		{"the first ends", func() { first.End(nil) }, 2, 2, 0, 0},
		{"and again", func() { first.End(nil) }, 2, 2, 0, 0},
		{"a point after the end is none", func() { points(first, 1) }, 2, 2, 0, 0},
		{"now there is", func() { points(third, 3) }, 5, 2, 0, 3},
		{"the third ends", func() { third.End(errors.New("no")) }, 2, 2, 0, 0},
		{"the second ends", func() { second.End(nil) }, 0, 2, 0, 0},
	} {
		step.do()
		if n := ins.keptPoints.Load(); n != step.kept || dropped() != step.notKept {
			t.Errorf("%s: %d are kept and %d dropped, want %d and %d", step.what, n, dropped(), step.kept, step.notKept)
		}
		if a, b := len(first.points.Load().list()), len(third.points.Load().list()); a != step.ofFirst || b != step.ofThird {
			t.Errorf("%s: the first has %d and the third %d, want %d and %d", step.what, a, b, step.ofFirst, step.ofThird)
		}
	}
}
