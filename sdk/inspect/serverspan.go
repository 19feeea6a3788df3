package inspect

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/internal/propagator"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

// serverSpan is the span of another instrumentation that a task is: a request, or a
// message. The instrumentation ends it, and may rename it until then.
//
// Counts by name only grow, so a start cannot be moved from one name to another. It is
// booked when the task ends, or when it has been open for a heartbeat; until then the
// task is counted as live and not as started.
type serverSpan struct {
	embedded.Span // makes a span of unsampledSpan; never used

	server sdktrace.ReadWriteSpan
	given  atomic.Pointer[string]    // a name that goes before the span's
	booked atomic.Pointer[nameEntry] // where the start is counted; nil: nowhere so far
}

func (s *serverSpan) spanName() string {
	if n := s.given.Load(); n != nil {
		return *n
	}
	return wire.Name(s.server.Name())
}

// begin makes a task of a server or consumer span, and reports whether it has.
func (p spanProcessor) begin(ctx context.Context, s sdktrace.ReadWriteSpan) bool {
	outer, parent := TaskFromContext(ctx), s.Parent()
	if outer != nil {
		// Begin has started it; or it is the server span inside of a task that has put
		// itself into the headers, see inspecthttp.WithoutServerSpan.
		if outer.span == nil || parent.IsRemote() && parent.SpanID() == outer.spanID {
			return false
		}
	}
	ins := p.inspector(ctx)
	if !ins.running() {
		return false
	}
	p.checkPropagator(ctx, s)
	if !followed.reserve() {
		dropOpenSpan(ctx)
		return true
	}
	entry, _ := ins.names.entry(s.Name())
	t := &Task{
		ins: ins, name: entry, span: s, parent: parent.SpanID(), start: now(),
		sampled: s.SpanContext().IsSampled(), serverSpan: &serverSpan{server: s},
	}
	t.setSpanContext(s.SpanContext())
	if outer != nil && !parent.IsRemote() {
		t.remote = outer.remote
	} else {
		t.remote = remoteParentOf(parent)
	}
	if t.sampled && ins.backtraces {
		t.rarely().begun = siteHere()
	}
	t.measure = t.spanID[0]%measuredTasks == 0
	t.track()
	if !t.tracked {
		t.book()
	}
	t.bind(goid.Get(), ctx)
	followed.put(t.spanID, openSpan{remote: t.remote, task: t})
	return true
}

// end ends the task that a span was. Somebody may have ended it before, see
// [WithinServerSpan].
func (p spanProcessor) end(t *Task, s sdktrace.ReadOnlySpan) {
	how := endedCompleted
	if s.Status().Code == codes.Error {
		how = endedFailed
	}
	t.finish(how, nil)
	if t.sampled && t.ins.viewsTasks && p.ins == t.ins {
		// The processor that exports comes next, see taskSpans.
		shardOf(goid.Get()).ending.CompareAndSwap(nil, t)
	}
}

// book counts the start of a server span's task, under the name that it has now, unless
// that has been done, and returns where.
func (t *Task) book() *nameEntry {
	if e := t.booked.Load(); e != nil {
		return e
	}
	e, _ := t.ins.names.entry(t.spanName())
	t.booked.Store(e)
	e.counts.of(t.goroutine.Load()).started.Add(1)
	return e
}

// bookOld books the starts of server spans that began before a time. Who ends one takes
// it out of its shard first, so nobody books it at the same time.
func (ins *Inspector) bookOld(before nanos) {
	for _, t := range ins.unbooked(nil) {
		if t.start > before {
			continue
		}
		e, _ := ins.names.entry(t.spanName()) // asks the provider: with no shard locked
		s := shardOf(t.goroutine.Load())
		s.mu.Lock()
		if !t.ended() && t.booked.CompareAndSwap(nil, e) {
			e.counts.of(t.goroutine.Load()).started.Add(1)
		}
		s.mu.Unlock()
	}
}

// unbooked appends the live tasks of server spans whose starts have not been booked.
func (ins *Inspector) unbooked(list []*Task) []*Task {
	if followed.tasks.Load() == 0 {
		return list
	}
	for i := range table {
		s := &table[i]
		s.mu.Lock()
		for t := s.tasks.front; t != nil; t = t.next {
			if t.ins == ins && t.serverSpan != nil && t.booked.Load() == nil {
				list = append(list, t)
			}
		}
		s.mu.Unlock()
	}
	return list
}

// WithinServerSpan declares that the task is the same work as the current span of the
// context, a server span of another instrumentation library. If that span is already a
// task of the same goroutine, Begin returns that task, under the name passed to Begin,
// instead of starting a second one.
func WithinServerSpan() TaskOption {
	return taskOptionFunc(func(c *taskConfig) { c.within = true })
}

// joins returns the task of the server span in ctx, as its context; nil if there is none.
func (c *taskConfig) joins(ctx context.Context, name string, goroutine uint64) *taskContext {
	if !c.within {
		return nil
	}
	t := followed.taskOf(trace.SpanContextFromContext(ctx).SpanID())
	if t == nil || t.goroutine.Load() != goroutine || t.ended() {
		return nil
	}
	given := wire.Name(name)
	t.given.Store(&given)
	return &taskContext{Context: ctx, task: t}
}

// checkPropagator warns, once, if spans of other services cannot be told to be parents
// of those here.
func (p spanProcessor) checkPropagator(ctx context.Context, s sdktrace.ReadWriteSpan) {
	if ins := p.inspector(ctx); ins != nil {
		ins.joinable.Do(func() {
			if propagator.Global() == nil && !s.Parent().IsRemote() {
				ins.config.logger.Warn("async-inspect: no global propagator is set; calls between services cannot be joined, so a deadlock across services is not found; " +
					"call otel.SetTextMapPropagator, or start with WithGlobalTracerProvider, which sets that of W3C")
			}
		})
	}
}
