package adaptivesampler

import (
	"cmp"
	"math"
	"slices"
)

// cost is what a trace takes of each budget.
type cost [3]float64 // spans, bytes, traces

func (c *cost) add(o cost) {
	for i := range c {
		c[i] += o[i]
	}
}

// candidate is a trace that is due.
type candidate struct {
	shard, slot int32
	cost        cost
	// u is 1 less the randomness, as a part of 1: kept if below its probability.
	u       float64
	key     string
	policy  *policy // the first that matches, or nil
	group   int32
	forced  bool // by an override: it has a rate of its own
	dropped bool // by a policy
	// p is the result: its probability, before what it came with.
	p float64
}

// group is the traces that share a rate.
type group struct {
	key      string
	cost     cost
	min, max float64
	p        float64
	kept     float64 // spans
}

// otherKeys is the key of all that are not among the heaviest.
const otherKeys = "other"

// allocator shares a budget among the traces that are due in one tick. All of them
// are known before it has to, so it needs no forecast.
type allocator struct {
	min, max   float64
	allocation Allocation
	strict     bool
	maxKeys    int

	groups []group
	index  map[groupKey]int32
	order  []int32
}

type groupKey struct {
	key    string
	policy *policy
}

// share sets the probability of every candidate. budget is what may be spent, in each
// of its kinds; +Inf is no limit. It returns what is expected to be spent, and whether
// the lowest rates alone take more than there is.
func (a *allocator) share(due []candidate, budget cost) (infeasible bool) {
	for i := range due {
		if c := &due[i]; c.forced {
			c.p = c.policy.rate
			if c.u < c.p || c.p >= 1 {
				for k := range budget {
					budget[k] -= c.cost[k]
				}
			}
		}
	}
	a.group(due)
	for i := range a.groups {
		a.groups[i].p = a.groups[i].max
	}
	for k := range budget {
		if !math.IsInf(budget[k], 1) {
			infeasible = a.fill(k, budget[k]) || infeasible
		}
	}
	level := 1.0
	if a.strict {
		level = a.cut(due, budget)
	}
	for i := range a.groups {
		g := &a.groups[i]
		g.p = max(g.min, g.p*level)
	}
	for i := range due {
		if c := &due[i]; !c.forced && !c.dropped {
			c.p = a.groups[c.group].p
		}
	}
	return infeasible
}

// group finds the traces that share a rate: those of one key, and of one policy with
// rates of its own. Past maxKeys the lightest share one.
func (a *allocator) group(due []candidate) {
	a.groups = a.groups[:0]
	if a.index == nil {
		a.index = make(map[groupKey]int32)
	}
	clear(a.index)
	for i := range due {
		c := &due[i]
		if c.forced || c.dropped {
			continue
		}
		k := groupKey{key: c.key, policy: c.policy}
		n, known := a.index[k]
		if !known {
			n = int32(len(a.groups))
			a.index[k] = n
			g := group{key: c.key, min: a.min, max: a.max}
			if p := c.policy; p != nil {
				if p.min >= 0 {
					g.min = p.min
				}
				if p.max >= 0 {
					g.max = p.max
				}
				// What a policy says stands above what the configuration says.
				if p.max >= 0 {
					g.min = min(g.min, g.max)
				}
				g.max = max(g.max, g.min)
			}
			a.groups = append(a.groups, g)
		}
		c.group = n
		a.groups[n].cost.add(c.cost)
	}
	if len(a.groups) > a.maxKeys {
		a.merge(due)
	}
}

// merge keeps the heaviest groups and makes one of the others.
func (a *allocator) merge(due []candidate) {
	a.order = a.order[:0]
	for i := range a.groups {
		a.order = append(a.order, int32(i))
	}
	slices.SortFunc(a.order, func(x, y int32) int {
		return cmp.Or(cmp.Compare(a.groups[y].cost[0], a.groups[x].cost[0]), cmp.Compare(a.groups[x].key, a.groups[y].key))
	})
	renumbered := make([]int32, len(a.groups))
	kept := make([]group, 0, a.maxKeys+1)
	for _, i := range a.order[:a.maxKeys] {
		renumbered[i] = int32(len(kept))
		kept = append(kept, a.groups[i])
	}
	other := group{key: otherKeys, min: a.min, max: a.max}
	for _, i := range a.order[a.maxKeys:] {
		renumbered[i] = int32(len(kept))
		other.cost.add(a.groups[i].cost)
	}
	a.groups = append(kept, other)
	for i := range due {
		if !due[i].forced && !due[i].dropped {
			due[i].group = renumbered[due[i].group]
		}
	}
}

// fill lowers the rates so that one kind of budget is met: it finds the level to which
// every key may be filled, between its lowest and its highest rate.
func (a *allocator) fill(kind int, budget float64) (infeasible bool) {
	spent := func(level float64) (sum float64) {
		for i := range a.groups {
			g := &a.groups[i]
			sum += g.cost[kind] * a.rate(g, kind, level)
		}
		return sum
	}
	if spent(math.Inf(1)) <= budget {
		return false
	}
	if spent(0) >= budget {
		for i := range a.groups {
			a.groups[i].p = min(a.groups[i].p, a.groups[i].min)
		}
		return spent(0) > budget
	}
	low, high := 0.0, 1.0
	for spent(high) < budget {
		low, high = high, high*2
	}
	for range 60 {
		if middle := (low + high) / 2; spent(middle) <= budget {
			low = middle
		} else {
			high = middle
		}
	}
	for i := range a.groups {
		g := &a.groups[i]
		g.p = min(g.p, a.rate(g, kind, low))
	}
	return false
}

// rate is that of a group which is filled to a level.
func (a *allocator) rate(g *group, kind int, level float64) float64 {
	c := g.cost[kind]
	if c <= 0 {
		return g.max
	}
	weight := 1.0
	switch a.allocation {
	case Sqrt:
		weight = math.Sqrt(c)
	case Proportional:
		weight = c
	}
	return min(g.max, max(g.min, level*weight/c))
}

// cut returns by how much all rates have to be lowered so that the traces that come
// out of it really fit.
//
// With rates that fit on average a tick can still keep more than the budget has. So
// the traces are put in the order of u/p, and taken until the first that does not fit;
// its rank is the level. The level of each trace that is taken depends on the others
// and not on its own randomness, so the adjusted counts stay unbiased (rank
// conditioning: N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation of
// arbitrary subset sums", JACM 54(6), 2007; E. Cohen, H. Kaplan, "Summarizing data
// using bottom-k sketches", PODC 2007). That needs the first that does not fit to end
// it, also if a later and smaller one would.
func (a *allocator) cut(due []candidate, budget cost) float64 {
	a.order = a.order[:0]
	for i := range due {
		c := &due[i]
		if c.forced || c.dropped {
			continue
		}
		g := &a.groups[c.group]
		switch {
		case c.u < g.min:
			// Its floor keeps it, whatever the level is.
			for k := range budget {
				budget[k] -= c.cost[k]
			}
		case c.u < g.p:
			a.order = append(a.order, int32(i))
		}
	}
	rank := func(i int32) float64 { return due[i].u / a.groups[due[i].group].p }
	slices.SortFunc(a.order, func(x, y int32) int { return cmp.Compare(rank(x), rank(y)) })
	for _, i := range a.order {
		for k := range budget {
			if budget[k] -= due[i].cost[k]; budget[k] < 0 {
				return rank(i)
			}
		}
	}
	return 1
}
