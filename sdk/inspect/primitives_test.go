//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

func quietInspector(t testing.TB) *Inspector {
	t.Helper()
	ins, err := New(context.Background(), WithReports(false), WithoutExport(), WithSamplingRate(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
	return ins
}

func TestSemaphoreIsNeverOverdrawn(t *testing.T) {
	const size = 5
	s := NewSemaphore("slots", size)
	var used atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 1500 {
				n := 1 + r.Int64N(size)
				ctx, cancel := context.WithCancel(context.Background())
				switch r.IntN(4) {
				case 0:
					if !s.TryAcquire(n) {
						cancel()
						continue
					}
				case 1:
					go cancel()
					if s.Acquire(ctx, n) != nil {
						continue
					}
				default:
					if err := s.Acquire(ctx, n); err != nil {
						t.Error(err)
					}
				}
				if u := used.Add(n); u > size {
					t.Errorf("%d of %d are used", u, size)
				}
				used.Add(-n)
				s.Release(n)
				cancel()
			}
		})
	}
	all.Wait()
	if !s.TryAcquire(size) {
		t.Error("something was not given back")
	}
	if s.front != nil || len(s.holds) != 1 {
		t.Errorf("left behind are waiters %v and holds %v", s.front, s.holds)
	}
}

func TestSemaphoreServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSemaphore("slots", 4)
		_ = s.Acquire(context.Background(), 4)
		var order []int64
		var mu sync.Mutex
		for _, n := range []int64{3, 4, 1} {
			go func() {
				_ = s.Acquire(context.Background(), n)
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				s.Release(n)
			}()
			synctest.Wait()
		}
		if s.TryAcquire(1) {
			t.Error("overtook those who wait")
		}
		s.Release(4)
		synctest.Wait()
		if !slices.Equal(order, []int64{3, 4, 1}) {
			t.Errorf("served in the order %v", order)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := s.Acquire(ctx, 5); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("more than the size gives %v", err)
		}
		defer func() {
			if recover() == nil {
				t.Error("releasing more than was taken did not panic")
			}
		}()
		s.Release(1)
	})
}

func TestSemaphoreHolders(t *testing.T) {
	watched(t)
	s := NewSemaphore(unique("slots"), 3)
	ctx := context.Background()
	_ = s.Acquire(ctx, 2)
	other, release := make(chan uint64), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = s.Acquire(ctx, 1)
		other <- goidOfTest()
		<-release
		s.Release(1)
	})
	holder := <-other
	waiting := func(n int64) uint64 {
		id := make(chan uint64)
		all.Go(func() {
			id <- goidOfTest()
			_ = s.Acquire(ctx, n)
			s.Release(n)
		})
		g := <-id
		lockHolders(t, g)
		return g
	}
	first := waiting(2)
	second := waiting(1)
	set := lockHolders(t, first)
	if !set.complete || set.need != 2 || !sameGoroutines(set, []uint64{goidOfTest(), holder}) {
		t.Errorf("the first waits for %+v, want 2 of both holders", set)
	}
	if set := lockHolders(t, second); !set.complete || !sameGoroutines(set, []uint64{first}) {
		t.Errorf("the second waits for %+v, want the first", set)
	}
	go s.Release(2) // by somebody who holds nothing
	close(release)
	all.Wait()
	if !s.res.Load().handedOver() {
		t.Error("the hand-over went unnoticed")
	}
}

func TestHandleAndGroup(t *testing.T) {
	boom := errors.New("boom")
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint("SDK on: ", on), func(t *testing.T) {
			ctx := context.Background()
			if on {
				var task *Task
				ctx, task = quietInspector(t).Begin(ctx, "parent")
				defer task.End(nil)
			}
			h := Go(ctx, "child", func(context.Context) error { return boom })
			if err := h.Wait(ctx); err != boom {
				t.Errorf("Wait returned %v", err)
			}
			if (h.Task() != nil) != on {
				t.Errorf("the task is %v", h.Task())
			}
			forever := Go(ctx, "child", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			short, cancel := context.WithCancel(ctx)
			cancel()
			if err := forever.Wait(short); !errors.Is(err, context.Canceled) {
				t.Errorf("Wait returned %v", err)
			}

			g, groupCtx := NewGroup(ctx, "group")
			g.SetLimit(2)
			var now, most atomic.Int32
			for i := range 10 {
				g.Go("worker", func(ctx context.Context) error {
					n := now.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					now.Add(-1)
					if i == 4 {
						return boom
					}
					return nil
				})
			}
			if err := g.Wait(); err != boom {
				t.Errorf("Wait returned %v", err)
			}
			if most.Load() > 2 {
				t.Errorf("%d ran at a time, the limit is 2", most.Load())
			}
			if context.Cause(groupCtx) != boom {
				t.Errorf("the context's cause is %v", context.Cause(groupCtx))
			}
		})
	}
}

