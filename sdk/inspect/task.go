package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Task is a unit of concurrent work: a request, a job, a step worth seeing.
// It is a span, whose id it has also when it is not sampled. Begin and Go make
// tasks; End ends them. A nil *Task is valid and does nothing, which is what
// Begin returns while the SDK is off.
type Task struct {
	links[Task] // in the shard's list; guarded by the shard

	ins    *Inspector
	name   *nameEntry // what its counts are booked under
	label  string     // its name as given
	ctx    taskContext
	light  unsampledSpan
	span   trace.Span // the recording span; nil if unsampled
	parent trace.SpanID
	remote remoteParent
	begun  uintptr // place of Begin or Go
	start  nanos

	// goroutine is the one that the task runs on, 0 before it runs. Guarded by
	// the shard of the goroutine once it is set.
	goroutine atomic.Uint64
	outer     *Task // the goroutine's task before this one; guarded by the shard
	tracked   bool  // in the table; false above the limit

	state    atomic.Int32 // 0 while the task is open, then an index into endStates
	blockage blockage
	points   points

	starting  bool      // its span is being made; see spanSampler
	measure   bool      // its cost is measured
	allocated allocated // at its start, if that is tracked
}

// endStates are how a task can end.
var endStates = [...]taskspan.State{0: "", 1: taskspan.Completed, 2: taskspan.Failed, 3: taskspan.Cancelled}

func (t *Task) ended() bool { return t.state.Load() != 0 }

func (t *Task) at() *links[Task] { return &t.links }

// taskKey finds the task in a context.
type taskKey struct{}

// taskContext is the part of a Task that is a context, so that a task and its
// context are one allocation.
type taskContext struct {
	context.Context
	task *Task
}

func (c *taskContext) Value(key any) any {
	if key == (taskKey{}) {
		return c.task
	}
	return c.Context.Value(key)
}

// TaskFromContext returns the task that ctx was made for, or nil.
func TaskFromContext(ctx context.Context) *Task {
	t, _ := ctx.Value(taskKey{}).(*Task)
	return t
}

// unsampledSpan is the span of a task that nobody records: it carries the span
// context on, so that children follow the decision, and nothing else.
type unsampledSpan struct {
	noop.Span
	sc       trace.SpanContext
	provider trace.TracerProvider
}

func (s *unsampledSpan) SpanContext() trace.SpanContext       { return s.sc }
func (s *unsampledSpan) TracerProvider() trace.TracerProvider { return s.provider }

// remoteParent is the client span, in another process, that a task answers. Only
// the goroutine that answers it may say so in a report: what it has spawned can
// be stuck while the answer is on its way.
type remoteParent struct {
	trace     trace.TraceID
	span      trace.SpanID
	goroutine uint64
}

func (r remoteParent) valid() bool { return r.span.IsValid() }

// SpanContext returns the identity of the task.
func (t *Task) SpanContext() trace.SpanContext {
	if t == nil {
		return trace.SpanContext{}
	}
	if t.span != nil {
		return t.span.SpanContext()
	}
	return t.light.sc
}

// Name returns the task's name.
func (t *Task) Name() string {
	if t == nil {
		return ""
	}
	return t.label
}

func (t *Task) recording() bool { return t.span != nil && t.span.IsRecording() }

// End ends the task: completed if err is nil, cancelled if it is or wraps
// [context.Canceled], failed otherwise. Only the first End counts.
//
// Deferred directly, as in "defer task.End(nil)", it also sees a panic: the
// task has then failed, and the panic goes on.
func (t *Task) End(err error) {
	if t == nil {
		return
	}
	if r := recover(); r != nil {
		t.end(&panicError{value: r})
		panic(r)
	}
	t.end(err)
}

// EndWith is End for a deferred call with a named result:
//
//	defer task.EndWith(&err)
func (t *Task) EndWith(err *error) {
	if t == nil {
		return
	}
	if r := recover(); r != nil {
		t.end(&panicError{value: r})
		panic(r)
	}
	if err == nil {
		t.end(nil)
		return
	}
	t.end(*err)
}

// EndPanic ends the task as failed by a panic with this value. It is for code that
// has recovered the panic, and passes it on.
func (t *Task) EndPanic(value any) {
	if t != nil {
		t.end(&panicError{value: value})
	}
}

