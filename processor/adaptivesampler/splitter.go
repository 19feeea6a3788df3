package adaptivesampler

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// splitter makes parts of batches. It is used again and again, by one goroutine at a
// time.
type splitter struct {
	rules *rules
	index map[pcommon.TraceID]int32 // into parts
	last  int32                     // the part of the span before
	key   []byte
	keys  map[string]string // keys that have been seen, so that each is one string
	spare *batch            // one that nobody holds, or nil

	late   []keeping
	order  []int32 // parts by shard
	starts []int32 // of each shard in order
}

// knownKeys bounds the keys of a splitter. Past it they are forgotten, which costs an
// allocation each.
const knownKeys = 4096

func newSplitter(r *rules) *splitter {
	return &splitter{rules: r, index: make(map[pcommon.TraceID]int32), keys: make(map[string]string)}
}

// split looks at all spans of a batch, once.
func (s *splitter) split(td ptrace.Traces) *batch {
	b := s.spare
	if b == nil {
		b = &batch{parts: make([]part, 0, len(s.index))}
	}
	s.spare = nil
	b.td, b.fixed = td, batchSize
	b.places = slices.Grow(b.places, td.SpanCount())
	clear(s.index)
	s.last = 0
	resources := td.ResourceSpans()
	for i := range resources.Len() {
		rs := resources.At(i)
		resource := rs.Resource().Attributes()
		inherited := s.rules.resourceBits(resource)
		b.fixed += batchSize + mapSize(resource)
		scopes := rs.ScopeSpans()
		for j := range scopes.Len() {
			spans := scopes.At(j).Spans()
			for k := range spans.Len() {
				span := spans.At(k)
				bits, bytes := s.rules.span(span)
				s.part(b, span.TraceID())
				b.append(s.last, place{int32(i), int32(j), int32(k), none})
				s.add(&b.parts[s.last], span, resource, bits|inherited, bytes)
				b.bytes += bytes
			}
		}
	}
	b.fixed += int64(len(b.places)) * spanSize
	b.refs.Store(int32(len(b.parts)) + 1)
	b.spans.Store(int32(len(b.places)))
	return b
}

// part makes last the part of a trace.
func (s *splitter) part(b *batch, trace pcommon.TraceID) {
	if int(s.last) < len(b.parts) && b.parts[s.last].trace == trace {
		return
	}
	n, known := s.index[trace]
	if !known {
		n = int32(len(b.parts))
		s.index[trace] = n
		b.parts = append(b.parts, part{trace: trace, first: none, last: none})
	}
	s.last = n
}

func (s *splitter) add(p *part, span ptrace.Span, resource pcommon.Map, bits uint64, bytes int64) {
	start, end := span.StartTimestamp(), span.EndTimestamp()
	if p.spans == 0 {
		p.start, p.end = start, end
		p.state = span.TraceState().AsRaw()
	}
	p.spans++
	p.bytes += bytes
	p.bits |= bits
	p.start, p.end = min(p.start, start), max(p.end, end)
	if !p.rooted && span.ParentSpanID().IsEmpty() {
		p.rooted = true
		p.state = span.TraceState().AsRaw()
		s.key = s.rules.key(s.key[:0], resource, span, true)
		p.key = s.intern(s.key)
	}
}

func (s *splitter) intern(key []byte) string {
	if known, ok := s.keys[string(key)]; ok {
		return known
	}
	if len(s.keys) == knownKeys {
		clear(s.keys)
	}
	text := string(key)
	s.keys[text] = text
	return text
}

// sort sorts the parts of a batch by shard, and fills order and starts.
func (s *splitter) sort(b *batch, shards int) {
	s.starts = append(s.starts[:0], make([]int32, shards)...)
	for i := range b.parts {
		s.starts[shardOf(b.parts[i].trace, shards)]++
	}
	for n := 1; n < shards; n++ {
		s.starts[n] += s.starts[n-1]
	}
	s.order = slices.Grow(s.order[:0], len(b.parts))[:len(b.parts)]
	for i := len(b.parts) - 1; i >= 0; i-- {
		n := shardOf(b.parts[i].trace, shards)
		s.starts[n]--
		s.order[s.starts[n]] = int32(i)
	}
}

// of returns the parts of a shard.
func (s *splitter) of(shard int) []int32 {
	end := len(s.order)
	if shard+1 < len(s.starts) {
		end = int(s.starts[shard+1])
	}
	return s.order[s.starts[shard]:end]
}

// recycle keeps a batch that nobody holds for the next spans, unless it is large.
func (s *splitter) recycle(b *batch) {
	const large = 1 << 16
	if cap(b.places) <= large && cap(b.parts) <= large {
		b.reset()
		s.spare = b
	}
}
