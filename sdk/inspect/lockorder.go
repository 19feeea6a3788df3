package inspect

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/sender"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	// maxLockOrders bounds the orders that are known.
	maxLockOrders = 4096
	// orderSlots is the size of the set that says which are, and orderProbes how far
	// from its place an order may be in it.
	orderSlots  = 4 * maxLockOrders
	orderProbes = 16
	// maxRecursions bounds the read locks taken twice of which it is not known yet who
	// releases them.
	maxRecursions = 256
	// ordersAtOnce bounds those that one round of the reporter sends, and ordersAgain
	// is after how long all are sent again, for collectors that have restarted.
	ordersAtOnce = 64
	ordersAgain  = 10 * time.Minute
)

// lockOrders knows in which orders the classes of locks are taken in this process: a
// lock of one was held while one of another was being taken. A class is the name that
// a lock was given, or the lock itself if it has none. This is lockdep's idea: an order
// is looked at closely when it is seen for the first time, and costs a look into a
// small set from then on.
//
// Of locks without a name there can be any number. The first order of two lines of
// code is reported with the two locks that it was seen with; lockPairs finds those that
// contradict each other with other locks on the same lines.
var lockOrders orderSet

type orderSet struct {
	seen  [orderSlots]atomic.Uint64
	pairs lockPairs
	calls callOrders

	mu   sync.Mutex // guards the rest
	list []*lockOrder
	// recursions are read locks that a goroutine has taken twice. They are put on the
	// list when it is known that who takes such a lock releases it.
	recursions []*lockOrder
}

// lockOrder is one order, as it was seen first. It never changes.
type lockOrder struct {
	held, taken heldView
	guards      []string // the classes of other locks that were held
	node        wire.Node
	task        *Inspector // of the task that did it; nil: there was none
	goroutine   uint64
}

// took notes the orders of a lock with all that the goroutine holds.
func (o *orderSet) took(goroutine uint64, taken heldView, held []heldView) {
	spot := taken.spot()
	var all uint64 // of the locks that are held, in any order
	for i := range held {
		if held[i].lock.call == "" {
			all += mix(held[i].spot())
		}
	}
	for i := range held {
		h := &held[i]
		switch {
		case h.lock.call != "":
			o.calls.taken(goroutine, taken, held, i)
			continue
		case h.lock.id == taken.lock.id:
			if h.reads && taken.reads && o.isNew(mix(spot^recursive)|1) {
				o.addRecursion(newLockOrder(goroutine, taken, held, i))
			}
			continue // anything else is a deadlock, and is found as one
		}
		own := h.spot()
		if own == spot && h.lock.declared || own == 0 || spot == 0 {
			continue
		}
		// Neither spots nor modes can be told from those of another order.
		key := mix(mix(own)+3*mix(spot)+modes(h.reads, taken.reads)) ^ (all - mix(own))
		switch {
		case o.isNew(key | 1):
			order := newLockOrder(goroutine, taken, held, i)
			o.add(order)
			o.remember(order)
		case !h.lock.declared || !taken.lock.declared:
			o.pair(goroutine, taken, held, i)
		}
	}
}

// recursive sets the key of a lock taken twice apart from those of orders.
const recursive = 0x5bd1e9955bd1e995

func modes(heldReads, takenReads bool) (m uint64) {
	if heldReads {
		m |= 1
	}
	if takenReads {
		m |= 2
	}
	return m
}

// mix spreads the bits of small numbers (the finalizer of MurmurHash3, A. Appleby).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// isNew reports whether an order was not in the set, and puts it in. When there is no
// room for it it is not new, and is counted as dropped.
func (o *orderSet) isNew(key uint64) bool {
	at := key >> 20
	for i := range uint64(orderProbes) {
		slot := &o.seen[(at+i)%orderSlots]
		switch v := slot.Load(); {
		case v == key:
			return false
		case v == 0:
			if slot.CompareAndSwap(0, key) {
				return true
			}
			if slot.Load() == key {
				return false
			}
		}
	}
	countLockOrder()
	return false
}

