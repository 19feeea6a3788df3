package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/failure"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Task is a unit of concurrent work: a request, a job, a step worth seeing.
// It is a span, whose id it has also when it is not sampled. Begin and Go make
// tasks; End ends them. A nil *Task is valid and does nothing, which is what
// Begin returns while the SDK is off.
type Task struct {
	// The table of the process reaches every field below. No field may reach the
	// application's contexts or locks: while those are reachable from a global, the
	// runtime's goroutine leak profile assumes that a goroutine stuck on them can still
	// be woken.
	//
	// Every unsampled request makes a Task, so its size is a part of what the SDK costs:
	// what few tasks have is in taskRare.
	links[Task] // in the shard's list; guarded by the shard

	ins    *Inspector
	name   *nameEntry // what its counts are booked under; see Task.label
	span   trace.Span // nil while it is made; see startingTask
	parent trace.SpanID
	remote *remoteParent // nil: none; its descendants share it
	begun  uintptr       // place of Begin or Go
	start  nanos

	// Its identity; see Task.spanContext.
	traceID    trace.TraceID
	spanID     trace.SpanID
	traceState *trace.TraceState // nil: empty

	blockage blockage
	points   atomic.Pointer[points] // nil: none
	rare     *taskRare              // nil for most

	// serverSpan is nil if the span is the task's own. It is embedded for the sake of
	// unsampledSpan, which is the Task by another name.
	*serverSpan

	// goroutine is the one that the task runs on, 0 before it runs. Guarded by
	// the shard of the goroutine once it is set.
	goroutine atomic.Uint64
	outer     *Task // the goroutine's task before this one; guarded by the shard

	// state is 0 while the task is open, then an index into endStates, and the negative
	// of that while it ends: its span may have to wait for what others hold.
	state      atomic.Int32
	openWaits  atomic.Int32 // waits begun and not ended, if it is sampled: a wait inside another one adds no time
	traceFlags trace.TraceFlags
	tracked    bool // in the table; false above the limit
	sampled    bool // its span records
	measure    bool // its cost is measured
	alone      bool // its goroutine ends with it
}

// taskRare is what few tasks have; only its own goroutine and, after its end, the
// exporter look at it.
type taskRare struct {
	label      string          // of a task that is counted under "other": its name; fixed before the task is in the table
	answers    *lockName       // while orders are known: its remote parent, as what it holds
	errorType  string          // of a failed one that is sampled
	begun      *site           // the way to Begin or Go, fixed before the task is in the table; nil: not sampled, or backtraces are off
	labels     context.Context // carries the application's own pprof labels; nil: none
	heldBefore uint8           // what its goroutine held before it; see heldTable.slots
	tracks     bool            // the next field is used
	allocated  allocated       // at its start and then until its end
}

func (t *Task) rarely() *taskRare {
	if t.rare == nil {
		t.rare = new(taskRare)
	}
	return t.rare
}

// How a task can end, as indexes into endStates.
const (
	endedCompleted int32 = 1 + iota
	endedFailed
	endedCancelled
)

var endStates = [...]taskspan.State{
	0: "", endedCompleted: taskspan.Completed, endedFailed: taskspan.Failed, endedCancelled: taskspan.Cancelled,
}

func (t *Task) ended() bool { return t.state.Load() > 0 }

// endState is how the task has ended, or is about to.
func (t *Task) endState() taskspan.State {
	state := t.state.Load()
	return endStates[max(state, -state)]
}

func (t *Task) at() *links[Task] { return &t.links }

// taskKey finds the task in a context.
type taskKey struct{}

// taskContext is the context of a task. It carries the task and its span, so that one
// allocation does for both. It refers to the task; the task does not refer to it.
type taskContext struct {
	context.Context
	task *Task
}

func (c *taskContext) Value(key any) any {
	switch key {
	case taskKey{}:
		return c.task
	case spanKey:
		if c.task.span != nil {
			return c.task.span
		}
	}
	return c.Context.Value(key)
}