func TestGroupLimitNamesThoseWhoRun(t *testing.T) {
	watched(t)
	ctx, task := quietInspector(t).Begin(context.Background(), "parent")
	defer task.End(nil)
	g, _ := NewGroup(ctx, "group")
	g.SetLimit(1)
	release := make(chan struct{})
	g.Go("holder", func(context.Context) error { <-release; return nil })
	if g.TryGo("too many", func(context.Context) error { return nil }) {
		t.Error("TryGo went past the limit")
	}
	id := make(chan uint64)
	var all sync.WaitGroup
	all.Go(func() {
		id <- goidOfTest()
		g.Go("next", func(context.Context) error { return nil })
	})
	set := lockHolders(t, <-id)
	if !set.complete || set.need != 1 || len(set.list) != 1 || set.list[0].task.Name() != "holder" {
		t.Errorf("it waits for %+v, want the task that runs", set)
	}
	close(release)
	all.Wait()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestWaitGroup(t *testing.T) {
	watched(t)
	ctx, task := quietInspector(t).Begin(context.Background(), "parent")
	defer task.End(nil)
	var g WaitGroup
	for range 2 { // it can be used again
		release := make(chan struct{})
		g.Go(ctx, "child", func(context.Context) error { <-release; return nil })
		id := make(chan uint64)
		var all sync.WaitGroup
		all.Go(func() {
			id <- goidOfTest()
			g.Wait()
		})
		waiter := <-id
		if set := lockHolders(t, waiter); !set.complete || len(set.list) != 1 || set.list[0].task.Name() != "child" {
			t.Errorf("it waits for %+v, want the child", set)
		}
		g.Add(1)
		if set := lockHolders(t, waiter); set.complete {
			t.Error("a unit that is nobody's leaves the holders complete")
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		if err := g.WaitContext(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitContext returned %v", err)
		}
		cancel()
		g.Done()
		close(release)
		all.Wait()
	}
}

func TestChan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		c := NewChan[int]("numbers", 1)
		go func() {
			for i := range 5 {
				_ = c.Send(ctx, i)
			}
			c.Close()
		}()
		if got := slices.Collect(c.All(ctx)); !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("received %v", got)
		}
		if _, err := c.Receive(ctx); err != ErrClosed {
			t.Errorf("a closed channel gives %v", err)
		}
		d := NewChan[int]("", 1)
		if !d.TrySend(1) || d.TrySend(2) || d.Len() != 1 || d.Cap() != 1 {
			t.Error("there is room for one")
		}
		if v, ok := d.TryReceive(); v != 1 || !ok {
			t.Error("it was not there")
		}
		if _, ok := d.TryReceive(); ok {
			t.Error("nothing is there")
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := d.Receive(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Receive returned %v", err)
		}
	})
}

func TestDeclaredEndsOfAChan(t *testing.T) {
	watched(t)
	ctx := context.Background()
	c := NewChan[int]("numbers", 0)
	receive := func() (set holderSet) {
		id := make(chan uint64)
		done := make(chan struct{})
		go func() {
			defer close(done)
			id <- goidOfTest()
			_, _ = c.Receive(ctx)
		}()
		g := <-id
		var w waitView
		for ok := false; !ok; w, ok = waitOf(g) {
		}
		w.holders(&set)
		c.c <- 1 // past everything, to set it free
		c.traffic.sent.Add(1)
		<-done
		return set
	}
	if set := receive(); set.complete {
		t.Error("holders are complete, and nobody has declared an end")
	}
	s := c.Sender(ctx)
	if set := receive(); !set.complete || set.need != 1 || !sameGoroutines(set, []uint64{goidOfTest()}) {
		t.Errorf("holders are %+v, want this goroutine", set)
	}
	s.Close()
	if set := receive(); set.complete {
		t.Error("holders are complete, and no end is open")
	}
	s = c.Sender(ctx)
	defer s.Close()
	elsewhere(func() { c.TrySend(1) })
	if set := receive(); set.complete {
		t.Error("holders are complete, and somebody else has sent")
	}
}

