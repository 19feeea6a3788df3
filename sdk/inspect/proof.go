package inspect

import (
	"cmp"
	"sync"
	"sync/atomic"
)

// A hold proves something only if the goroutine that took it is the one that
// releases it. Go does not ask for that: a mutex can be a signal, and the permits
// of a semaphore are often taken by a parent and released by its workers. So each
// hold has a kind, and what is known of a kind is learned from releases:
//
//   - unknown: none of the kind has been released yet. A wait for it is inferred.
//   - own: it has been released by who took it, and never by another goroutine.
//   - handed over: it has been released by another goroutine once. From then on no
//     hold of the kind proves anything.
//
// The kind is the declared name of the primitive, or, without one, the place where
// the hold was taken: names and places are few, and what was done with one of them
// is done again. A program that releases locks of one kind itself at first and
// hands one over for the first time later is misjudged until then.
//
// The same applies to whatever else has an owner that the program can change: the end of
// a channel, which a parent may open for its producer, and the unit of a task in a
// WaitGroup, which any goroutine may take off with Done.
type holdKind struct {
	side  side
	name  string  // declared; "" for a kind that is a place
	place uintptr // of the call that took it
}

// side is what of a primitive is held. Sides are bits, so that a set of them is a
// number.
type side uint32

const (
	mutexHold side = 1 << iota
	writeHold
	readHold
	permitHold
	senderEnd
	receiverEnd
	taskUnit

	anyHold side = 0 // a hand-over of a lock counts for all its sides
	locks        = mutexHold | writeHold | readHold | permitHold
)

const (
	// maxHoldKinds bounds the kinds that are known to be own. One more stays unknown,
	// so its deadlocks are suspected and never certain.
	maxHoldKinds = 8192
	// maxHandedOver bounds the kinds that are known to be handed over. One more takes
	// the place of another, which is unknown again.
	maxHandedOver = 4096
)

// holdKinds is what the process has learned of the releases of its locks.
var holdKinds = kindTable{own: make(map[holdKind]int, 64), handed: make(map[holdKind]struct{})}

type kindTable struct {
	mu sync.RWMutex // guards the maps; a leaf
	// own kinds, and how many holds of the kind one goroutine had at a time before it
	// released all of them itself.
	own    map[holdKind]int
	handed map[holdKind]struct{}
}

// ownPlaces is a cache of the places that are own kinds: Unlock of a lock without a
// name looks here and, if its place is there, at nothing else. Each word is a place
// and its side; places that share a word displace each other.
var ownPlaces [1024]atomic.Uint64

func ownPlace(s side, place uintptr) (slot *atomic.Uint64, word uint64) {
	word = uint64(place)<<8 | uint64(s)&0xff
	return &ownPlaces[(place>>2^place>>12)%uintptr(len(ownPlaces))], word
}

// isOwn reports whether a release by the holder itself would teach nothing: its kind
// is known to be own, or it has none. It is on the fast path of Unlock.
func (n *named) isOwn(s side, place uintptr) bool {
	if r := n.res.Load(); r != nil && r.declared {
		return side(r.own.Load())&s != 0
	}
	slot, word := ownPlace(s, place)
	return slot.Load() == word || place == 0
}

// released learns from a release, before the hold is gone. holder has taken it and
// goroutine releases it; one that is not known teaches nothing.
//
//go:noinline
func (n *named) released(s side, holder, goroutine uint64, place uintptr) {
	switch {
	case goroutine == 0:
	case holder == goroutine:
		n.ownRelease(s, place, 1)
	default:
		n.handOver(place)
	}
}

// ownRelease notes that a goroutine has released depth holds that it had at a time.
func (n *named) ownRelease(s side, place uintptr, depth int) {
	r := n.res.Load()
	k, ok := kindOf(r, s, place)
	if ok {
		holdKinds.addOwn(k, depth)
	}
	// It needs no second look, also if there was no room for it.
	if k.name != "" {
		r.own.Or(uint32(s))
	} else if place != 0 {
		slot, word := ownPlace(s, place)
		slot.Store(word)
	}
}

