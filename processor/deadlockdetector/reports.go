package deadlockdetector

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// hasReports reports whether there is a report scope. It is all that happens to a
// batch of ordinary spans.
func hasReports(resources ptrace.ResourceSpansSlice) bool {
	for i := range resources.Len() {
		scopes := resources.At(i).ScopeSpans()
		for j := range scopes.Len() {
			if scopes.At(j).Scope().Name() == taskspan.ScopeReport {
				return true
			}
		}
	}
	return false
}

// takeReports learns from the reports, marks those of deadlocked tasks, and removes
// what does not go on and what is empty without it.
func (p *detector) takeReports(resources ptrace.ResourceSpansSlice, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	resources.RemoveIf(func(rs ptrace.ResourceSpans) bool {
		removed := false
		rs.ScopeSpans().RemoveIf(func(scope ptrace.ScopeSpans) bool {
			if scope.Scope().Name() != taskspan.ScopeReport {
				return false
			}
			p.takeScope(rs, scope, now)
			empty := scope.Spans().Len() == 0
			removed = removed || empty
			return empty
		})
		return removed && rs.ScopeSpans().Len() == 0
	})
}

func (p *detector) takeScope(rs ptrace.ResourceSpans, scope ptrace.ScopeSpans, now time.Time) {
	process, drop := report.DecodeProcess(rs.Resource().Attributes())
	if scope.Scope().Version() != taskspan.Version {
		drop = report.DropVersion
	}
	if drop != report.Used {
		p.dropped[drop].Add(int64(scope.Spans().Len()))
		p.logRefusal(rs.Resource().Attributes(), drop, now)
		scope.Spans().RemoveIf(func(ptrace.Span) bool { return true })
		return
	}
	scope.Spans().RemoveIf(func(span ptrace.Span) bool {
		r, drop := report.DecodeBy(p.graph.Table(), process, span, now)
		if drop == report.Used {
			drop = p.graph.Apply(&r, now)
		}
		if drop != report.Used {
			p.dropped[drop].Add(1)
			p.logRefusal(rs.Resource().Attributes(), drop, now)
			return true
		}
		p.reports[kindIndex(r.Kind())].Add(1)
		if r.Shortened {
			p.shortened.Add(1)
		}
		if r.LockOrder != nil && p.cfg.Potential.Enabled {
			p.order(process, &r, now)
		}
		return !p.forward(&r, span)
	})
}

// logRefusal logs the first refused report of a process.
func (p *detector) logRefusal(resource pcommon.Map, drop report.Drop, now time.Time) {
	if process := report.Claimed(resource); p.refusals.News(process, now) {
		p.logger.Warn("Refused a report of a process; its live tasks, waits and counts may be incomplete. "+
			"Further refusals of this process are only counted, in otelcol_processor_deadlock_detector_dropped.",
			zap.String("service", process.Service), zap.String("instance", process.Instance),
			zap.Int64("epoch", process.Epoch), zap.Stringer("reason", drop))
	}
}

// forward decides whether a report goes on, and marks it if its task is deadlocked.
func (p *detector) forward(r *report.Report, span ptrace.Span) bool {
	if r.Wait != nil && r.Wait.Open && p.graph.Deadlocked(r.Task.ID) != nil {
		span.Attributes().PutStr(taskspan.TaskState, string(taskspan.Deadlocked))
		return true
	}
	return p.cfg.ForwardReports
}

// order learns an order of locks, and keeps the inversion that it completes until
// the next evaluation.
func (p *detector) order(process report.Process, r *report.Report, now time.Time) {
	v := p.orders.Add(process, r.LockOrder, now)
	if v == nil {
		return
	}
	p.potential.Add(1)
	if len(p.inversions) >= p.cfg.MaxDeadlocks {
		p.inversions = append(p.inversions[:0], p.inversions[1:]...)
	}
	p.inversions = append(p.inversions, v)
	p.untold = append(p.untold, v)
}

func kindIndex(k taskspan.ReportKind) int {
	for i, known := range reportKinds {
		if k == known {
			return i
		}
	}
	return len(reportKinds) - 1
}

var reportKinds = [...]taskspan.ReportKind{
	taskspan.ReportWait, taskspan.ReportTask, taskspan.ReportHeartbeat, taskspan.ReportLockOrder,
}

// tell logs what has been found or has ended, once each.
func (p *detector) tell(found, ended []*deadlock.Deadlock, inversions []*deadlock.Inversion, now time.Time) {
	for _, dl := range found {
		if dl.Added != nil {
			continue // it has been told before it grew
		}
		p.logger.Warn(dl.Story(now)+"\n", zap.Stringer("deadlock", dl.ID))
	}
	for _, dl := range ended {
		p.logger.Info("A deadlock is over.", zap.Stringer("deadlock", dl.ID), zap.String("how", dl.How),
			zap.Strings("services", dl.Services), zap.Duration("stood", dl.Ended.Sub(dl.Since).Round(time.Millisecond)))
	}
	for _, v := range inversions {
		p.logger.Warn(v.Story() + "\n")
	}
}
