//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// slotsTaken is how many slots of the table of readers are in use, by a lock or, with
// leavingKey, by nobody.
func slotsTaken(k readerKey) (n int) {
	for i := range readers {
		for j := range readers[i].keys {
			if key := readerKey(readers[i].keys[j].Load()); key != 0 && key|1 == k|1 {
				n++
			}
		}
	}
	return n
}

// atRest checks that nothing of a lock that is free says anything else.
func (m *RWMutex) atRest(t *testing.T, what string) {
	t.Helper()
	owner, _, _ := m.owner.Load()
	pending, _, _ := m.pending.Load()
	switch key := readerKey(m.key.Load()); {
	case owner != 0 || pending != 0:
		t.Errorf("%s: goroutine %d owns it and %d is pending", what, owner, pending)
	case m.gate.Load() != nil:
		t.Errorf("%s: the gate is shut", what)
	case m.untracked.Load() != 0:
		t.Errorf("%s: %d readers are untracked", what, m.untracked.Load())
	case key != 0 && slotsTaken(key) != 0 || slotsTaken(leavingKey) != 0:
		t.Errorf("%s: %d slots are taken, and %d are left behind", what, slotsTaken(key), slotsTaken(leavingKey))
	case !m.queue.TryLock():
		t.Errorf("%s: the queue of writers is locked", what)
	case !m.rw.TryLock():
		t.Errorf("%s: the counter is not free", what)
	default:
		m.rw.Unlock()
		m.queue.Unlock()
	}
	var more holderSet
	if m.more.Load().holders(&more); len(more.list) != 0 {
		t.Errorf("%s: %+v are left behind", what, more.list)
	}
}

// wayToLock is one of the functions that take a lock, and what gives it back.
type wayToLock struct {
	name   string
	lock   func(context.Context, any) bool
	unlock func(any)
	new    func(name string) any
	tries  bool
	reads  bool
}

func waysToLock() []wayToLock {
	mutex := func(name string) any { return NewMutex(name) }
	rwmutex := func(name string) any { return NewRWMutex(name) }
	unlock, runlock := func(l any) { l.(*RWMutex).Unlock() }, func(l any) { l.(*RWMutex).RUnlock() }
	return []wayToLock{
		{"Mutex.Lock", func(_ context.Context, l any) bool { l.(*Mutex).Lock(); return true }, func(l any) { l.(*Mutex).Unlock() }, mutex, false, false},
		{"Mutex.LockContext", func(ctx context.Context, l any) bool { return l.(*Mutex).LockContext(ctx) == nil }, func(l any) { l.(*Mutex).Unlock() }, mutex, false, false},
		{"Mutex.TryLock", func(_ context.Context, l any) bool { return l.(*Mutex).TryLock() }, func(l any) { l.(*Mutex).Unlock() }, mutex, true, false},
		{"RWMutex.Lock", func(_ context.Context, l any) bool { l.(*RWMutex).Lock(); return true }, unlock, rwmutex, false, false},
		{"RWMutex.LockContext", func(ctx context.Context, l any) bool { return l.(*RWMutex).LockContext(ctx) == nil }, unlock, rwmutex, false, false},
		{"RWMutex.TryLock", func(_ context.Context, l any) bool { return l.(*RWMutex).TryLock() }, unlock, rwmutex, true, false},
		{"RWMutex.RLock", func(_ context.Context, l any) bool { l.(*RWMutex).RLock(); return true }, runlock, rwmutex, false, true},
		{"RWMutex.RLockContext", func(ctx context.Context, l any) bool { return l.(*RWMutex).RLockContext(ctx) == nil }, runlock, rwmutex, false, true},
		{"RWMutex.TryRLock", func(_ context.Context, l any) bool { return l.(*RWMutex).TryRLock() }, runlock, rwmutex, true, true},
		{"RLocker.Lock", func(_ context.Context, l any) bool { l.(*RWMutex).RLocker().Lock(); return true }, func(l any) { l.(*RWMutex).RLocker().Unlock() }, rwmutex, false, true},
	}
}

// Every way to take a lock is in orders: as the lock that is held, until it is released,
// and, unless it only tries, as the one that is taken.
func TestEveryWayToLockIsInOrders(parent *testing.T) {
	mode := map[bool]string{true: "read", false: "write"}
	for _, way := range waysToLock() {
		parent.Run(way.name, func(t *testing.T) {
			rig := ordersRig(t)
			name := lockNames(parent, 4)
			before, this, after, last := NewMutex(name[0]), way.new(name[1]), NewMutex(name[2]), NewMutex(name[3])
			before.Lock()
			if !way.lock(t.Context(), this) {
				t.Fatal("not locked")
			}
			before.Unlock()
			after.Lock()
			after.Unlock() //nolint:staticcheck // only the order matters
			way.unlock(this)
			last.Lock()
			last.Unlock() //nolint:staticcheck // as above
			want := []string{"b>c " + mode[way.reads] + "/write"}
			if !way.tries {
				want = append([]string{"a>b write/" + mode[way.reads]}, want...)
			}
			wantOrders(t, ordersOf(rig), want...)
		})
	}
}

