//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// holderScene is where the holders of each primitive are looked at: A, B and C take
// things, and W waits.
type holderScene struct {
	t       *testing.T
	ctx     context.Context // of W's wait and of what ends with the test
	ins     *Inspector
	names   map[uint64]string // by goroutine
	A, B, C *actor
	W       *actor
}

// waits lets an actor do something that blocks, and returns when it does.
func (s *holderScene) waits(a *actor, do func(context.Context)) {
	s.t.Helper()
	a.starts(func() { do(s.ctx) })
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if _, ok := waitOf(a.id); ok {
			return
		}
	}
	s.t.Fatalf("%s does not wait after 30 s", s.names[a.id])
}

// writes lets an actor wait for the write lock, and returns when it is the pending
// writer and has shut the gate to readers.
func (s *holderScene) writes(a *actor, m *RWMutex) {
	s.t.Helper()
	s.waits(a, func(ctx context.Context) { _ = m.LockContext(ctx) })
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if first, _, _ := m.pending.Load(); first == a.id && m.gate.Load() != nil {
			return
		}
	}
	s.t.Fatalf("%s is not pending after 30 s", s.names[a.id])
}

// task runs until the scene ends, and returns its goroutine under a name.
func (s *holderScene) task(name string) (fn func(context.Context) error, runs <-chan struct{}) {
	began := make(chan struct{})
	return func(context.Context) error {
		s.names[goidOfTest()] = name
		close(began)
		<-s.ctx.Done()
		return nil
	}, began
}

