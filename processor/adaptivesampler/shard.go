package adaptivesampler

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

// shard holds the pending traces of a part of all trace ids.
type shard struct {
	mu      sync.Mutex // guards all below
	index   map[pcommon.TraceID]int32
	slab    []pending
	free    []int32
	byStart fifo // when a trace is due at the latest
	byRoot  fifo // when it is due because its root has come
	decided decisions
	_       [64]byte // no false sharing
}

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
	segments        []segment
}

// segment is the part of a batch that a trace has.
type segment struct {
	batch *batch
	part  int32
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
			kept: newRing(cache.SampledSize / shards), dropped: newRing(cache.NonSampledSize / shards),
		},
	}
}

// open makes a pending trace of a part that is the first of it.
func (s *shard) open(p *part, incoming, randomness uint64, now time.Time, timeout time.Duration) int32 {
	var slot int32
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
	} else {
		slot = int32(len(s.slab))
		s.slab = append(s.slab, pending{})
	}
	t := &s.slab[slot]
	segments := t.segments[:0]
	*t = pending{
		trace: p.trace, generation: t.generation + 1, randomness: randomness, incoming: incoming,
		start: p.start, end: p.end, segments: segments,
	}
	s.index[p.trace] = slot
	s.byStart.push(deadline{slot, t.generation, now.Add(timeout).UnixNano()})
	return slot
}

// close forgets a pending trace.
func (s *shard) close(slot int32) {
	t := &s.slab[slot]
	delete(s.index, t.trace)
	clear(t.segments)
	t.segments, t.key, t.generation, t.spans = t.segments[:0], "", t.generation+1, 0
	if cap(t.segments) > 16 {
		t.segments = nil
	}
	s.free = append(s.free, slot)
}

// live reports whether a deadline is still about the trace in its slot.
func (s *shard) live(d deadline) bool { return s.slab[d.slot].generation == d.generation }

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
