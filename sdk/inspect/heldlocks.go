package inspect

import (
	"sync"
	"sync/atomic"
)

// While somebody wants to know the orders in which locks are taken, the locks that each
// goroutine holds are in one table of the process, in the bucket of the goroutine's id,
// as readers are. Only the goroutine itself looks at its entries, so they cost it a
// cache line that is its own for most of the time. An entry refers to the name of a
// lock and never to the lock, which would keep that within reach of the leak profile.
const (
	heldBuckets = 512
	heldSlots   = 8
)

// holding is the table, or nil while nobody wants it: what Lock and Unlock pay then
// is one look at it. Each time that somebody wants it again it is a new one, so
// nothing stays behind from before.
var holding atomic.Pointer[heldTable]

var heldUsers struct {
	sync.Mutex
	n int
}

// useHeldLocks turns the table on; stop turns it off if nobody else uses it.
func useHeldLocks() (stop func()) {
	heldUsers.Lock()
	defer heldUsers.Unlock()
	if heldUsers.n++; heldUsers.n == 1 {
		holding.Store(new(heldTable))
	}
	return sync.OnceFunc(func() {
		heldUsers.Lock()
		defer heldUsers.Unlock()
		if heldUsers.n--; heldUsers.n == 0 {
			holding.Store(nil)
		}
	})
}

// The locks call these. While the table is off they are a look at it, inlined.

// noteTaking is called before a goroutine may block on a lock.
func (n *named) noteTaking(goroutine uint64, reads bool, place uintptr) {
	if t := holding.Load(); t != nil {
		t.takingLock(goroutine, n, reads, place)
	}
}

func (n *named) noteHeld(goroutine uint64, reads bool, place uintptr) {
	if t := holding.Load(); t != nil {
		t.holdLock(goroutine, n, reads, place)
	}
}

// noteReleased is called with who has held the lock.
func (n *named) noteReleased(holder uint64) {
	if t := holding.Load(); t != nil {
		t.releaseLock(holder, n)
	}
}

// noteRead is called when a read lock is released, by anybody.
func (n *named) noteRead(goroutine uint64) {
	if t := holding.Load(); t != nil {
		t.releaseRead(goroutine, n)
	}
}

func (t *heldTable) takingLock(goroutine uint64, n *named, reads bool, place uintptr) {
	t.taking(goroutine, n.orderName(place), reads, place)
}

func (t *heldTable) holdLock(goroutine uint64, n *named, reads bool, place uintptr) {
	t.hold(goroutine, n.orderName(place), reads, place)
}

// It is not inlined, or noteReleased would not be.
//
//go:noinline
func (t *heldTable) releaseLock(holder uint64, n *named) { t.release(holder, n.res.Load()) }

func (t *heldTable) releaseRead(goroutine uint64, n *named) {
	if r := n.res.Load(); !t.release(goroutine, r) {
		t.releaseAny(r)
	}
}

type heldTable [heldBuckets]heldBucket

type heldBucket struct {
	who  [heldSlots]atomic.Uint64 // goroutine, 0: free. A cache line.
	what [heldSlots]heldLock
}

// heldLock is written by its holder only. It is atomic because a slot that another
// goroutine has freed may be taken while its old owner still looks at it.
type heldLock struct {
	lock  atomic.Pointer[lockName]
	place atomic.Uint64
	reads atomic.Bool
	left  atomic.Pointer[lastTask] // that took it and has ended; nil while the slot is free
}

func (h *heldLock) view() heldView {
	return heldView{h.lock.Load(), uintptr(h.place.Load()), h.reads.Load()}
}

// heldView is a copy of a heldLock.
type heldView struct {
	lock  *lockName
	place uintptr
	reads bool
}

// taking is called before a goroutine may block on a lock.
func (t *heldTable) taking(goroutine uint64, r *lockName, reads bool, place uintptr) {
	if r == nil || goroutine == 0 {
		return
	}
	var held [heldSlots]heldView
	if k := t.heldBy(goroutine, &held); k > 0 {
		lockOrders.took(goroutine, heldView{r, place, reads}, held[:k])
	}
}

