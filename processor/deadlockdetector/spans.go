package deadlockdetector

import (
	"crypto/sha256"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	// maxLinks bounds the links of one span, and maxChildren the spans of one deadlock.
	maxLinks    = 128
	maxChildren = 1000
)

// spanWriter gathers spans by the processes that they are about.
type spanWriter struct {
	td     ptrace.Traces
	scopes map[report.Process]ptrace.SpanSlice
	now    time.Time
}

// newSpans makes the spans for what has been found and has ended: for each deadlock a root
// span in a trace of its own, and a child of each stuck task in the trace of that. One that
// is more or less sure now is written again, with the same ids.
func newSpans(found, ended []*deadlock.Deadlock, inversions []*deadlock.Inversion, now time.Time) ptrace.Traces {
	w := spanWriter{td: ptrace.NewTraces(), scopes: make(map[report.Process]ptrace.SpanSlice), now: now}
	for _, dl := range found {
		if dl.Added != nil {
			w.children(dl, dl.Added)
			continue
		}
		root := w.span(dl.Core[0].Process)
		root.SetName(taskspan.SpanDeadlock)
		root.SetTraceID(pcommon.TraceID(dl.ID))
		root.SetSpanID(spanID(dl.ID, "root"))
		w.describe(root, dl)
		w.children(dl, dl.Core)
	}
	for _, dl := range ended {
		w.resolved(dl)
	}
	for _, v := range inversions {
		w.inversion(v)
	}
	return w.td
}

// span adds a span about a process. Its epoch is 0 if it does not matter.
func (w *spanWriter) span(process report.Process) ptrace.Span {
	spans, ok := w.scopes[process]
	if !ok {
		rs := w.td.ResourceSpans().AppendEmpty()
		attrs := rs.Resource().Attributes()
		attrs.PutStr(taskspan.ServiceName, process.Service)
		attrs.PutStr(taskspan.ServiceInstanceID, process.Instance)
		if process.Epoch != 0 {
			attrs.PutInt(taskspan.ProcessEpoch, process.Epoch)
		}
		scope := rs.ScopeSpans().AppendEmpty()
		scope.Scope().SetName(taskspan.ScopeDetector)
		scope.Scope().SetVersion(taskspan.Version)
		spans = scope.Spans()
		w.scopes[process] = spans
	}
	return spans.AppendEmpty()
}

func (w *spanWriter) children(dl *deadlock.Deadlock, tasks []*fleet.Task) {
	for _, t := range tasks[:min(len(tasks), maxChildren)] {
		span := w.span(t.Process)
		span.SetName(taskspan.SpanDeadlock)
		span.SetTraceID(t.ID.Trace)
		span.SetParentSpanID(t.ID.Span)
		span.SetSpanID(spanID(dl.ID, t.ID.String()))
		w.describe(span, dl)
		attrs := span.Attributes()
		attrs.PutStr(taskspan.TaskName, t.Name)
		if waits := dl.Waits[t.ID]; len(waits) > 0 {
			wait := waits[0]
			attrs.PutStr(taskspan.WaitKind, string(wait.Kind))
			attrs.PutStr(taskspan.WaitResourceName, wait.ResourceName)
			putPlace(attrs, wait.Place)
			putCallers(attrs, wait.Callers)
		}
	}
}

// describe writes what the root and the children have in common. They end when this is
// found: what is found later is said by spans that end later.
func (w *spanWriter) describe(span ptrace.Span, dl *deadlock.Deadlock) {
	span.SetKind(ptrace.SpanKindInternal)
	setTimes(span, dl.Since, w.now)
	span.Status().SetCode(ptrace.StatusCodeError)
	span.Status().SetMessage(dl.Headline())
	attrs := span.Attributes()
	mark(attrs, dl)
	attrs.PutStr(taskspan.ErrorType, taskspan.ErrorDeadlock)
	attrs.PutStr(taskspan.DeadlockID, dl.ID.String())
	attrs.PutStr(taskspan.DeadlockKind, string(dl.Kind))
	attrs.PutInt(taskspan.DeadlockSize, int64(len(dl.Core)))
	attrs.PutInt(taskspan.DeadlockVictims, int64(dl.Victims))
	services := attrs.PutEmptySlice(taskspan.DeadlockServices)
	for _, s := range dl.Services {
		services.AppendEmpty().SetStr(s)
	}
	attrs.PutStr(taskspan.DeadlockCycle, dl.CycleText())
	attrs.PutStr(taskspan.DeadlockSuggestion, dl.Suggestion())
	if dl.Cancellable {
		attrs.PutBool(taskspan.DeadlockCancellable, true)
	}
	if !dl.Ends.IsZero() {
		attrs.PutInt(taskspan.DeadlockEnds, dl.Ends.UnixNano())
	}
	link(span, dl)
}

