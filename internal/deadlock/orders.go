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
// Add only learns an order. What the new ones complete is found by a search of its own
// ([Orders.Search]), which works on a copy, so that the owner's lock is not held meanwhile.
//
// It is not safe for concurrent use.
type Orders struct {
	limit    int
	seen     map[orderKey]*order
	classes  map[class]*lockClass
	free     []int32    // numbers of classes that are in no order any more
	numbers  int32      // all that have been used
	locks    []orderKey // of the orders of locks alone, oldest first
	calls    []orderKey // of the orders with calls in them, oldest first
	fresh    []sighting // variants that no search has looked at
	sequence int64      // of the newest variant
	reported map[string]struct{}
	counters OrderCounters
}

// OrderCounters are what has been seen and refused.
type OrderCounters struct {
	Evicted   int64 // orders of locks that made room for newer ones
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

// lockClass is a class that some order has.
type lockClass struct {
	class
	number int32 // no other class has it
	orders int
}

type order struct {
	held, taken *lockClass
	variants    []variant // replaced, and never changed: a search may have them
}

// variant is an order with the number under which it was seen.
type variant struct {
	*Order
	number int64
}

// sighting is a variant that is new. Its order may be forgotten by now.
type sighting struct {
	key orderKey
	variant
	held, taken int32 // numbers of the classes, for the search
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
		limit: limit, seen: make(map[orderKey]*order), classes: make(map[class]*lockClass), reported: make(map[string]struct{}),
	}
}

// Len returns how many orders are known.
func (o *Orders) Len() int { return len(o.seen) }

// Counters returns what has been seen and refused.
func (o *Orders) Counters() OrderCounters { return o.counters }

// Add learns an order.
func (o *Orders) Add(p report.Process, r *report.LockOrder) {
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
	key := orderKey{v.held(), v.taken()}
	if v.Held == v.Taken {
		if v.Recursive && heldReads && takenReads {
			o.see(key, &v)
		}
		return // otherwise they are instances of one class: their order is not known
	}
	e := o.order(key)
	if e.harmful(&v) {
		e.add(o.see(key, &v))
	}
}

// see notes a variant for the next search. Searches that do not keep up are given up.
func (o *Orders) see(key orderKey, v *Order) variant {
	o.sequence++
	seen := variant{v, o.sequence}
	if len(o.fresh) >= o.limit {
		o.counters.CutShort++
	} else {
		o.fresh = append(o.fresh, sighting{key: key, variant: seen})
	}
	return seen
}

// order finds or makes the record of an order. The oldest make room: locks without a name
// are others in each build, and would fill the table for good.
func (o *Orders) order(key orderKey) *order {
	if e := o.seen[key]; e != nil {
		return e
	}
	of := &o.locks
	if isCall(key.held.name) || isCall(key.taken.name) {
		of = &o.calls
		if len(o.calls) >= max(1, o.limit/callsShare) {
			o.forgetOldest(of)
			o.counters.Forgotten++
		}
	}
	switch {
	case len(o.seen) < o.limit:
	case len(o.locks) > 0:
		o.forgetOldest(&o.locks)
		o.counters.Evicted++
	default:
		o.forgetOldest(&o.calls)
		o.counters.Forgotten++
	}
	*of = append(*of, key)
	e := &order{held: o.class(key.held), taken: o.class(key.taken)}
	o.seen[key] = e
	return e
}

func (o *Orders) forgetOldest(of *[]orderKey) {
	o.forget((*of)[0])
	*of = (*of)[1:]
}

// class returns the record of a class, for one more order.
func (o *Orders) class(c class) *lockClass {
	known := o.classes[c]
	if known == nil {
		known = &lockClass{class: c, number: o.numbers}
		if n := len(o.free); n > 0 {
			known.number = o.free[n-1]
			o.free = o.free[:n-1]
		} else {
			o.numbers++
		}
		o.classes[c] = known
	}
	known.orders++
	return known
}

func (o *Orders) forget(key orderKey) {
	e := o.seen[key]
	delete(o.seen, key)
	for _, c := range []*lockClass{e.held, e.taken} {
		if c.orders--; c.orders == 0 {
			delete(o.classes, c.class)
			o.free = append(o.free, c.number)
		}
	}
}

// harmful reports whether a variant can do more harm than those that are kept.
func (e *order) harmful(v *Order) bool {
	left := 0
	for _, known := range e.variants {
		if known.covers(v) {
			return false
		}
		if !v.covers(known.Order) {
			left++
		}
	}
	return left < maxVariants
}

// add keeps a variant in the place of those that it covers.
func (e *order) add(v variant) {
	var kept []variant
	for _, known := range e.variants {
		if !v.covers(known.Order) {
			kept = append(kept, known)
		}
	}
	e.variants = append(kept, v)
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