// A hold has the place and the goroutine of the call that took it, whichever way it came
// about.
func TestEveryWayToLockHasItsPlace(parent *testing.T) {
	holders := func(l any) (set holderSet) {
		switch l := l.(type) {
		case *Mutex:
			addOwner(&set, &l.owner)
		case *RWMutex:
			addOwner(&set, &l.owner)
			if key := l.key.Load(); key != 0 {
				addReaders(&set, readerKey(key))
			}
			l.more.Load().holders(&set)
		}
		return set
	}
	for _, way := range waysToLock() {
		if way.name == "RLocker.Lock" {
			continue // its place is the Locker
		}
		for how, applies := range map[string]bool{
			"free": true, "contended": !way.tries, "beside a reader": way.reads, "without a slot": way.reads,
			"again": way.reads, "again, without a slot": way.reads,
		} {
			if !applies {
				continue
			}
			parent.Run(way.name+"/"+how, func(t *testing.T) {
				watched(t)
				taker, other := newActor(t), newActor(t)
				l := way.new(unique("place"))
				take := func() {
					if !way.lock(context.Background(), l) {
						t.Error("not locked")
					}
				}
				switch how {
				case "contended":
					conflicts := l.(sync.Locker)
					other.does(conflicts.Lock)
					taker.starts(take)
					taker.blocked()
					other.does(conflicts.Unlock)
					taker.does(func() {})
				case "beside a reader":
					other.does(l.(*RWMutex).RLock)
					taker.does(take)
				case "without a slot":
					fullBucket(t, taker.id)
					taker.does(take)
				case "again":
					taker.does(l.(*RWMutex).RLock)
					taker.does(take)
				case "again, without a slot":
					fullBucket(t, taker.id)
					taker.does(l.(*RWMutex).RLock)
					taker.does(take)
				default:
					taker.does(take)
				}
				found := false
				for _, h := range holders(l).list {
					at := placeOf(h.place)
					found = found || h.goroutine == taker.id && strings.Contains(at.function, ".waysToLock.") && strings.HasSuffix(at.file, "ways_test.go")
				}
				if !found {
					t.Errorf("the holders are %+v", holders(l).list)
				}
				taker.does(func() { way.unlock(l) })
				switch how {
				case "beside a reader":
					other.does(l.(*RWMutex).RUnlock)
				case "again", "again, without a slot":
					taker.does(l.(*RWMutex).RUnlock)
				}
				if left := holders(l).list; len(left) != 0 {
					t.Errorf("in the end the holders are %+v", left)
				}
			})
		}
	}
}

// While a writer is pending nobody takes the lock in front of it, also if it is free just
// now. TryLock is the exception.
func TestNobodyOvertakesThePendingWriter(t *testing.T) {
	for _, way := range waysToLock() {
		m, isRW := way.new("").(*RWMutex)
		if !isRW {
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			quietInspector(t)
			shut := &gate{opened: make(chan struct{}), left: make(chan struct{}, 1)}
			m.queue.Lock()
			m.gate.Store(shut)
			a := newActor(t)
			got := make(chan bool, 1)
			a.starts(func() { got <- way.lock(t.Context(), m) })
			waits := false
			for deadline := time.Now().Add(30 * time.Second); !waits && len(got) == 0; runtime.Gosched() {
				if _, waits = waitOf(a.id); time.Now().After(deadline) {
					t.Fatal("it neither waits nor returns in 30 s")
				}
			}
			overtakes := way.name == "RWMutex.TryLock"
			if waits == way.tries {
				t.Errorf("waits: %v", waits)
			}
			m.gate.Store(nil)
			close(shut.opened)
			m.queue.Unlock()
			a.does(func() {})
			if has := <-got; has != (overtakes || !way.tries) {
				t.Errorf("locked: %v", has)
			} else if has {
				a.does(func() { way.unlock(m) })
			}
			m.atRest(t, way.name)
		})
	}
}

// Readers pass the counter by from the first one on, until a writer comes; after that
// again when readersPerWriter of them have come.
func TestWhenReadersPass(t *testing.T) {
	for _, way := range waysToLock() {
		if !way.reads {
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			m := NewRWMutex(unique("table"))
			read := func(what string, passes bool) {
				t.Helper()
				if !way.lock(t.Context(), m) {
					t.Fatal("not locked")
				}
				if passed := anyReader(readerKey(m.key.Load())); passed != passes {
					t.Errorf("%s: passed the counter by: %v, want %v", what, passed, passes)
				}
				way.unlock(m)
			}
			for range 2 {
				if m.passed.Load() {
					t.Error("a writer would look for readers, and there were none")
				}
				read("the first", false)
				if !m.passed.Load() || !m.passing.Load() {
					t.Error("readers do not pass")
				}
				read("the second", true)
				m.Lock()
				if m.passed.Load() || m.passing.Load() {
					t.Error("readers pass a writer")
				}
				m.Unlock()
				for i := range readersPerWriter {
					read(fmt.Sprint("after a writer the one with number ", i), false)
				}
			}
			m.atRest(t, "in the end")
		})
	}
}

