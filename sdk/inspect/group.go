package inspect

import (
	"context"
	"fmt"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Group runs tasks that belong together, as errgroup does: the first error
// cancels the context of the others, and Wait returns it. The number that run at a
// time can be limited; a Go that waits for a place is held by those that run.
//
// The zero value is ready, too: its tasks get a background context, which nothing
// cancels.
type Group struct {
	ctx    context.Context         // nil in the zero value
	cancel context.CancelCauseFunc // nil in the zero value
	tasks  WaitGroup
	places *slots // nil: no limit
	once   sync.Once
	err    error
}

// NewGroup returns a group and the context of its tasks, which is cancelled when
// one of them fails or Wait returns. The name may be empty.
func NewGroup(ctx context.Context, name string) (*Group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &Group{ctx: ctx, cancel: cancel}
	if name != "" {
		g.tasks.setName(name)
	}
	return g, ctx
}

// SetLimit limits the tasks that run at a time to n; a negative n means no limit. It
// panics while tasks of the group run.
func (g *Group) SetLimit(n int) {
	if running := g.tasks.units(); running > 0 {
		panic(fmt.Sprintf("inspect: SetLimit while %d tasks of the group run", running))
	}
	if n < 0 {
		g.places = nil
		return
	}
	g.places = &slots{free: make(chan struct{}, n), taken: make(map[*Handle]struct{})}
	if r := g.tasks.res.Load(); r != nil {
		g.places.setName(r.name + " limit")
	}
}

// Go runs fn as a task of the group. It waits for a place if the group is full,
// also when the group's context is done: fn always runs, and sees that.
//
//go:noinline
func (g *Group) Go(name string, fn func(context.Context) error) {
	_, place := goid.GetWithPC()
	g.places.take(g.context())
	g.start(name, place, fn)
}

// TryGo runs fn if there is a place for it now, and reports whether there was.
//
//go:noinline
func (g *Group) TryGo(name string, fn func(context.Context) error) bool {
	_, place := goid.GetWithPC()
	if !g.places.tryTake() {
		return false
	}
	g.start(name, place, fn)
	return true
}

func (g *Group) start(name string, place uintptr, fn func(context.Context) error) {
	ctx := g.context()
	outer := TaskFromContext(ctx)
	outer.inspector().spawn(ctx, outer, name, place, fn, &Handle{of: &g.tasks, group: g}, nil)
}

func (g *Group) failed(err error) {
	g.once.Do(func() {
		g.err = err
		g.cancelWith(err)
	})
}

func (g *Group) context() context.Context {
	if g.ctx == nil {
		return context.Background()
	}
	return g.ctx
}

func (g *Group) cancelWith(err error) {
	if g.cancel != nil {
		g.cancel(err)
	}
}

// Wait waits for all tasks of the group and returns the first error.
func (g *Group) Wait() error {
	g.tasks.Wait()
	g.cancelWith(g.err)
	return g.err
}

// WaitContext is Wait until ctx is done; the tasks then go on.
func (g *Group) WaitContext(ctx context.Context) error {
	if err := g.tasks.WaitContext(ctx); err != nil {
		return err
	}
	g.cancelWith(g.err)
	return g.err
}

// slots are the places of a group with a limit; nil has room for all.
type slots struct {
	named
	free  chan struct{} // full when all are taken
	mu    sync.Mutex
	taken map[*Handle]struct{}
}

func (p *slots) tryTake() bool {
	if p == nil {
		return true
	}
	select {
	case p.free <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p *slots) take(ctx context.Context) {
	if p.tryTake() {
		return
	}
	w := beginWait(context.WithoutCancel(ctx), taskspan.WaitSemaphore, p)
	defer endWait(w)
	p.free <- struct{}{}
}

func (p *slots) givenTo(h *Handle) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[h] = struct{}{}
}

func (p *slots) give(h *Handle) {
	if p == nil {
		return
	}
	p.mu.Lock()
	delete(p.taken, h)
	p.mu.Unlock()
	<-p.free
}

// holders are the tasks that have a place; one of them must end.
func (p *slots) holders(_ *waitView, s *holderSet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for h := range p.taken {
		if h.task != nil {
			s.add(holder{task: h.task})
		}
	}
	s.need = 1
	s.complete = len(s.list) == cap(p.free) && cap(p.free) > 0
}
