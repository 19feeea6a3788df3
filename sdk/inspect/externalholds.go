package inspect

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxExternalHolds bounds the external locks of one process that are known as
// held; one more is not reported as held, which can hide a deadlock and no more.
const maxExternalHolds = 10_000

// What ends a hold, beside a time.
const (
	endsUnknown   nanos = 0
	endsByRelease nanos = -1
)

// externals knows which external locks goroutines hold.
var externals = externalHolds{of: make(map[uint64][]*externalHold), by: make(map[string][]*externalHold)}

// externalHold is one external lock that a goroutine has acquired and not released.
type externalHold struct {
	goroutine uint64
	id, name  string
	number    uint64 // of the acquisition
	since     nanos
	ends      nanos         // by itself, or one of the above
	ttl       time.Duration // 0: not declared
	task      *Task         // told when the lock has expired; nil once it has been
	place     uintptr       // where it was acquired
	gone      bool          // expired or lost
	ordered   bool          // known to the orders of locks
}

type externalHolds struct {
	mu    sync.Mutex // guards the rest; held for no call out of the package
	of    map[uint64][]*externalHold
	by    map[string][]*externalHold // by id, oldest first
	total int
	last  uint64 // number of an acquisition
	// next is at or before the first end of a hold that is not gone; 0: there is none.
	next atomic.Int64
}

// known says whether the goroutine counts as the holder at a time.
func (h *externalHold) known(at nanos) bool { return !h.gone && (h.ends <= 0 || h.ends > at) }

func (e *externalHolds) add(h *externalHold) {
	h.since = now()
	e.mu.Lock()
	// What the goroutine had before, under that name, it has lost: it could not have
	// acquired it again.
	for _, old := range slices.Clone(e.by[h.id]) {
		if old.goroutine == h.goroutine && !old.known(h.since) {
			e.remove(old)
		}
	}
	if e.total >= maxExternalHolds {
		e.removeGone()
	}
	if e.total >= maxExternalHolds {
		e.mu.Unlock()
		droppedHold()
		return
	}
	e.last++
	h.number = e.last
	if h.ends <= 0 {
		h.task = nil // there will be nothing to tell it
	}
	e.of[h.goroutine] = append(e.of[h.goroutine], h)
	e.by[h.id] = append(e.by[h.id], h)
	e.total++
	e.endsAt(h.ends)
	h.order(true)
	e.mu.Unlock()
}

// order tells the orders of locks that the goroutine holds the lock, or does no more.
func (h *externalHold) order(holds bool) {
	switch {
	case holds && !h.ordered:
		noteHeldExternal(h.goroutine, h.id, h.place)
	case !holds && h.ordered:
		noteReleasedExternal(h.goroutine, h.id)
	}
	h.ordered = holds
}

// endsAt notes that a hold ends then.
func (e *externalHolds) endsAt(ends nanos) {
	if next := nanos(e.next.Load()); ends > 0 && (next == 0 || ends < next) {
		e.next.Store(int64(ends))
	}
}

// removeGone makes room: a hold that is gone is only kept to know its release.
func (e *externalHolds) removeGone() {
	at := now()
	for _, holds := range e.of {
		for _, h := range slices.Clone(holds) {
			if !h.known(at) {
				e.remove(h)
			}
		}
	}
}

// remove forgets a hold.
func (e *externalHolds) remove(h *externalHold) {
	e.total--
	h.order(false)
	is := func(o *externalHold) bool { return o == h }
	if left := slices.DeleteFunc(e.of[h.goroutine], is); len(left) > 0 {
		e.of[h.goroutine] = left
	} else {
		delete(e.of, h.goroutine)
	}
	if left := slices.DeleteFunc(e.by[h.id], is); len(left) > 0 {
		e.by[h.id] = left
	} else {
		delete(e.by, h.id)
	}
}

