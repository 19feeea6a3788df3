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
	// base is the sequence number before that of its first part: the parts are
	// numbered in one go, so sequence - part is the same for all of them.
	base     int64
	observed time.Time
	lists    map[int64]int64 // wait id -> revision
}

func (b *beat) revision(id int64) (int64, bool) {
	if b == nil {
		return 0, false
	}
	rev, ok := b.lists[id]
	return rev, ok
}

// newer reports whether the beat was sent after the report with that number.
func (b *beat) newer(sequence int64) bool { return b != nil && b.base >= sequence }

// partial is a heartbeat of which some parts have come.
type partial struct {
	beat
	have  uint32 // bit i-1: part i
	parts int
}

// assemble adds a part to the pending heartbeats of p and returns the whole one
// when it was the last missing.
func (t *Table) assemble(p *process, r *report.Report) *beat {
	h := r.Heartbeat
	base := r.Sequence - int64(h.Part)
	if p.beat != nil && base <= p.beat.base {
		return nil
	}
	part := t.pending(p, base, h.Parts)
	if part == nil {
		return nil
	}
	part.have |= 1 << (h.Part - 1)
	if r.Observed.After(part.observed) {
		part.observed = r.Observed
	}
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
func (t *Table) pending(p *process, base int64, parts int) *partial {
	oldest := 0
	for i := range p.pending {
		if p.pending[i].base == base && p.pending[i].parts == parts {
			return &p.pending[i]
		}
		if p.pending[i].base < p.pending[oldest].base {
			oldest = i
		}
	}
	if len(p.pending) >= maxPending {
		t.counters.PartsGivenUp++
		if p.pending[oldest].base > base {
			return nil
		}
		t.listed -= len(p.pending[oldest].lists)
		p.pending = append(p.pending[:oldest], p.pending[oldest+1:]...)
	}
	p.pending = append(p.pending, partial{beat: beat{base: base, lists: make(map[int64]int64)}, parts: parts})
	return &p.pending[len(p.pending)-1]
}