// handOver notes that a hold which was taken at place, 0 if that is not known, has
// been released by another goroutine than took it.
//
//go:noinline
func (n *named) handOver(place uintptr) {
	r := n.res.Load()
	if r == nil {
		n.identify("lock", placeHere())
		r = n.res.Load()
	}
	n.markHandedOver(r)
	n.kindHandedOver(anyHold, place)
}

// markHandedOver marks the lock that was called r a moment ago. If it has got another name
// since, that one is marked as well; see rename, which does the same from its side.
func (n *named) markHandedOver(r *lockName) {
	r.handed.Store(true)
	if now := n.res.Load(); now != r {
		now.handed.Store(true)
	}
}

// kindHandedOver notes that nothing of a kind proves anything from now on.
func (n *named) kindHandedOver(s side, place uintptr) {
	if k, ok := kindOf(n.res.Load(), s, place); ok {
		holdKinds.addHanded(k)
	}
}

// handedOver reports whether a lock, or one of its name, has been released by another
// goroutine than took it.
func (r *lockName) handedOver() bool {
	return r != nil && (r.handed.Load() || r.declared && holdKinds.isHanded(holdKind{name: r.name}))
}

// judge marks a set of holders by what is known of their kinds. need is how many holds
// at a time a holder must have been seen to release itself; nil means one.
func (n *named) judge(set *holderSet, s side, need func(*holder) int) {
	if !set.complete {
		return
	}
	r := n.res.Load()
	if s&locks != 0 && r.handedOver() {
		set.complete = false
		return
	}
	var ( // of the holder before, usually of the same kind
		place  uintptr
		known  bool // place has a kind
		next   holdKind
		k      holdKind
		depth  int
		handed bool
	)
	for i := range set.list {
		h := &set.list[i]
		if at := cmp.Or(h.place, h.opened); i == 0 || at != place {
			place = at
			next, known = kindOf(r, s, place)
		}
		if !known {
			set.inferred = true
			continue
		}
		if next != k {
			k = next
			depth, handed = holdKinds.look(k)
		}
		if handed {
			set.complete = false
			return
		}
		want := 1
		if need != nil {
			want = need(h)
		}
		if depth < want {
			set.inferred = true
		}
	}
}

// kindOf returns the kind of a hold, if it has one. A place that many locks share,
// such as the method value m.Lock or the relocking in a Cond, is none.
func kindOf(r *lockName, s side, place uintptr) (k holdKind, ok bool) {
	if r != nil && r.declared {
		return holdKind{side: s, name: r.name}, true
	}
	return holdKind{side: s, place: place}, place != 0 && !ours(placeOf(place))
}

func (t *kindTable) addOwn(k holdKind, depth int) {
	if known, _ := t.look(k); known >= depth {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, handed := t.handed[k.joint()]; handed {
		return
	}
	if _, is := t.own[k]; !is && len(t.own) >= maxHoldKinds {
		countHoldKind()
		return
	}
	t.own[k] = max(t.own[k], depth)
}

func (t *kindTable) addHanded(k holdKind) {
	k = k.joint()
	if t.isHanded(k) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.handed) >= maxHandedOver {
		for old := range t.handed { // any
			delete(t.handed, old)
			break
		}
		countHoldKind()
	}
	t.handed[k] = struct{}{}
	delete(t.own, k)
	if k.side == anyHold {
		for _, s := range [...]side{mutexHold, writeHold, readHold, permitHold} {
			k.side = s
			delete(t.own, k)
		}
	}
}

// look returns up to how many holds of a kind have been released by who took them,
// and whether one has been handed over.
func (t *kindTable) look(k holdKind) (depth int, handed bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, handed = t.handed[k.joint()]
	return t.own[k], handed
}

func (t *kindTable) isHanded(k holdKind) bool {
	_, handed := t.look(k)
	return handed
}

// joint is the kind for all sides of a lock.
func (k holdKind) joint() holdKind {
	if k.side&locks != 0 {
		k.side = anyHold
	}
	return k
}