// find returns the newest hold of a lock by a goroutine, or else by anybody.
func (e *externalHolds) find(goroutine uint64, id string) *externalHold {
	holds := e.by[id]
	for i := len(holds) - 1; i >= 0; i-- {
		if holds[i].goroutine == goroutine {
			return holds[i]
		}
	}
	if len(holds) > 0 {
		return holds[len(holds)-1]
	}
	return nil
}

// release forgets one hold: the goroutine's, or, if the lock is released by another
// goroutine than the one that acquired it, somebody's.
func (e *externalHolds) release(goroutine uint64, id string) {
	e.mu.Lock()
	h := e.find(goroutine, id)
	if h == nil {
		e.mu.Unlock()
		return
	}
	e.remove(h)
	expired := e.expired(h, now())
	other := h.goroutine != goroutine
	e.mu.Unlock()
	expired.tell()
	if other {
		handedOver.add(id) // who takes it need not be who lets it go
	}
}

func (e *externalHolds) extend(goroutine uint64, id string, d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.find(goroutine, id)
	if h == nil {
		return
	}
	h.gone, h.ends, h.ttl = false, now()+nanos(d), d
	h.order(true)
	e.endsAt(h.ends)
}

func (e *externalHolds) lost(goroutine uint64, id string) {
	e.mu.Lock()
	h := e.find(goroutine, id)
	if h == nil || h.gone {
		e.mu.Unlock()
		return
	}
	h.gone = true
	h.order(false)
	told := holdEvent{task: h.task, name: taskspan.EventHoldLost, hold: *h}
	h.task = nil
	e.mu.Unlock()
	told.tell()
}

// expire marks the holds whose end has come, and tells their tasks.
func (e *externalHolds) expire(at nanos) {
	if next := nanos(e.next.Load()); next == 0 || at < next {
		return
	}
	var events []holdEvent
	e.mu.Lock()
	e.next.Store(0)
	for _, holds := range e.by {
		for _, h := range holds {
			if event := e.expired(h, at); event.task != nil {
				events = append(events, event)
			}
			if !h.gone {
				e.endsAt(h.ends)
			}
		}
	}
	e.mu.Unlock()
	for _, event := range events {
		event.tell()
	}
}

// expired marks a hold whose end has come, and returns what is to be told of it: once.
func (e *externalHolds) expired(h *externalHold, at nanos) (event holdEvent) {
	if h.gone || h.known(at) {
		return event
	}
	event = holdEvent{task: h.task, name: taskspan.EventHoldExpired, hold: *h}
	h.gone, h.task = true, nil
	h.order(false)
	return event
}

// holdEvent is what the task of a hold is told.
type holdEvent struct {
	task *Task
	name string
	hold externalHold
}

func (v holdEvent) tell() {
	if v.task == nil {
		return
	}
	attrs := []attribute.KeyValue{
		attribute.String(taskspan.WaitResourceID, v.hold.id),
		attribute.String(taskspan.WaitResourceName, v.hold.name),
	}
	if v.hold.ends > 0 {
		attrs = append(attrs, attribute.Int64(taskspan.HoldEnds, v.hold.ends.unix()))
	}
	v.task.Point(v.name, attrs...)
}

// addHolders adds the goroutines of this process that hold a lock. Any of them may
// be the one that lets it go.
func (e *externalHolds) addHolders(id string, s *holderSet) {
	if handedOver.has(id) {
		return
	}
	at := now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.by[id] {
		if !h.known(at) {
			continue
		}
		s.need = 1
		s.inferred = s.inferred || h.ends == endsUnknown
		s.add(holder{
			goroutine: h.goroutine, generation: h.number, since: h.since.unix(), place: h.place, ends: max(h.ends, 0),
		})
	}
}

// heldBy returns copies of the holds of a goroutine that stand at a time.
func (e *externalHolds) heldBy(goroutine uint64, at nanos) (held []externalHold) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.of[goroutine] {
		if h.known(at) && !handedOver.has(h.id) {
			held = append(held, *h)
		}
	}
	return held
}