// carry makes span the current one of the context.
func (c *taskContext) carry(span trace.Span) {
	c.task.span = span
	if spanKey == nil {
		c.Context = trace.ContextWithSpan(c.Context, span)
	}
}

// spanKey is the key under which OpenTelemetry looks for the span of a context. It
// is not exported, but every context is asked by it. Nil, which no context is ever
// asked by, if that should change; a context of OpenTelemetry's own then carries
// the span.
var spanKey = findSpanKey()

func findSpanKey() any {
	if !compiledIn {
		return nil
	}
	asked := keyProbe{Context: context.Background()}
	trace.SpanFromContext(&asked)
	if asked.key == nil {
		return nil
	}
	probe := trace.Span(new(unsampledSpan))
	if trace.ContextWithSpan(context.Background(), probe).Value(asked.key) != probe {
		return nil
	}
	return asked.key
}

type keyProbe struct {
	context.Context
	key any
}

func (p *keyProbe) Value(key any) any {
	p.key = key
	return nil
}

// TaskFromContext returns the task that ctx was made for, or nil.
func TaskFromContext(ctx context.Context) *Task {
	if !compiledIn {
		return nil
	}
	if c, ok := ctx.(*taskContext); ok {
		return c.task
	}
	t, _ := ctx.Value(taskKey{}).(*Task)
	return t
}

// remoteParent is the client span, in another process, that a task answers. Only
// the goroutine that answers it may say so in a report: what it has spawned can
// be stuck while the answer is on its way.
type remoteParent struct {
	trace     trace.TraceID
	span      trace.SpanID
	goroutine uint64
}

func (r *remoteParent) valid() bool { return r != nil && r.span.IsValid() }

// SpanContext returns the identity of the task.
func (t *Task) SpanContext() trace.SpanContext {
	if t == nil {
		return trace.SpanContext{}
	}
	return t.spanContext()
}

// spanContext is that of the task's span, which is never remote. A Task keeps its parts,
// which take half as much room.
func (t *Task) spanContext() trace.SpanContext {
	c := trace.SpanContextConfig{TraceID: t.traceID, SpanID: t.spanID, TraceFlags: t.traceFlags}
	if t.traceState != nil {
		c.TraceState = *t.traceState
	}
	return trace.NewSpanContext(c)
}

func (t *Task) setSpanContext(sc trace.SpanContext) {
	t.traceID, t.spanID, t.traceFlags = sc.TraceID(), sc.SpanID(), sc.TraceFlags()
	t.keepTraceState(sc.TraceState())
}

func (t *Task) keepTraceState(state trace.TraceState) {
	t.traceState = nil
	if state.Len() > 0 {
		kept := state // a parameter that escapes would cost every call an allocation
		t.traceState = &kept
	}
}

// label is the name that the task began with, also if it is counted under "other".
func (t *Task) label() string {
	if t.name == t.ins.names.other && t.rare != nil {
		return t.rare.label
	}
	return t.name.name
}

// goroutineID is the goroutine that the task runs on, 0 if it is not known.
func (t *Task) goroutineID() uint64 {
	if t == nil {
		return 0
	}
	return t.goroutine.Load()
}

// Name returns the task's name.
func (t *Task) Name() string {
	if t == nil {
		return ""
	}
	if t.serverSpan != nil {
		return t.spanName()
	}
	return t.label()
}

func (t *Task) recording() bool { return t.sampled && t.span.IsRecording() }

// End ends the task: completed if err is nil, cancelled if it is or wraps
// [context.Canceled], failed otherwise. Only the first End counts.
//
// Deferred directly, as in "defer task.End(nil)", it also detects a panic: the task
// fails, and the panic continues. Because a panic may end the process, End first sends
// the failed span and the counts, as [Inspector.ForceFlush] does, for at most half a
// second. It does not wait for panics that net/http recovers in a handler, or for
// panics that repeat.
func (t *Task) End(err error) {
	if !compiledIn || t == nil {
		return
	}
	if r := recover(); r != nil {
		t.panicked(r, false)
		panic(r)
	}
	t.end(err)
}

