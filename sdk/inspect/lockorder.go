package inspect

import (
	"runtime"
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
	// ordersAtOnce bounds those that one round of the reporter sends, and ordersAgain
	// is after how long all are sent again, for collectors that have restarted.
	ordersAtOnce = 64
	ordersAgain  = 10 * time.Minute
)

// lockOrders knows in which orders the classes of locks are taken in this process: a
// lock of one was held while one of another was being taken. A class is the name that
// a lock was given. This is lockdep's idea: an order is looked at closely when it is
// seen for the first time, and costs a look into a small set from then on.
var lockOrders orderSet

type orderSet struct {
	seen [orderSlots]atomic.Uint64

	mu   sync.Mutex // guards list, whose elements never change
	list []*lockOrder
}

// lockOrder is one order, as it was seen first.
type lockOrder struct {
	held, taken heldView
	guards      []string // the names of other locks that were held
	node        wire.Node
	task        *Inspector // of the task that did it; nil: there was none
	goroutine   uint64
	at          nanos
}

// took notes the orders of a lock with all that the goroutine holds.
func (o *orderSet) took(goroutine uint64, taken heldView, held []heldView) {
	class := taken.lock.class()
	var all uint64 // of what is held, in any order
	for i := range held {
		all += mix(uint64(held[i].lock.class()))
	}
	for i := range held {
		own := held[i].lock.class()
		if own == class || own == 0 || class == 0 {
			continue
		}
		key := mix(uint64(own)<<34|uint64(class)<<2|modes(held[i].reads, taken.reads)) ^ (all - mix(uint64(own)))
		if o.isNew(key | 1) {
			o.add(goroutine, taken, held, i)
		}
	}
}

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
	if ins := Default(); ins != nil {
		ins.drops.add(dropLockOrders, 1)
	}
	return false
}

// add records an order that was seen for the first time.
//
//go:noinline
func (o *orderSet) add(goroutine uint64, taken heldView, held []heldView, i int) {
	if taken.lock.handedOver() || held[i].lock.handedOver() {
		return // who took it need not be who has it
	}
	order := &lockOrder{held: held[i], taken: taken, goroutine: goroutine, at: now()}
	for j := range held {
		name := held[j].lock.name
		if j != i && name != held[i].lock.name && name != taken.lock.name && !slices.Contains(order.guards, name) {
			order.guards = append(order.guards, name)
		}
	}
	if order.taken.place == 0 {
		var stack [16]uintptr
		order.taken.place = firstOutside(stack[:runtime.Callers(2, stack[:])])
	}
	if t := taskOn(goroutine); t != nil {
		order.node, order.task = taskNode(t), t.ins
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) < maxLockOrders {
		o.list = append(o.list, order)
	} else if ins := Default(); ins != nil {
		ins.drops.add(dropLockOrders, 1)
	}
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
	if at >= r.ordersAgain {
		r.ordersSent, r.ordersAgain = 0, at+nanos(ordersAgain)
	}
	for _, o := range lockOrders.from(r.ordersSent, ordersAtOnce) {
		id := uint64(r.ordersSent)
		r.ordersSent++
		if o.task != r.ins && (o.task != nil || Default() != r.ins) {
			continue
		}
		r.sender.Send(sender.Key{Kind: taskspan.ReportLockOrder, ID: id}, r.order(o).Encode())
	}
}

func (r *reporter) order(o *lockOrder) *wire.LockOrder {
	w := &wire.LockOrder{
		Node: o.node, SpanID: newSpanID(), Observed: now().unix(), Held: o.held.lock.name, Taken: o.taken.lock.name,
		HeldReads: o.held.reads, TakenReads: o.taken.reads, Guards: o.guards,
		HeldPlace: wirePlace(o.held.place), Place: wirePlace(o.taken.place),
	}
	if o.task == nil {
		w.Node = r.goroutineNode(o.goroutine)
	}
	return w
}
