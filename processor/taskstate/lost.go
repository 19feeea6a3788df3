package taskstate

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// lostSpans makes the closing spans of lost tasks: what their own spans would have
// been, as far as reports have told it.
func lostSpans(tasks []*fleet.Task) ptrace.Traces {
	td := ptrace.NewTraces()
	scopes := make(map[report.Process]ptrace.ScopeSpans)
	for _, task := range tasks {
		scope, ok := scopes[task.Process]
		if !ok {
			rs := td.ResourceSpans().AppendEmpty()
			attrs := rs.Resource().Attributes()
			attrs.PutStr(taskspan.ServiceName, task.Process.Service)
			attrs.PutStr(taskspan.ServiceInstanceID, task.Process.Instance)
			attrs.PutInt(taskspan.ProcessEpoch, task.Process.Epoch)
			scope = rs.ScopeSpans().AppendEmpty()
			scope.Scope().SetName(taskspan.ScopeDetector)
			scope.Scope().SetVersion(taskspan.Version)
			scopes[task.Process] = scope
		}
		lostSpan(scope.Spans().AppendEmpty(), task)
	}
	return td
}

func lostSpan(span ptrace.Span, task *fleet.Task) {
	span.SetTraceID(task.ID.Trace)
	span.SetSpanID(task.ID.Span)
	span.SetParentSpanID(task.ParentSpan)
	span.SetName(task.Name)
	span.SetKind(ptrace.SpanKindInternal)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(task.Start))
	end := task.Seen()
	// Backends refuse spans that end as they begin.
	if !end.After(task.Start) {
		end = task.Start.Add(time.Microsecond)
	}
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
	span.Status().SetCode(ptrace.StatusCodeError)
	span.Status().SetMessage("the process went away without a goodbye")
	attrs := span.Attributes()
	attrs.PutStr(taskspan.TaskState, string(taskspan.Lost))
	attrs.PutStr(taskspan.ErrorType, taskspan.ErrorProcessLost)
	place := task.Place
	if len(task.Waits) > 0 {
		w := task.Waits[0]
		attrs.PutStr(taskspan.WaitKind, string(w.Kind))
		attrs.PutStr(taskspan.WaitResourceName, w.ResourceName)
		place = w.Place
	}
	if place.Function != "" {
		attrs.PutStr(taskspan.CodeFunctionName, place.Function)
	}
	if place.File != "" {
		attrs.PutStr(taskspan.CodeFilePath, place.File)
		attrs.PutInt(taskspan.CodeLineNumber, int64(place.Line))
	}
}