// Who can end a wait, by all primitives. The holders are written "who:weight",
// weight 0 being 1, in alphabetical order.
func TestHoldersOfEveryPrimitive(t *testing.T) {
	type want struct {
		complete bool
		need     int64
		holders  string
	}
	for _, one := range []struct {
		name  string
		kind  taskspan.Kind
		stage func(s *holderScene) // ends with W waiting
		want  want
	}{
		{"a mutex", taskspan.WaitMutex, func(s *holderScene) {
			m := stage{used: true}.mutex()
			s.A.does(m.Lock)
			s.waits(s.W, func(ctx context.Context) { _ = m.LockContext(ctx) })
		}, want{true, 0, "A:0"}},
		{"a mutex that was handed over", taskspan.WaitMutex, func(s *holderScene) {
			m := stage{used: true}.mutex()
			s.B.does(m.Lock)
			s.C.does(m.Unlock)
			s.A.does(m.Lock)
			s.waits(s.W, func(ctx context.Context) { _ = m.LockContext(ctx) })
		}, want{false, 0, "A:0"}},

		{"a write lock, three read locks of two", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			s.A.does(m.RLock)
			s.B.does(m.RLock)
			s.B.does(func() { m.TryRLock() })
			s.writes(s.W, m)
		}, want{true, 0, "A:0 B:0 B:0"}},
		{"a write lock, one reader has left", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			s.A.does(m.RLock)
			s.B.does(m.RLock)
			s.C.does(func() { _ = m.RLockContext(s.ctx) })
			s.B.does(m.RUnlock)
			s.writes(s.W, m)
		}, want{true, 0, "A:0 C:0"}},
		{"a write lock, readers without a slot", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			fullBucket(s.t, s.A.id)
			m := stage{used: true}.rwmutex()
			s.A.does(m.RLock)
			s.A.does(m.RLock)
			s.B.does(m.RLock)
			s.writes(s.W, m)
		}, want{true, 0, "A:0 B:0"}},
		{"a write lock, and one reader is not tracked", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			fullBucket(s.t, s.A.id)
			was := moreReaderLimit.Swap(0)
			s.A.does(m.RLock)
			moreReaderLimit.Store(was)
			s.B.does(m.RLock)
			s.writes(s.W, m)
		}, want{true, 0, "B:0"}},
		{"a write lock, and no reader is tracked", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			fullBucket(s.t, s.A.id)
			was := moreReaderLimit.Swap(0)
			s.A.does(m.RLock)
			moreReaderLimit.Store(was)
			s.writes(s.W, m)
		}, want{false, 0, ""}},
		{"a write lock, a read lock was released by another", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			s.A.does(m.RLock)
			s.B.does(m.RLock)
			s.C.does(m.RUnlock)
			s.writes(s.W, m)
		}, want{false, 0, "?"}},
		{"a write lock, held by a writer", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			s.B.does(m.Lock)
			s.writes(s.W, m)
		}, want{true, 0, "B:0"}},
		{"a write lock, behind the pending writer", taskspan.WaitRWMutexWrite, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			s.A.does(m.RLock)
			s.writes(s.B, m)
			s.waits(s.W, func(ctx context.Context) { _ = m.LockContext(ctx) })
		}, want{true, 0, "B:0"}},
		{"a read lock, held by a writer", taskspan.WaitRWMutexRead, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			s.C.does(m.Lock)
			s.waits(s.W, func(ctx context.Context) { _ = m.RLockContext(ctx) })
		}, want{true, 0, "C:0"}},
		{"a read lock, behind the pending writer", taskspan.WaitRWMutexRead, func(s *holderScene) {
			m := stage{used: true}.rwmutex()
			s.A.does(m.RLock)
			s.writes(s.B, m)
			s.waits(s.W, func(ctx context.Context) { _ = m.RLockContext(ctx) })
		}, want{true, 0, "B:0"}},

		{"a semaphore without free permits", taskspan.WaitSemaphore, func(s *holderScene) {
			sem := stage{used: true}.semaphore(7)
			s.A.does(func() { _ = sem.Acquire(s.ctx, 3) })
			s.B.does(func() { sem.TryAcquire(4) })
			s.waits(s.W, func(ctx context.Context) { _ = sem.Acquire(ctx, 2) })
		}, want{true, 2, "A:3 B:4"}},
		{"a semaphore with one free permit", taskspan.WaitSemaphore, func(s *holderScene) {
			sem := stage{used: true}.semaphore(8)
			s.A.does(func() { _ = sem.Acquire(s.ctx, 5) })
			s.C.does(func() { _ = sem.Acquire(s.ctx, 2) })
			s.waits(s.W, func(ctx context.Context) { _ = sem.Acquire(ctx, 4) })
		}, want{true, 3, "A:5 C:2"}},
		{"a semaphore, some given back", taskspan.WaitSemaphore, func(s *holderScene) {
			sem := stage{used: true}.semaphore(9)
			s.A.does(func() { _ = sem.Acquire(s.ctx, 6) })
			s.B.does(func() { _ = sem.Acquire(s.ctx, 3) })
			s.A.does(func() { sem.Release(2) })
			s.waits(s.W, func(ctx context.Context) { _ = sem.Acquire(ctx, 5) })
		}, want{true, 3, "A:4 B:3"}},
		{"a semaphore, behind another", taskspan.WaitSemaphore, func(s *holderScene) {
			sem := stage{used: true}.semaphore(6)
			s.A.does(func() { _ = sem.Acquire(s.ctx, 4) })
			s.waits(s.B, func(ctx context.Context) { _ = sem.Acquire(ctx, 5) })
			s.waits(s.W, func(ctx context.Context) { _ = sem.Acquire(ctx, 1) })
		}, want{true, 0, "B:0"}},
		{"more permits than there are", taskspan.WaitSemaphore, func(s *holderScene) {
			sem := stage{used: true}.semaphore(2)
			s.A.does(func() { _ = sem.Acquire(s.ctx, 1) })
			s.waits(s.W, func(ctx context.Context) { _ = sem.Acquire(ctx, 3) })
		}, want{false, 0, ""}},
		{"a semaphore whose permits another has released", taskspan.WaitSemaphore, func(s *holderScene) {
			sem := stage{used: true}.semaphore(5)
			s.A.does(func() { _ = sem.Acquire(s.ctx, 3) })
			s.B.does(func() { _ = sem.Acquire(s.ctx, 2) })
			s.C.does(func() { sem.Release(1) })
			s.waits(s.W, func(ctx context.Context) { _ = sem.Acquire(ctx, 4) })
		}, want{false, 3, "A:3 B:2"}},

		{"a receive, nobody declared", taskspan.WaitChannelReceive, func(s *holderScene) {
			c := stage{used: true}.channel()
			s.waits(s.W, func(ctx context.Context) { _, _ = c.Receive(ctx) })
		}, want{false, 1, ""}},
		{"a receive from declared senders", taskspan.WaitChannelReceive, func(s *holderScene) {
			c := stage{used: true}.channel()
			s.A.does(func() { c.Sender(s.ctx) })
			s.C.does(func() { c.Sender(s.ctx) })
			s.B.does(func() { c.Sender(s.ctx).Close() })
			s.waits(s.W, func(ctx context.Context) { _, _ = c.Receive(ctx) })
		}, want{true, 1, "A:0 C:0"}},
		{"a receive, and another sends, too", taskspan.WaitChannelReceive, func(s *holderScene) {
			c := stage{used: true}.channel()
			s.A.does(func() { c.Sender(s.ctx) })
			s.B.does(func() { c.TrySend(1) })
			s.waits(s.W, func(ctx context.Context) { _, _ = c.Receive(ctx) })
		}, want{false, 1, "A:0"}},
		{"a send to a declared receiver", taskspan.WaitChannelSend, func(s *holderScene) {
			c := stage{used: true}.channel()
			s.B.does(func() { c.Receiver(s.ctx) })
			s.A.does(func() { c.Sender(s.ctx) }) // of the other side
			s.waits(s.W, func(ctx context.Context) { _ = c.Send(ctx, 1) })
		}, want{true, 1, "B:0"}},
		{"a receive from a sender that another has used", taskspan.WaitChannelReceive, func(s *holderScene) {
			c := stage{used: true}.channel()
			var end *Sender[int]
			s.B.does(func() { c.Sender(s.ctx) })
			s.A.does(func() { end = c.Sender(s.ctx) })
			s.B.does(end.Close)
			s.waits(s.W, func(ctx context.Context) { _, _ = c.Receive(ctx) })
		}, want{false, 1, "B:0"}},
		{"a plain channel", taskspan.WaitChannelReceive, func(s *holderScene) {
			s.waits(s.W, func(ctx context.Context) { _, _ = Receive(ctx, make(chan int)) })
		}, want{false, 0, ""}},

		{"a select of two known", taskspan.WaitSelect, func(s *holderScene) {
			c, d := stage{used: true}.channel(), stage{used: true}.channel()
			s.A.does(func() { c.Sender(s.ctx) })
			s.B.does(func() { d.Receiver(s.ctx) })
			s.C.does(func() { d.Receiver(s.ctx) })
			s.waits(s.W, func(ctx context.Context) { _, _ = Select(ctx, ReceiveCase(c, nil), SendCase(d, 5)) })
		}, want{true, 1, "A:0 B:0 C:0"}},
		{"a select, the last unknown", taskspan.WaitSelect, func(s *holderScene) {
			c, d := stage{used: true}.channel(), stage{used: true}.channel()
			s.A.does(func() { c.Sender(s.ctx) })
			s.waits(s.W, func(ctx context.Context) { _, _ = Select(ctx, ReceiveCase(c, nil), ReceiveCase(d, nil)) })
		}, want{false, 1, "A:0"}},
		{"a select, the first unknown", taskspan.WaitSelect, func(s *holderScene) {
			c, d := stage{used: true}.channel(), stage{used: true}.channel()
			s.A.does(func() { c.Sender(s.ctx) })
			s.waits(s.W, func(ctx context.Context) { _, _ = Select(ctx, ReceiveCase(d, nil), ReceiveCase(c, nil)) })
		}, want{false, 1, "A:0"}},
		{"a select, one in the middle unknown", taskspan.WaitSelect, func(s *holderScene) {
			c, d := stage{used: true}.channel(), stage{used: true}.channel()
			s.A.does(func() { c.Sender(s.ctx) })
			s.B.does(func() { d.Sender(s.ctx) })
			s.waits(s.W, func(ctx context.Context) {
				_, _ = Select(ctx, ReceiveCase(c, nil), RawCase(make(chan int), new(int)), ReceiveCase(d, nil))
			})
		}, want{false, 1, "A:0 B:0"}},

		{"a group of tasks", taskspan.WaitJoin, func(s *holderScene) {
			g := stage{used: true}.group(s.ins)
			for _, name := range []string{"first", "second"} {
				fn, runs := s.task(name)
				g.Go(s.ctx, name, fn)
				within(s.t, runs, name)
			}
			s.waits(s.W, func(ctx context.Context) { _ = g.WaitContext(ctx) })
		}, want{true, 0, "first:0 second:0"}},
		{"a group with a unit of nobody's", taskspan.WaitJoin, func(s *holderScene) {
			var g WaitGroup
			fn, runs := s.task("one")
			g.Go(s.ctx, "one", fn)
			within(s.t, runs, "one")
			g.Add(1)
			s.waits(s.W, func(ctx context.Context) { _ = g.WaitContext(ctx) })
		}, want{false, 0, "one:0"}},
		{"a group from which another has taken a task", taskspan.WaitJoin, func(s *holderScene) {
			g := stage{used: true}.group(s.ins)
			for _, name := range []string{"first", "second", "third"} {
				fn, runs := s.task(name)
				g.Go(s.ctx, name, fn)
				within(s.t, runs, name)
			}
			g.Done()
			g.Add(1) // so that they may end
			s.waits(s.W, func(ctx context.Context) { _ = g.WaitContext(ctx) })
		}, want{false, 0, "first:0 second:0 third:0"}},
		{"a group of units", taskspan.WaitJoin, func(s *holderScene) {
			var g WaitGroup
			g.Add(3)
			s.waits(s.W, func(ctx context.Context) { _ = g.WaitContext(ctx) })
		}, want{false, 0, ""}},
		{"a place in a group with a limit", taskspan.WaitSemaphore, func(s *holderScene) {
			g, _ := NewGroup(s.ctx, unique("workers"))
			g.SetLimit(2)
			for _, name := range []string{"first", "second"} {
				fn, runs := s.task(name)
				g.Go(name, fn)
				within(s.t, runs, name)
			}
			s.waits(s.W, func(context.Context) { g.Go("third", func(context.Context) error { return nil }) })
		}, want{true, 1, "first:0 second:0"}},
		{"a task", taskspan.WaitJoin, func(s *holderScene) {
			fn, runs := s.task("child")
			h := Go(s.ctx, "child", fn)
			within(s.t, runs, "child")
			s.waits(s.W, func(ctx context.Context) { _ = h.Wait(ctx) })
		}, want{true, 0, "child:0"}},

		{"a once", taskspan.WaitOnce, func(s *holderScene) {
			o := NewOnce(unique("once"))
			runs := make(chan struct{})
			s.B.starts(func() { o.Do(func() { close(runs); <-s.ctx.Done() }) })
			within(s.t, runs, "the function")
			s.waits(s.W, func(context.Context) { o.Do(func() {}) })
		}, want{true, 0, "B:0"}},
		{"a flight", taskspan.WaitSingleflight, func(s *holderScene) {
			var f Flight[int]
			runs := make(chan struct{})
			work := func(context.Context) (int, error) { close(runs); <-s.ctx.Done(); return 1, nil }
			s.C.starts(func() { _, _, _ = f.Do(s.ctx, "k", work) })
			within(s.t, runs, "the leader")
			s.waits(s.W, func(ctx context.Context) { _, _, _ = f.Do(ctx, "k", work) })
		}, want{true, 0, "C:0"}},

		{"a lock outside", taskspan.WaitExternal, func(s *holderScene) {
			e := NewExternal(unique("report"), UntilReleased())
			s.A.does(func() { _ = e.Acquire(s.ctx, func(context.Context) error { return nil }) })
			s.waits(s.W, func(ctx context.Context) {
				_ = e.Acquire(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			})
		}, want{true, 1, "A:0"}},

		{"a condition", taskspan.WaitCond, func(s *holderScene) {
			m := stage{used: true}.mutex()
			c := NewCond(unique("condition"), m)
			s.waits(s.W, func(ctx context.Context) {
				m.Lock()
				defer m.Unlock()
				_ = c.WaitContext(ctx)
			})
		}, want{false, 0, ""}},
		{"anything", taskspan.WaitIO, func(s *holderScene) {
			s.waits(s.W, func(ctx context.Context) {
				_ = Wait(ctx, taskspan.WaitIO, "disk", func(ctx context.Context) error { <-ctx.Done(); return nil })
			})
		}, want{false, 0, ""}},
		{"time", taskspan.WaitSleep, func(s *holderScene) {
			s.waits(s.W, func(ctx context.Context) { _ = Sleep(ctx, time.Hour) })
		}, want{false, 0, ""}},
	} {
		t.Run(one.name, func(t *testing.T) {
			watched(t)
			forgetHolds(t)
			ins := quietInspector(t)
			ctx, task := ins.Begin(context.Background(), "scene")
			t.Cleanup(func() { task.End(nil) })
			s := &holderScene{t: t, ins: ins, names: make(map[uint64]string)}
			for _, a := range []struct {
				name string
				of   **actor
			}{{"A", &s.A}, {"B", &s.B}, {"C", &s.C}, {"W", &s.W}} {
				*a.of = newActor(t)
				s.names[(*a.of).id] = a.name
			}
			var cancel context.CancelFunc
			s.ctx, cancel = context.WithCancel(ctx)
			t.Cleanup(cancel)
			one.stage(s)

			w, ok := waitOf(s.W.id)
			if !ok || w.kind != one.kind {
				t.Fatalf("W waits %v for %q, want %q", ok, w.kind, one.kind)
			}
			var set holderSet
			w.holders(&set)
			var who []string
			for _, h := range set.list {
				who = append(who, fmt.Sprintf("%s:%d", s.names[h.running()], h.weight))
				if h.task == nil && h.place == 0 && strings.Contains(one.name, "lock,") {
					t.Errorf("where %s took it is not known", s.names[h.running()])
				}
			}
			slices.Sort(who)
			got := want{set.complete, set.need, strings.Join(who, " ")}
			if one.want.holders == "?" { // some, and which is not known
				got.holders = "?"
			}
			if got != one.want {
				t.Errorf("got %+v, want %+v", got, one.want)
			}
			if set.complete && set.inferred {
				t.Error("it is inferred")
			}
		})
	}
}
