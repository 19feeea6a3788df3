// Package waitgraph decides which of a set of tasks can never proceed.
//
// A task waits for groups, all of which must be satisfied (AND). A group is
// satisfied when holders of a total weight of at least its need can proceed: all
// of them (a lock with many readers), one of them (a select, a channel), or
// k of n (a semaphore). A task that waits for nothing can proceed.
//
// [Graph.Solve] reduces the graph (R. C. Holt, "Some deadlock properties of
// computer systems", ACM Computing Surveys 4(3), 1972): a task whose groups are
// all satisfied can proceed, and lets go of what it holds, until nothing changes.
// The reduction is monotone, so the order does not matter and the result is the
// greatest set of tasks none of which can leave it. A cycle is neither necessary
// nor sufficient for that (E. Knapp, "Deadlock detection in distributed
// databases", ACM Computing Surveys 19(4), 1987): with one free permit a cycle
// through a semaphore is harmless.
//
// What is not known counts as able to proceed: a group that names nobody is
// satisfied, and so is the share of a holder that is not in the graph. Missing
// knowledge can hide a deadlock but never invent one.
//
// The package is pure: no clock, no goroutine, no names of things. The SDK's
// tests and the collector's detector decide by the same code.
package waitgraph

import "iter"

// Task is a task of a Graph, numbered from 0 in the order of AddTask.
type Task int32

// Unknown is a holder of which nothing is known: it can proceed.
const Unknown Task = -1

// Holder is a task that must let go, and how much of the need it stands for.
type Holder struct {
	Task   Task
	Weight int64 // 0 means 1
}

// Graph is a wait-for graph. The zero value is empty and ready. A Graph keeps its
// memory over Reset, and is not safe for concurrent use.
type Graph struct {
	tasks   int
	groups  []group
	holders []edge // of all groups, one after the other

	// Made by Solve.
	byHolder  []edge  // the same edges, sorted by who holds
	firstEdge []int32 // of each task, into byHolder
	open      []int32 // groups of each task that are not satisfied
	queue     []Task
	indexed   bool // byHolder and firstEdge are up to date
	solved    bool

	search search
}

type group struct {
	waiter    Task
	need      int64 // without the share of unknown holders
	missing   int64 // after Solve: the part of the need that can never proceed
	first     int32 // of its holders
	off       bool  // see Enable
	satisfied bool
}

type edge struct {
	group  int32
	holder Task
	weight int64
}

// Reset empties the graph.
func (g *Graph) Reset() {
	g.tasks, g.groups, g.holders = 0, g.groups[:0], g.holders[:0]
	g.indexed, g.solved = false, false
}

// AddTask adds a task that waits for nothing yet.
func (g *Graph) AddTask() Task {
	g.indexed, g.solved = false, false
	g.tasks++
	return Task(g.tasks - 1)
}

// Tasks returns how many tasks there are.
func (g *Graph) Tasks() int { return g.tasks }

// Edges returns how many known holders all groups have together.
func (g *Graph) Edges() int { return len(g.holders) }

// Wait makes a task wait until holders of the weight need can proceed; a need of
// 0, or of more than there is, means all of them. Several calls for one task mean
// that all must be satisfied. Wait returns the number of the group: they are numbered
// from 0 in the order of the calls.
func (g *Graph) Wait(waiter Task, need int64, holders ...Holder) int {
	g.indexed, g.solved = false, false
	first := int32(len(g.holders))
	index := int32(len(g.groups))
	var total, free int64
	for _, h := range holders {
		weight := h.Weight
		if weight <= 0 {
			weight = 1
		}
		total += weight
		if h.Task < 0 || int(h.Task) >= g.tasks {
			free += weight
			continue
		}
		g.holders = append(g.holders, edge{group: index, holder: h.Task, weight: weight})
	}
	if need <= 0 || need > total {
		need = total
	}
	g.groups = append(g.groups, group{waiter: waiter, need: need - free, first: first})
	return int(index)
}

// Enable says whether a group counts. One that does not is satisfied. Each group counts
// until Enable says otherwise.
func (g *Graph) Enable(group int, counts bool) {
	g.solved = false
	g.groups[group].off = !counts
}

// Holders goes through the known holders of a group, each with the waiter.
func (g *Graph) Holders(group int) iter.Seq2[Task, Task] {
	return func(yield func(waiter, holder Task) bool) {
		for _, e := range g.holdersOf(int32(group)) {
			if !yield(g.groups[group].waiter, e.holder) {
				return
			}
		}
	}
}

// holdersOf returns the edges of a group.
func (g *Graph) holdersOf(i int32) []edge {
	end := len(g.holders)
	if int(i)+1 < len(g.groups) {
		end = int(g.groups[i+1].first)
	}
	return g.holders[g.groups[i].first:end]
}

// Solve finds the tasks that can never proceed, in time linear in the edges.
func (g *Graph) Solve() {
	g.index()
	g.search.listed = false
	g.open = grow(g.open, g.tasks)
	for i := range g.groups {
		gr := &g.groups[i]
		gr.missing, gr.satisfied = gr.need, gr.need <= 0 || gr.off
		if !gr.satisfied {
			g.open[gr.waiter]++
		}
	}
	g.queue = g.queue[:0]
	for t := range g.open {
		if g.open[t] == 0 {
			g.queue = append(g.queue, Task(t))
		}
	}
	for len(g.queue) > 0 {
		t := g.queue[len(g.queue)-1]
		g.queue = g.queue[:len(g.queue)-1]
		for _, e := range g.byHolder[g.firstEdge[t]:g.firstEdge[t+1]] {
			gr := &g.groups[e.group]
			if gr.satisfied {
				continue
			}
			if gr.missing -= e.weight; gr.missing > 0 {
				continue
			}
			gr.satisfied = true
			if g.open[gr.waiter]--; g.open[gr.waiter] == 0 {
				g.queue = append(g.queue, gr.waiter)
			}
		}
	}
	g.solved = true
}

// index sorts the edges by their holder (a counting sort).
func (g *Graph) index() {
	if g.indexed {
		return
	}
	g.indexed = true
	g.firstEdge = grow(g.firstEdge, g.tasks+1)
	for _, e := range g.holders {
		g.firstEdge[e.holder+1]++
	}
	for t := range g.tasks {
		g.firstEdge[t+1] += g.firstEdge[t]
	}
	if cap(g.byHolder) < len(g.holders) {
		g.byHolder = make([]edge, len(g.holders))
	}
	g.byHolder = g.byHolder[:len(g.holders)]
	// Filling moves each start to the next task's; one shift puts them back.
	for _, e := range g.holders {
		g.byHolder[g.firstEdge[e.holder]] = e
		g.firstEdge[e.holder]++
	}
	copy(g.firstEdge[1:], g.firstEdge[:g.tasks])
	g.firstEdge[0] = 0
}

// Stuck reports whether a task can never proceed. Call Solve first.
func (g *Graph) Stuck(t Task) bool {
	return g.solved && t >= 0 && int(t) < len(g.open) && g.open[t] > 0
}

// AnyStuck reports whether there is such a task.
func (g *Graph) AnyStuck() bool {
	for t := range g.tasks {
		if g.Stuck(Task(t)) {
			return true
		}
	}
	return false
}

// grow returns s with n zeros.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}
