package deadlockdetector

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

var _ view.DeadlockReader = (*detector)(nil)

func (p *detector) standing() []*deadlock.Deadlock {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.graph.Standing(nil)
}

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
		Resolved: make(map[string]int64, len(endings)), Inversions: p.potential.Load(), Dropped: make(map[report.Drop]int64),
	}
	for i, kind := range kinds {
		for j, confidence := range confidences {
			t.Found = append(t.Found, view.FoundTotal{Kind: kind, Confidence: confidence, Count: p.found[i][j].Load()})
		}
	}
	for i, how := range endings {
		t.Resolved[how] = p.resolved[i].Load()
	}
	for d := report.Used + 1; d < report.Drops; d++ {
		if n := p.dropped[d].Load(); n > 0 {
			t.Dropped[d] = n
		}
	}
	return t
}

// DetectorTables says how full the bounded tables are.
func (p *detector) DetectorTables() []view.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tables()
}
