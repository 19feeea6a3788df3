package deadlockdetector

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
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

// DetectorTables says how full the bounded tables are.
func (p *detector) DetectorTables() []view.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tables()
}
