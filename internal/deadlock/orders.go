package deadlock

import (
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	// maxVariants bounds what is kept of one order beside its first sight.
	maxVariants = 4
	// maxInversion bounds the locks of one inversion that is looked for.
	maxInversion = 8
	// maxSteps bounds the work of one search.
	maxSteps = 10_000
	// callsShare is the part of the orders that may be of calls between processes: one in
	// so many. The oldest of them make room, for a call is soon over.
	callsShare = 4
)

// Orders joins the orders in which the processes of a fleet take their locks, and
// finds those that contradict each other: one task takes B while it holds A, another
// one A while it holds B. Nothing hangs yet, but it can. It is the idea of the Linux
// kernel's lockdep (locks are known by class and not by instance, and each order is
// looked at once), over many processes and their restarts.
//
// An inversion is not reported when a further lock is held on every step of it (a
// gate lock lets only one of them in; K. Havelund, "Using runtime analysis to guide
// model checking of Java programs", SPIN 2000), nor when its tasks only read what
// they would wait for.
//
// A call from one process to another is in it as a lock: the caller takes it, and
// whoever answers it has it. So an order through two services is an order. Locks
// outside of the processes are the same for all services.
//
// A read lock that a goroutine takes twice is reported, too: a writer that comes in
// between waits for the first one and keeps the second one out.
//
// It is not safe for concurrent use.
type Orders struct {
	limit    int
	seen     map[orderKey]*order
	next     map[class][]*order // by the lock that is held
	calls    []orderKey         // of the orders with calls in them, oldest first
	reported map[string]struct{}
	counters OrderCounters
}

// OrderCounters are what has been seen and refused.
type OrderCounters struct {
	Refused   int64 // orders that found no room
	CutShort  int64 // searches that were given up
	Forgotten int64 // orders with calls in them that made room for newer ones
}

// class is a kind of lock in a service; the service is empty for what is the same in
// all of them.
type class struct{ service, name string }

func classOf(service, name string) class {
	if strings.HasPrefix(name, taskspan.ResourceExternal) || isCall(name) {
		service = ""
	}
	return class{service, name}
}

func (c class) String() string { return c.service + "\x00" + c.name }

// isCall reports whether a class is a call between processes.
func isCall(name string) bool { return strings.HasPrefix(name, taskspan.ResourceSpan) }

type orderKey struct {
	held, taken class
}

type order struct {
	held, taken class
	variants    []Order
}

// Order is one lock taken while another one is held, as one task has done it.
type Order struct {
	Service    string
	Instance   string
	Held       string
	Taken      string
	HeldName   string // for people; empty: the class is
	TakenName  string
	HeldReads  bool // only the read lock
	TakenReads bool
	Recursive  bool     // the two are one lock, and not two of a class
	Guards     []string // other locks held meanwhile, sorted
	HeldAt     report.Place
	TakenAt    report.Place
	Task       report.TaskID

	gates []string // Guards over all services
}

func (o *Order) held() class  { return classOf(o.Service, o.Held) }
func (o *Order) taken() class { return classOf(o.Service, o.Taken) }

// Inversion is a ring of orders: each takes what the next one holds. One order alone is
// a read lock taken twice.
type Inversion struct {
	Orders []Order
	Found  time.Time
}

// NewOrders returns an empty set that keeps at most limit orders.
func NewOrders(limit int) *Orders {
	return &Orders{
		limit: limit, seen: make(map[orderKey]*order), next: make(map[class][]*order),
		reported: make(map[string]struct{}),
	}
}

// Len returns how many orders are known.
func (o *Orders) Len() int { return len(o.seen) }

// Counters returns what has been seen and refused.
func (o *Orders) Counters() OrderCounters { return o.counters }

// Add adds an order and returns the inversion that it completes, once; nil if there
// is none.
func (o *Orders) Add(p report.Process, r *report.LockOrder, now time.Time) *Inversion {
	heldReads, takenReads := r.Reads()
	v := Order{
		Service: p.Service, Instance: p.Instance, Held: r.Held, Taken: r.Taken, HeldName: r.HeldName, TakenName: r.TakenName,
		HeldReads: heldReads, TakenReads: takenReads, Recursive: r.Recursive, Guards: slices.Compact(slices.Sorted(slices.Values(r.Guards))),
		HeldAt: r.HeldPlace, TakenAt: r.Place, Task: r.Task,
	}
	for _, g := range v.Guards {
		v.gates = append(v.gates, classOf(v.Service, g).String())
	}
	slices.Sort(v.gates)
	if v.Held == v.Taken {
		if !v.Recursive || !heldReads || !takenReads {
			return nil // instances of one class: their order is not known
		}
		return o.report([]Order{v}, now)
	}
	e := o.order(v.held(), v.taken())
	if e == nil {
		o.counters.Refused++
		return nil
	}
	if !e.add(v) {
		return nil
	}
	return o.search(e, v, now)
}

