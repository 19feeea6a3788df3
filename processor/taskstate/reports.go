package taskstate

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// takeReports applies the reports and removes those that do not go on, and what
// is empty without them.
func (p *taskState) takeReports(resources ptrace.ResourceSpansSlice, now time.Time) {
	resources.RemoveIf(func(rs ptrace.ResourceSpans) bool {
		removed := false
		rs.ScopeSpans().RemoveIf(func(scope ptrace.ScopeSpans) bool {
			if scope.Scope().Name() != taskspan.ScopeReport {
				return false
			}
			p.takeScope(rs, scope, now)
			removed = removed || scope.Spans().Len() == 0
			return scope.Spans().Len() == 0
		})
		return removed && rs.ScopeSpans().Len() == 0
	})
}

func (p *taskState) takeScope(rs ptrace.ResourceSpans, scope ptrace.ScopeSpans, now time.Time) {
	process, drop := report.DecodeProcess(rs.Resource().Attributes())
	if scope.Scope().Version() != taskspan.Version {
		drop = report.DropVersion
	}
	if drop != report.Used {
		p.live.dropped[drop].Add(int64(scope.Spans().Len()))
		p.logRefusal(rs.Resource().Attributes(), drop, now)
		scope.Spans().RemoveIf(func(ptrace.Span) bool { return true })
		return
	}
	scope.Spans().RemoveIf(func(span ptrace.Span) bool {
		r, drop := report.DecodeBy(p.live, process, span, now)
		news := false
		if drop == report.Used {
			news, drop = p.live.apply(&r, now)
		}
		if drop != report.Used {
			p.live.dropped[drop].Add(1)
			p.logRefusal(rs.Resource().Attributes(), drop, now)
			return true
		}
		return !p.forward(&r, news)
	})
}

// logRefusal logs the first refused report of a process.
func (p *taskState) logRefusal(resource pcommon.Map, drop report.Drop, now time.Time) {
	if process := report.Claimed(resource); p.refusals.News(process, now) {
		p.logger.Warn("Refused a report of a process; its live tasks, waits and counts may be incomplete. "+
			"Further refusals of this process are only counted, in otelcol_processor_task_state_dropped.",
			zap.String("service", process.Service), zap.String("instance", process.Instance),
			zap.Int64("epoch", process.Epoch), zap.Stringer("reason", drop))
	}
}

// forward decides whether a report goes on to the next component. The evidence of
// a deadlock always does.
func (p *taskState) forward(r *report.Report, news bool) bool {
	if r.Task != nil && r.Task.State == taskspan.Deadlocked {
		return true
	}
	switch p.cfg.ForwardReports {
	case ForwardAll:
		return true
	case ForwardFirstAndLast:
		return news && (r.Wait != nil || r.Task != nil)
	default:
		return false
	}
}

// learnDeadlocks reads from a detector's spans which tasks are deadlocked, and which
// no longer are.
func (p *taskState) learnDeadlocks(spans ptrace.SpanSlice, now time.Time) {
	for i := range spans.Len() {
		span := spans.At(i)
		in := span.Name() == taskspan.SpanDeadlock
		if !in && span.Name() != taskspan.SpanDeadlockResolved {
			continue
		}
		p.live.mu.Lock()
		for j := range span.Links().Len() {
			link := span.Links().At(j)
			p.live.now = now
			p.live.table.Condemn(report.TaskID{Trace: link.TraceID(), Span: link.SpanID()}, in, now)
		}
		p.live.mu.Unlock()
	}
}
