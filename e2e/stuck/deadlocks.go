package main

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// meet makes n tasks go on together.
func meet(n int) func() {
	var all sync.WaitGroup
	all.Add(n)
	return func() { all.Done(); all.Wait() }
}

// used takes and releases each lock once, as a program has done long before it
// deadlocks: who holds one is then known to be who releases it.
func used(locks ...sync.Locker) {
	for _, l := range locks {
		l.Lock()
		//lint:ignore SA2001 the lock is taken and released once, so that its kind is known
		l.Unlock() //nolint:staticcheck // it is the pair that is learned from
	}
}

// usedEnds is the same for the ends of channels with these names.
func usedEnds(ctx context.Context, names ...string) {
	for _, name := range names {
		c := inspect.NewChan[int](name, 1)
		out, in := c.Sender(ctx), c.Receiver(ctx)
		_ = out.Send(ctx, 1)
		_, _ = in.Receive(ctx)
		out.Close()
		in.Close()
	}
}

func twoMutexes(ctx context.Context) {
	a, b := inspect.NewMutex("a"), inspect.NewMutex("b")
	used(a, b)
	cross(ctx, a, b)
}

// firstUse is two locks in opposite orders that nobody has ever released: they might be
// signals, which somebody else releases.
func firstUse(ctx context.Context) { cross(ctx, inspect.NewMutex("a"), inspect.NewMutex("b")) }

func cross(ctx context.Context, a, b *inspect.Mutex) {
	met := meet(2)
	lockBoth := func(first, second *inspect.Mutex) func(context.Context) {
		return func(context.Context) { first.Lock(); met(); second.Lock() }
	}
	task(ctx, "forward", lockBoth(a, b))
	task(ctx, "backward", lockBoth(b, a))
}

// caller: two locks in opposite orders, and whoever wanted that gives up at some time.
func caller(ctx context.Context) {
	a, b, met := inspect.NewMutex("a"), inspect.NewMutex("b"), meet(2)
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(15*time.Second, cancel)
	lockBoth := func(first, second *inspect.Mutex) func(context.Context) {
		return func(ctx context.Context) {
			first.Lock() // which shows that its taker releases it
			//lint:ignore SA2001 the lock is taken and released once, so that its kind is known
			first.Unlock()
			first.Lock()
			defer first.Unlock()
			met()
			if second.LockContext(ctx) == nil {
				second.Unlock()
			}
		}
	}
	task(ctx, "forward", lockBoth(a, b))
	task(ctx, "backward", lockBoth(b, a))
}

func ring(ctx context.Context) {
	locks, met := []*inspect.Mutex{inspect.NewMutex("a"), inspect.NewMutex("b"), inspect.NewMutex("c")}, meet(3)
	used(locks[0], locks[1], locks[2])
	for i := range locks {
		task(ctx, "philosopher", func(context.Context) {
			locks[i].Lock()
			met()
			locks[(i+1)%3].Lock()
		})
	}
}

func self(ctx context.Context) {
	m := inspect.NewMutex("a")
	used(m)
	task(ctx, "forgetful", func(context.Context) { m.Lock(); m.Lock() })
}

// A writer waits for two readers; one of them needs a lock that the writer has, and
// the other one just sleeps.
func rwmutexReaders(ctx context.Context) {
	rw, m, met := inspect.NewRWMutex("table"), inspect.NewMutex("index"), meet(3)
	used(rw, rw.RLocker(), m)
	task(ctx, "writer", func(context.Context) { m.Lock(); met(); rw.Lock() })
	task(ctx, "reader", func(context.Context) { rw.RLock(); met(); m.Lock() })
	task(ctx, "sleeping reader", func(ctx context.Context) { rw.RLock(); met(); <-ctx.Done() })
}

func recursiveRLock(ctx context.Context) {
	rw := inspect.NewRWMutex("config")
	used(rw, rw.RLocker())
	held := make(chan struct{})
	task(ctx, "reader", func(context.Context) {
		rw.RLock()
		close(held)
		for { // until a writer waits
			rw.RLock()
			runtime.Gosched()
			rw.RUnlock()
		}
	})
	task(ctx, "writer", func(context.Context) { <-held; rw.Lock() })
}

func semaphore(ctx context.Context) {
	s, met := inspect.NewSemaphore("connections", 2), meet(2)
	// One copy alone goes well.
	_ = s.Acquire(ctx, 1)
	_ = s.Acquire(ctx, 1)
	s.Release(1)
	s.Release(1)
	for range 2 {
		task(ctx, "copy", func(ctx context.Context) {
			_ = s.Acquire(ctx, 1)
			met()
			_ = s.Acquire(ctx, 1)
		})
	}
}

func join(ctx context.Context) {
	m := inspect.NewMutex("results")
	used(m)
	task(ctx, "parent", func(ctx context.Context) {
		m.Lock()
		child := inspect.Go(ctx, "child", func(context.Context) error { m.Lock(); return nil })
		_ = child.Wait(ctx)
	})
}

// Two stages wait for each other's first message.
func channels(ctx context.Context) {
	there, back := inspect.NewChan[int]("there", 0), inspect.NewChan[int]("back", 0)
	usedEnds(ctx, "there", "back")
	met := meet(2)
	stage := func(in, out *inspect.Chan[int]) func(context.Context) {
		return func(ctx context.Context) {
			sender := out.Sender(ctx)
			defer sender.Close()
			met()
			v, _ := in.Receive(ctx)
			_ = sender.Send(ctx, v)
		}
	}
	task(ctx, "ping", stage(back, there))
	task(ctx, "pong", stage(there, back))
}

// A task waits for either of two, and both wait for it.
func selects(ctx context.Context) {
	a, b, m, met := inspect.NewChan[int]("a", 0), inspect.NewChan[int]("b", 0), inspect.NewMutex("m"), meet(3)
	used(m)
	usedEnds(ctx, "a", "b")
	for _, c := range []*inspect.Chan[int]{a, b} {
		task(ctx, "producer", func(ctx context.Context) {
			sender := c.Sender(ctx)
			defer sender.Close()
			met()
			m.Lock()
			_ = sender.Send(ctx, 1)
		})
	}
	task(ctx, "consumer", func(ctx context.Context) {
		m.Lock()
		met()
		var v int
		_, _ = inspect.Select(ctx, inspect.ReceiveCase(a, &v), inspect.ReceiveCase(b, &v))
	})
}

// abandoned: a task takes a lock and ends.
func abandoned(ctx context.Context) {
	m := inspect.NewMutex("forgotten")
	forgetful := inspect.Go(ctx, "forgetful", func(context.Context) error {
		m.Lock()
		return nil
	})
	_ = forgetful.Wait(ctx)
	task(ctx, "waiter", func(context.Context) { m.Lock() })
}
