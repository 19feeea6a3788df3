package adaptivesampler

import "go.opentelemetry.io/collector/pdata/ptrace"

// A batch of which no more than this share of spans is left is compacted: early when
// memory is short, late when it is not, for moving spans costs time.
const (
	leftInNeed = 0.8
	leftAtEase = 0.25
)

// ease compacts a batch that is worth it, also when memory is not short.
func (s *sampler) ease(b *batch) {
	if len(b.places) >= 32 {
		s.compact(b, leftAtEase)
	}
}

// compact moves what is pending out of a batch of which most is decided, so that few
// traces that wait for long do not hold on to all that came with them. All shards are
// locked meanwhile: it is short, and rare.
func (s *sampler) compact(b *batch, most float64) {
	if left := b.spans.Load(); left == 0 || float64(left) > most*float64(len(b.places)) || !b.hold() {
		return
	}
	for _, sh := range s.shards {
		sh.mu.Lock()
		defer sh.mu.Unlock()
	}
	defer s.letGo(b)
	pending := b.pending(s)
	if len(pending) == 0 {
		return
	}
	next := b.extract(pending)
	s.bytes.Add(next.fixed + next.bytes)
	for n, i := range pending {
		p := &b.parts[i]
		sh := s.shardOf(p.trace)
		sh.at(sh.index[p.trace]).replace(segment{b, i}, segment{next, int32(n)})
		s.counts.compacted.Add(int64(p.spans))
		s.moved(b, p)
	}
}

// pending returns the parts of a batch that pending traces hold. Those of a batch that
// is still being taken in may not be held yet.
func (b *batch) pending(s *sampler) (parts []int32) {
	for i := range b.parts {
		p := &b.parts[i]
		sh := s.shardOf(p.trace)
		slot, known := sh.index[p.trace]
		if !known || p.fate != waiting {
			continue
		}
		for g := range sh.at(slot).segments {
			if g == (segment{b, int32(i)}) {
				parts = append(parts, int32(i))
			}
		}
	}
	return parts
}

// replace puts one segment of a trace into the place of another.
func (t *pending) replace(old, by segment) {
	by.of().next = old.of().next
	if t.last == old {
		t.last = by
	}
	if t.first == old {
		t.first = by
		return
	}
	for g := range t.segments {
		if g.of().next == old {
			g.of().next = by
			return
		}
	}
}

// extract moves parts of a batch into a new one, in their order.
func (b *batch) extract(parts []int32) *batch {
	next := &batch{td: ptrace.NewTraces(), held: true, fixed: batchSize, parts: make([]part, len(parts))}
	owner := make([]int32, len(b.places))
	for i := range owner {
		owner[i] = none
	}
	for n, i := range parts {
		p := b.parts[i]
		for at := p.first; at != none; at = b.places[at].next {
			owner[at] = int32(n)
		}
		next.bytes += p.bytes
		next.spans.Add(p.spans)
		p.first, p.last, p.resource = none, none, none
		next.parts[n] = p
	}
	next.refs.Store(int32(len(parts)))
	var scope ptrace.ScopeSpans
	resource, inResource := int32(none), int32(none) // of what was moved last
	for i, n := range owner {
		if n == none {
			continue
		}
		at := b.places[i]
		from := b.td.ResourceSpans().At(int(at.resource))
		if resource != at.resource {
			rs := next.td.ResourceSpans().AppendEmpty()
			from.Resource().CopyTo(rs.Resource())
			rs.SetSchemaUrl(from.SchemaUrl())
			next.fixed += batchSize + mapSize(rs.Resource().Attributes())
			resource, inResource = at.resource, none
		}
		to := next.td.ResourceSpans().At(next.td.ResourceSpans().Len() - 1)
		if inResource != at.scope {
			scope = to.ScopeSpans().AppendEmpty()
			from.ScopeSpans().At(int(at.scope)).Scope().CopyTo(scope.Scope())
			scope.SetSchemaUrl(from.ScopeSpans().At(int(at.scope)).SchemaUrl())
			inResource = at.scope
		}
		b.span(at).MoveTo(scope.Spans().AppendEmpty())
		next.append(n, place{
			int32(next.td.ResourceSpans().Len() - 1), int32(to.ScopeSpans().Len() - 1), int32(scope.Spans().Len() - 1), none,
		})
	}
	next.fixed += int64(len(next.places)) * spanSize
	return next
}
