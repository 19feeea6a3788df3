package fleet

import (
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

const (
	// maxPending bounds the heartbeats of one process that still miss parts.
	maxPending = 4
	// listedPerWait bounds the wait ids that all kept heartbeats list, by the
	// limit of open waits. Past it only ids of known waits are kept: a report that
	// comes later than the heartbeat that lists it is then taken for closed, until
	// it is sent again.
	listedPerWait = 4
)

// beat is a whole heartbeat.
type beat struct {
	base     int64           // the lowest sequence number of its parts
	observed time.Time       // the same for all its parts
	lists    map[int64]int64 // wait id -> revision
}

func (b *beat) revision(id int64) (int64, bool) {
	if b == nil {
		return 0, false
	}
	rev, ok := b.lists[id]
	return rev, ok
}

// newer reports whether the beat says more than a report: it must have been made
// and sent after it. Reports are numbered when they are sent, so a heartbeat that
// waited in a queue may have a higher number than a report that it cannot know.
func (b *beat) newer(sequence int64, observed time.Time) bool {
	return b != nil && b.base > sequence && !observed.After(b.observed)
}

// partial is a heartbeat of which some parts have come.
type partial struct {
	beat
	have  uint32 // bit i-1: part i
	parts int
}

// assemble adds a part to the pending heartbeats of p and returns the whole one
// when it was the last missing. Which heartbeat is newer their sequence numbers say: a
// sender has one heartbeat at a time, and its clock may be set back.
func (t *Table) assemble(p *process, r *report.Report) *beat {
	h := r.Heartbeat
	if p.beat != nil && r.Sequence <= p.beat.base {
		return nil
	}
	part := t.pending(p, r, h.Parts)
	if part == nil {
		return nil
	}
	part.have |= 1 << (h.Part - 1)
	part.base = min(part.base, r.Sequence)
	full := t.listed+len(h.WaitIDs) > listedPerWait*t.limits.Waits
	before := len(part.lists)
	for i, id := range h.WaitIDs {
		if _, known := p.waits[id]; known || !full {
			part.lists[id] = h.Revisions[i]
		}
	}
	t.listed += len(part.lists) - before
	if part.have != 1<<part.parts-1 {
		return nil
	}
	b := part.beat
	// Older ones that still miss parts can no longer change anything.
	kept := p.pending[:0]
	for _, other := range p.pending {
		switch {
		case other.base > b.base:
			kept = append(kept, other)
		case other.base < b.base:
			t.counters.PartsGivenUp++
			t.listed -= len(other.lists)
		}
	}
	clear(p.pending[len(kept):])
	p.pending = kept
	return &b
}

// pending finds or makes the heartbeat that a part belongs to; nil if there are
// too many newer ones.
func (t *Table) pending(p *process, r *report.Report, parts int) *partial {
	oldest := 0
	for i := range p.pending {
		if p.pending[i].observed.Equal(r.Observed) && p.pending[i].parts == parts {
			return &p.pending[i]
		}
		if p.pending[i].base < p.pending[oldest].base {
			oldest = i
		}
	}
	if len(p.pending) >= maxPending {
		t.counters.PartsGivenUp++
		if p.pending[oldest].base > r.Sequence {
			return nil
		}
		t.listed -= len(p.pending[oldest].lists)
		p.pending = append(p.pending[:oldest], p.pending[oldest+1:]...)
	}
	p.pending = append(p.pending, partial{
		beat:  beat{base: r.Sequence, observed: r.Observed, lists: make(map[int64]int64, len(r.Heartbeat.WaitIDs))},
		parts: parts,
	})
	return &p.pending[len(p.pending)-1]
}
