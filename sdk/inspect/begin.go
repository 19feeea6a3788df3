package inspect

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime/pprof"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// TaskOption changes how a task begins.
type TaskOption interface{ applyTask(*taskConfig) }

type taskConfig struct {
	attributes []attribute.KeyValue
	newRoot    bool
	kind       trace.SpanKind
	remote     trace.SpanContext
}

type taskOptionFunc func(*taskConfig)

func (f taskOptionFunc) applyTask(c *taskConfig) { f(c) }

// WithAttributes puts attributes on the task's span. Nothing of the task's
// arguments is recorded unless it is passed here.
func WithAttributes(attrs ...attribute.KeyValue) TaskOption {
	return taskOptionFunc(func(c *taskConfig) { c.attributes = append(c.attributes, attrs...) })
}

// WithNewRoot begins the task in a trace of its own, with a link to the span
// that it would have been a child of: for work that outlives its caller.
func WithNewRoot() TaskOption {
	return taskOptionFunc(func(c *taskConfig) { c.newRoot = true })
}

// WithSpanKind sets the kind of the task's span; the default is internal. It is for
// instrumentation.
func WithSpanKind(kind trace.SpanKind) TaskOption {
	return taskOptionFunc(func(c *taskConfig) { c.kind = kind })
}

// WithRemoteParent says which client span of another process the task answers,
// where the parent in the context is a span of this process. It is for
// instrumentation.
func WithRemoteParent(sc trace.SpanContext) TaskOption {
	return taskOptionFunc(func(c *taskConfig) { c.remote = sc })
}

// Begin begins a task on the running goroutine, as a child of the span in ctx.
// The returned context carries the task; pass it on. End the task when the work
// is done:
//
//	ctx, task := inspect.Begin(ctx, "checkout")
//	defer task.EndWith(&err)
//
// Names are few: they say what kind of work this is, not which. The task comes
// from the Inspector of the task in ctx, or else from the default one; without
// either Begin returns ctx and nil.
//
//go:noinline
func Begin(ctx context.Context, name string, opts ...TaskOption) (context.Context, *Task) {
	ins := inspectorOf(ctx)
	if !ins.running() {
		return ctx, nil
	}
	goroutine, place := goid.GetWithPC()
	t := ins.newTask(ctx, name, goroutine, place, opts)
	t.bind(goroutine)
	return &t.ctx, t
}

// Begin is the function Begin with this Inspector.
//
//go:noinline
func (ins *Inspector) Begin(ctx context.Context, name string, opts ...TaskOption) (context.Context, *Task) {
	if !ins.running() {
		return ctx, nil
	}
	goroutine, place := goid.GetWithPC()
	t := ins.newTask(ctx, name, goroutine, place, opts)
	t.bind(goroutine)
	return &t.ctx, t
}

// inspectorOf returns who inspects what ctx belongs to.
func inspectorOf(ctx context.Context) *Inspector {
	if t := TaskFromContext(ctx); t != nil {
		return t.ins
	}
	return Default()
}

// newTask makes a task that is counted as started and runs on no goroutine yet.
// The goroutine and the place are those of the caller.
func (ins *Inspector) newTask(ctx context.Context, name string, goroutine uint64, place uintptr, opts []TaskOption) *Task {
	var config taskConfig
	for _, o := range opts {
		o.applyTask(&config)
	}
	t := &Task{ins: ins, label: name, name: ins.names.entry(name), begun: place, start: now()}
	t.ctx.task = t
	t.ctx.Context = ctx

	outer := TaskFromContext(ctx)
	parent := trace.SpanContextFromContext(ctx)
	t.parent = parent.SpanID()
	switch {
	case config.remote.IsValid():
		t.remote = remoteParent{trace: config.remote.TraceID(), span: config.remote.SpanID()}
	case parent.IsRemote():
		t.remote = remoteParent{trace: parent.TraceID(), span: parent.SpanID()}
	case outer != nil:
		t.remote = outer.remote
	case parent.IsValid():
		t.remote = ins.openSpans.remoteOf(parent.SpanID())
	}
	if config.newRoot {
		t.parent, t.remote = trace.SpanID{}, remoteParent{}
	}
	ins.startSpan(t, parent, &config)
	t.measure = t.SpanContext().SpanID()[0]%measuredTasks == 0
	t.name.counts.of(goroutine).started.Add(1)
	t.tracked = ins.live.Add(1) <= ins.maxTasks
	if !t.tracked {
		ins.drops.add(dropMaxTasks, 1)
	}
	return t
}

