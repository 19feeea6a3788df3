package deadlockdetector

import (
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// learn merges a report; mu is held.
func (p *detector) learn(r *report.Report, span ptrace.Span, now time.Time) (forward bool, drop report.Drop) {
	if drop = p.graph.Apply(r, now); drop != report.Used {
		return false, drop
	}
	if r.LockOrder != nil && p.cfg.Potential.Enabled {
		p.order(r.Process, r, now)
	}
	return p.forward(r, span), report.Used
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

// tell logs what has been found or has ended, once each.
func (p *detector) tell(found, ended []*deadlock.Deadlock, inversions []*deadlock.Inversion, now time.Time) {
	for _, dl := range found {
		if dl.Added != nil {
			continue // it has been told before it grew
		}
		p.logger.Warn(dl.Story(now)+"\n", zap.Stringer("deadlock", dl.ID))
	}
	for _, dl := range ended {
		p.logger.Info("A deadlock is over.", zap.Stringer("deadlock", dl.ID), zap.String("how", string(dl.How)),
			zap.Strings("services", dl.Services), zap.Duration("stood", dl.Ended.Sub(dl.Since).Round(time.Millisecond)))
	}
	for _, v := range inversions {
		p.logger.Warn(v.Story() + "\n")
	}
}
