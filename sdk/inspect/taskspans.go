package inspect

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/failure"
	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// endSpan ends the span of a sampled task.
//
// What the SDK has to say of a task costs more to put on a span, and to look through
// for duplicates, than all the rest of the span. With a provider of our own that is
// left to the exporter, which runs beside the application: the processor in front of
// it adds the facts of the task to the span, see taskSpans. A provider of somebody else
// gets the attributes here, and so does a task whose neighbour in the shard ends at
// the same moment.
func (t *Task) endSpan(state taskspan.State, err error) {
	span := t.span
	if state == taskspan.Failed {
		failure.Record(span, err)
		t.rarely().errorType = errorType(err)
	}
	if s, ok := span.(sdktrace.ReadOnlySpan); ok && s.DroppedEvents() > 0 {
		t.ins.drops.add(dropSpanEvents, int64(s.DroppedEvents()))
	}
	if t.rare != nil && t.rare.tracks {
		t.rare.allocated = t.rare.allocated.untilNow()
	}
	ending := &shardOf(goid.Get()).ending
	if !t.ins.viewsTasks || !ending.CompareAndSwap(nil, t) {
		facts := t.facts()
		span.SetAttributes(facts.attributes()...)
		span.End()
		return
	}
	span.End()
	ending.Store(nil)
}

// taskFacts is what the SDK has to say of an ended task. It is a copy, so that spans
// that wait for a slow collector do not keep tasks, and with them the contexts of the
// application, in memory.
type taskFacts struct {
	state     taskspan.State
	goroutine uint64
	begun     uintptr
	blockedNS int64
	waits     int64
	longest   *longestWait // nil: none
	rare      *taskRare    // nil for most
}

func (t *Task) facts() taskFacts {
	return taskFacts{
		state: t.endState(), goroutine: t.goroutine.Load(), begun: t.begun,
		blockedNS: t.blockage.total.Load(), waits: t.blockage.count.Load(),
		longest: t.blockage.longest.Load(), rare: t.rare,
	}
}

func (f *taskFacts) attributes() []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 13)
	attrs = append(attrs,
		attribute.String(taskspan.TaskState, string(f.state)),
		attribute.Int64(taskspan.TaskBlockedNS, f.blockedNS),
		attribute.Int64(taskspan.TaskWaits, f.waits),
		attribute.Int64(taskspan.ThreadID, int64(f.goroutine)))
	attrs = append(attrs, placeAttributes(f.begun)...)
	if f.longest != nil {
		attrs = append(attrs,
			attribute.Int64(taskspan.TaskLongestWaitNS, int64(f.longest.duration)),
			attribute.String(taskspan.TaskLongestWaitResource, wire.Name(f.longest.resource)))
	}
	if f.rare == nil {
		return attrs
	}
	if f.rare.begun != nil {
		attrs = append(attrs, attribute.String(taskspan.CodeStacktrace, f.rare.begun.stacktrace()))
	}
	if f.rare.errorType != "" {
		attrs = append(attrs, attribute.String(taskspan.ErrorType, f.rare.errorType))
	}
	if f.rare.tracks {
		attrs = append(attrs, f.rare.allocated.attributes()...)
	}
	return attrs
}

// taskSpans stands before the exporting processor and puts views of the tasks in
// the place of their spans. The SDK calls it inside of the End of the span, on the
// goroutine in whose shard the task stands as ending.
type taskSpans struct{ sdktrace.SpanProcessor }

func (p taskSpans) OnEnd(s sdktrace.ReadOnlySpan) {
	t := shardOf(goid.Get()).ending.Load()
	if t != nil && t.spanID == s.SpanContext().SpanID() {
		s = &taskView{ReadOnlySpan: s, facts: t.facts()}
		if t.serverSpan != nil {
			shardOf(goid.Get()).ending.CompareAndSwap(t, nil) // only this has waited for it
		}
	}
	p.SpanProcessor.OnEnd(s)
}

// taskView is the span of an ended task with what the SDK has to say of it.
type taskView struct {
	sdktrace.ReadOnlySpan
	facts      taskFacts
	attributes []attribute.KeyValue // once somebody has asked; only the exporter does
}

// Attributes are the span's and the task's. What the application has set under the
// same key goes.
func (v *taskView) Attributes() []attribute.KeyValue {
	if v.attributes == nil {
		v.attributes = v.allAttributes()
	}
	return v.attributes
}

func (v *taskView) allAttributes() []attribute.KeyValue {
	all := v.facts.attributes()
	for _, a := range v.ReadOnlySpan.Attributes() {
		if !slices.ContainsFunc(all, func(b attribute.KeyValue) bool { return a.Key == b.Key }) {
			all = append(all, a)
		}
	}
	return all
}

// waitSpan shows a wait that lasted in the trace.
func (t *Task) waitSpan(w *wait, d time.Duration) {
	id, name := w.name.identity()
	id, name = wire.ID(id), wire.Name(name)
	attrs := make([]attribute.KeyValue, 0, 8)
	attrs = append(attrs,
		attribute.String(taskspan.WaitKind, string(w.kind)),
		attribute.String(taskspan.WaitResourceID, id),
		attribute.String(taskspan.WaitResourceName, name))
	attrs = append(attrs, placeAttributes(w.site.place)...)
	if len(w.site.callers) > 0 {
		attrs = append(attrs, attribute.StringSlice(taskspan.WaitCallers, callerTexts(w.site.callers)))
	}
	if t.ins.backtraces {
		attrs = append(attrs, attribute.String(taskspan.CodeStacktrace, w.site.stacktrace()))
	}
	_, span := t.ins.tracer.Start(t.contextFor(w.ctx), taskspan.WaitSpanPrefix+string(w.kind)+" "+name,
		trace.WithTimestamp(w.start.time()), trace.WithAttributes(attrs...))
	span.End(trace.WithTimestamp((w.start + nanos(d)).time()))
}

// contextFor returns a context to start a child span of the task with: the one that the
// task waited with if it is the task's, for its baggage, or else one that carries the
// task's span only, since a task does not keep its context.
func (t *Task) contextFor(ctx context.Context) context.Context {
	if TaskFromContext(ctx) == t {
		return trace.ContextWithSpan(ctx, t.span)
	}
	return trace.ContextWithSpan(context.Background(), t.span)
}
