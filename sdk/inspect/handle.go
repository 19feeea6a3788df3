package inspect

import (
	"context"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Handle is a task that runs on a goroutine of its own and can be joined.
type Handle struct {
	links[Handle] // in of, which guards them

	task  *Task
	of    *WaitGroup    // that waits for it, or nil
	group *Group        // that it is a task of, or nil
	done  chan struct{} // nil for a task of a Group: nobody has its handle
	err   error         // written before done is closed
}

func (h *Handle) at() *links[Handle] { return &h.links }

// Go runs fn on a new goroutine as a task, a child of the span in ctx. The task ends
// with the error of fn. A panic in fn is recorded on the task and then continues, so it
// ends the program as it would without the SDK. Before that, the SDK sends the failed
// span and the counts, for at most half a second.
//
// While the SDK is off, Go runs fn without a task.
//
//go:noinline
func Go(ctx context.Context, name string, fn func(context.Context) error, opts ...TaskOption) *Handle {
	_, place := goid.GetWithPC()
	outer := TaskFromContext(ctx)
	return outer.inspector().spawn(ctx, outer, name, place, fn, &Handle{done: make(chan struct{})}, opts)
}

// Go is the function Go with this Inspector.
//
//go:noinline
func (ins *Inspector) Go(ctx context.Context, name string, fn func(context.Context) error, opts ...TaskOption) *Handle {
	_, place := goid.GetWithPC()
	return ins.spawn(ctx, TaskFromContext(ctx), name, place, fn, &Handle{done: make(chan struct{})}, opts)
}

// spawn starts the goroutine of h. The task of ctx is outer.
func (ins *Inspector) spawn(ctx context.Context, outer *Task, name string, place uintptr,
	fn func(context.Context) error, h *Handle, opts []TaskOption,
) *Handle {
	ctx, h.task = ins.prepare(ctx, outer, name, place, opts)
	if h.of != nil {
		h.of.joins(h)
	}
	if h.group != nil {
		h.group.places.givenTo(h)
	}
	go h.run(ctx, fn)
	return h
}

func (h *Handle) run(ctx context.Context, fn func(context.Context) error) {
	defer h.end()
	if compiledIn && h.task != nil {
		h.task.bind(goid.Get(), ctx)
	}
	h.err = fn(ctx)
	if h.err != nil && h.group != nil {
		h.group.failed(h.err)
	}
}

// end is deferred by run: it ends the task with the error or the panic of its function.
func (h *Handle) end() {
	if r := recover(); r != nil {
		if compiledIn && h.task != nil {
			h.task.panicked(r, true) // nothing above it recovers
		}
		// Nobody who waits for the task is woken, as with sync.WaitGroup.Go: main could
		// return or exit, with a status of its choice, before the panic ends the process.
		panic(r)
	}
	if compiledIn && h.task != nil {
		h.task.end(h.err)
	}
	h.ended()
}

// ended wakes all who wait for the task.
func (h *Handle) ended() {
	if h.group != nil {
		h.group.places.give(h)
	}
	if h.of != nil {
		h.of.ended(h)
	}
	if h.done != nil {
		close(h.done)
	}
}

// Wait waits until the task has ended and returns its error, or that of ctx if
// ctx is done first; the task then goes on. The wait shows as a join on the task.
func (h *Handle) Wait(ctx context.Context) error {
	select {
	case <-h.done:
		return h.err
	default:
	}
	w := beginWait(ctx, taskspan.WaitJoin, h)
	defer endWait(w)
	select {
	case <-h.done:
		return h.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the task has ended.
func (h *Handle) Done() <-chan struct{} { return h.done }

// place is where the task was started, 0 while the SDK is off.
func (h *Handle) place() uintptr {
	if h.task == nil {
		return 0
	}
	return h.task.begun
}

// Task returns the task, or nil while the SDK is off.
func (h *Handle) Task() *Task { return h.task }

func (h *Handle) identify(taskspan.Kind, uintptr) {}

// name of a joined task is the task.
func (h *Handle) name() resourceName { return (*joinedTask)(h.task) }

type joinedTask Task

func (t *joinedTask) identity() (id, name string) {
	return "task:" + (*Task)(t).SpanContext().SpanID().String(), (*Task)(t).Name()
}

// holders is the task, as long as it runs.
func (h *Handle) holders(_ *waitView, s *holderSet) {
	if h.task == nil || h.task.ended() {
		return
	}
	s.add(holder{task: h.task})
	s.complete = true
}
