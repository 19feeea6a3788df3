package adaptivesampler

import (
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

// shard holds the pending traces of a part of all trace ids.
type shard struct {
	mu      sync.Mutex // guards all below
	index   map[pcommon.TraceID]int32
	slab    [][]pending // in chunks, so that it grows without a copy
	slots   int32       // that have been used
	free    []int32
	byStart fifo // when a trace is due at the latest
	byRoot  fifo // when it is due because its root has come
	decided decisions
	_       [64]byte // no false sharing
}

const chunk = 1024

// pending is a trace that is not decided.
type pending struct {
	trace      pcommon.TraceID
	generation uint32 // of the slot
	deciding   bool   // a tick decides about it now
	protected  bool   // kept whatever the budget says
	stuck      bool   // a detector has a span in it
	rooted     bool
	randomness uint64
	// incoming is the threshold with which it came, and floor the highest that it has
	// survived while memory was short. It is kept with the highest of all.
	incoming, floor uint64
	bits            uint64
	bytes           int64
	spans           int32
	start, end      pcommon.Timestamp
	key             string
	first, last     segment // each part knows the next
}

// segments ranges over the parts of a trace.
func (t *pending) segments(yield func(segment) bool) {
	for g := t.first; g.batch != nil; {
		next := g.of().next // may be released by who ranges
		if !yield(g) {
			return
		}
		g = next
	}
}

func (s *shard) at(slot int32) *pending { return &s.slab[slot/chunk][slot%chunk] }

// all ranges over the pending traces.
func (s *shard) all(yield func(int32, *pending) bool) {
	for slot := range s.slots {
		if t := s.at(slot); t.spans > 0 && !yield(slot, t) {
			return
		}
	}
}

// fifo is a queue of deadlines, which only grow. A slot that has been used again
// since is skipped.
type fifo struct {
	items []deadline
	head  int
}

type deadline struct {
	slot       int32
	generation uint32
	at         int64 // unix nanoseconds
}

func (f *fifo) push(d deadline) {
	if f.head > 64 && f.head*2 > len(f.items) {
		f.items = append(f.items[:0], f.items[f.head:]...)
		f.head = 0
	}
	f.items = append(f.items, d)
}

// pop returns the next deadline that has come.
func (f *fifo) pop(now int64) (d deadline, ok bool) {
	if f.head == len(f.items) || f.items[f.head].at > now {
		return d, false
	}
	f.head++
	return f.items[f.head-1], true
}

func newShard(cache DecisionCache, shards int) *shard {
	return &shard{
		index: make(map[pcommon.TraceID]int32),
		decided: decisions{
			kept: newTable(cache.SampledSize/shards, true), dropped: newTable(cache.NonSampledSize/shards, false),
		},
	}
}

// open makes a pending trace of a part that is the first of it.
func (s *shard) open(p *part, incoming, randomness uint64, due int64) (int32, *pending) {
	var slot int32
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
	} else {
		if slot = s.slots; slot%chunk == 0 {
			s.slab = append(s.slab, make([]pending, chunk))
		}
		s.slots++
	}
	t := s.at(slot)
	*t = pending{
		trace: p.trace, generation: t.generation + 1, randomness: randomness, incoming: incoming, start: p.start, end: p.end,
	}
	s.index[p.trace] = slot
	s.byStart.push(deadline{slot, t.generation, due})
	return slot, t
}

// add adds a part to a trace.
func (t *pending) add(g segment) {
	if t.first.batch == nil {
		t.first = g
	} else {
		t.last.of().next = g
	}
	t.last = g
}

// close forgets a pending trace.
func (s *shard) close(slot int32) {
	t := s.at(slot)
	delete(s.index, t.trace)
	*t = pending{generation: t.generation + 1}
	s.free = append(s.free, slot)
}

// live reports whether a deadline is still about the trace in its slot.
func (s *shard) live(d deadline) bool { return s.at(d.slot).generation == d.generation }

// sampledBefore reads with which threshold a trace came, and its randomness. A
// threshold that the randomness does not reach is a mistake of somebody, and as if it
// were not there.
func sampledBefore(trace pcommon.TraceID, tracestate string) (incoming, randomness uint64) {
	randomness = threshold.Randomness(trace)
	if tracestate == "" {
		return 0, randomness
	}
	state := threshold.Read(tracestate)
	if state.Explicit {
		randomness = state.Randomness
	}
	if state.Sampled && state.Threshold <= randomness {
		incoming = state.Threshold
	}
	return incoming, randomness
}