// EndWith is End for a deferred call with a named result:
//
//	defer task.EndWith(&err)
func (t *Task) EndWith(err *error) {
	if !compiledIn || t == nil {
		return
	}
	if r := recover(); r != nil {
		t.panicked(r, false)
		panic(r)
	}
	if err == nil {
		t.end(nil)
		return
	}
	t.end(*err)
}

// EndPanic ends the task as failed by a panic with this value. It is for code that
// recovers a panic and panics again; it waits as End does.
func (t *Task) EndPanic(value any) {
	if compiledIn && t != nil {
		t.panicked(value, false)
	}
}

// TracerProvider returns the provider of the task's span.
func (t *Task) TracerProvider() trace.TracerProvider {
	if t == nil {
		return Default().TracerProvider()
	}
	return t.ins.TracerProvider()
}

// outcome says how a task with this error ended, as an index into endStates.
func outcome(err error) int32 {
	switch {
	case err == nil:
		return endedCompleted
	case errors.Is(err, context.Canceled):
		return endedCancelled
	default:
		return endedFailed
	}
}

// end reports whether this is the first End.
func (t *Task) end(err error) bool {
	return t.finish(outcome(err), err)
}

// finish ends the task in a way, and reports whether nobody has before.
func (t *Task) finish(how int32, err error) bool {
	if t.sampled && t.serverSpan == nil {
		return t.finishSpan(how, err)
	}
	if !t.state.CompareAndSwap(0, how) {
		return false
	}
	t.leave(how, now())
	return true
}

// finishSpan is finish for a task that has a span to end. The text of the error, or a
// processor of somebody else, may want a lock. Who waits there is still this task; and
// whatever panics there, it ends.
func (t *Task) finishSpan(how int32, err error) bool {
	if !t.state.CompareAndSwap(0, -how) {
		return false
	}
	ended := now()
	defer func() {
		t.state.Store(how)
		t.leave(how, ended)
	}()
	t.endSpan(endStates[how], err)
	return true
}

// leave takes an ended task out of the table, and counts it.
func (t *Task) leave(how int32, ended nanos) {
	t.unbind()
	entry := t.name
	if t.serverSpan != nil {
		entry = t.book()
	}
	entry.counts.of(t.goroutine.Load()).ended(endStates[how], ended.sub(t.start))
	t.ins.live.Add(-1)
	if t.tracked {
		t.points.Load().release(t.ins)
	}
	if t.measure {
		t.ins.spentOnTask(now().sub(ended))
	}
}

// errorType is a name for the kind of an error, of low cardinality.
func errorType(err error) string {
	if _, ok := err.(*panicError); ok {
		return taskspan.ErrorPanic
	}
	if status, ok := err.(failure.Status); ok {
		return status.Type()
	}
	return fmt.Sprintf("%T", err)
}

// blockage sums the waits of one task. Several goroutines may wait for it.
type blockage struct {
	total   atomic.Int64 // nanoseconds
	count   atomic.Int64
	longest atomic.Pointer[longestWait]
}

type longestWait struct {
	resource string // its name
	duration time.Duration
}

// blocked books a wait that has ended.
func (t *Task) blocked(on resourceName, d time.Duration) {
	b := &t.blockage
	b.total.Add(int64(d))
	b.count.Add(1)
	if !t.recording() {
		return // nobody will read which was the longest
	}
	var longest *longestWait
	for {
		old := b.longest.Load()
		if old != nil && old.duration >= d {
			return
		}
		if longest == nil {
			_, name := on.identity()
			longest = &longestWait{resource: name, duration: d}
		}
		if b.longest.CompareAndSwap(old, longest) {
			return
		}
	}
}