// A reader that has taken a slot looks again. If passing was turned off meanwhile, a
// writer may have looked already or may have seen the slot: the reader does not have the
// lock, and the writer learns that it has left.
func TestAReaderThatComesWhenPassingEnds(t *testing.T) {
	for _, one := range []struct {
		name string
		// between the two looks
		between       func(t *testing.T, m *RWMutex, other *actor)
		passes, wakes bool
	}{
		{"nothing happens", func(*testing.T, *RWMutex, *actor) {}, true, false},
		{"a writer turns passing off", func(_ *testing.T, m *RWMutex, _ *actor) { m.stopPassing() }, false, true},
		{"and somebody releases another's read lock, and takes this slot", func(t *testing.T, m *RWMutex, other *actor) {
			other.does(m.RLock)
			m.stopPassing()
			if left, _ := leaveAny(readerKey(m.key.Load())); left == 0 {
				t.Error("there was no slot to take")
			}
		}, false, true},
	} {
		t.Run(one.name, func(t *testing.T) {
			m, reader, other := NewRWMutex(unique("table")), newActor(t), newActor(t)
			m.RLock()
			m.RUnlock() //nolint:staticcheck // makes the key and turns passing on
			key := readerKey(m.key.Load())
			slot, ok := bucketOf(reader.id).enter(key)
			if !ok || !m.passing.Load() {
				t.Fatal("no slot, or no passing")
			}
			one.between(t, m, other)
			g := &gate{opened: make(chan struct{}), left: make(chan struct{}, 1)}
			m.gate.Store(g)
			if got := m.confirm(slot, key, reader.id, 7); got != one.passes {
				t.Errorf("it has passed: %v, want %v", got, one.passes)
			}
			if woken := len(g.left) == 1; woken != one.wakes {
				t.Errorf("the writer is woken: %v, want %v", woken, one.wakes)
			}
			m.gate.Store(nil)
			if one.passes {
				reader.does(m.RUnlock)
			}
			m.atRest(t, "in the end")
		})
	}
}

// The slots of a bucket are told apart by lock and goroutine.
func TestSlotsOfABucket(t *testing.T) {
	var b readerBucket
	type taken struct {
		lock      readerKey
		goroutine uint64
		place     uintptr
	}
	first, second := newReaderKey(), newReaderKey()
	if second|1 == first|1 || first.counted() == second || first.counted() == second.counted() {
		t.Fatalf("the keys %x and %x are one", first, second)
	}
	all := []taken{{first, 3, 11}, {second, 3, 12}, {first.counted(), 259, 13}, {second.counted(), 259, 14}, {first, 515, 15}}
	for _, one := range all {
		s, ok := b.enter(one.lock)
		if !ok {
			t.Fatal("no slot")
		}
		s.acquire(one.goroutine, one.place)
	}
	if _, ok := b.enter(first); ok {
		t.Error("one slot too many")
	}
	for _, one := range []taken{all[4], all[2], all[1], all[0], all[3]} {
		if left, place := b.leave(one.lock&^1, one.goroutine); left != one.lock || place != one.place {
			t.Errorf("%+v: left %x, taken at %d", one, left, place)
		}
		if left, _ := b.leave(one.lock&^1, one.goroutine); left != 0 {
			t.Errorf("%+v: left twice", one)
		}
		if s, ok := b.enter(1 << 40); !ok { // it is free again, and nobody's
			t.Errorf("%+v: its slot is not free", one)
		} else if g, _, _ := b.holders[s.i].Load(); g != 0 {
			t.Errorf("%+v: the next one to take its slot finds %d there", one, g)
		} else {
			s.key().Store(0)
		}
	}
}

// After each way out of each way to lock nothing is left behind.
func TestNothingIsLeftOfALock(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, way := range waysToLock() {
		m, isRW := way.new(unique("table")).(*RWMutex)
		if !isRW {
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			a, b, waiter := newActor(t), newActor(t), newActor(t)
			a.does(func() { way.lock(t.Context(), m); way.unlock(m) })
			m.atRest(t, "alone")
			a.does(func() { way.lock(t.Context(), m) })
			b.does(func() { way.unlock(m) })
			m.atRest(t, "released by another")
			a.does(m.RLock)
			b.does(m.RLock)
			a.does(m.RUnlock)
			a.does(m.RUnlock)
			m.atRest(t, "readers released by one of them")
			b.does(m.Lock)
			a.does(func() {
				if way.tries || way.name == "RWMutex.LockContext" || way.name == "RWMutex.RLockContext" {
					if way.lock(cancelled, m) {
						t.Error("locked beside a writer")
					}
				}
			})
			b.does(m.Unlock)
			m.atRest(t, "one has given up")
			if way.tries {
				return
			}
			quietInspector(t)
			b.does(m.Lock)
			waiter.starts(func() { way.lock(t.Context(), m); way.unlock(m) })
			waiter.blocked()
			b.does(m.Unlock)
			waiter.does(func() {})
			m.atRest(t, "one has waited")
		})
	}
	o := NewOnce(unique("once"))
	o.Do(func() {})
	if g, _, _ := o.owner.Load(); g != 0 {
		t.Errorf("goroutine %d owns a Once that has been done", g)
	}
	l := NewMutex(unique("mutex"))
	l.Lock()
	l.Unlock() //nolint:staticcheck // only what is left of it matters
	if g, _, _ := l.owner.Load(); g != 0 {
		t.Errorf("goroutine %d owns a free mutex", g)
	}
}

