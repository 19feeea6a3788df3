package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// Everybody wants the same two locks, in one order, all the time.
func contention(ctx context.Context) {
	a, b := inspect.NewMutex("a"), inspect.NewMutex("b")
	for range 50 {
		task(ctx, "greedy", func(ctx context.Context) {
			for ctx.Err() == nil {
				a.Lock()
				b.Lock()
				time.Sleep(rand.N(20 * time.Millisecond))
				b.Unlock()
				a.Unlock()
			}
		})
	}
}

// Long chains behind one who takes his time, and then lets go.
func slowHolder(ctx context.Context) {
	locks := make([]*inspect.Mutex, 6)
	for i := range locks {
		locks[i] = inspect.NewMutex(string(rune('a' + i)))
	}
	for i := range 12 {
		task(ctx, "link", func(ctx context.Context) {
			for ctx.Err() == nil {
				first := locks[i%5]
				first.Lock()
				locks[i%5+1].Lock()
				time.Sleep(2*time.Second + rand.N(time.Second))
				locks[i%5+1].Unlock()
				first.Unlock()
			}
		})
	}
}

// Waits in opposite orders, given up in time.
func cancelled(ctx context.Context) {
	a, b := inspect.NewMutex("a"), inspect.NewMutex("b")
	for i := range 4 {
		first, second := a, b
		if i%2 == 1 {
			first, second = b, a
		}
		task(ctx, "careful", func(ctx context.Context) {
			for ctx.Err() == nil {
				first.Lock()
				time.Sleep(50 * time.Millisecond)
				giveUp, cancel := context.WithCancel(ctx)
				time.AfterFunc(100*time.Millisecond+rand.N(400*time.Millisecond), cancel)
				if second.LockContext(giveUp) == nil {
					second.Unlock()
				}
				cancel()
				first.Unlock()
				time.Sleep(rand.N(50 * time.Millisecond))
			}
		})
	}
}

// Two who give way to each other for ever: busy, and stuck in no lock.
func livelock(ctx context.Context) {
	a, b := inspect.NewMutex("a"), inspect.NewMutex("b")
	for i := range 2 {
		first, second := a, b
		if i == 1 {
			first, second = b, a
		}
		task(ctx, "polite", func(ctx context.Context) {
			for ctx.Err() == nil {
				first.Lock()
				time.Sleep(20 * time.Millisecond)
				if second.TryLock() {
					second.Unlock()
				}
				first.Unlock()
			}
		})
	}
}

// Locks that are locked by one goroutine and unlocked by another one, which is seen
// when it is done for the first time.
func handedOver(ctx context.Context) {
	a, b := inspect.NewMutex("a"), inspect.NewMutex("b")
	for _, m := range []*inspect.Mutex{a, b} {
		m.Lock()
		unlocked := make(chan struct{})
		go func() { m.Unlock(); close(unlocked) }()
		<-unlocked
	}
	for i := range 2 {
		first, second := a, b
		if i == 1 {
			first, second = b, a
		}
		task(ctx, "giver", func(ctx context.Context) {
			for ctx.Err() == nil {
				first.Lock()
				time.AfterFunc(2*time.Second+rand.N(time.Second), first.Unlock)
				second.Lock()
				time.AfterFunc(time.Second, second.Unlock)
				time.Sleep(time.Second)
			}
		})
	}
}

// A cycle through a semaphore of which a permit always comes back.
func freePermit(ctx context.Context) {
	s, m := inspect.NewSemaphore("connections", 2), inspect.NewMutex("m")
	task(ctx, "in the cycle", func(ctx context.Context) {
		for ctx.Err() == nil {
			_ = s.Acquire(ctx, 1)
			m.Lock()
			time.Sleep(time.Millisecond)
			m.Unlock()
			s.Release(1)
			time.Sleep(10 * time.Millisecond)
		}
	})
	task(ctx, "also in the cycle", func(ctx context.Context) {
		for ctx.Err() == nil {
			m.Lock()
			_ = s.Acquire(ctx, 1)
			s.Release(1)
			m.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
	})
	task(ctx, "the other permit", func(ctx context.Context) {
		for ctx.Err() == nil {
			_ = s.Acquire(ctx, 1)
			time.Sleep(3 * time.Second)
			s.Release(1)
		}
	})
}

// A select one of whose senders waits for the receiver, and the other one is slow.
func wayOut(ctx context.Context) {
	stuck, slow, m := inspect.NewChan[int]("stuck", 0), inspect.NewChan[int]("slow", 0), inspect.NewMutex("m")
	task(ctx, "waits for the receiver", func(ctx context.Context) {
		sender := stuck.Sender(ctx)
		defer sender.Close()
		for ctx.Err() == nil {
			m.Lock()
			time.Sleep(time.Millisecond)
			m.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
	})
	task(ctx, "slow", func(ctx context.Context) {
		sender := slow.Sender(ctx)
		defer sender.Close()
		for ctx.Err() == nil {
			time.Sleep(3 * time.Second)
			_ = sender.Send(ctx, 1)
		}
	})
	task(ctx, "receiver", func(ctx context.Context) {
		for ctx.Err() == nil {
			m.Lock()
			var v int
			_, _ = inspect.Select(ctx, inspect.ReceiveCase(stuck, &v), inspect.ReceiveCase(slow, &v))
			m.Unlock()
		}
	})
}

// Two locks in both orders, one after the other: nothing hangs, yet.
func lockOrder(ctx context.Context) {
	a, b := inspect.NewMutex("accounts"), inspect.NewMutex("audit")
	both := func(first, second *inspect.Mutex) func(context.Context) error {
		return func(context.Context) error {
			first.Lock()
			defer first.Unlock()
			second.Lock()
			defer second.Unlock()
			return nil
		}
	}
	_ = inspect.Go(ctx, "transfer", both(a, b)).Wait(ctx)
	_ = inspect.Go(ctx, "report", both(b, a)).Wait(ctx)
}
