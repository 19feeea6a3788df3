package inspect

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// Deadlocks returns the deadlocks among tasks and goroutines of this process. It reads
// every wait twice and uses only what is the same in both readings. It assumes that
// anything unknown can proceed, and that a wait with a deadline ends by itself. It sees
// only waits on the primitives of this package, in this process. Its cost is
// proportional to the number of waits. Any goroutine that can still run can call it.
//
// A deadlock is certain only if holds of each kind in it have been released before,
// always by the goroutine that took them, and ends of channels used by the goroutine
// that opened them; see [Deadlock.Confidence].
func Deadlocks() []Deadlock {
	if !compiledIn {
		return nil
	}
	at := now()
	views := slices.DeleteFunc(openWaits(at, nil), func(v waitView) bool {
		g := guessOf(v.call)
		return g != nil && !g.waiting()
	})
	innermost := make(map[uint64]int, len(views)) // by goroutine, an index into views
	for i, v := range views {
		if old, ok := innermost[v.goroutine]; !ok || views[old].start <= v.start {
			innermost[v.goroutine] = i
		}
	}
	var (
		g      waitgraph.Graph                   // of all waits
		sure   waitgraph.Graph                   // of those that are not inferred; the same numbers
		tasks  = make(map[uint64]waitgraph.Task) // by goroutine
		of     []int                             // view of each task
		before = make(map[uint64]holderSet)
	)
	for goroutine, i := range innermost {
		tasks[goroutine] = g.AddTask()
		sure.AddTask()
		of = append(of, i)
		var s holderSet
		views[i].holders(&s)
		before[goroutine] = s
	}
	for goroutine, i := range innermost {
		v := &views[i]
		var s holderSet
		v.holders(&s)
		if !s.complete || v.deadline() != 0 || !equalSets(s, before[goroutine]) || !stillOpen(v.id, goroutine) {
			continue // can proceed, as far as is known
		}
		holders := make([]waitgraph.Holder, 0, len(s.list))
		for _, h := range s.list {
			holders = append(holders, waitgraph.Holder{Task: holderTask(tasks, h), Weight: h.weight})
		}
		g.Wait(tasks[goroutine], s.need, holders...)
		if !s.inferred && !before[goroutine].inferred {
			sure.Wait(tasks[goroutine], s.need, holders...)
		}
	}
	g.Solve()
	sure.Solve()
	// A core of the sure waits may be in a larger one of all waits, whose other tasks
	// are then behind it.
	var (
		found   []Deadlock
		certain = make(map[waitgraph.Task]bool)
	)
	for _, core := range sure.Cores() {
		for _, t := range core {
			certain[t] = true
		}
		found = append(found, describe(taskspan.Certain, core, sure.Cycle(core), &g, views, of))
	}
	for _, core := range g.Cores() {
		if !slices.ContainsFunc(core, func(t waitgraph.Task) bool { return certain[t] }) {
			found = append(found, describe(taskspan.Suspected, core, g.Cycle(core), &g, views, of))
		}
	}
	return found
}

// holderTask returns the node of a holder: unknown, and so able to proceed, if it
// does not wait, or if its hold ends by itself.
func holderTask(tasks map[uint64]waitgraph.Task, h holder) waitgraph.Task {
	if h.ends != 0 {
		return waitgraph.Unknown
	}
	goroutine := h.goroutine
	if h.task != nil {
		goroutine = h.task.goroutine.Load()
	}
	if t, ok := tasks[goroutine]; ok && goroutine != 0 {
		return t
	}
	return waitgraph.Unknown
}

// equalSets compares holders in any order.
func equalSets(a, b holderSet) bool {
	if len(a.list) != len(b.list) || a.need != b.need || a.complete != b.complete {
		return false
	}
	return !slices.ContainsFunc(a.list, notAmong(b.list)) && !slices.ContainsFunc(b.list, notAmong(a.list))
}

// describe makes a deadlock of a core and its cycle. g has all waits.
func describe(
	sure taskspan.Confidence, core, cycle []waitgraph.Task, g *waitgraph.Graph, views []waitView, of []int,
) Deadlock {
	d := Deadlock{Confidence: sure, Size: len(core), Victims: len(g.Behind(core))}
	for _, t := range cycle {
		d.Cycle = append(d.Cycle, views[of[t]].taskInfo())
	}
	for _, t := range core {
		d.Cancellable = d.Cancellable || views[of[t]].cancellable()
	}
	return d
}

// taskInfo describes the goroutine that waits.
func (w *waitView) taskInfo() TaskInfo {
	if w.task != nil {
		i := w.task.info(nil)
		i.Goroutine, i.State, i.Wait = w.goroutine, "blocked", w.info()
		return i
	}
	return TaskInfo{State: "blocked", Goroutine: w.goroutine, Start: w.start.time(), Name: goroutineName(w), Wait: w.info()}
}
