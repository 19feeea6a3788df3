package deadlock

import (
	"strings"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// subgraph is the part of the wait-for graph that can be reached from some tasks.
// Only tasks with open waits are in it: all others can proceed.
type subgraph struct {
	waitgraph.Graph
	tasks   []*fleet.Task // by number
	number  map[report.TaskID]waitgraph.Task
	holders []waitgraph.Holder // of the wait that is being added
}

// explore builds the part of the graph that can be reached from the seeds. All tasks
// that somebody in it waits for are in it, so whether one of them is stuck comes out
// as it would in the whole graph.
func (d *Detector) explore(seeds []report.TaskID) *subgraph {
	g := &subgraph{number: make(map[report.TaskID]waitgraph.Task, len(seeds))}
	for _, id := range seeds {
		g.add(d.table.Task(id))
	}
	for i := 0; i < len(g.tasks); i++ {
		for _, w := range g.tasks[i].Waits {
			d.eachHolder(w, func(id report.TaskID, _ int64) { g.add(d.table.Task(id)) })
		}
	}
	for i, t := range g.tasks {
		for _, w := range t.Waits {
			d.addWait(g, waitgraph.Task(i), w)
		}
	}
	return g
}

func (g *subgraph) add(t *fleet.Task) {
	if t == nil || len(t.Waits) == 0 {
		return
	}
	if _, known := g.number[t.ID]; !known {
		g.number[t.ID] = g.AddTask()
		g.tasks = append(g.tasks, t)
	}
}

// addWait makes a task wait for the holders of one of its waits. A wait that
// anybody unknown may end does not hold it up.
func (d *Detector) addWait(g *subgraph, waiter waitgraph.Task, w *fleet.Wait) {
	g.holders = g.holders[:0]
	d.eachHolder(w, func(id report.TaskID, weight int64) {
		task, known := g.number[id]
		if !known {
			task = waitgraph.Unknown
		}
		g.holders = append(g.holders, waitgraph.Holder{Task: task, Weight: weight})
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
		for _, id := range d.claims.holders(w.ResourceID) {
			fn(id, 1)
		}
	default:
		for i := range w.Holders {
			fn(w.Holders[i].Task, w.Holders[i].Weight)
		}
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

// numbers are those of the tasks that are in the graph.
func (g *subgraph) numbers(tasks []*fleet.Task) []waitgraph.Task {
	numbers := make([]waitgraph.Task, 0, len(tasks))
	for _, t := range tasks {
		if n, in := g.number[t.ID]; in {
			numbers = append(numbers, n)
		}
	}
	return numbers
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
