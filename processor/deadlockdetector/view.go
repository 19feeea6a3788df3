package deadlockdetector

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

var _ view.DeadlockReader = (*detector)(nil)

// Deadlocks returns those that stand, the oldest first, and those that are over, the
// newest first.
func (p *detector) Deadlocks() (standing, past []*deadlock.Deadlock) {
	p.mu.Lock()
	standing, past = p.graph.Standing(nil), p.graph.Past(nil)
	p.mu.Unlock()
	slices.SortFunc(standing, func(a, b *deadlock.Deadlock) int { return a.Since.Compare(b.Since) })
	slices.Reverse(past)
	return standing, past
}

// Victims returns the tasks that are stuck behind any standing deadlock and part of none.
func (p *detector) Victims() map[report.TaskID]struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.graph.Victims()
}

// Inversions returns the potential deadlocks, the newest first.
func (p *detector) Inversions() []*deadlock.Inversion {
	p.mu.Lock()
	all := slices.Clone(p.inversions)
	p.mu.Unlock()
	slices.Reverse(all)
	return all
}

// Graph returns who waits for whom, at most limit edges, and how many there are.
func (p *detector) Graph(limit int) ([]deadlock.Edge, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.graph.Edges(limit)
}

// DetectorTotals counts what has been found.
func (p *detector) DetectorTotals() view.DetectorTotals {
	t := view.DetectorTotals{
		Resolved: make(map[deadlock.Ending]int64, len(deadlock.Endings)), Inversions: p.potential.Load(), Dropped: p.intake.Dropped(),
	}
	counts := p.totals.shown()
	for i, kind := range deadlock.Kinds {
		for j, confidence := range deadlock.Confidences {
			t.Found = append(t.Found, view.FoundTotal{Kind: kind, Confidence: confidence, Count: counts.found[i][j]})
		}
	}
	for i, how := range deadlock.Endings {
		t.Resolved[how] = counts.resolved[i]
	}
	return t
}

// DetectorTables says how full the bounded tables are.
func (p *detector) DetectorTables() []view.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	reporting, gone, tasks, waits := p.graph.Table().Sizes()
	claims, standing, past, unproven := p.graph.Sizes()
	return []view.Table{
		{Name: "tasks", Size: tasks, Limit: p.cfg.MaxTasks, Setting: "max_tasks"},
		{Name: "waits", Size: waits, Limit: p.cfg.MaxTasks, Setting: "max_tasks"},
		{Name: "edges", Size: p.graph.Table().Edges(), Limit: p.cfg.MaxEdges, Setting: "max_edges"},
		{Name: "claims", Size: claims, Limit: p.cfg.MaxEdges, Setting: "max_edges"},
		{Name: "processes", Size: reporting, Limit: p.cfg.MaxProcesses, Setting: "max_processes"},
		{Name: "gone_processes", Size: gone, Limit: p.cfg.MaxProcesses},
		{Name: "gone_names", Size: p.graph.Table().GoneNames(), Limit: fleet.MaxGoneNames},
		{Name: "deadlocks", Size: standing + p.graph.NotKept(), Limit: p.cfg.MaxDeadlocks, Setting: "max_deadlocks"},
		{Name: "past_deadlocks", Size: past, Limit: p.cfg.MaxDeadlocks},
		{Name: "unproven", Size: unproven, Limit: p.cfg.MaxTasks},
		{Name: "lock_orders", Size: p.orders.Len(), Limit: p.cfg.Potential.MaxOrders, Setting: "potential::max_orders"},
	}
}

// DetectorProcesses returns all processes that are known.
func (p *detector) DetectorProcesses() []view.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.graph.Table().Processes(nil)
}

// DetectorCoverage says which processes of the SDK are heard.
func (p *detector) DetectorCoverage() view.Coverage {
	return view.Coverage{Since: p.since, Reports: p.intake.Total(), TurnedAway: p.intake.TurnedAway(), Unreported: p.gaps.Unreported()}
}
