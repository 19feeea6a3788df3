package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// A holder need not be who releases: these programs are legal, and end what they wait
// for by themselves after longer than a wait must last to be reported. Each waits in a
// circle while it runs well.
const work = 2500 * time.Millisecond

// forever runs requests, one after the other, each as a task.
func forever(ctx context.Context, name string, request func(ctx context.Context, n int)) {
	task(ctx, name, func(ctx context.Context) {
		for n := 0; ctx.Err() == nil; n++ {
			_ = inspect.Go(ctx, "request", func(ctx context.Context) error { request(ctx, n); return nil }).Wait(ctx)
		}
	})
}

// A parent acquires a permit for each worker, and the workers release.
func pool(ctx context.Context) {
	forever(ctx, "pool", func(ctx context.Context, _ int) { fanOut(ctx, inspect.NewSemaphore("fan-out", 2)) })
}

// The first requests fail before they have a worker, so the parent releases.
func poolAfterErrors(ctx context.Context) {
	forever(ctx, "pool", func(ctx context.Context, n int) {
		s := inspect.NewSemaphore("fan-out with errors", 2)
		if n < 3 {
			_ = s.Acquire(ctx, 1)
			s.Release(1)
			return
		}
		fanOut(ctx, s)
	})
}

// A semaphore for each request, with a name of its own.
func poolPerRequest(ctx context.Context) {
	forever(ctx, "pool", func(ctx context.Context, n int) { fanOut(ctx, inspect.NewSemaphore(fmt.Sprint("request ", n), 2)) })
}

func unnamedPool(ctx context.Context) {
	forever(ctx, "pool", func(ctx context.Context, _ int) { fanOut(ctx, inspect.NewSemaphore("", 2)) })
}

func fanOut(ctx context.Context, s *inspect.Semaphore) {
	var workers sync.WaitGroup
	for range 4 {
		if s.Acquire(ctx, 1) != nil {
			break
		}
		workers.Go(func() { defer s.Release(1); time.Sleep(work) })
	}
	workers.Wait()
}

// All permits at the end, to wait for the workers.
func drainedPool(ctx context.Context) {
	forever(ctx, "pool", func(ctx context.Context, _ int) {
		s := inspect.NewSemaphore("drained", 3)
		for range 2 {
			_ = s.Acquire(ctx, 1)
			go func() { defer s.Release(1); time.Sleep(work) }()
		}
		_ = s.Acquire(ctx, 3)
	})
}

// A parent has a permit for its worker and waits for a lock, whose holder waits for a
// permit.
func permitAndLock(ctx context.Context) {
	forever(ctx, "both", func(ctx context.Context, _ int) {
		s, m, met := inspect.NewSemaphore("connection", 1), inspect.NewMutex("registry"), meet(2)
		var all sync.WaitGroup
		all.Go(func() {
			_ = s.Acquire(ctx, 1)
			go func() { time.Sleep(work); s.Release(1) }()
			met()
			m.Lock()
			defer m.Unlock()
		})
		all.Go(func() {
			m.Lock()
			defer m.Unlock()
			met()
			_ = s.Acquire(ctx, 1)
			go s.Release(1)
		})
		all.Wait()
	})
}

// A mutex that is a signal: another goroutine unlocks it when it is done.
func signal(ctx context.Context) {
	forever(ctx, "signal", func(_ context.Context, _ int) { signalWith(inspect.NewMutex("done")) })
}

func signalPerRequest(ctx context.Context) {
	forever(ctx, "signal", func(_ context.Context, n int) { signalWith(inspect.NewMutex(fmt.Sprint("done ", n))) })
}

func unnamedSignal(ctx context.Context) {
	forever(ctx, "signal", func(_ context.Context, _ int) { signalWith(new(inspect.Mutex)) })
}

func signalWith(m *inspect.Mutex) {
	m.Lock()
	time.AfterFunc(work, m.Unlock)
	m.Lock()
}

// Two signals, awaited in opposite orders.
func crossedSignals(ctx context.Context) {
	forever(ctx, "crossed", func(_ context.Context, _ int) {
		a, b, met := inspect.NewMutex("left done"), inspect.NewMutex("right done"), meet(2)
		var both sync.WaitGroup
		both.Go(func() { a.Lock(); met(); b.Lock() })
		both.Go(func() { b.Lock(); met(); a.Lock() })
		time.Sleep(work)
		a.Unlock()
		b.Unlock()
		both.Wait()
	})
}

// A write lock and a read lock that are unlocked elsewhere.
func writeHandOver(ctx context.Context) {
	forever(ctx, "loader", func(_ context.Context, _ int) {
		m := inspect.NewRWMutex("loaded")
		m.Lock()
		time.AfterFunc(work, m.Unlock)
		m.RLock()
		//lint:ignore SA2001 it waits for whoever has the lock
		m.RUnlock()
	})
}

func readHandOver(ctx context.Context) {
	forever(ctx, "reader", func(_ context.Context, _ int) {
		m := inspect.NewRWMutex("snapshot")
		m.RLock()
		time.AfterFunc(work, m.RUnlock)
		m.Lock()
		//lint:ignore SA2001 it waits for whoever has the lock
		m.Unlock()
	})
}