// newLockOrder describes an order: of what is taken with the i-th that is held.
//
//go:noinline
func newLockOrder(goroutine uint64, taken heldView, held []heldView, i int) *lockOrder {
	order := &lockOrder{held: held[i], taken: taken, goroutine: goroutine}
	for j := range held {
		if h := held[j].lock; j != i && h.call == "" && h.orderClass() != order.held.lock.orderClass() && h.orderClass() != taken.lock.orderClass() {
			if class, _ := h.wireClass(); !slices.Contains(order.guards, class) {
				order.guards = append(order.guards, class)
			}
		}
	}
	if order.taken.place == 0 {
		order.taken.place = placeHere()
	}
	if t := taskOn(goroutine); t != nil {
		order.node, order.task = taskNode(t), t.ins
	}
	return order
}

// handedOver reports whether who took one of the locks need not be who has it.
func (o *lockOrder) handedOver() bool { return o.held.handedOver() || o.taken.handedOver() }

func (h *heldView) handedOver() bool {
	if h.lock.handedOver() {
		return true
	}
	k, ok := kindOf(h.lock, anyHold, h.place)
	return ok && holdKinds.isHanded(k)
}

// add puts an order on the list.
func (o *orderSet) add(order *lockOrder) {
	if order.handedOver() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.append(order)
}

func (o *orderSet) append(order *lockOrder) {
	if len(o.list) < maxLockOrders {
		o.list = append(o.list, order)
	} else {
		countLockOrder()
	}
}

func (o *orderSet) addRecursion(order *lockOrder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.recursions) < maxRecursions {
		o.recursions = append(o.recursions, order)
	} else {
		countLockOrder()
	}
}

// proveRecursions puts those on the list whose locks are released by who takes them. A
// goroutine that takes a read lock for each of its workers may take it twice.
func (o *orderSet) proveRecursions() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recursions = slices.DeleteFunc(o.recursions, func(order *lockOrder) bool {
		if order.handedOver() {
			return true
		}
		for _, h := range [...]*heldView{&order.held, &order.taken} {
			k, ok := kindOf(h.lock, readHold, h.place)
			if !ok {
				return true
			}
			if depth, _ := holdKinds.look(k); depth == 0 {
				return false
			}
		}
		o.append(order)
		return true
	})
}

// from returns at most n orders from the i-th on.
func (o *orderSet) from(i, n int) []*lockOrder {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i >= len(o.list) {
		return nil
	}
	return o.list[i:min(i+n, len(o.list))]
}

// tellOrders reports the orders that the collector has not been told of, or not for
// a while.
func (r *reporter) tellOrders(at nanos) {
	lockOrders.proveRecursions()
	if at >= r.ordersAgain {
		r.ordersSent, r.ordersAgain = 0, at+nanos(ordersAgain)
		lockOrders.calls.again()
	}
	for _, o := range lockOrders.from(r.ordersSent, ordersAtOnce) {
		id := uint64(r.ordersSent)
		r.ordersSent++
		if r.tells(o) {
			r.sender.Send(sender.Key{Kind: taskspan.ReportLockOrder, ID: id}, r.order(o).Encode())
		}
	}
	for _, o := range lockOrders.calls.take(r.tells, ordersAtOnce) {
		r.callsSent++
		r.sender.Send(sender.Key{Kind: taskspan.ReportLockOrder, ID: maxLockOrders + r.callsSent}, r.order(o).Encode())
	}
}

// tells reports whether an order is for this Inspector to report.
func (r *reporter) tells(o *lockOrder) bool {
	return o.task == r.ins || o.task == nil && Default() == r.ins
}

func (r *reporter) order(o *lockOrder) *wire.LockOrder {
	w := &wire.LockOrder{
		Node: o.node, SpanID: newSpanID(), Observed: now().unix(),
		HeldReads: o.held.reads, TakenReads: o.taken.reads, Guards: o.guards,
		HeldPlace: wirePlace(o.held.place), Place: wirePlace(o.taken.place),
		Recursive: o.held.lock.id == o.taken.lock.id,
	}
	w.Held, w.HeldName = o.held.lock.wireClass()
	w.Taken, w.TakenName = o.taken.lock.wireClass()
	if o.task == nil {
		w.Node = r.goroutineNode(o.goroutine)
	}
	return w
}
