package inspect

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime/pprof"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// TaskOption changes how a task begins.
type TaskOption interface{ applyTask(*taskConfig) }

type taskConfig struct {
	attributes []attribute.KeyValue
	newRoot    bool
	kind       trace.SpanKind
	remote     trace.SpanContext
	within     bool
}

// noTaskOptions is shared by all tasks that are begun without options.
var noTaskOptions taskConfig

func newTaskConfig(opts []TaskOption) *taskConfig {
	switch len(opts) {
	case 0:
		return &noTaskOptions
	case 1:
		if c, ok := opts[0].(*taskConfig); ok {
			return c
		}
	}
	return joined(opts)
}

func joined(opts []TaskOption) *taskConfig {
	c := new(taskConfig)
	for _, o := range opts {
		o.applyTask(c)
	}
	return c
}

type taskOptionFunc func(*taskConfig)

func (f taskOptionFunc) applyTask(c *taskConfig) { f(c) }

// JoinTaskOptions returns one option that does what all of opts do. It is worked out
// once, so an instrumentation that begins many tasks with the same options keeps it.
func JoinTaskOptions(opts ...TaskOption) TaskOption { return joined(opts) }

func (c *taskConfig) applyTask(to *taskConfig) {
	to.attributes = append(to.attributes, c.attributes...)
	to.newRoot = to.newRoot || c.newRoot
	if c.kind != trace.SpanKindUnspecified {
		to.kind = c.kind
	}
	if c.remote.IsValid() {
		to.remote = c.remote
	}
	to.within = to.within || c.within
}

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

// WithSpanKind sets the kind of the task's span, which is internal otherwise.
func WithSpanKind(kind trace.SpanKind) TaskOption {
	return taskOptionFunc(func(c *taskConfig) { c.kind = kind })
}

// WithRemoteParent names the client span in another process that this task
// answers, for instrumentation that knows it where the context does not: a context
// that comes from a propagator says so itself, but below a server span that nobody
// records only the request's headers know.
func WithRemoteParent(client trace.SpanContext) TaskOption {
	return taskOptionFunc(func(c *taskConfig) { c.remote = client })
}

// Begin begins a task on the running goroutine, as a child of the span in ctx. The
// returned context carries the task; pass it to the work. End the task when the work is
// done:
//
//	ctx, task := inspect.Begin(ctx, "checkout")
//	defer task.EndWith(&err)
//
// Use low-cardinality names: the kind of work, never the instance. The task belongs to
// the Inspector of the task in ctx, or else to the default one; without either, Begin
// returns ctx and nil.
//
//go:noinline
func Begin(ctx context.Context, name string, opts ...TaskOption) (context.Context, *Task) {
	if !compiledIn {
		return ctx, nil
	}
	outer := TaskFromContext(ctx)
	ins := outer.inspector()
	if !ins.running() {
		return ctx, nil
	}
	goroutine, place := goid.GetWithPC()
	c := ins.begin(ctx, outer, name, goroutine, place, opts)
	return c, c.task
}

// Begin is the function Begin with this Inspector.
//
//go:noinline
func (ins *Inspector) Begin(ctx context.Context, name string, opts ...TaskOption) (context.Context, *Task) {
	if !compiledIn || !ins.running() {
		return ctx, nil
	}
	goroutine, place := goid.GetWithPC()
	c := ins.begin(ctx, TaskFromContext(ctx), name, goroutine, place, opts)
	return c, c.task
}

// begin begins a task on the running goroutine.
func (ins *Inspector) begin(ctx context.Context, outer *Task, name string, goroutine uint64, place uintptr, opts []TaskOption) *taskContext {
	config := newTaskConfig(opts)
	if c := config.joins(ctx, name, goroutine); c != nil {
		return c
	}
	c := ins.newTask(ctx, outer, name, goroutine, place, config)
	c.task.bind(goroutine, ctx)
	return c
}

// Enabled reports whether a task that begins with ctx would be seen. An
// instrumentation that has to work for what it says of its tasks asks it first.
func Enabled(ctx context.Context) bool { return inspectorOf(ctx).running() }

// prepare makes a task that a goroutine of its own will run; see [Task.bind].
func (ins *Inspector) prepare(ctx context.Context, outer *Task, name string, place uintptr, opts []TaskOption) (context.Context, *Task) {
	if !compiledIn || !ins.running() {
		return ctx, nil
	}
	c := ins.newTask(ctx, outer, name, goid.Get(), place, newTaskConfig(opts))
	c.task.alone = true
	return c, c.task
}