func (o *Orders) order(held, taken class) *order {
	key := orderKey{held, taken}
	if e := o.seen[key]; e != nil {
		return e
	}
	if isCall(held.name) || isCall(taken.name) {
		if len(o.calls) > 0 && len(o.calls) >= max(1, o.limit/callsShare) {
			o.forget(o.calls[0])
			o.calls = append(o.calls[:0], o.calls[1:]...)
			o.counters.Forgotten++
		}
		if len(o.seen) < o.limit {
			o.calls = append(o.calls, key)
		}
	}
	if len(o.seen) >= o.limit {
		return nil
	}
	e := &order{held: held, taken: taken}
	o.seen[key] = e
	o.next[held] = append(o.next[held], e)
	return e
}

func (o *Orders) forget(key orderKey) {
	e := o.seen[key]
	delete(o.seen, key)
	if left := slices.DeleteFunc(o.next[key.held], func(other *order) bool { return other == e }); len(left) > 0 {
		o.next[key.held] = left
	} else {
		delete(o.next, key.held)
	}
}

// add keeps a variant if it can do more harm than those that are kept.
func (e *order) add(v Order) bool {
	for i := range e.variants {
		if e.variants[i].covers(&v) {
			return false
		}
	}
	e.variants = slices.DeleteFunc(e.variants, func(old Order) bool { return v.covers(&old) })
	if len(e.variants) >= maxVariants {
		return false
	}
	e.variants = append(e.variants, v)
	return true
}

// covers reports whether every inversion that v is part of is one with o in its place.
func (o *Order) covers(v *Order) bool {
	if o.HeldReads && !v.HeldReads || o.TakenReads && !v.TakenReads {
		return false
	}
	for _, g := range o.gates {
		if _, found := slices.BinarySearch(v.gates, g); !found {
			return false
		}
	}
	return true
}

// search looks for a ring that ends with the new variant.
func (o *Orders) search(last *order, v Order, now time.Time) *Inversion {
	s := ringSearch{orders: o, goal: last.held, ring: []Order{v}, steps: maxSteps}
	if !s.from(last.taken, v.gates) {
		if s.steps <= 0 {
			o.counters.CutShort++
		}
		return nil
	}
	return o.report(s.ring, now)
}

// report makes an inversion of a ring, once for its locks: calls between processes are
// others each time.
func (o *Orders) report(ring []Order, now time.Time) *Inversion {
	names := make([]string, 0, len(ring))
	for i := range ring {
		if c := ring[i].held(); !isCall(c.name) {
			names = append(names, c.String())
		}
	}
	slices.Sort(names)
	key := strings.Join(names, "\x00\x00")
	if len(ring) == 1 {
		key = "recursive\x00" + key
	}
	if _, again := o.reported[key]; again || len(o.reported) >= o.limit {
		return nil
	}
	o.reported[key] = struct{}{}
	return &Inversion{Orders: ring, Found: now}
}

type ringSearch struct {
	orders *Orders
	goal   class
	ring   []Order
	steps  int
}

// from goes on from a lock that the last order of the ring takes. gates are the locks
// held on every step so far.
func (s *ringSearch) from(at class, gates []string) bool {
	last := s.ring[len(s.ring)-1]
	if at == s.goal {
		// Who takes the goal waits for the first of the ring, who holds it.
		return !(last.TakenReads && s.ring[0].HeldReads) && !s.gated(gates)
	}
	if len(s.ring) >= maxInversion {
		return false
	}
	for _, e := range s.orders.next[at] {
		if slices.ContainsFunc(s.ring[1:], func(r Order) bool { return r.held() == e.taken }) {
			continue // through the same lock again
		}
		for _, v := range e.variants {
			if s.steps--; s.steps <= 0 {
				return false
			}
			if last.TakenReads && v.HeldReads {
				continue // readers do not wait for each other
			}
			s.ring = append(s.ring, v)
			if s.from(e.taken, intersect(gates, v.gates)) {
				return true
			}
			s.ring = s.ring[:len(s.ring)-1]
		}
	}
	return false
}

// gated reports whether a lock outside of the ring is held on every step.
func (s *ringSearch) gated(gates []string) bool {
	return slices.ContainsFunc(gates, func(g string) bool {
		return !slices.ContainsFunc(s.ring, func(r Order) bool { return r.held().String() == g })
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
