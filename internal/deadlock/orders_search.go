package deadlock

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

const (
	// maxInversion bounds the locks of one inversion that is looked for.
	maxInversion = 8
	// maxSteps bounds the rings that are tried for one new order.
	maxSteps = 10_000
	// maxWork bounds the work of one search, and maxFound what it finds. What is left is
	// for the next one.
	maxWork  = 2_000_000
	maxFound = 64

	none = -1 // the number of no class
)

// OrderSearch looks for the inversions that new orders complete. It is a copy of the
// orders, so it may run while others are added.
//
// A ring lies within a strongly connected component of the orders. In programs that take
// their locks in a consistent order there is none, which one pass over the orders shows.
// Within a component, only ways that lead back to the lock that is held first are followed.
type OrderSearch struct {
	orders   *Orders
	edges    []orderEdge
	fresh    []sighting
	classes  int
	out, in  [][]int32 // into edges, by the class that is held, and taken
	part     []int32   // the component of each class; 0: it is in no ring
	work     int
	cutShort int64
	found    []*Inversion
}

// orderEdge is an order in the copy.
type orderEdge struct {
	held, taken int32
	variants    []variant
}

// known reports whether the order had been seen when a variant with a number was.
func (e *orderEdge) known(number int64) bool {
	return slices.ContainsFunc(e.variants, func(v variant) bool { return v.number <= number })
}

// Search returns a search for what the new orders complete, or nil if there are none. Only
// one may be under way. [Orders.Done] ends it.
func (o *Orders) Search() *OrderSearch {
	if len(o.fresh) == 0 {
		return nil
	}
	s := &OrderSearch{orders: o, fresh: o.fresh, classes: int(o.numbers), edges: make([]orderEdge, 0, len(o.seen))}
	for _, e := range o.seen {
		s.edges = append(s.edges, orderEdge{e.held.number, e.taken.number, e.variants})
	}
	for i := range s.fresh {
		f := &s.fresh[i]
		if f.held = none; o.seen[f.key] != nil {
			f.held, f.taken = o.seen[f.key].held.number, o.seen[f.key].taken.number
		}
	}
	o.fresh = nil
	return s
}

// Done ends a search that has run.
func (o *Orders) Done(s *OrderSearch) {
	o.counters.CutShort += s.cutShort
	if room := o.limit - len(s.fresh); len(o.fresh) > room {
		o.counters.CutShort += int64(len(o.fresh) - room)
		o.fresh = o.fresh[:room]
	}
	o.fresh = append(s.fresh, o.fresh...)
}

// Run returns the inversions that are found, each once. It needs no lock.
func (s *OrderSearch) Run(now time.Time) []*Inversion {
	s.connect()
	s.work = maxWork
	r := ringSearch{OrderSearch: s, distance: make([]int8, s.classes)}
	for len(s.fresh) > 0 && s.work > 0 && len(s.found) < maxFound {
		f := s.fresh[0]
		s.fresh = s.fresh[1:]
		switch {
		case f.key.held == f.key.taken:
			s.report([]variant{f.variant}, now)
		case f.held == none: // it was forgotten
		case s.part[f.held] != 0 && s.part[f.held] == s.part[f.taken]:
			if r.through(f) {
				s.report(r.ring, now)
			}
		}
	}
	return s.found
}

// connect finds the components. An order is a wait of the class that is held for the one
// that is taken: what is not on the way to a ring is never stuck.
func (s *OrderSearch) connect() {
	slices.SortFunc(s.edges, func(a, b orderEdge) int { return cmp.Compare(a.variants[0].number, b.variants[0].number) })
	s.out, s.in = make([][]int32, s.classes), make([][]int32, s.classes)
	var g waitgraph.Graph
	for range s.classes {
		g.AddTask()
	}
	for i := range s.edges {
		e := &s.edges[i]
		s.out[e.held] = append(s.out[e.held], int32(i))
		s.in[e.taken] = append(s.in[e.taken], int32(i))
		g.Wait(waitgraph.Task(e.held), 1, waitgraph.Holder{Task: waitgraph.Task(e.taken)})
	}
	g.Solve()
	s.part = make([]int32, s.classes)
	for i, component := range g.Components() {
		for _, c := range component {
			s.part[c] = int32(i + 1)
		}
	}
}