// inspectorOf returns who inspects what ctx belongs to.
func inspectorOf(ctx context.Context) *Inspector { return TaskFromContext(ctx).inspector() }

func (t *Task) inspector() *Inspector {
	if t != nil {
		return t.ins
	}
	return Default()
}

// newTask makes a task that is counted as started and runs on no goroutine yet, and
// returns its context. The task of ctx is outer; the goroutine and the place are those
// of the caller.
func (ins *Inspector) newTask(ctx context.Context, outer *Task, name string, goroutine uint64, place uintptr, config *taskConfig) *taskContext {
	entry, name := ins.names.entry(name)
	t := &Task{ins: ins, name: entry, begun: placeOfTask(place), start: now()}
	if entry == ins.names.other {
		t.rarely().label = name
	}
	c := &taskContext{Context: ctx, task: t}

	within := spanContextOf(ctx)
	parent := &within // large, so it is not copied from here on
	switch {
	case config.newRoot:
	case config.remote.IsValid():
		t.remote = &remoteParent{trace: config.remote.TraceID(), span: config.remote.SpanID()}
	case parent.IsRemote():
		t.remote = &remoteParent{trace: parent.TraceID(), span: parent.SpanID()}
	case outer != nil:
		t.remote = outer.remote
	case parent.IsValid():
		t.remote = followed.remoteOf(parent.SpanID())
	}
	if !config.newRoot {
		t.parent = parent.SpanID()
	}
	ins.startSpan(c, parent, config)
	if t.sampled && ins.backtraces {
		t.rarely().begun = siteHere()
	}
	t.measure = t.spanID[0]%measuredTasks == 0
	t.name.counts.of(goroutine).started.Add(1)
	t.track()
	return c
}

// track makes a task one that is listed, if there is room.
func (t *Task) track() {
	t.tracked = t.ins.live.Add(1) <= t.ins.maxTasks
	if !t.tracked {
		t.ins.drops.add(dropMaxTasks, 1)
	}
}

// spanContextOf is that of the span in ctx.
func spanContextOf(ctx context.Context) trace.SpanContext {
	if c, ok := ctx.(*taskContext); ok && c.task.span != nil {
		return c.task.spanContext()
	}
	return trace.SpanContextFromContext(ctx)
}

// startSpan gives the task its identity and, if it is sampled, its span. With a
// provider of our own the decision is ours, so that an unsampled task costs no
// span at all; somebody else's provider or sampler is asked.
func (ins *Inspector) startSpan(c *taskContext, parent *trace.SpanContext, config *taskConfig) {
	t := c.task
	decided := ins.head != nil && ins.head.otel == nil
	if decided {
		if !ins.decide(t, parent, config.newRoot || !parent.IsValid()) {
			c.carry((*unsampledSpan)(t))
			return
		}
	}
	if ins.allocations {
		r := t.rarely()
		r.tracks, r.allocated = true, readAllocated()
	}
	// The id generator and the sampler of our own provider find the task, and with
	// it the decision that was just made, in the context.
	_, span := ins.tracer.Start(c, t.label(), config.spanOptions(parent)...)
	sc := span.SpanContext()
	if decided || span.IsRecording() {
		if t.sampled = true; decided && sc.SpanID() == t.spanID {
			t.traceFlags = sc.TraceFlags() // the rest is what was decided; its tracestate is not kept twice
		} else {
			t.setSpanContext(sc)
		}
		c.carry(span)
		if ins.own == nil {
			ins.checked.Do(func() { ins.checkIdentity(span) })
		}
		return
	}
	if sc.IsValid() && sc.SpanID() != parent.SpanID() {
		t.setSpanContext(sc)
		c.carry(span)
		return
	}
	// A provider that makes no spans gives no identity either.
	t.begins(parent, config.newRoot || !parent.IsValid())
	c.carry((*unsampledSpan)(t))
}

// spanOptions are nil for most tasks. What the SDK itself has to say is put on the
// span at its end, in one go.
func (c *taskConfig) spanOptions(parent *trace.SpanContext) []trace.SpanStartOption {
	if c == &noTaskOptions {
		return nil
	}
	attrs := c.attributes
	validAttributes(&attrs)
	opts := []trace.SpanStartOption{trace.WithAttributes(attrs...), trace.WithSpanKind(c.kind)}
	if c.newRoot {
		opts = append(opts, trace.WithNewRoot())
		if parent.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: *parent}))
		}
	}
	return opts
}

