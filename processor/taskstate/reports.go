package taskstate

import (
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// learnReport merges a report; the lock of live is held.
func (p *taskState) learnReport(r *report.Report, _ ptrace.Span, now time.Time) (forward bool, drop report.Drop) {
	news, drop := p.live.apply(r, now)
	return drop == report.Used && p.forward(r, news), drop
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
