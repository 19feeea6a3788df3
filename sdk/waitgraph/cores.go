package waitgraph

import "slices"

// maxRounds bounds the work of Cores, in visits of the whole graph.
const maxRounds = 64

// Cores returns the smallest sets of tasks that are stuck by themselves: each is
// strongly connected (everyone in it waits, in the end, for everyone else in it)
// and would stay stuck if all others could proceed. Tasks that are stuck and in no
// core are victims, blocked behind one. Call Solve first. The tasks of a core are
// in ascending order, and the cores by their first task.
//
// The work is linear in the graph, times how deeply sets that are stuck only in part lie
// within each other. Past a limit of that the search ends: see CutShort.
func (g *Graph) Cores() [][]Task {
	g.search.cutShort = 0
	if !g.solved {
		return nil
	}
	var cores [][]Task
	budget := maxRounds * (g.tasks + len(g.holders) + 1)
	for sets := [][]Task{g.allStuck()}; len(sets) > 0; {
		set := sets[len(sets)-1]
		sets = sets[:len(sets)-1]
		if budget < 0 {
			g.search.cutShort += len(set)
			continue
		}
		for _, component := range g.components(set) {
			stuck := g.stuckAlone(component)
			switch {
			case len(stuck) == len(component):
				slices.Sort(component)
				cores = append(cores, component)
			case len(stuck) > 0:
				sets = append(sets, stuck)
			}
		}
		budget -= len(set) + len(g.search.targets)
	}
	slices.SortFunc(cores, func(a, b []Task) int { return int(a[0] - b[0]) })
	return cores
}

// CutShort returns how many stuck tasks the last Cores has left unexamined because the
// search took too long. They may contain further cores.
func (g *Graph) CutShort() int { return g.search.cutShort }

// Components returns the strongly connected components of the stuck tasks that have a
// cycle: everyone in one waits, in the end, for everyone else in it. Call Solve first.
func (g *Graph) Components() [][]Task {
	return g.components(g.allStuck())
}

// allStuck returns the tasks that can never proceed.
func (g *Graph) allStuck() (all []Task) {
	for t := range g.tasks {
		if g.Stuck(Task(t)) {
			all = append(all, Task(t))
		}
	}
	return all
}

// components returns the strongly connected components within a set of stuck
// tasks that have a cycle.
func (g *Graph) components(set []Task) (found [][]Task) {
	if !g.solved {
		return nil
	}
	g.strong(set, func(component []Task) {
		t := component[0]
		if s := &g.search; len(component) > 1 || slices.Contains(s.targets[s.first[t]:s.end[t]], t) {
			found = append(found, slices.Clone(component))
		}
	})
	return found
}

// stuckAlone returns the tasks of a component that stay stuck if everybody
// outside of it can proceed. It is Solve within the component.
func (g *Graph) stuckAlone(component []Task) []Task {
	s := &g.search
	s.enter(component)
	queue := s.stack[:0]
	for _, t := range component {
		s.open[t] = 0
		for _, i := range g.groupsOf(t) {
			// What can proceed has been subtracted from the need.
			left := g.groups[i].missing
			for _, e := range g.holdersOf(i) {
				if g.Stuck(e.holder) && s.in[e.holder] != s.sets {
					left -= e.weight
				}
			}
			if s.left[i] = left; left > 0 {
				s.open[t]++
			}
		}
		if s.open[t] == 0 {
			queue = append(queue, t)
		}
	}
	for len(queue) > 0 {
		t := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, e := range g.byHolder[g.firstEdge[t]:g.firstEdge[t+1]] {
			gr := &g.groups[e.group]
			if gr.satisfied || s.in[gr.waiter] != s.sets || s.left[e.group] <= 0 {
				continue
			}
			if s.left[e.group] -= e.weight; s.left[e.group] > 0 {
				continue
			}
			if s.open[gr.waiter]--; s.open[gr.waiter] == 0 {
				queue = append(queue, gr.waiter)
			}
		}
	}
	s.stack = queue
	var stuck []Task
	for _, t := range component {
		if s.open[t] > 0 {
			stuck = append(stuck, t)
		}
	}
	return stuck
}

// Cycle returns a shortest cycle through the first task of a core: each task
// waits for the next, and the last for the first. It is for people; the core is
// the proof.
func (g *Graph) Cycle(core []Task) []Task {
	if len(core) == 0 {
		return nil
	}
	in := make(map[Task]bool, len(core))
	for _, t := range core {
		in[t] = true
	}
	start := core[0]
	before := make(map[Task]Task, len(core)) // whom a task was reached from
	for queue := []Task{start}; len(queue) > 0; queue = queue[1:] {
		t := queue[0]
		for _, i := range g.groupsOf(t) {
			for _, e := range g.holdersOf(i) {
				if e.holder == start {
					cycle := []Task{t}
					for t != start {
						t = before[t]
						cycle = append(cycle, t)
					}
					slices.Reverse(cycle)
					return cycle
				}
				if _, seen := before[e.holder]; in[e.holder] && !seen {
					before[e.holder] = t
					queue = append(queue, e.holder)
				}
			}
		}
	}
	return nil
}