// TryAcquire takes what is free and wanted by nobody before it, and nothing else.
func TestTryAcquire(t *testing.T) {
	for _, one := range []struct {
		size, held, waits, n int64
		want                 bool
	}{
		{7, 3, 0, 4, true},
		{7, 3, 0, 5, false},
		{7, 3, 0, 0, true},
		{7, 3, 6, 2, false}, // behind the one that waits
		{7, 3, 6, 0, false},
		{7, 3, 9, 2, true}, // who waits for more than there is is in nobody's way
		{7, 0, 0, 7, true},
		{7, 0, 0, 8, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := NewSemaphore("", one.size)
			s.TryAcquire(one.held)
			ctx, cancel := context.WithCancel(t.Context())
			if one.waits > 0 {
				go func() { _ = s.Acquire(ctx, one.waits) }()
				synctest.Wait()
			}
			free := s.free
			got := s.TryAcquire(one.n)
			if got {
				free -= one.n
			}
			if got != one.want || s.free != free {
				t.Errorf("%+v: %v, and %d are free, want %d", one, got, s.free, free)
			}
			cancel()
			synctest.Wait()
		})
	}
}

// A holder of permits is another one after each acquisition and each release: what stood
// in two readings did not change in between.
func TestEachChangeOfPermitsIsAGeneration(t *testing.T) {
	s := NewSemaphore("", 20)
	seen := make(map[uint64]string)
	g := goidOfTest()
	for i, step := range []struct {
		what   string
		do     func()
		weight int64
		held   int
	}{
		{"takes 5", func() { s.TryAcquire(5) }, 5, 1},
		{"takes 7", func() { _ = s.Acquire(t.Context(), 7) }, 12, 2},
		{"takes 2", func() { s.TryAcquire(2) }, 14, 3},
		{"releases 5", func() { s.Release(5) }, 9, 2},
		{"releases 1", func() { s.Release(1) }, 8, 1},
		{"releases 3", func() { s.Release(3) }, 5, 1}, // there is one at least
		{"takes 4", func() { s.TryAcquire(4) }, 9, 2},
		{"takes 9 and releases them", func() { s.TryAcquire(9); s.Release(9) }, 9, 2},
		{"takes nothing", func() { s.TryAcquire(0); s.Release(0) }, 9, 2},
	} {
		step.do()
		h := s.holds[g]
		if h.weight != step.weight || h.held != step.held {
			t.Errorf("%s: has %d in %d acquisitions, want %d in %d", step.what, h.weight, h.held, step.weight, step.held)
		}
		if before, is := seen[h.generation]; is != (i == 8) {
			t.Errorf("%s: the generation is that of %q", step.what, before)
		}
		seen[h.generation] = step.what
	}
	s.Release(9)
	if len(s.holds) != 0 || s.free != 20 {
		t.Errorf("%v are held and %d free in the end", s.holds, s.free)
	}
}

// The places of permits are kept once each, the newest last.
func TestPlacesOfPermits(t *testing.T) {
	for _, one := range []struct {
		take, want []uintptr
		unplaced   bool
	}{
		{nil, nil, false},
		{[]uintptr{5}, []uintptr{5}, false},
		{[]uintptr{5, 6, 5}, []uintptr{6, 5}, false},
		{[]uintptr{5, 6, 7, 8}, []uintptr{5, 6, 7, 8}, false},
		{[]uintptr{5, 6, 7, 8, 6}, []uintptr{5, 7, 8, 6}, false},
		{[]uintptr{5, 6, 7, 8, 5}, []uintptr{6, 7, 8, 5}, false},
		{[]uintptr{5, 6, 7, 8, 8}, []uintptr{5, 6, 7, 8}, false},
		{[]uintptr{5, 6, 7, 8, 9}, []uintptr{6, 7, 8, 9}, true},
	} {
		var h semaphoreHold
		for _, place := range one.take {
			h.add(3, place)
		}
		newest := uintptr(0)
		if n := len(one.want); n > 0 {
			newest = one.want[n-1]
		}
		if got := h.places[:h.placed]; !slices.Equal(got, one.want) || h.unplaced != one.unplaced || h.place() != newest ||
			h.weight != 3*int64(len(one.take)) || h.held != len(one.take) || h.most != len(one.take) {
			t.Errorf("%v: %+v, the newest is %d", one.take, h, h.place())
		}
	}
}

