package waitgraph

import "slices"

// search is the state of the depth-first search for strongly connected
// components (R. Tarjan, 1972), with a stack of its own: a cycle of a million
// tasks must not end the goroutine's.
type search struct {
	next     []int32 // adjacency of the stuck tasks: starts into targets
	targets  []Task
	index    []int32 // order of visit, from 1; 0: not visited
	low      []int32
	onStack  []bool
	stack    []Task
	calls    []call
	groupsOf [][]int32 // of each stuck task, those that are not satisfied
}

type call struct {
	task Task
	edge int32
}

// Cores returns the smallest sets of tasks that are stuck by themselves: each is
// strongly connected (everyone in it waits, in the end, for everyone else in it)
// and would stay stuck if all others could proceed. Tasks that are stuck and in no
// core are victims, blocked behind one. Call Solve first. The tasks of a core are
// in ascending order, and the cores by their first task.
func (g *Graph) Cores() [][]Task {
	if !g.solved {
		return nil
	}
	var (
		cores [][]Task
		all   []Task
	)
	for t := range g.tasks {
		if g.Stuck(Task(t)) {
			all = append(all, Task(t))
		}
	}
	for sets := [][]Task{all}; len(sets) > 0; {
		set := sets[len(sets)-1]
		sets = sets[:len(sets)-1]
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
	}
	slices.SortFunc(cores, func(a, b []Task) int { return int(a[0] - b[0]) })
	return cores
}

// components returns the strongly connected components within a set of stuck
// tasks that have a cycle.
func (g *Graph) components(set []Task) [][]Task {
	s := &g.search
	g.adjacency(set)
	s.index, s.low, s.onStack = grow(s.index, g.tasks), grow(s.low, g.tasks), grow(s.onStack, g.tasks)
	s.stack, s.calls = s.stack[:0], s.calls[:0]
	var (
		found [][]Task
		order int32
	)
	visit := func(t Task) {
		order++
		s.index[t], s.low[t], s.onStack[t] = order, order, true
		s.stack = append(s.stack, t)
		s.calls = append(s.calls, call{task: t, edge: s.next[t]})
	}
	for _, root := range set {
		if s.index[root] != 0 {
			continue
		}
		visit(root)
		for len(s.calls) > 0 {
			c := &s.calls[len(s.calls)-1]
			t := c.task
			if c.edge < s.next[t+1] {
				to := s.targets[c.edge]
				c.edge++
				if s.index[to] == 0 {
					visit(to)
				} else if s.onStack[to] {
					s.low[t] = min(s.low[t], s.index[to])
				}
				continue
			}
			s.calls = s.calls[:len(s.calls)-1]
			if n := len(s.calls); n > 0 {
				caller := s.calls[n-1].task
				s.low[caller] = min(s.low[caller], s.low[t])
			}
			if s.low[t] == s.index[t] {
				if component := g.pop(t); component != nil {
					found = append(found, component)
				}
			}
		}
	}
	return found
}

// pop takes the component of which t was visited first off the stack. A single
// task that does not wait for itself is none.
func (g *Graph) pop(t Task) []Task {
	s := &g.search
	at := len(s.stack) - 1
	for s.stack[at] != t {
		at--
	}
	component := s.stack[at:]
	for _, member := range component {
		s.onStack[member] = false
	}
	s.stack = s.stack[:at]
	if len(component) == 1 && !slices.Contains(s.targets[s.next[t]:s.next[t+1]], t) {
		return nil
	}
	return slices.Clone(component)
}

// adjacency lists, for the tasks of a set, for whom in the set they wait.
func (g *Graph) adjacency(set []Task) {
	s := &g.search
	in := make([]bool, g.tasks)
	for _, t := range set {
		in[t] = true
	}
	s.next = grow(s.next, g.tasks+1)
	wanted := func(e edge) bool {
		gr := &g.groups[e.group]
		return !gr.satisfied && in[gr.waiter] && in[e.holder]
	}
	for _, e := range g.holders {
		if wanted(e) {
			s.next[g.groups[e.group].waiter+1]++
		}
	}
	for t := range g.tasks {
		s.next[t+1] += s.next[t]
	}
	s.targets = grow(s.targets, int(s.next[g.tasks]))
	at := slices.Clone(s.next)
	for _, e := range g.holders {
		if wanted(e) {
			waiter := g.groups[e.group].waiter
			s.targets[at[waiter]] = e.holder
			at[waiter]++
		}
	}
}

// stuckAlone returns the tasks of a component that stay stuck if everybody
// outside of it can proceed.
func (g *Graph) stuckAlone(component []Task) []Task {
	number := make(map[Task]Task, len(component))
	for i, t := range component {
		number[t] = Task(i)
	}
	var alone Graph
	for range component {
		alone.AddTask()
	}
	for _, t := range component {
		for _, i := range g.groupsOf(t) {
			missing := g.groups[i].missing
			var holders []Holder
			for _, e := range g.holdersOf(i) {
				if !g.Stuck(e.holder) {
					continue // has been subtracted from the need
				}
				if n, inside := number[e.holder]; inside {
					holders = append(holders, Holder{Task: n, Weight: e.weight})
				} else {
					missing -= e.weight
				}
			}
			if missing > 0 {
				alone.Wait(number[t], missing, holders...)
			}
		}
	}
	alone.Solve()
	var stuck []Task
	for i, t := range component {
		if alone.Stuck(Task(i)) {
			stuck = append(stuck, t)
		}
	}
	return stuck
}

// groupsOf returns the groups of a task that are not satisfied.
func (g *Graph) groupsOf(t Task) []int32 {
	s := &g.search
	if len(s.groupsOf) != g.tasks {
		s.groupsOf = make([][]int32, g.tasks)
		for i := range g.groups {
			if gr := &g.groups[i]; !gr.satisfied {
				s.groupsOf[gr.waiter] = append(s.groupsOf[gr.waiter], int32(i))
			}
		}
	}
	return s.groupsOf[t]
}

// Behind returns the tasks that are stuck because they wait, themselves or through
// others, for a task of a core. Call Solve first.
func (g *Graph) Behind(core []Task) []Task {
	if !g.solved {
		return nil
	}
	seen := make(map[Task]bool, len(core))
	for _, t := range core {
		seen[t] = true
	}
	var behind []Task
	for queue := slices.Clone(core); len(queue) > 0; {
		t := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, e := range g.byHolder[g.firstEdge[t]:g.firstEdge[t+1]] {
			gr := &g.groups[e.group]
			if gr.satisfied || seen[gr.waiter] {
				continue
			}
			seen[gr.waiter] = true
			behind = append(behind, gr.waiter)
			queue = append(queue, gr.waiter)
		}
	}
	return behind
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