// heldBy copies what a goroutine holds, and returns how much that is.
func (t *heldTable) heldBy(goroutine uint64, into *[heldSlots]heldView) (k int) {
	b := &t[goroutine%heldBuckets]
	for i := range b.who {
		if b.who[i].Load() == goroutine {
			into[k] = b.what[i].view()
			k++
		}
	}
	return k
}

// hold notes a lock that a goroutine has taken. With all slots of its bucket in use
// the lock is not noted, which can hide an order.
func (t *heldTable) hold(goroutine uint64, r *lockName, reads bool, place uintptr) {
	if r == nil || goroutine == 0 {
		return
	}
	b := &t[goroutine%heldBuckets]
	for i := range b.who {
		if b.who[i].Load() == 0 && b.who[i].CompareAndSwap(0, goroutine) {
			b.what[i].lock.Store(r)
			b.what[i].place.Store(uint64(place))
			b.what[i].reads.Store(reads)
			return
		}
	}
	countLockOrder()
}

// release forgets one hold of a goroutine, and says whether it knew it. A lock may have
// got a name since it was taken, but it has the same id.
func (t *heldTable) release(goroutine uint64, r *lockName) bool {
	if r == nil {
		return true // was never noted
	}
	b := &t[goroutine%heldBuckets]
	for i := range b.who {
		if b.who[i].Load() == goroutine && b.what[i].is(r) {
			b.what[i].released()
			return b.who[i].CompareAndSwap(goroutine, 0)
		}
	}
	return false
}

// released forgets that the task which took the lock has ended.
func (h *heldLock) released() {
	if h.left.Load() != nil {
		h.left.Store(nil)
	}
}

// slots returns which slots of its bucket a goroutine has, a bit for each.
func (t *heldTable) slots(goroutine uint64) (mask uint8) {
	b := &t[goroutine%heldBuckets]
	for i := range b.who {
		if b.who[i].Load() == goroutine {
			mask |= 1 << i
		}
	}
	return mask
}

// leave notes that a task has ended on a goroutine, which is the running one and lives
// on, without releasing what it took: all slots but those that the goroutine had before.
func (t *heldTable) leave(goroutine uint64, before uint8, last func() *lastTask) {
	if left := t.slots(goroutine) &^ before; left != 0 {
		b, task := &t[goroutine%heldBuckets], last()
		for i := range b.who {
			if left&(1<<i) != 0 {
				b.what[i].left.CompareAndSwap(nil, task)
			}
		}
	}
}

// leaver returns the task that has taken a lock and ended without releasing it, if a
// goroutine that lives on holds the lock because of that.
func (t *heldTable) leaver(goroutine uint64, r *lockName) (last lastTask, ok bool) {
	b := &t[goroutine%heldBuckets]
	for i := range b.who {
		if b.who[i].Load() != goroutine || !b.what[i].is(r) {
			continue
		}
		if left := b.what[i].left.Load(); left != nil {
			return *left, true
		}
	}
	return last, false
}

func (h *heldLock) is(r *lockName) bool {
	is := h.lock.Load()
	return is == r || is != nil && is.id == r.id
}

// releaseAny forgets somebody's hold of a lock that another goroutine has released.
func (t *heldTable) releaseAny(r *lockName) {
	for i := range t {
		b := &t[i]
		for j := range b.who {
			if g := b.who[j].Load(); g != 0 && b.what[j].is(r) {
				b.what[j].released()
				if b.who[j].CompareAndSwap(g, 0) {
					return
				}
			}
		}
	}
}

// The same for locks outside of the process, whose holds are in a table of their own.

func noteTakingExternal(goroutine uint64, id string, place uintptr) {
	if t := holding.Load(); t != nil {
		t.taking(goroutine, externalClasses.get(id), false, place)
	}
}

func noteHeldExternal(goroutine uint64, id string, place uintptr) {
	if t := holding.Load(); t != nil {
		t.hold(goroutine, externalClasses.get(id), false, place)
	}
}

func noteReleasedExternal(holder uint64, id string) {
	if t := holding.Load(); t != nil {
		t.release(holder, externalClasses.get(id))
	}
}
