package deadlock

import (
	"iter"
	"strings"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// subgraph is a part of the wait-for graph. Only tasks with open waits are in it: all
// others can proceed.
type subgraph struct {
	waitgraph.Graph
	tasks   []*fleet.Task      // by number
	holders []waitgraph.Holder // of the wait that is being added
}

func (g *subgraph) add(t *fleet.Task) waitgraph.Task {
	g.tasks = append(g.tasks, t)
	return g.AddTask()
}

// numbers are those of the tasks in the subgraph that is being explored, by their
// slots. They are kept from one to the next; round tells the old ones apart.
type numbers struct {
	round uint32
	of    []numbered
}

type numbered struct {
	round  uint32
	number waitgraph.Task
}

// next forgets all numbers and makes room for slots.
func (n *numbers) next(slots int) {
	if n.round++; n.round == 0 || len(n.of) < slots {
		n.of, n.round = make([]numbered, slots+slots/4), 1
	}
}

func (n *numbers) get(slot int) (waitgraph.Task, bool) {
	e := n.of[slot]
	return e.number, e.round == n.round
}

// explore builds the part of the graph that can be reached from the seeds. All tasks
// that somebody in it waits for are in it, so whether one of them is stuck comes out
// as it would in the whole graph. It ends what number says of the one before.
func (d *Detector) explore(seeds iter.Seq[int]) *subgraph {
	g := new(subgraph)
	d.numbers.next(d.table.Slots())
	for slot := range seeds {
		d.reach(g, d.table.InSlot(slot))
	}
	find := func(id report.TaskID) waitgraph.Task { return d.reach(g, d.table.Task(id)) }
	for i := 0; i < len(g.tasks); i++ { // grows
		for _, w := range g.tasks[i].Waits {
			d.addWait(g, waitgraph.Task(i), w, find)
		}
	}
	return g
}

// reach returns the number of a task, which is put into the graph if it waits.
func (d *Detector) reach(g *subgraph, t *fleet.Task) waitgraph.Task {
	if t == nil || len(t.Waits) == 0 {
		return waitgraph.Unknown
	}
	n, in := d.numbers.get(t.Slot)
	if !in {
		n = g.add(t)
		d.numbers.of[t.Slot] = numbered{d.numbers.round, n}
	}
	return n
}

// number returns the number of a task in the subgraph that was explored last.
func (d *Detector) number(id report.TaskID) waitgraph.Task {
	if t := d.table.Task(id); t != nil {
		if n, in := d.numbers.get(t.Slot); in {
			return n
		}
	}
	return waitgraph.Unknown
}

// addWait makes a task wait for the holders of one of its waits, whose numbers find
// looks up. A wait that anybody unknown may end does not hold it up.
func (d *Detector) addWait(g *subgraph, waiter waitgraph.Task, w *fleet.Wait, find func(report.TaskID) waitgraph.Task) {
	g.holders = g.holders[:0]
	d.eachObstacle(w, func(id report.TaskID, weight int64) {
		g.holders = append(g.holders, waitgraph.Holder{Task: find(id), Weight: weight})
	})
	if len(g.holders) > 0 {
		g.Wait(waiter, need(w), g.holders...)
	}
}

// eachHolder calls fn for everybody who holds what w waits for. It calls it for
// nobody if others may end the wait, too.
func (d *Detector) eachHolder(w *fleet.Wait, fn func(id report.TaskID, weight int64)) {
	switch {
	case !w.Complete:
	case shared(w):
		for _, c := range d.claims.holders(w.ResourceID) {
			if !d.over(c, d.now) {
				fn(c.task, 1)
			}
		}
	default:
		for i := range w.Holders {
			fn(w.Holders[i].Task, w.Holders[i].Weight)
		}
	}
}

// eachObstacle is eachHolder for the graph. A holder that has ended releases nothing, so
// in its place stands a task that is stuck: the one that has waited behind it longest,
// which thereby waits for itself.
func (d *Detector) eachObstacle(w *fleet.Wait, fn func(id report.TaskID, weight int64)) {
	if !abandoned(w) {
		d.eachHolder(w, fn)
		return
	}
	if !w.Complete {
		return
	}
	for i := range w.Holders {
		id := w.Holders[i].Task
		if w.Holders[i].Ended {
			id = d.left.first(w)
		}
		fn(id, w.Holders[i].Weight)
	}
}

// shared reports whether a wait's holders are not in its report: they say so
// themselves, in any process.
func shared(w *fleet.Wait) bool {
	return strings.HasPrefix(w.ResourceID, taskspan.ResourceSpan) || strings.HasPrefix(w.ResourceID, taskspan.ResourceExternal)
}

// need is the weight of the holders that must let go. Any of the tasks that claim a
// shared resource may be the one that does.
func need(w *fleet.Wait) int64 {
	if shared(w) {
		return 1
	}
	return w.Need
}

func (g *subgraph) members(core []waitgraph.Task) []*fleet.Task {
	members := make([]*fleet.Task, 0, len(core))
	for _, n := range core {
		members = append(members, g.tasks[n])
	}
	return members
}

// Edge says that a task waits for another one.
type Edge struct {
	Waiter *fleet.Task
	Wait   *fleet.Wait
	Holder report.TaskID
	// Known is the holder, if it is blocked itself or runs for long; nil otherwise.
	Known *fleet.Task
}

// Edges returns at most limit edges, and how many waits there are.
func (d *Detector) Edges(limit int) (edges []Edge, waits int) {
	for _, t := range d.table.Tasks(nil) {
		for _, w := range t.Waits {
			waits++
			d.eachHolder(w, func(id report.TaskID, _ int64) {
				if len(edges) < limit {
					edges = append(edges, Edge{Waiter: t, Wait: w, Holder: id, Known: d.table.Task(id)})
				}
			})
		}
	}
	return edges, waits
}