// decide decides about a task of our own provider, and gives it its ids.
func (ins *Inspector) decide(t *Task, parent *trace.SpanContext, root bool) (keep bool) {
	t.begins(parent, root)
	if !root && !ins.head.everySpan {
		return parent.IsSampled()
	}
	var state trace.TraceState
	if !root {
		state = parent.TraceState()
	}
	keep, state = ins.head.decide(t.traceID, t.label(), state)
	t.traceFlags = t.traceFlags.WithSampled(keep)
	t.keepTraceState(state)
	return keep
}

// begins gives the task the identity of a span below parent, or of the root of a new
// trace.
func (t *Task) begins(parent *trace.SpanContext, root bool) {
	t.spanID = randomSpanID()
	if root {
		t.traceID = randomTraceID()
		return
	}
	t.traceID, t.traceFlags = parent.TraceID(), parent.TraceFlags()
	t.keepTraceState(parent.TraceState())
}

// newIdentity is that of the root of a new trace.
func newIdentity() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: randomTraceID(), SpanID: randomSpanID()})
}

func randomTraceID() (id trace.TraceID) {
	putRandom(id[:8])
	putRandom(id[8:])
	return id
}

func randomSpanID() (id trace.SpanID) {
	putRandom(id[:])
	return id
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

// bind puts the task on a goroutine: the running one, which calls it. ctx carries the
// application's own pprof labels.
func (t *Task) bind(goroutine uint64, ctx context.Context) {
	if goroutine == 0 {
		goroutine = pseudoGoroutine()
	}
	t.goroutine.Store(goroutine)
	if t.remote != nil && t.remote.goroutine == 0 {
		t.remote.goroutine = goroutine
	}
	if t.remote != nil && holding.Load() != nil {
		t.rarely().answers = noteAnswering(goroutine, t.remote, t.label())
	}
	if h := holding.Load(); h != nil && !t.alone {
		if before := h.slots(goroutine); before != 0 {
			t.rarely().heldBefore = before
		}
	}
	if t.tracked {
		s := shardOf(goroutine)
		s.mu.Lock()
		t.outer = s.current.put(goroutine, t)
		pushBack(&s.tasks, t)
		s.mu.Unlock()
	}
	if t.ins.labels {
		t.keepLabels(ctx)
		t.labelGoroutine()
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
	if t.rare != nil && t.rare.answers != nil {
		noteAnswered(goroutine, t.rare.answers)
	}
	outer := t.outer
	if t.tracked {
		s := shardOf(goroutine)
		s.mu.Lock()
		remove(&s.tasks, t)
		if t.alone {
			s.left[s.leaving%recentlyLeft] = leftTask{goroutine: goroutine, task: lastTask{node: taskNode(t), name: t.label()}}
			s.leaving++
		}
		for outer = t.outer; outer != nil && outer.ended(); {
			outer = outer.outer // ended before its inner task
		}
		s.current.replace(goroutine, t, outer)
		s.mu.Unlock()
	}
	if h := holding.Load(); h != nil && t.tracked && !t.alone && outer == nil && goid.Get() == goroutine {
		var before uint8
		if t.rare != nil {
			before = t.rare.heldBefore
		}
		h.leave(goroutine, before, func() *lastTask { return &lastTask{node: taskNode(t), name: t.label()} })
	}
	if t.ins.labels && !t.alone && goid.Get() == goroutine {
		if outer != nil {
			outer.labelGoroutine()
		} else {
			pprof.SetGoroutineLabels(t.ownLabels())
		}
	}
}

// keepLabels copies the labels that the application has put into ctx: a task must not
// keep ctx itself; see Task.
func (t *Task) keepLabels(ctx context.Context) {
	var pairs []string
	pprof.ForLabels(ctx, func(key, value string) bool {
		pairs = append(pairs, key, value)
		return true
	})
	if pairs != nil {
		t.rarely().labels = pprof.WithLabels(context.Background(), pprof.Labels(pairs...))
	}
}

// ownLabels carries the labels that the application has put into the task's context.
func (t *Task) ownLabels() context.Context {
	if t.rare != nil && t.rare.labels != nil {
		return t.rare.labels
	}
	return context.Background()
}

// labelGoroutine shows the task in profiles of the running goroutine, beside the
// application's own labels.
func (t *Task) labelGoroutine() {
	if t.rare == nil || t.rare.labels == nil {
		pprof.SetGoroutineLabels(t.name.labels)
		return
	}
	pprof.SetGoroutineLabels(pprof.WithLabels(t.rare.labels, pprof.Labels(PprofLabel, t.name.name)))
}
