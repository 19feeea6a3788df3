package inspect

import (
	"context"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Cond is a place where goroutines wait for something to become true, as a
// [sync.Cond] is. Anybody may signal it, so a wait on it says where a goroutine is
// stuck and is never proof of a deadlock. Waiters are woken in the order in which
// they came.
type Cond struct {
	named
	// L is held while the condition is observed or changed.
	L sync.Locker

	mu      sync.Mutex
	waiters []chan struct{} // each closed to wake one; oldest first
}

// NewCond returns a Cond with Locker l. The name may be empty.
func NewCond(name string, l sync.Locker) *Cond {
	c := &Cond{L: l}
	if name != "" {
		c.setName(name)
	}
	return c
}

// Wait unlocks c.L, waits until it is woken by Signal or Broadcast, and locks c.L
// again. The condition need not hold then, so Wait is called in a loop.
func (c *Cond) Wait() { _ = c.wait(context.Background()) }

// WaitContext is Wait until ctx is done; it then returns the context's error, with
// c.L locked.
func (c *Cond) WaitContext(ctx context.Context) error { return c.wait(ctx) }

func (c *Cond) wait(ctx context.Context) error {
	woken := make(chan struct{})
	c.mu.Lock()
	c.waiters = append(c.waiters, woken)
	c.mu.Unlock()
	c.L.Unlock()
	defer c.L.Lock()

	w := beginWait(ctx, taskspan.WaitCond, c)
	defer endWait(w)
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, waiter := range c.waiters {
		if waiter == woken {
			c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
			return ctx.Err()
		}
	}
	// A Signal chose this waiter while it gave up. The wake-up must not be lost.
	c.wakeFirst()
	return ctx.Err()
}

// Signal wakes the goroutine that has waited longest, if there is one.
func (c *Cond) Signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeFirst()
}

func (c *Cond) wakeFirst() {
	if len(c.waiters) > 0 {
		close(c.waiters[0])
		c.waiters[0] = nil
		c.waiters = c.waiters[1:]
	}
}

// Broadcast wakes all that wait.
func (c *Cond) Broadcast() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, woken := range c.waiters {
		close(woken)
	}
	c.waiters = nil
}

// holders: nobody holds a condition.
func (c *Cond) holders(*waitView, *holderSet) {}