// report makes an inversion of a ring, once for its locks: calls between processes are
// others each time.
func (s *OrderSearch) report(ring []variant, now time.Time) {
	v := &Inversion{Found: now}
	names := make([]string, 0, len(ring))
	for _, o := range ring {
		v.Orders = append(v.Orders, *o.Order)
		if c := o.held(); !isCall(c.name) {
			names = append(names, c.String())
		}
	}
	slices.Sort(names)
	key := strings.Join(names, "\x00\x00")
	if len(ring) == 1 {
		key = "recursive\x00" + key
	}
	reported := s.orders.reported // only searches use it
	if _, again := reported[key]; again || len(reported) >= s.orders.limit {
		return
	}
	reported[key] = struct{}{}
	s.found = append(s.found, v)
}

// ringSearch looks for a ring that a new order completes: of orders that were seen before
// it, so that each ring is found by its newest order.
type ringSearch struct {
	*OrderSearch
	last  sighting
	ring  []variant
	steps int
	// distance is one more than how many orders lead from a class back to the one that last
	// holds; 0: more than were followed. reached are the classes that have one.
	distance []int8
	reached  []int32
}

// through looks for a ring with the new order, the shortest ones first.
func (r *ringSearch) through(last sighting) bool {
	r.last, r.steps = last, maxSteps
	orders := r.measure(last.taken)
	found := orders > 0 && r.from(last.taken, orders)
	if !found && orders > 0 && orders < maxInversion-1 {
		r.measure(none)
		found = r.from(last.taken, maxInversion-1)
	}
	if r.steps <= 0 && !found {
		r.cutShort++
	}
	return found
}

// measure finds the distances of the classes from which the goal can be reached, until one
// class has been reached, and returns that one's distance. It returns 0 if it is too far.
func (r *ringSearch) measure(until int32) int {
	for _, c := range r.reached {
		r.distance[c] = 0
	}
	r.reached = append(r.reached[:0], r.last.held)
	r.distance[r.last.held] = 1
	for i := 0; i < len(r.reached); i++ {
		to := r.reached[i]
		next := r.distance[to] + 1
		if next > maxInversion {
			break
		}
		r.work -= len(r.in[to])
		for _, e := range r.in[to] {
			edge := &r.edges[e]
			if r.distance[edge.held] != 0 || r.part[edge.held] != r.part[to] || !edge.known(r.last.number) {
				continue
			}
			r.distance[edge.held] = next
			r.reached = append(r.reached, edge.held)
			if edge.held == until {
				return int(next) - 1
			}
		}
	}
	return 0
}

// from tries the rings that go on from a class with at most so many orders.
func (r *ringSearch) from(class int32, orders int) bool {
	r.ring = append(r.ring[:0], r.last.variant)
	return r.follow(class, orders, r.last.gates, []int32{r.last.held, class})
}

// follow goes on from a class that the last order of the ring takes. gates are the locks
// held on every step so far, and passed the classes of the ring.
func (r *ringSearch) follow(class int32, orders int, gates []string, passed []int32) bool {
	last := r.ring[len(r.ring)-1]
	if class == r.last.held {
		// Who takes the goal waits for the first of the ring, who holds it.
		return !(last.TakenReads && r.ring[0].HeldReads) && !gated(r.ring, gates)
	}
	for _, i := range r.out[class] {
		e := &r.edges[i]
		if d := r.distance[e.taken]; d == 0 || int(d) > orders || slices.Contains(passed[1:], e.taken) {
			continue // it does not lead back, or goes through the same lock again
		}
		for _, v := range e.variants {
			if v.number > r.last.number {
				continue
			}
			r.work--
			if r.steps--; r.steps <= 0 {
				return false
			}
			if last.TakenReads && v.HeldReads {
				continue // readers do not wait for each other
			}
			r.ring = append(r.ring, v)
			if r.follow(e.taken, orders-1, intersect(gates, v.gates), append(passed, e.taken)) {
				return true
			}
			r.ring = r.ring[:len(r.ring)-1]
		}
	}
	return false
}

// gated reports whether a lock outside of the ring is held on every step.
func gated(ring []variant, gates []string) bool {
	return slices.ContainsFunc(gates, func(g string) bool {
		return !slices.ContainsFunc(ring, func(v variant) bool { return v.held().String() == g })
	})
}

func intersect(a, b []string) []string {
	var both []string
	for _, x := range a {
		if _, found := slices.BinarySearch(b, x); found {
			both = append(both, x)
		}
	}
	return both
}
