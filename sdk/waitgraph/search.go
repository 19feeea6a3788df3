package waitgraph

// search is the state of the depth-first search for strongly connected
// components (R. Tarjan, 1972), with a stack of its own: a cycle of a million
// tasks must not end the goroutine's. Its arrays are as long as the graph, and a search
// within a set touches only the places of that set.
type search struct {
	listed     bool
	firstGroup []int32 // of each task, into groupList
	groupList  []int32 // the groups of stuck tasks that are not satisfied

	in   []int32 // the number of the set that a task was put in last
	sets int32   // the number of the newest set

	first, end []int32 // the holders of each task within the set, in targets
	targets    []Task
	index      []int32 // order of visit, from 1; 0: not visited
	low        []int32
	onStack    []bool
	stack      []Task
	calls      []call

	open []int32 // stuckAlone: groups of each task that are not satisfied
	left []int64 // stuckAlone: what each group needs within the component

	cutShort int
}

type call struct {
	task Task
	edge int32
}

// groupsOf returns the groups of a stuck task that are not satisfied.
func (g *Graph) groupsOf(t Task) []int32 {
	s := &g.search
	if !s.listed {
		g.list()
	}
	return s.groupList[s.firstGroup[t]:s.firstGroup[t+1]]
}

// list sorts the groups that are not satisfied by their waiters, and makes room for a
// search.
func (g *Graph) list() {
	s := &g.search
	s.listed = true
	s.firstGroup = grow(s.firstGroup, g.tasks+1)
	for i := range g.groups {
		if gr := &g.groups[i]; !gr.satisfied {
			s.firstGroup[gr.waiter+1]++
		}
	}
	for t := range g.tasks {
		s.firstGroup[t+1] += s.firstGroup[t]
	}
	s.groupList = grow(s.groupList, int(s.firstGroup[g.tasks]))
	// Filling moves each start to the next task's; one shift puts them back.
	for i := range g.groups {
		if gr := &g.groups[i]; !gr.satisfied {
			s.groupList[s.firstGroup[gr.waiter]] = int32(i)
			s.firstGroup[gr.waiter]++
		}
	}
	copy(s.firstGroup[1:], s.firstGroup[:g.tasks])
	s.firstGroup[0] = 0

	s.in, s.sets = grow(s.in, g.tasks), 0
	s.first, s.end = grow(s.first, g.tasks), grow(s.end, g.tasks)
	s.index, s.low, s.onStack = grow(s.index, g.tasks), grow(s.low, g.tasks), grow(s.onStack, g.tasks)
	s.open, s.left = grow(s.open, g.tasks), grow(s.left, len(g.groups))
}

// enter makes a set the newest one.
func (s *search) enter(set []Task) {
	s.sets++
	for _, t := range set {
		s.in[t] = s.sets
	}
}

// strong calls emit for every strongly connected component within a set of stuck tasks,
// those that others wait for first. emit must not keep the component.
func (g *Graph) strong(set []Task, emit func(component []Task)) {
	if len(set) == 0 {
		return // as mostly: nothing is stuck
	}
	s := &g.search
	if !s.listed {
		g.list()
	}
	s.enter(set)
	s.targets = s.targets[:0]
	for _, t := range set {
		s.index[t] = 0
		s.first[t] = int32(len(s.targets))
		for _, i := range g.groupsOf(t) {
			for _, e := range g.holdersOf(i) {
				if s.in[e.holder] == s.sets {
					s.targets = append(s.targets, e.holder)
				}
			}
		}
		s.end[t] = int32(len(s.targets))
	}
	s.stack, s.calls = s.stack[:0], s.calls[:0]
	order := int32(0)
	visit := func(t Task) {
		order++
		s.index[t], s.low[t], s.onStack[t] = order, order, true
		s.stack = append(s.stack, t)
		s.calls = append(s.calls, call{task: t, edge: s.first[t]})
	}
	for _, root := range set {
		if s.index[root] != 0 {
			continue
		}
		visit(root)
		for len(s.calls) > 0 {
			c := &s.calls[len(s.calls)-1]
			t := c.task
			if c.edge < s.end[t] {
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
				emit(s.pop(t))
			}
		}
	}
}

// pop takes the component of which t was visited first off the stack.
func (s *search) pop(t Task) []Task {
	at := len(s.stack) - 1
	for s.stack[at] != t {
		at--
	}
	component := s.stack[at:]
	for _, member := range component {
		s.onStack[member] = false
	}
	s.stack = s.stack[:at]
	return component
}
