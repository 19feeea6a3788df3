package deadlock

import (
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// countVictims finds the tasks that are stuck behind the standing deadlocks, and counts
// them for those that are listed. found are brought up to date, too.
func (d *Detector) countVictims(found []*Deadlock) {
	d.victims = nil
	if len(d.standing) == 0 {
		return
	}
	g := d.explore(d.allSlots(), nil)
	g.Solve()
	var listed []*alike
	for _, a := range d.kinds.byID {
		if a.kept {
			listed = append(listed, a)
		}
	}
	cores := make([][]waitgraph.Task, len(listed))
	for i, a := range listed {
		for _, t := range d.record(a).Members() {
			if n := d.number(t.ID); n != waitgraph.Unknown {
				cores[i] = append(cores[i], n)
			}
		}
	}
	for i, victims := range g.CountBehind(cores, g.weight) {
		a := listed[i]
		a.victims, a.behind, a.told = victims, g.named(cores[i]), nil
	}
	for _, dl := range found {
		if a := d.kinds.byID[dl.ID]; a != nil {
			dl.Victims, dl.Behind, dl.Count = a.victims, a.behind, a.len()
		}
	}
	stuck := make([]waitgraph.Task, 0, len(d.of))
	for id := range d.of {
		if n := d.number(id); n != waitgraph.Unknown {
			stuck = append(stuck, n)
		}
	}
	d.victims = make(map[report.TaskID]struct{})
	for n := range g.EachBehind(stuck) {
		if t := g.tasks[n]; t != nil {
			d.victims[t.ID] = struct{}{}
		}
	}
}

// named are the tasks behind a core that are named.
func (g *subgraph) named(core []waitgraph.Task) (ids []report.TaskID) {
	for n := range g.EachBehind(core) {
		if t := g.tasks[n]; t != nil {
			if ids = append(ids, t.ID); len(ids) == MaxNamed {
				break
			}
		}
	}
	return ids
}

// Victims are the tasks that are stuck behind any standing deadlock and part of none, as
// of the last count. The map is immutable.
func (d *Detector) Victims() map[report.TaskID]struct{} { return d.victims }
