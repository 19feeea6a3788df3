package adaptivesampler

import (
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

const (
	// roomAfter is the part of the limit that is in use after room was made, and
	// relaxedBelow the part below which the eviction threshold falls again.
	roomAfter    = 0.75
	relaxedBelow = 0.8
	// mostRelaxed is by what more is let in with each tick, and leastLetIn from what on:
	// after the worst of overloads it takes four ticks to let everything in.
	mostRelaxed = 8
	leastLetIn  = 1. / 1024
	// buckets is how finely the eviction threshold is chosen.
	buckets     = 1024
	bucketWidth = threshold.Total / buckets
)

// relieve makes room. First what is dropped goes out of its batches. Then it raises the
// eviction threshold until the traces below it free enough: those would have been kept
// with the smallest probability. All others have now survived it, and are kept with it
// at least, so counts stay right. Traces that a policy protects go last, the oldest
// first.
func (s *sampler) relieve() {
	s.relieving.Lock()
	defer s.relieving.Unlock()
	if s.bytes.Load() <= s.limit {
		return
	}
	s.sweep()
	for range 8 {
		if s.bytes.Load() <= s.limit {
			return
		}
		if !s.raise(s.bytes.Load() - int64(roomAfter*float64(s.limit))) {
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

// sweep goes through all batches that hold pending traces.
func (s *sampler) sweep() {
	found := make(map[*batch]struct{})
	for _, sh := range s.shards {
		sh.mu.Lock()
		for _, t := range sh.all {
			for g := range t.segments {
				found[g.batch] = struct{}{}
			}
		}
		sh.mu.Unlock()
	}
	for b := range found {
		s.tidy(b)
	}
}

// tidy frees what is dropped in a batch that is not done with.
func (s *sampler) tidy(b *batch) {
	s.compact(b, leftInNeed)
	s.empty(b)
}

// raise raises the threshold by as much as frees need, and reports whether it freed
// anything.
func (s *sampler) raise(need int64) (freed bool) {
	var held [buckets]float64 // by randomness
	var protected float64
	for _, sh := range s.shards {
		sh.mu.Lock()
		for _, t := range sh.all {
			size := float64(traceSize + t.bytes + int64(t.spans)*spanSize)
			if t.protected || t.deciding {
				protected += size
			} else {
				held[t.randomness/bucketWidth] += size
			}
		}
		sh.mu.Unlock()
	}
	all := protected
	for _, size := range held {
		all += size
	}
	// What no trace has to itself, resources and batches, goes with the traces.
	left := float64(need) * min(1, all/float64(s.bytes.Load()))
	bar := uint64(0)
	for i := range held {
		bar = uint64(i+1) * bucketWidth
		if left -= held[i]; left <= 0 {
			break
		}
	}
	bar = max(bar, s.eviction.Load())
	s.eviction.Store(min(bar, threshold.Total-1))
	touched := make(map[*batch]struct{})
	for _, sh := range s.shards {
		sh.mu.Lock()
		for slot, t := range sh.all {
			switch {
			case t.protected || t.deciding:
			case t.randomness < bar:
				for g := range t.segments {
					touched[g.batch] = struct{}{}
				}
				s.discard(sh, slot, evicted, s.drop)
				freed = true
			default:
				t.floor = max(t.floor, bar)
			}
		}
		sh.mu.Unlock()
	}
	for b := range touched {
		s.tidy(b)
	}
	return freed
}

// evictProtected evicts traces of a shard, the oldest first, until there is room.
func (s *sampler) evictProtected(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := sh.byStart.head; i < len(sh.byStart.items) && s.bytes.Load() > s.limit; i++ {
		d := sh.byStart.items[i]
		t := sh.at(d.slot)
		if !sh.live(d) || t.deciding {
			continue
		}
		for g := range t.segments {
			s.emptyPart(g.batch, g.of())
		}
		s.discard(sh, d.slot, evictedBad, s.moved)
	}
}

// relax lets the eviction threshold fall when there is room again: by as much as
// would fill what is unused, for what is pending is in proportion to what is let in,
// and by no more than a factor at once, for it takes time to get there.
func (s *sampler) relax() {
	bar := s.eviction.Load()
	used := float64(s.bytes.Load()) / float64(s.limit)
	if bar == 0 || used > relaxedBelow {
		return
	}
	letIn := max(threshold.Probability(bar), leastLetIn) * min(mostRelaxed, relaxedBelow/max(used, 1e-9))
	s.eviction.Store(threshold.Of(min(1, letIn)))
}

// empty empties the spans of a batch that are dropped.
func (s *sampler) empty(b *batch) {
	if b.garbage.Load() == 0 || !b.hold() {
		return
	}
	defer s.letGo(b)
	for i := range b.parts {
		p := &b.parts[i]
		sh := s.shardOf(p.trace)
		sh.mu.Lock()
		if p.fate == garbage {
			s.emptyPart(b, p)
			p.fate = gone
			b.garbage.Add(-p.bytes)
			s.bytes.Add(-p.bytes)
		}
		sh.mu.Unlock()
	}
}

// emptyPart empties the spans of a part.
func (s *sampler) emptyPart(b *batch, p *part) {
	trash := ptrace.NewSpan()
	for i := p.first; i != none; i = b.places[i].next {
		b.span(b.places[i]).MoveTo(trash)
	}
}