// A Signal that comes when its waiter has given up already, and has not said so, wakes
// the next one.
func TestASignalForOneThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m sync.Mutex
		c := NewCond("", &m)
		ctx, cancel := context.WithCancel(t.Context())
		results := make([]error, 3)
		var all sync.WaitGroup
		woken := 0
		for i, ctx := range []context.Context{ctx, t.Context(), t.Context()} {
			all.Go(func() {
				m.Lock()
				defer m.Unlock()
				results[i] = c.WaitContext(ctx)
				woken++
			})
			synctest.Wait()
		}
		c.mu.Lock()
		cancel() // this is what wakes it, and then it wants c.mu
		c.wakeFirst()
		c.mu.Unlock()
		synctest.Wait()
		m.Lock()
		if woken != 2 || !errors.Is(results[0], context.Canceled) || results[1] != nil {
			t.Errorf("%d are woken with %v, want the first with an error and the second", woken, results)
		}
		m.Unlock()
		c.Broadcast()
		all.Wait()
		if len(c.waiters) != 0 {
			t.Errorf("%d are left behind", len(c.waiters))
		}
	})
}

// Those that share a call get what the leader got, and an error that says what became of
// a leader that did not return.
func TestWhatAFlightShares(t *testing.T) {
	failed := errors.New("no price")
	for _, one := range []struct {
		name   string
		lead   func() (int, error)
		v      int
		err    string
		panics bool
	}{
		{"a value", func() (int, error) { return 17, nil }, 17, "<nil>", false},
		{"an error", func() (int, error) { return 3, failed }, 3, "no price", false},
		{"a panic", func() (int, error) { panic("no shop") }, 0, (&panicError{value: "no shop"}).Error(), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			var f Flight[int]
			release := make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				defer func() {
					if r := recover(); (r != nil) != one.panics {
						t.Errorf("%s: the leader panics with %v", one.name, r)
					}
				}()
				v, err, shared := f.Do(t.Context(), "k", func(context.Context) (int, error) {
					<-release
					return one.lead()
				})
				if v != one.v || fmt.Sprint(err) != one.err || shared {
					t.Errorf("%s: the leader has %d, %v, shared %v", one.name, v, err, shared)
				}
			})
			synctest.Wait()
			for range 2 {
				all.Go(func() {
					v, err, shared := f.Do(t.Context(), "k", nil)
					if v != one.v || fmt.Sprint(err) != one.err || !shared {
						t.Errorf("%s: another has %d, %v, shared %v", one.name, v, err, shared)
					}
				})
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if v, err, _ := f.Do(gone, "k", nil); v != 0 || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: who gives up has %d, %v", one.name, v, err)
			}
			synctest.Wait()
			close(release)
			all.Wait()
			if len(f.calls) != 0 {
				t.Errorf("%s: %v is left behind", one.name, f.calls)
			}
		})
	}
}

// A call that is done has no leader any more, and one whose leader is not known proves
// nothing.
func TestHoldersOfAFlight(t *testing.T) {
	for _, one := range []struct {
		leader uint64
		done   bool
		want   int
	}{{7, false, 1}, {7, true, 0}, {0, false, 0}} {
		c := &flightCall[int]{leader: one.leader, done: make(chan struct{})}
		if one.done {
			close(c.done)
		}
		var s holderSet
		if c.holders(nil, &s); len(s.list) != one.want || s.complete != (one.want == 1) {
			t.Errorf("%+v: %+v", one, s)
		}
	}
}

// A call is forgotten before those who wait for it go on: what they ask for next is a new
// call.
func TestAFlightIsForgottenBeforeItIsShared(t *testing.T) {
	freshLooks(t)
	var f Flight[int]
	leader := newActor(t)
	goOn := make(chan struct{})
	leader.starts(func() {
		_, _, _ = f.Do(context.Background(), "k", func(context.Context) (int, error) { <-goOn; return 3, nil })
	})
	var call *flightCall[int]
	waitFor(t, "the call", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		call = f.calls["k"]
		return call != nil
	})
	f.mu.Lock()
	close(goOn)
	waitFor(t, "the leader to forget the call", func() bool {
		seen, _ := looks.take(map[uint64]bool{leader.id: true}, lookAtMost)
		return seen.of[leader.id].State == "sync.Mutex.Lock"
	})
	select {
	case <-call.done:
		t.Error("shared while it is known")
	default:
	}
	f.mu.Unlock()
	within(t, call.done, "the end of the call")
	leader.does(func() {})
}

// lockHere locks at one place.
//
//go:noinline
func lockHere(l sync.Locker) { l.Lock() }

// What one lock was handed over for once counts for this lock wherever it is taken next.
func TestALockThatWasHandedOver(t *testing.T) {
	watched(t)
	forgetHolds(t)
	taker, other, waiter := newActor(t), newActor(t), newActor(t)
	m, fresh := new(Mutex), new(Mutex)
	taker.does(func() { lockHere(fresh) })
	taker.does(fresh.Unlock) // so the place is known
	taker.does(func() { m.Lock() })
	other.does(m.Unlock)
	for _, one := range []struct {
		m        *Mutex
		complete bool
	}{{fresh, true}, {m, false}} {
		taker.does(func() { lockHere(one.m) })
		ctx, cancel := context.WithCancel(context.Background())
		waiter.starts(func() { _ = one.m.LockContext(ctx) })
		if set := waiter.blocked(); set.complete != one.complete || set.complete && set.inferred {
			t.Errorf("%+v, want complete %v", set, one.complete)
		}
		cancel()
		waiter.does(func() {})
		taker.does(one.m.Unlock)
	}
}

