//go:build !noinspect

package inspect

import (
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// Deadlocks looks for tasks and goroutines of this process that can never proceed.
// What it finds is real: it reads every wait twice and believes only what is the
// same in both readings, it takes everything that it does not know for able to
// proceed, and a wait with a deadline ends by itself. It sees waits on the
// primitives of this package, in this process only, and takes as long as there are
// waits. Any goroutine that can still run can call it.
func Deadlocks() []Deadlock {
	views := openWaits(now(), nil)
	innermost := make(map[uint64]int, len(views)) // by goroutine, an index into views
	for i, v := range views {
		if old, ok := innermost[v.goroutine]; !ok || views[old].start <= v.start {
			innermost[v.goroutine] = i
		}
	}
	var (
		g      waitgraph.Graph
		tasks  = make(map[uint64]waitgraph.Task) // by goroutine
		of     []int                             // view of each task
		before = make(map[uint64]holderSet)
	)
	for goroutine, i := range innermost {
		tasks[goroutine] = g.AddTask()
		of = append(of, i)
		var s holderSet
		views[i].on.holders(&views[i], &s)
		before[goroutine] = s
	}
	for goroutine, i := range innermost {
		v := &views[i]
		var s holderSet
		v.on.holders(v, &s)
		if !s.complete || v.deadline() != 0 || !equalSets(s, before[goroutine]) || !stillOpen(v.id, goroutine) {
			continue // can proceed, as far as is known
		}
		holders := make([]waitgraph.Holder, 0, len(s.list))
		for _, h := range s.list {
			holders = append(holders, waitgraph.Holder{Task: holderTask(tasks, h), Weight: h.weight})
		}
		g.Wait(tasks[goroutine], s.need, holders...)
	}
	g.Solve()
	return describe(&g, views, of)
}

// holderTask returns the node of a holder: unknown, and so able to proceed, if it
// does not wait.
func holderTask(tasks map[uint64]waitgraph.Task, h holder) waitgraph.Task {
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
next:
	for _, x := range a.list {
		for _, y := range b.list {
			if x.goroutine == y.goroutine && x.task == y.task && x.generation == y.generation && x.weight == y.weight {
				continue next
			}
		}
		return false
	}
	return true
}

func describe(g *waitgraph.Graph, views []waitView, of []int) []Deadlock {
	var (
		found []Deadlock
		stuck int
		core  int
	)
	for t := range g.Tasks() {
		if g.Stuck(waitgraph.Task(t)) {
			stuck++
		}
	}
	cores := g.Cores()
	for _, c := range cores {
		core += len(c)
	}
	for _, c := range cores {
		d := Deadlock{Size: len(c), Victims: stuck - core}
		for _, t := range g.Cycle(c) {
			d.Cycle = append(d.Cycle, views[of[t]].taskInfo())
		}
		found = append(found, d)
	}
	return found
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