func TestSelect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		a, b := NewChan[int]("a", 0), NewChan[string]("b", 1)
		if i, err := Select(ctx, ReceiveCase(a, nil), DefaultCase()); i != 1 || err != nil {
			t.Errorf("chose %d, %v, want the default", i, err)
		}
		if i, err := Select(ctx, ReceiveCase(a, nil), SendCase(b, "x")); i != 1 || err != nil {
			t.Errorf("chose %d, %v, want to send", i, err)
		}
		go func() { _ = a.Send(ctx, 7) }()
		var v int
		if i, err := Select(ctx, SendCase(b, "y"), ReceiveCase(a, &v)); i != 1 || v != 7 || err != nil {
			t.Errorf("chose %d, %v and got %d, want to receive 7", i, err, v)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if i, err := Select(short, SendCase(b, "y"), ReceiveCase(a, &v)); i != -1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("chose %d, %v", i, err)
		}
		go func() { time.Sleep(time.Second); a.Close() }()
		if i, err := Select(ctx, ReceiveCase(a, &v)); i != 0 || err != ErrClosed {
			t.Errorf("chose %d, %v, want a closed channel", i, err)
		}
	})
}

func TestCond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		c := NewCond("ready", &mu)
		woken := 0
		for range 3 {
			go func() {
				mu.Lock()
				c.Wait()
				woken++
				mu.Unlock()
			}()
		}
		ctx, cancel := context.WithCancel(context.Background())
		gaveUp := make(chan error)
		go func() {
			mu.Lock()
			err := c.WaitContext(ctx)
			mu.Unlock()
			gaveUp <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("WaitContext returned %v", err)
		}
		c.Signal()
		synctest.Wait()
		if woken != 1 {
			t.Errorf("Signal woke %d", woken)
		}
		c.Broadcast()
		synctest.Wait()
		if woken != 3 {
			t.Errorf("Broadcast left %d of 3 asleep", 3-woken)
		}
	})
}

func TestFlight(t *testing.T) {
	watched(t)
	var f Flight[int]
	release, id := make(chan struct{}), make(chan uint64)
	var all sync.WaitGroup
	var calls atomic.Int32
	started := make(chan struct{})
	all.Go(func() {
		id <- goidOfTest()
		v, err, shared := f.Do(context.Background(), "k", func(context.Context) (int, error) {
			calls.Add(1)
			close(started)
			<-release
			return 42, nil
		})
		if v != 42 || err != nil || shared {
			t.Errorf("the leader got %d, %v, %v", v, err, shared)
		}
	})
	leader := <-id
	<-started
	all.Go(func() {
		id <- goidOfTest()
		v, err, shared := f.Do(context.Background(), "k", nil)
		if v != 42 || err != nil || !shared {
			t.Errorf("the follower got %d, %v, %v", v, err, shared)
		}
	})
	if set := lockHolders(t, <-id); !set.complete || !sameGoroutines(set, []uint64{leader}) {
		t.Errorf("the follower waits for %+v, want the leader", set)
	}
	close(release)
	all.Wait()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _, _ = f.Do(context.Background(), "k", func(context.Context) (int, error) { panic("boom") })
	}()
	if len(f.calls) != 0 || calls.Load() != 1 {
		t.Errorf("left behind %v after %d calls", f.calls, calls.Load())
	}
}

func TestExternal(t *testing.T) {
	fewExternals(t)
	ctx := context.Background()
	name := fmt.Sprint("report ", runs.Add(1)) // its name is handed over in the end
	lock := NewExternal(name)
	no := errors.New("taken")
	if err := lock.Acquire(ctx, func(context.Context) error { return no }); err != no {
		t.Errorf("Acquire returned %v", err)
	}
	if h := holdsOf(goidOfTest()); len(h) != 0 {
		t.Errorf("it holds %v after a failure", h)
	}
	well := func(context.Context) error { return nil }
	_ = lock.Acquire(ctx, well)
	if h := holdsOf(goidOfTest()); !slices.Equal(h, []wire.Hold{{Resource: "ext:" + name}}) {
		t.Errorf("it holds %v", h)
	}
	done := make(chan struct{})
	go func() { _ = NewExternal(name).Release(ctx, well); close(done) }() // somebody else lets it go
	<-done
	if h := holdsOf(goidOfTest()); len(h) != 0 || externals.total != 0 {
		t.Errorf("it still holds %v", h)
	}
}

func TestSleepAndWaitShow(t *testing.T) {
	watched(t)
	ctx, cancel := context.WithCancel(context.Background())
	id, done := make(chan uint64), make(chan error)
	go func() {
		id <- goidOfTest()
		done <- Sleep(ctx, time.Hour)
	}()
	g := <-id
	var w waitView
	for ok := false; !ok || w.deadline() == 0; w, ok = waitOf(g) {
	}
	if left := w.deadline().sub(now()); left < 59*time.Minute {
		t.Errorf("it ends in %v, want an hour", left)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Sleep returned %v", err)
	}
	err := Wait(context.Background(), "io", "disk", func(context.Context) error {
		w, ok := waitOf(goidOfTest())
		if _, name := w.on.name().identity(); !ok || name != "disk" || w.kind != "io" {
			t.Errorf("it shows as %+v", w)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