// One line that takes locks of several kinds, such as a function of a sync.Locker, is a
// kind for each.
func TestSidesOfAPlaceAreKnownSeparately(t *testing.T) {
	watched(t)
	forgetHolds(t)
	taker, waiter := newActor(t), newActor(t)
	for range 2 {
		for _, l := range []sync.Locker{new(Mutex), new(RWMutex)} {
			taker.does(func() { lockHere(l); l.Unlock() })
			taker.does(func() { lockHere(l) })
			ctx, cancel := context.WithCancel(context.Background())
			waiter.starts(func() { _ = l.(interface{ LockContext(context.Context) error }).LockContext(ctx) })
			if set := waiter.blocked(); !set.complete || set.inferred {
				t.Errorf("%T: %+v, want it complete and not inferred", l, set)
			}
			cancel()
			waiter.does(func() {})
			taker.does(l.Unlock)
		}
	}
}

// An untracked reader whose lock another one releases leaves a slot behind that names the
// wrong goroutine, until there is no reader.
func TestAnUntrackedReaderIsReleasedForAnother(t *testing.T) {
	watched(t)
	m := stage{used: true}.rwmutex()
	a, b, helper, waiter := newActor(t), newActor(t), newActor(t), newActor(t)
	fullBucket(t, a.id)
	was := moreReaderLimit.Swap(0)
	a.does(m.RLock)
	moreReaderLimit.Store(was)
	b.does(m.RLock)
	helper.does(m.RUnlock) // b's, and it takes the one that nobody has
	ctx, cancel := context.WithCancel(context.Background())
	waiter.starts(func() { _ = m.LockContext(ctx) })
	if set := waiter.blocked(); set.complete {
		t.Errorf("%+v, want it incomplete", set)
	}
	cancel()
	waiter.does(func() {})
	a.does(m.RUnlock)
	if !m.TryLock() || m.misnamed.Load() {
		t.Error("not free in the end, or still misnamed")
	}
	m.Unlock()
	m.atRest(t, "in the end")
}

// The two readings of Deadlocks have to agree as well, in each term.
func TestBothReadingsOfADeadlockHaveToAgree(t *testing.T) {
	for _, one := range []struct {
		name   string
		change func(first, second *holderSet, other uint64)
		want   taskspan.Confidence // "" is no deadlock
	}{
		{"nothing", func(_, _ *holderSet, _ uint64) {}, taskspan.Certain},
		{"inferred in the first", func(f, _ *holderSet, _ uint64) { f.inferred = true }, taskspan.Suspected},
		{"inferred in the second", func(_, s *holderSet, _ uint64) { s.inferred = true }, taskspan.Suspected},
		{"incomplete in the first", func(f, _ *holderSet, _ uint64) { f.complete = false }, ""},
		{"incomplete in the second", func(_, s *holderSet, _ uint64) { s.complete = false }, ""},
		{"incomplete in both", func(f, s *holderSet, _ uint64) { f.complete, s.complete = false, false }, ""},
		{"need", func(f, _ *holderSet, _ uint64) { f.need++ }, ""},
		{"generation", func(_, s *holderSet, _ uint64) { s.list[0].generation++ }, ""},
		{"weight", func(_, s *holderSet, _ uint64) { s.list[0].weight++ }, ""},
		{"who", func(_, s *holderSet, other uint64) { s.list[0].goroutine = other }, ""},
		{"one less", func(_, s *holderSet, _ uint64) { s.list = s.list[:1] }, ""},
		{"one more", func(f, s *holderSet, _ uint64) { s.list = append(s.list, f.list[0]) }, ""},
		{"it ends by itself", func(f, s *holderSet, _ uint64) { f.list[0].ends, s.list[0].ends = 5, 5 }, ""},
	} {
		t.Run(one.name, func(t *testing.T) {
			watched(t)
			waiter, other := newActor(t), newActor(t)
			set := holderSet{
				list: []holder{{goroutine: waiter.id, generation: 21, weight: 5}, {goroutine: other.id, generation: 22, weight: 2}},
				need: 3, complete: true,
			}
			first, second := set, set
			first.list, second.list = slices.Clone(set.list), slices.Clone(set.list)
			one.change(&first, &second, other.id)
			s := &scripted{first: first, second: second}
			release, waits := make(chan struct{}), make(chan struct{})
			waiter.starts(func() {
				w := beginWait(context.Background(), taskspan.WaitMutex, s)
				defer endWait(w)
				close(waits)
				<-release
			})
			within(t, waits, "the waiter")
			var got taskspan.Confidence
			if found := Deadlocks(); len(found) > 0 {
				got = found[0].Confidence
			}
			if got != one.want {
				t.Errorf("found %q, want %q", got, one.want)
			}
			close(release)
			waiter.does(func() {})
		})
	}
}

