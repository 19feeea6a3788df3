package inspect

import (
	"context"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A WaitGroup waits for tasks to end, as [sync.WaitGroup] does. Those that are
// started with its Go are known: a wait names those that still run. Units added
// with Add are counted and nobody's, so a wait for them is never proof of a
// deadlock. A wait for tasks is proof once a task of such a group (of the same name or,
// without one, started at the same place) has ended, and none has been taken off by a
// Done of another goroutine. The zero value is ready; a WaitGroup must not be copied.
type WaitGroup struct {
	named
	mu      sync.Mutex // guards all below
	count   int
	running list[Handle]
	handed  bool          // a Done has taken off the unit of a task that runs
	done    chan struct{} // closed when count reaches 0; nil if nobody waits
}

// SetName names the group. It has no effect if it has a name already.
func (g *WaitGroup) SetName(name string) { g.setName(name) }

// Add adds delta, which may be negative, to the units that Wait waits for. It
// panics if there are fewer than none.
func (g *WaitGroup) Add(delta int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(delta)
	if compiledIn && delta < 0 && g.count < g.running.len {
		g.handOver()
	}
}

// handOver learns that a unit of a task that runs has been taken off. It may be that of
// any of them.
func (g *WaitGroup) handOver() {
	g.handed = true
	for h := g.running.front; h != nil; h = h.next {
		g.kindHandedOver(taskUnit, h.place())
	}
}

func (g *WaitGroup) add(delta int) {
	g.count += delta
	if g.count < 0 {
		panic("inspect: negative WaitGroup counter")
	}
	if g.count == 0 && g.done != nil {
		close(g.done)
		g.done = nil
	}
}

// units returns how many units Wait would wait for.
func (g *WaitGroup) units() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// Done takes one unit off.
func (g *WaitGroup) Done() { g.Add(-1) }

// Go runs fn on a new goroutine as a task and waits for it in Wait.
//
//go:noinline
func (g *WaitGroup) Go(ctx context.Context, name string, fn func(context.Context) error) *Handle {
	_, place := goid.GetWithPC()
	outer := TaskFromContext(ctx)
	return outer.inspector().spawn(ctx, outer, name, place, fn, &Handle{of: g, done: make(chan struct{})}, nil)
}

// joins adds a unit that is this task.
func (g *WaitGroup) joins(h *Handle) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if compiledIn {
		pushBack(&g.running, h)
	}
	g.add(1)
}

// ended is called on the goroutine of the task.
func (g *WaitGroup) ended(h *Handle) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if compiledIn {
		remove(&g.running, h)
		if place := h.place(); !g.handed && h.group == nil && !g.isOwn(taskUnit, place) {
			g.ownRelease(taskUnit, place, 1)
		}
	}
	g.add(-1)
}

// Wait waits until all units are done.
func (g *WaitGroup) Wait() { _ = g.wait(context.Background()) }

// WaitContext is Wait until ctx is done; it then returns the context's error.
func (g *WaitGroup) WaitContext(ctx context.Context) error { return g.wait(ctx) }

func (g *WaitGroup) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.count == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.done == nil {
		g.done = make(chan struct{})
	}
	done := g.done
	g.mu.Unlock()

	w := beginWait(ctx, taskspan.WaitJoin, g)
	defer endWait(w)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// holders are all tasks that still run, if there is nothing else to wait for.
func (g *WaitGroup) holders(_ *waitView, s *holderSet) {
	g.mu.Lock()
	defer g.mu.Unlock()
	tasks := 0
	for h := g.running.front; h != nil; h = h.next {
		if h.task != nil {
			s.add(holder{task: h.task, opened: h.place()})
			tasks++
		}
	}
	s.complete = tasks > 0 && tasks == g.count && !g.handed
	if s.complete && g.running.front.group == nil { // nobody can call Done of a Group's
		g.judge(s, taskUnit, nil)
	}
}
