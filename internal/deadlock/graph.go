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
//
// A shared resource is a node, too. Who waits for it waits for the node, and the node
// waits for any one of those that claim the resource. So there are as many edges as waits
// and claims together, where each wait for itself would have one to each claimant.
type subgraph struct {
	waitgraph.Graph
	tasks     []*fleet.Task // by number; nil: a resource
	resources map[string]waitgraph.Task
	names     []string           // of the resources, as the nodes came
	holders   []waitgraph.Holder // of the wait that is being added
}

func (g *subgraph) add(t *fleet.Task) waitgraph.Task {
	g.tasks = append(g.tasks, t)
	return g.AddTask()
}

// resource returns the node of a shared resource.
func (g *subgraph) resource(name string) waitgraph.Task {
	n, in := g.resources[name]
	if !in {
		if g.resources == nil {
			g.resources = make(map[string]waitgraph.Task)
		}
		n = g.add(nil)
		g.resources[name] = n
		g.names = append(g.names, name)
	}
	return n
}

// weight counts the tasks among the nodes.
func (g *subgraph) weight(n waitgraph.Task) int {
	if g.tasks[n] == nil {
		return 0
	}
	return 1
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
func (d *Detector) explore(seeds iter.Seq[int], resources []string) *subgraph {
	g := new(subgraph)
	d.numbers.next(d.table.Slots())
	for slot := range seeds {
		d.reach(g, d.table.InSlot(slot))
	}
	for _, name := range resources {
		g.resource(name)
	}
	d.connect(g, func(id report.TaskID) waitgraph.Task { return d.reach(g, d.table.Task(id)) })
	return g
}

// connect adds what the nodes of a graph wait for. find looks up the number of a holder,
// and may add nodes.
func (d *Detector) connect(g *subgraph, find func(report.TaskID) waitgraph.Task) {
	resource := 0
	for i := 0; i < len(g.tasks); i++ {
		if t := g.tasks[i]; t != nil {
			for _, w := range t.Waits {
				d.addWait(g, waitgraph.Task(i), w, find)
			}
			continue
		}
		d.addClaims(g, waitgraph.Task(i), g.names[resource], find)
		resource++
	}
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

// addWait makes a task wait for the holders of one of its waits, or for the shared
// resource. It returns the number of the group, or -1 if the wait does not hold the task
// up because anybody unknown may end it.
func (d *Detector) addWait(g *subgraph, waiter waitgraph.Task, w *fleet.Wait, find func(report.TaskID) waitgraph.Task) int {
	g.holders = g.holders[:0]
	switch {
	case !w.Complete:
	case shared(w):
		g.holders = append(g.holders, waitgraph.Holder{Task: g.resource(w.ResourceID), Weight: 1})
	default:
		for id, weight := range d.obstacles(w) {
			g.holders = append(g.holders, waitgraph.Holder{Task: find(id), Weight: weight})
		}
	}
	if len(g.holders) == 0 {
		return -1
	}
	return g.Wait(waiter, need(w), g.holders...)
}

// addClaims makes a shared resource wait for any of those who claim it. One that nobody
// claims is free.
func (d *Detector) addClaims(g *subgraph, resource waitgraph.Task, name string, find func(report.TaskID) waitgraph.Task) {
	g.holders = g.holders[:0]
	for id := range d.claimants(name) {
		n := find(id)
		if n == waitgraph.Unknown {
			return
		}
		g.holders = append(g.holders, waitgraph.Holder{Task: n, Weight: 1})
	}
	if len(g.holders) > 0 {
		g.Wait(resource, 1, g.holders...)
	}
}

// claimants are the tasks that hold a shared resource now, each with its hold. There are
// none if not all of them are known.
func (d *Detector) claimants(resource string) iter.Seq2[report.TaskID, report.Hold] {
	return func(yield func(report.TaskID, report.Hold) bool) {
		of := d.claims.holders(resource)
		if of == nil {
			return
		}
		for id, hold := range of.all() {
			if !d.over(id, hold, d.now) && !yield(id, hold) {
				return
			}
		}
	}
}

// holders are those who hold what w waits for, with their weights. There are none if
// others may end the wait, too.
func (d *Detector) holders(w *fleet.Wait) iter.Seq2[report.TaskID, int64] {
	return func(yield func(report.TaskID, int64) bool) {
		switch {
		case !w.Complete:
		case shared(w):
			for id := range d.claimants(w.ResourceID) {
				if !yield(id, 1) {
					return
				}
			}
		default:
			for i := range w.Holders {
				if !yield(w.Holders[i].Task, w.Holders[i].Weight) {
					return
				}
			}
		}
	}
}

// obstacles are the holders of a wait that is not for a shared resource, for the graph. A
// holder that has ended releases nothing, so in its place stands a task that is stuck: the
// one that has waited behind it longest, which thereby waits for itself.
func (d *Detector) obstacles(w *fleet.Wait) iter.Seq2[report.TaskID, int64] {
	return func(yield func(report.TaskID, int64) bool) {
		for i := range w.Holders {
			h := &w.Holders[i]
			id := h.Task
			if h.Ended {
				id = d.left.first(w)
			}
			if !yield(id, h.Weight) {
				return
			}
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

// members are the tasks among some nodes.
func (g *subgraph) members(nodes []waitgraph.Task) []*fleet.Task {
	members := make([]*fleet.Task, 0, len(nodes))
	for _, n := range nodes {
		if t := g.tasks[n]; t != nil {
			members = append(members, t)
		}
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
		waits += len(t.Waits)
		for _, w := range t.Waits {
			if len(edges) >= limit {
				break
			}
			for id := range d.holders(w) {
				if len(edges) >= limit {
					break
				}
				edges = append(edges, Edge{Waiter: t, Wait: w, Holder: id, Known: d.table.Task(id)})
			}
		}
	}
	return edges, waits
}