func link(span ptrace.Span, dl *deadlock.Deadlock) {
	for _, t := range dl.Core[:min(len(dl.Core), maxLinks)] {
		l := span.Links().AppendEmpty()
		l.SetTraceID(t.ID.Trace)
		l.SetSpanID(t.ID.Span)
	}
}

// resolved tells the end, below the root span.
func (w *spanWriter) resolved(dl *deadlock.Deadlock) {
	span := w.span(dl.Core[0].Process)
	span.SetName(taskspan.SpanDeadlockResolved)
	span.SetKind(ptrace.SpanKindInternal)
	span.SetTraceID(pcommon.TraceID(dl.ID))
	span.SetParentSpanID(spanID(dl.ID, "root"))
	span.SetSpanID(spanID(dl.ID, "resolved"))
	setTimes(span, dl.Since, dl.Ended)
	attrs := span.Attributes()
	attrs.PutStr(taskspan.DeadlockID, dl.ID.String())
	attrs.PutStr(taskspan.DeadlockResolution, string(dl.How))
	link(span, dl)
}

// inversion tells of a potential deadlock in the trace of the task that has completed it.
// It is no error: nothing hangs.
func (w *spanWriter) inversion(v *deadlock.Inversion) {
	first := v.Orders[0]
	span := w.span(report.Process{Service: first.Service, Instance: first.Instance})
	span.SetName(taskspan.SpanPotentialDeadlock)
	span.SetKind(ptrace.SpanKindInternal)
	span.SetTraceID(first.Task.Trace)
	span.SetParentSpanID(first.Task.Span)
	span.SetSpanID(spanID(deadlock.ID(first.Task.Trace), v.CycleText()))
	setTimes(span, w.now, w.now)
	attrs := span.Attributes()
	attrs.PutStr(taskspan.DeadlockCycle, v.CycleText())
	attrs.PutStr(taskspan.DeadlockSuggestion, v.Suggestion())
	for _, o := range v.Orders[:min(len(v.Orders), maxLinks)] {
		l := span.Links().AppendEmpty()
		l.SetTraceID(o.Task.Trace)
		l.SetSpanID(o.Task.Span)
	}
}

// setTimes sets start and end; backends refuse spans that end as they begin.
func setTimes(span ptrace.Span, start, end time.Time) {
	if !end.After(start) {
		end = start.Add(time.Microsecond)
	}
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
}

// spanID derives a span's id, so that a deadlock that is found again after a restart
// gives the same spans again and not others.
func spanID(id deadlock.ID, of string) (span pcommon.SpanID) {
	sum := sha256.Sum256(append(id[:], of...))
	copy(span[:], sum[:])
	return span
}

func putCallers(attrs pcommon.Map, callers []report.Place) {
	if len(callers) == 0 {
		return
	}
	list := attrs.PutEmptySlice(taskspan.WaitCallers)
	for _, p := range callers {
		list.AppendEmpty().SetStr(p.Caller())
	}
}

func putPlace(attrs pcommon.Map, place report.Place) {
	if place.Function != "" {
		attrs.PutStr(taskspan.CodeFunctionName, place.Function)
	}
	if place.File != "" {
		attrs.PutStr(taskspan.CodeFilePath, place.File)
		attrs.PutInt(taskspan.CodeLineNumber, int64(place.Line))
	}
}
