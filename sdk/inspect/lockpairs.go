package inspect

import "sync/atomic"

// lockPairs remembers which two locks have been taken together lately, if one of them
// has no name, so that the opposite order of the same two is noticed when it comes.
// There can be as many pairs as locks, so it is a cache: a new pair takes the place of
// another one.
type lockPairs [pairSlots]atomic.Pointer[lockOrder]

const pairSlots = 8192

func (p *lockPairs) slot(held, taken, modes uint64) *atomic.Pointer[lockOrder] {
	return &p[mix(mix(held)+3*mix(taken)+modes)%pairSlots]
}

// pair notes an order of two locks on lines of which the first order has been reported.
// If the opposite one is known, both are reported, once for their four lines.
func (o *orderSet) pair(goroutine uint64, taken heldView, held []heldView, i int) {
	a, b := held[i].lock.orderClass(), taken.lock.orderClass()
	slot := o.pairs.slot(a, b, modes(held[i].reads, taken.reads))
	if known := slot.Load(); known != nil && known.is(a, b, held[i].reads, taken.reads) {
		return
	}
	o.remember(newLockOrder(goroutine, taken, held, i))
}

// remember notes an order, and reports it together with the opposite one if that is known.
func (o *orderSet) remember(order *lockOrder) {
	if order.held.lock.declared && order.taken.lock.declared {
		return // has been reported, or does not differ from one that has
	}
	a, b := order.held.lock.orderClass(), order.taken.lock.orderClass()
	o.pairs.slot(a, b, modes(order.held.reads, order.taken.reads)).Store(order)
	for m := range uint64(4) {
		opposite := o.pairs.slot(b, a, m).Load()
		if opposite == nil || !opposite.is(b, a, m&1 != 0, m&2 != 0) {
			continue
		}
		// The sum is the same whichever of the two comes first.
		if o.isNew((order.lines() + opposite.lines()) | 1) {
			o.add(opposite)
			o.add(order)
		}
	}
}

// is reports whether an order is that of two classes in these modes.
func (o *lockOrder) is(held, taken uint64, heldReads, takenReads bool) bool {
	return o.held.lock.orderClass() == held && o.taken.lock.orderClass() == taken && o.held.reads == heldReads && o.taken.reads == takenReads
}

// lines is a number for where an order was seen, and in which modes.
func (o *lockOrder) lines() uint64 {
	return mix(mix(o.held.spot()) + 5*mix(o.taken.spot()) + modes(o.held.reads, o.taken.reads))
}