// startSpan gives the task its identity and, if it is sampled, its span. With a
// provider of our own the decision is ours, so that an unsampled task costs no
// span at all; somebody else's provider is asked.
func (ins *Inspector) startSpan(t *Task, parent trace.SpanContext, config *taskConfig) {
	root := !parent.IsValid() || config.newRoot
	if ins.head != nil && !ins.sampled(t, parent, root) {
		t.light.provider = ins.provider
		t.ctx.Context = trace.ContextWithSpan(t.ctx.Context, &t.light)
		return
	}
	if ins.allocations {
		t.allocated = readAllocated()
	}
	opts := make([]trace.SpanStartOption, 0, 4)
	attrs := append(ins.beginAttributes(t), config.attributes...)
	opts = append(opts, trace.WithAttributes(attrs...))
	if config.kind != trace.SpanKindUnspecified {
		opts = append(opts, trace.WithSpanKind(config.kind))
	}
	if config.newRoot {
		opts = append(opts, trace.WithNewRoot())
		if parent.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: parent}))
		}
	}
	// The SDK's id generator and sampler find the task, and with it the decision
	// that was just made, in the context.
	t.starting = ins.head != nil
	ctx, span := ins.tracer.Start(&t.ctx, t.label, opts...)
	t.starting = false
	t.span = span
	if own, ok := ctx.(*taskContext); ok && own == &t.ctx {
		return // a provider that does nothing returns the context that it got
	}
	t.ctx.Context = trace.ContextWithSpan(t.ctx.Context, span)
}

// sampled decides about a task of our own provider, and gives it its ids.
func (ins *Inspector) sampled(t *Task, parent trace.SpanContext, root bool) bool {
	var id trace.SpanID
	putRandom(id[:])
	if !root {
		t.light.sc = parent.WithSpanID(id).WithRemote(false)
		return parent.IsSampled()
	}
	var traceID trace.TraceID
	putRandom(traceID[:8])
	putRandom(traceID[8:])
	keep, state := ins.head.decide(traceID, t.label)
	config := trace.SpanContextConfig{TraceID: traceID, SpanID: id, TraceState: state}
	if keep {
		config.TraceFlags = trace.FlagsSampled
	}
	t.light.sc = trace.NewSpanContext(config)
	return keep
}

// putRandom fills eight bytes, never with zeros only.
func putRandom(b []byte) {
	for {
		if v := rand.Uint64(); v != 0 {
			binary.LittleEndian.PutUint64(b, v)
			return
		}
	}
}

// beginAttributes are what a sampled task says of itself at its start.
func (ins *Inspector) beginAttributes(t *Task) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs, attribute.String(taskspan.TaskName, t.label))
	return append(attrs, placeAttributes(t.begun)...)
}

// bind puts the task on a goroutine: the running one, which calls it.
func (t *Task) bind(goroutine uint64) {
	if goroutine == 0 {
		goroutine = pseudoGoroutine()
	}
	t.goroutine.Store(goroutine)
	if t.remote.valid() && t.remote.goroutine == 0 {
		t.remote.goroutine = goroutine
	}
	if t.tracked {
		s := shardOf(goroutine)
		s.mu.Lock()
		t.outer = s.current[goroutine]
		if s.current == nil {
			s.current = make(map[uint64]*Task)
		}
		s.current[goroutine] = t
		pushBack(&s.tasks, t)
		s.mu.Unlock()
	}
	if t.ins.labels {
		pprof.SetGoroutineLabels(t.name.labels)
	}
	if t.measure {
		t.ins.spentOnTask(now().sub(t.start))
	}
}

// unbind takes an ended task off its goroutine, which need not be the running one.
func (t *Task) unbind() {
	goroutine := t.goroutine.Load()
	if goroutine == 0 {
		return
	}
	outer := t.outer
	if t.tracked {
		s := shardOf(goroutine)
		s.mu.Lock()
		remove(&s.tasks, t)
		for outer = t.outer; outer != nil && outer.ended(); {
			outer = outer.outer // ended before its inner task
		}
		if s.current[goroutine] == t {
			if outer != nil {
				s.current[goroutine] = outer
			} else {
				delete(s.current, goroutine)
			}
		}
		s.mu.Unlock()
	}
	if t.ins.labels && goid.Get() == goroutine {
		if outer != nil {
			pprof.SetGoroutineLabels(outer.name.labels)
		} else {
			pprof.SetGoroutineLabels(t.ctx.Context)
		}
	}
}
