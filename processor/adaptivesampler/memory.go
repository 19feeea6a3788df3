package adaptivesampler

import (
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

const (
	// roomAfter is the part of the limit that is in use after room was made, and
	// relaxedBelow the part below which the eviction threshold falls again.
	roomAfter    = 0.95
	relaxedBelow = 0.8
	// buckets is how finely the eviction threshold is chosen.
	buckets     = 1024
	bucketWidth = threshold.Total / buckets
)

// relieve makes room. It raises the eviction threshold until the traces below it free
// enough: those would have been kept with the smallest probability. All others have
// now survived it, and are kept with it at least, so counts stay right. Traces that a
// policy protects go last, the oldest first.
func (s *sampler) relieve() {
	s.relieving.Lock()
	defer s.relieving.Unlock()
	for range 8 {
		need := s.bytes.Load() - int64(roomAfter*float64(s.limit))
		if s.bytes.Load() <= s.limit {
			return
		}
		if !s.raise(need) {
			break
		}
	}
	for _, sh := range s.shards {
		if s.bytes.Load() <= s.limit {
			return
		}
		s.evictProtected(sh)
	}
}

// raise raises the threshold by as much as frees need, and reports whether it freed
// anything.
func (s *sampler) raise(need int64) (freed bool) {
	var held [buckets]int64
	for _, sh := range s.shards {
		sh.mu.Lock()
		for _, slot := range sh.index {
			if t := &sh.slab[slot]; !t.protected && !t.deciding {
				held[t.randomness/bucketWidth] += t.bytes + int64(t.spans)*spanSize
			}
		}
		sh.mu.Unlock()
	}
	bar := uint64(0)
	for i := range held {
		bar = uint64(i+1) * bucketWidth
		if need -= held[i]; need <= 0 {
			break
		}
	}
	bar = max(bar, s.eviction.Load())
	s.eviction.Store(min(bar, threshold.Total-1))
	touched := make(map[*batch]struct{})
	for _, sh := range s.shards {
		sh.mu.Lock()
		for _, slot := range sh.index {
			t := &sh.slab[slot]
			switch {
			case t.protected || t.deciding:
			case t.randomness < bar:
				for _, g := range t.segments {
					touched[g.batch] = struct{}{}
				}
				s.discard(sh, slot, evicted)
				freed = true
			default:
				t.floor = max(t.floor, bar)
			}
		}
		sh.mu.Unlock()
	}
	for b := range touched {
		s.compact(b, halfEmpty)
	}
	return freed
}

// evictProtected evicts traces of a shard, the oldest first, until there is room.
func (s *sampler) evictProtected(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := sh.byStart.head; i < len(sh.byStart.items) && s.bytes.Load() > s.limit; i++ {
		if d := sh.byStart.items[i]; sh.live(d) && !sh.slab[d.slot].deciding {
			s.discard(sh, d.slot, evictedBad)
		}
	}
}

// relax lets the eviction threshold fall when there is room again.
func (s *sampler) relax() {
	bar := s.eviction.Load()
	if bar == 0 || float64(s.bytes.Load()) > relaxedBelow*float64(s.limit) {
		return
	}
	bar -= bar / 8
	if bar < bucketWidth/8 {
		bar = 0
	}
	s.eviction.Store(bar)
}

// A batch of which less than one in so many spans is left is compacted: early when
// memory is short, late when it is not, for moving spans costs time.
const (
	halfEmpty   = 2
	mostlyEmpty = 4
)

// compact moves the last traces out of a batch of which most is decided, so that few
// traces that wait for long do not hold on to all that came with them.
func (s *sampler) compact(b *batch, emptiness int) {
	left := b.spans.Load()
	if left == 0 || int(left)*emptiness > len(b.places) {
		return
	}
	for i := range b.parts {
		p := &b.parts[i]
		sh := s.shards[s.shardOf(p.trace)]
		sh.mu.Lock()
		if slot, pending := sh.index[p.trace]; pending && !p.done {
			segments := sh.slab[slot].segments
			for k := range segments {
				if segments[k].batch == b && segments[k].part == int32(i) {
					segments[k] = segment{s.moved(b, p), 0}
					s.counts.compacted.Add(int64(p.spans))
					s.release(b, p, true)
				}
			}
		}
		sh.mu.Unlock()
	}
}

// moved is a batch of one part only.
func (s *sampler) moved(b *batch, p *part) *batch {
	o := &output{td: ptrace.NewTraces(), resources: make(map[outKey]ptrace.ResourceSpans)}
	b.each(p, func(at place, span ptrace.Span) { o.move(b, at, span) })
	alone := *p
	next := &batch{td: o.td, fixed: batchSize + int64(p.spans)*spanSize}
	for i, rs := range o.td.ResourceSpans().All() {
		next.fixed += batchSize + mapSize(rs.Resource().Attributes())
		for j, ss := range rs.ScopeSpans().All() {
			for k := range ss.Spans().Len() {
				next.places = append(next.places, place{int32(i), int32(j), int32(k), int32(len(next.places) + 1)})
			}
		}
	}
	next.places[len(next.places)-1].next = none
	alone.first, alone.last, alone.resource = 0, int32(len(next.places)-1), 0
	next.parts = []part{alone}
	next.left.Store(1)
	next.spans.Store(p.spans)
	s.bytes.Add(next.fixed)
	return next
}
