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

// writeSpans writes what has been found and has ended: for each deadlock a root span
// in a trace of its own, and a child of each stuck task in the trace of that. One that
// was suspected and is certain now is written again, with the same ids.
func writeSpans(td ptrace.Traces, found, ended []*deadlock.Deadlock, inversions []*deadlock.Inversion, now time.Time) {
	for _, dl := range found {
		if dl.Added != nil {
			writeChildren(td, dl, dl.Added)
			continue
		}
		root := scopeOf(td, dl.Core[0].Process).Spans().AppendEmpty()
		root.SetName(taskspan.SpanDeadlock)
		root.SetTraceID(pcommon.TraceID(dl.ID))
		root.SetSpanID(spanID(dl.ID, "root"))
		describe(root, dl)
		writeChildren(td, dl, dl.Core)
	}
	for _, dl := range ended {
		writeResolved(td, dl)
	}
	for _, v := range inversions {
		writeInversion(td, v, now)
	}
}

func writeChildren(td ptrace.Traces, dl *deadlock.Deadlock, tasks []*fleet.Task) {
	for _, t := range tasks[:min(len(tasks), maxChildren)] {
		span := scopeOf(td, t.Process).Spans().AppendEmpty()
		span.SetName(taskspan.SpanDeadlock)
		span.SetTraceID(t.ID.Trace)
		span.SetParentSpanID(t.ID.Span)
		span.SetSpanID(spanID(dl.ID, t.ID.String()))
		describe(span, dl)
		attrs := span.Attributes()
		attrs.PutStr(taskspan.TaskName, t.Name)
		if waits := dl.Waits[t.ID]; len(waits) > 0 {
			w := waits[0]
			attrs.PutStr(taskspan.WaitKind, string(w.Kind))
			attrs.PutStr(taskspan.WaitResourceName, w.ResourceName)
			putPlace(attrs, w.Place)
			putCallers(attrs, w.Callers)
		}
	}
}

// describe writes what the root and the children have in common.
func describe(span ptrace.Span, dl *deadlock.Deadlock) {
	span.SetKind(ptrace.SpanKindInternal)
	setTimes(span, dl.Since, dl.Found)
	span.Status().SetCode(ptrace.StatusCodeError)
	span.Status().SetMessage(dl.Headline())
	attrs := span.Attributes()
	attrs.PutStr(taskspan.TaskState, string(taskspan.Deadlocked))
	attrs.PutStr(taskspan.ErrorType, taskspan.ErrorDeadlock)
	attrs.PutStr(taskspan.DeadlockID, dl.ID.String())
	attrs.PutStr(taskspan.DeadlockConfidence, string(dl.Confidence))
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

// writeResolved tells the end, below the root span.
func writeResolved(td ptrace.Traces, dl *deadlock.Deadlock) {
	span := scopeOf(td, dl.Core[0].Process).Spans().AppendEmpty()
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

// writeInversion tells of a potential deadlock in the trace of the task that has
// completed it. It is no error: nothing hangs.
func writeInversion(td ptrace.Traces, v *deadlock.Inversion, now time.Time) {
	first := v.Orders[0]
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(taskspan.ServiceName, first.Service)
	rs.Resource().Attributes().PutStr(taskspan.ServiceInstanceID, first.Instance)
	scope := rs.ScopeSpans().AppendEmpty()
	scope.Scope().SetName(taskspan.ScopeDetector)
	scope.Scope().SetVersion(taskspan.Version)
	span := scope.Spans().AppendEmpty()
	span.SetName(taskspan.SpanPotentialDeadlock)
	span.SetKind(ptrace.SpanKindInternal)
	span.SetTraceID(first.Task.Trace)
	span.SetParentSpanID(first.Task.Span)
	span.SetSpanID(spanID(deadlock.ID(first.Task.Trace), v.CycleText()))
	setTimes(span, now, now)
	attrs := span.Attributes()
	attrs.PutStr(taskspan.DeadlockCycle, v.CycleText())
	attrs.PutStr(taskspan.DeadlockSuggestion, v.Suggestion())
	for _, o := range v.Orders[:min(len(v.Orders), maxLinks)] {
		l := span.Links().AppendEmpty()
		l.SetTraceID(o.Task.Trace)
		l.SetSpanID(o.Task.Span)
	}
}

// scopeOf returns the detector's scope below the resource of a process.
func scopeOf(td ptrace.Traces, process report.Process) ptrace.ScopeSpans {
	for i := td.ResourceSpans().Len() - 1; i >= max(0, td.ResourceSpans().Len()-8); i-- {
		rs := td.ResourceSpans().At(i)
		epoch, _ := rs.Resource().Attributes().Get(taskspan.ProcessEpoch)
		instance, _ := rs.Resource().Attributes().Get(taskspan.ServiceInstanceID)
		service, _ := rs.Resource().Attributes().Get(taskspan.ServiceName)
		if epoch.Type() == pcommon.ValueTypeInt && epoch.Int() == process.Epoch &&
			instance.Str() == process.Instance && service.Str() == process.Service {
			return rs.ScopeSpans().At(0)
		}
	}
	rs := td.ResourceSpans().AppendEmpty()
	attrs := rs.Resource().Attributes()
	attrs.PutStr(taskspan.ServiceName, process.Service)
	attrs.PutStr(taskspan.ServiceInstanceID, process.Instance)
	attrs.PutInt(taskspan.ProcessEpoch, process.Epoch)
	scope := rs.ScopeSpans().AppendEmpty()
	scope.Scope().SetName(taskspan.ScopeDetector)
	scope.Scope().SetVersion(taskspan.Version)
	return scope
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