// TracerProvider returns the provider of the task's span.
func (t *Task) TracerProvider() trace.TracerProvider {
	if t == nil {
		return Default().TracerProvider()
	}
	return t.ins.TracerProvider()
}

// panicError is the error of a task that panicked.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprint("panic: ", e.value) }

// outcome says how a task with this error ended, as an index into endStates.
func outcome(err error) int32 {
	switch {
	case err == nil:
		return 1
	case errors.Is(err, context.Canceled):
		return 3
	default:
		return 2
	}
}

func (t *Task) end(err error) {
	how := outcome(err)
	if !t.state.CompareAndSwap(0, how) {
		return
	}
	var began nanos
	if t.measure {
		began = now()
	}
	state := endStates[how]
	t.unbind()
	t.name.counts.of(t.goroutine.Load()).ended(state)
	t.ins.live.Add(-1)
	if t.tracked {
		t.points.release(t.ins)
	}
	if t.span != nil {
		t.endSpan(state, err)
	}
	if t.measure {
		t.ins.spentOnTask(now().sub(began))
	}
}

func (t *Task) endSpan(state taskspan.State, err error) {
	b := &t.blockage
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs,
		attribute.String(taskspan.TaskState, string(state)),
		attribute.Int64(taskspan.TaskBlockedNS, b.total.Load()),
		attribute.Int64(taskspan.TaskWaits, b.count.Load()),
		attribute.Int64(taskspan.ThreadID, int64(t.goroutine.Load())))
	if longest := b.longest.Load(); longest != nil {
		_, name := longest.on.identity()
		attrs = append(attrs,
			attribute.Int64(taskspan.TaskLongestWaitNS, int64(longest.duration)),
			attribute.String(taskspan.TaskLongestWaitResource, name))
	}
	if state == taskspan.Failed {
		attrs = append(attrs, attribute.String(taskspan.ErrorType, errorType(err)))
		t.span.SetStatus(codes.Error, err.Error())
		t.span.RecordError(err)
	}
	if t.ins.allocations {
		attrs = append(attrs, readAllocated().attributesSince(t.allocated)...)
	}
	t.span.SetAttributes(attrs...)
	t.span.End()
}

// errorType is a name for the kind of an error, of low cardinality.
func errorType(err error) string {
	if _, ok := err.(*panicError); ok {
		return taskspan.ErrorPanic
	}
	return fmt.Sprintf("%T", err)
}

// blockage sums the waits of one task. Several goroutines may wait for it.
type blockage struct {
	open    atomic.Int32 // waits begun and not ended: a wait inside another one adds no time
	total   atomic.Int64 // nanoseconds
	count   atomic.Int64
	longest atomic.Pointer[longestWait]
}

type longestWait struct {
	on       waitable
	duration time.Duration
}

// blocked books a wait that has ended.
func (t *Task) blocked(on waitable, d time.Duration) {
	b := &t.blockage
	b.total.Add(int64(d))
	b.count.Add(1)
	if !t.recording() {
		return // nobody will read which was the longest
	}
	for {
		old := b.longest.Load()
		if old != nil && old.duration >= d {
			return
		}
		if b.longest.CompareAndSwap(old, &longestWait{on: on, duration: d}) {
			return
		}
	}
}

// waitSpan shows a wait that lasted in the trace.
func (t *Task) waitSpan(w *wait, d time.Duration) {
	id, name := w.on.identity()
	stack := w.stack[:w.depth]
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs,
		attribute.String(taskspan.WaitKind, string(w.kind)),
		attribute.String(taskspan.WaitResourceID, id),
		attribute.String(taskspan.WaitResourceName, name))
	attrs = append(attrs, placeAttributes(firstOutside(stack))...)
	if t.ins.backtraces {
		attrs = append(attrs, attribute.String(taskspan.CodeStacktrace, stacktrace(stack)))
	}
	_, span := t.ins.tracer.Start(&t.ctx, taskspan.WaitSpanPrefix+string(w.kind)+" "+name,
		trace.WithTimestamp(w.start.time()), trace.WithAttributes(attrs...))
	span.End(trace.WithTimestamp((w.start + nanos(d)).time()))
}
