package inspector

import (
	"slices"
	"sync"
)

// history is a ring of the last points.
type history struct {
	mu     sync.Mutex // guards all below
	ring   []historyPoint
	next   int // where the next one goes once the ring is full
	before *sample
}

// newHistory keeps at most limit points.
func newHistory(limit int) *history { return &history{ring: make([]historyPoint, 0, limit)} }

// add makes a point of a sample and the one before it.
func (h *history) add(s sample) historyPoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := historyPoint{
		At: instant(s.at), Running: s.running, Blocked: s.blocked, Deadlocked: s.deadlocked,
		Deadlocks: s.deadlocks, Processes: s.processesReporting,
	}
	if h.before != nil {
		p.Rates = s.since(h.before)
	}
	h.before = &s
	if len(h.ring) < cap(h.ring) {
		h.ring = append(h.ring, p)
		return p
	}
	h.ring[h.next] = p
	h.next = (h.next + 1) % len(h.ring)
	return p
}

// points are all that are kept, the oldest first.
func (h *history) points() []historyPoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Concat([]historyPoint{}, h.ring[h.next:], h.ring[:h.next])
}

// rates are those of the newest point.
func (h *history) rates() rates {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) == 0 {
		return rates{}
	}
	return h.ring[(h.next+len(h.ring)-1)%len(h.ring)].Rates
}

// size is how many points are kept, and how many there is room for.
func (h *history) size() (size, limit int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ring), cap(h.ring)
}