// What is told of a deadlock, in graphs in which the parts differ in size.
func TestWhatIsToldOfADeadlock(t *testing.T) {
	for _, used := range []bool{false, true} {
		t.Run(fmt.Sprint("used before ", used), func(t *testing.T) {
			// The writer waits for three readers, each of which waits for what it holds: the
			// cycle is of two, and the core of four.
			c := newCast(t, 4)
			s := stage{used}
			table := s.rwmutex()
			locks := []*Mutex{s.mutex(), s.mutex(), s.mutex()}
			for _, l := range locks {
				c.plays(table.RLockContext, l.LockContext)
			}
			c.plays(func(ctx context.Context) error {
				for _, l := range locks {
					l.Lock()
				}
				return nil
			}, func(ctx context.Context) error {
				err := table.LockContext(ctx)
				for _, l := range locks {
					l.Unlock()
				}
				return err
			})
			d := c.found()
			for d.Size != 4 {
				d = c.found()
			}
			if len(d.Cycle) != 2 || d.Cycle[0].Goroutine == d.Cycle[1].Goroutine || d.Victims != 0 || !d.Cancellable {
				t.Errorf("%+v, want a cycle of two, no victims, and that it can be cancelled", d)
			}
		})
	}
}

// One waiter that can be cancelled is enough, whichever it is.
func TestADeadlockOfWhichOneCanBeCancelled(t *testing.T) {
	for range 3 {
		c := newCast(t, 2)
		a, b := stage{used: true}.mutex(), stage{used: true}.mutex()
		forever := func(m *Mutex) func(context.Context) error {
			return func(context.Context) error { m.Lock(); return nil }
		}
		release := func(want func(context.Context) error, held *Mutex) func(context.Context) error {
			return func(ctx context.Context) error {
				err := want(ctx)
				held.Unlock()
				return err
			}
		}
		c.plays(forever(a), release(func(ctx context.Context) error { return b.LockContext(ctx) }, a))
		c.plays(forever(b), release(forever(a), b))
		for range 30 { // the order of goroutines differs each time
			if d := c.found(); d.Size != 2 || !d.Cancellable {
				t.Fatalf("%+v, want that it can be cancelled", d)
			}
		}
	}
}

// A goroutine that waits within a Wait is stuck in the inner wait.
func TestADeadlockWithinAWait(t *testing.T) {
	c := newCast(t, 2)
	a, b := stage{used: true}.mutex(), stage{used: true}.mutex()
	c.plays(a.LockContext, func(ctx context.Context) error {
		return Wait(ctx, taskspan.WaitIO, "a transaction", b.LockContext)
	})
	c.plays(b.LockContext, a.LockContext)
	if d := c.found(); d.Size != 2 || d.Confidence != taskspan.Certain {
		t.Errorf("%+v, want a certain one of two", d)
	}
}

// The weight of a holder counts for who waits for some of them.
func TestTheWeightsOfPermitsDecide(t *testing.T) {
	for _, one := range []struct {
		stuck, runs, wants int64 // of 10: of who is stuck, of who runs, and of the waiter
		deadlock           bool
	}{
		{1, 7, 8, false}, // 2 are free: 6 more, and who runs has 7
		{1, 7, 9, false},
		{1, 7, 10, true},
		{7, 1, 3, false},
		{7, 1, 4, true},
		{4, 4, 6, false},
		{4, 4, 7, true},
	} {
		t.Run(fmt.Sprint(one), func(t *testing.T) {
			s, a := stage{used: true}.semaphore(10), stage{used: true}.mutex()
			c := newCast(t, 2)
			running := newActor(t)
			running.does(func() { s.TryAcquire(one.runs) })
			c.plays(func(ctx context.Context) error { return s.Acquire(ctx, one.stuck) }, a.LockContext)
			c.plays(a.LockContext, func(ctx context.Context) error { return s.Acquire(ctx, one.wants) })
			if !one.deadlock {
				c.none(2)
			} else if d := c.found(); d.Size != 2 || d.Confidence != taskspan.Certain {
				t.Errorf("%+v, want a certain one of two", d)
			}
			running.does(func() { s.Release(one.runs) })
		})
	}
}

// If the leader's goroutine exits inside of the call, the others get an error.
func TestAFlightWhoseLeaderExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Flight[int]
		release := make(chan struct{})
		go func() {
			_, _, _ = f.Do(t.Context(), "k", func(context.Context) (int, error) {
				<-release
				runtime.Goexit()
				return 5, nil
			})
		}()
		synctest.Wait()
		got := make(chan error, 1)
		go func() {
			_, err, _ := f.Do(t.Context(), "k", nil)
			got <- err
		}()
		synctest.Wait()
		close(release)
		if err := <-got; !errors.Is(err, errLeaderLeft) {
			t.Errorf("the other one gets %v", err)
		}
	})
}

