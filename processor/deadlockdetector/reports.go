package deadlockdetector

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
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
		p.orders.Add(r.Process, r.LockOrder)
	}
	return p.forward(r, span), report.Used
}

// forward decides whether a report goes on. One of a task in a standing deadlock always
// does, and says how sure that is. Only if it is certain is the task deadlocked.
func (p *detector) forward(r *report.Report, span ptrace.Span) bool {
	if r.Wait == nil || !r.Wait.Open {
		return p.cfg.ForwardReports
	}
	dl := p.graph.Deadlocked(r.Task.ID)
	if dl == nil {
		return p.cfg.ForwardReports
	}
	mark(span.Attributes(), dl)
	return true
}

// mark writes what a deadlock means for a task of it.
func mark(attrs pcommon.Map, dl *deadlock.Deadlock) {
	attrs.PutStr(taskspan.TaskState, string(dl.TaskState()))
	attrs.PutStr(taskspan.DeadlockConfidence, string(dl.Confidence))
}

// searchOrders looks for the inversions that new orders of locks complete. Reports are
// merged meanwhile: mu is only held to copy the orders and to keep what was found.
func (p *detector) searchOrders(now time.Time) []*deadlock.Inversion {
	p.mu.Lock()
	search := p.orders.Search()
	p.mu.Unlock()
	if search == nil {
		return nil
	}
	found := search.Run(now)
	p.potential.Add(int64(len(found)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders.Done(search)
	p.inversions = append(p.inversions, found...)
	p.inversions = slices.Delete(p.inversions, 0, max(0, len(p.inversions)-p.cfg.MaxDeadlocks))
	return found
}

// maxStories bounds the deadlocks of one evaluation that are logged in words.
const maxStories = 20

// tell logs what has been found or has ended, once each.
func (p *detector) tell(found, ended []*deadlock.Deadlock, inversions []*deadlock.Inversion, now time.Time) {
	stories := 0
	for _, dl := range found {
		if dl.Added != nil {
			continue // it has been told before it grew, or one like it
		}
		if stories++; stories <= maxStories {
			p.logger.Warn(dl.Story(now)+"\n", zap.Stringer("deadlock", dl.ID))
		}
	}
	if more := stories - maxStories; more > 0 {
		p.logger.Warn("More deadlocks were found at the same time; the inspector and their spans show them", zap.Int("more", more))
	}
	for _, dl := range ended {
		p.logger.Info("A deadlock is over.", zap.Stringer("deadlock", dl.ID), zap.String("how", string(dl.How)),
			zap.Strings("services", dl.Services), zap.Duration("stood", dl.Ended.Sub(dl.Since).Round(time.Millisecond)))
	}
	for _, v := range inversions {
		p.logger.Warn(v.Story() + "\n")
	}
}
