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
	if r.Task != nil && (r.Task.State == taskspan.Deadlocked || r.Task.Deadlock != "") {
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

// learnDeadlocks reads from a detector's spans how sure it is that tasks are in a
// deadlock, and which are in none any more.
func (p *taskState) learnDeadlocks(spans ptrace.SpanSlice, now time.Time) {
	for _, span := range spans.All() {
		var confidence taskspan.Confidence
		switch span.Name() {
		case taskspan.SpanDeadlock:
			confidence = confidenceOf(span)
		case taskspan.SpanDeadlockResolved:
		default:
			continue
		}
		p.live.mu.Lock()
		p.live.now = now
		for _, link := range span.Links().All() {
			p.live.table.Judge(report.TaskID{Trace: link.TraceID(), Span: link.SpanID()}, confidence, span.EndTimestamp().AsTime(), now)
		}
		p.live.mu.Unlock()
	}
}

// confidenceOf is how sure a detector is of a deadlock. One that does not say it may guess.
func confidenceOf(span ptrace.Span) taskspan.Confidence {
	if v, ok := span.Attributes().Get(taskspan.DeadlockConfidence); ok {
		if c := taskspan.ConfidenceOf(v.Str()); c != "" {
			return c
		}
	}
	return taskspan.Suspected
}