// Permits that are released by who has none are handed over, also if nothing is known of
// who has acquired them.
func TestPermitsOfNobodyAreHandedOver(t *testing.T) {
	for _, named := range []string{"", unique("permits")} {
		s := NewSemaphore(named, 9)
		s.orderName(5)
		s.free = 4 // acquired by nobody that is known
		s.Release(2)
		if r := s.res.Load(); s.free != 6 || !r.handedOver() {
			t.Errorf("%q: %d are free, handed over %t", named, s.free, r.handedOver())
		}
		_ = s.Acquire(context.Background(), 1)
		s.Release(1)
		if !s.res.Load().handedOver() {
			t.Errorf("%q: forgotten", named)
		}
	}
}

// Where goroutines cannot be told apart a reader is nobody's, and is released by anybody.
func TestAReaderOfNobody(t *testing.T) {
	var m RWMutex
	m.rw.RLock()
	m.enter(0, 5)
	m.rw.RLock()
	m.enter(0, 5)
	if n := m.untracked.Load(); n != 2 || m.pass(0, 5) {
		t.Errorf("%d are untracked", n)
	}
	m.RUnlock()
	if n := m.untracked.Load(); n != 1 || m.TryLock() {
		t.Errorf("after a release %d are untracked", n)
	}
	m.RUnlock()
	m.atRest(t, "in the end")
}

// Each waiter for permits waits for the one before it, by its number.
func TestWaitersForPermitsAreNumbered(t *testing.T) {
	watched(t)
	s := NewSemaphore(unique("numbered"), 2)
	_ = s.Acquire(context.Background(), 2)
	waiters := []*actor{newActor(t), newActor(t), newActor(t)}
	for i, w := range waiters {
		w.starts(func() {
			_ = s.Acquire(context.Background(), 1)
			s.Release(1)
		})
		w.blocked()
		if i == 0 {
			continue
		}
		s.mu.Lock()
		before := s.back.prev
		s.mu.Unlock()
		set := w.blocked()
		if len(set.list) != 1 || set.list[0].goroutine != waiters[i-1].id || set.list[0].generation != before.ticket || !set.complete || set.need != 0 {
			t.Errorf("waiter %d waits for %+v, want number %d", i, set, before.ticket)
		}
		if i == 2 && before.ticket == before.prev.ticket {
			t.Error("two waiters have one number")
		}
	}
	s.Release(2)
	for _, w := range waiters {
		w.does(func() {})
	}
}

// A slot that is given back names nobody.
func TestAFreeSlotNamesNobody(t *testing.T) {
	m := new(RWMutex)
	a, other := newActor(t), newActor(t)
	for name, release := range map[string]*actor{"by its goroutine": a, "by another one": other} {
		a.does(m.RLock)
		var slot *goid.Owner
		b := bucketOf(a.id)
		for i := range b.holders {
			if g, _, _ := b.holders[i].Load(); g == a.id {
				slot = &b.holders[i]
			}
		}
		if slot == nil {
			t.Fatalf("%s: the reader has no slot", name)
		}
		release.does(m.RUnlock)
		if g, _, _ := slot.Load(); g != 0 {
			t.Errorf("%s: it names goroutine %d", name, g)
		}
	}
	m.atRest(t, "in the end")
}

// A wait for permits is a guess as soon as one of those who have some acquired them at more
// places than are known.
func TestOneHolderOfUnknownPlacesIsEnough(t *testing.T) {
	forgetHolds(t)
	places := permitPlaces()
	for _, unplaced := range []int{-1, 0, 1, 2} {
		s := NewSemaphore("", 30)
		s.holds = make(map[uint64]semaphoreHold)
		for g := range 3 {
			h := semaphoreHold{generation: uint64(g + 1), unplaced: g == unplaced}
			h.add(2, places[g])
			holdKinds.addOwn(holdKind{side: permitHold, place: places[g]}, 2)
			s.holds[uint64(g+1)] = h
		}
		for range 20 { // in any order
			set := holderSet{complete: true}
			for g, h := range s.holds {
				set.add(holder{goroutine: g, generation: h.generation, weight: h.weight, place: h.place()})
			}
			s.judgePermits(77, &set)
			if set.inferred != (unplaced >= 0) || !set.complete {
				t.Fatalf("holder %d: inferred %t, complete %t", unplaced, set.inferred, set.complete)
			}
		}
	}
}

// A Broadcast wakes everybody who waits, however many they are, and nobody who comes later.
func TestABroadcastWakesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 150
		var l sync.Mutex
		c := NewCond("", &l)
		woken := make(chan struct{}, n+1)
		wait := func() {
			l.Lock()
			_ = c.WaitContext(t.Context())
			l.Unlock()
			woken <- struct{}{}
		}
		for range n {
			go wait()
		}
		synctest.Wait()
		c.Broadcast()
		synctest.Wait()
		if len(woken) != n {
			t.Errorf("%d of %d are woken", len(woken), n)
		}
		go wait()
		synctest.Wait()
		if len(woken) != n {
			t.Error("one that came later is woken")
		}
		c.Signal()
		synctest.Wait()
		if len(woken) != n+1 {
			t.Error("a Signal wakes nobody")
		}
	})
}
