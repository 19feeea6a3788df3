package adaptivesampler

import (
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// batch is what came in one call. It stays as it came; who holds a trace holds the
// places of its spans in it. Spans that are kept are moved out of it in the end, and
// those that are not are emptied, so what they hold is free at once; the rest goes
// with the batch, when all of its traces are decided.
type batch struct {
	td     ptrace.Traces
	places []place
	parts  []part
	// left is how many parts are not released.
	left atomic.Int32
	// fixed is what is accounted until the batch goes.
	fixed int64
	spans atomic.Int32 // that have not been released
}

// place is where a span is, and the next one of its trace in the batch, or -1.
type place struct {
	resource, scope, span int32
	next                  int32
}

// part is what a batch has of one trace.
type part struct {
	trace       pcommon.TraceID
	first, last int32 // places
	spans       int32
	bytes       int64
	bits        uint64
	start, end  pcommon.Timestamp
	state       string // tracestate of the root, or of the first span
	key         string // of the root; empty: no root here
	rooted      bool
	resource    int32 // of the first span
	done        bool  // released; guarded by the shard of the trace
}

// none is no place.
const none = -1

// each calls fn for each span of a part.
func (b *batch) each(p *part, fn func(at place, s ptrace.Span)) {
	for i := p.first; i != none; {
		at := b.places[i]
		fn(at, b.span(at))
		i = at.next
	}
}

func (b *batch) span(at place) ptrace.Span {
	return b.td.ResourceSpans().At(int(at.resource)).ScopeSpans().At(int(at.scope)).Spans().At(int(at.span))
}

// splitter makes parts of batches. It is used again and again, by one goroutine at a
// time.
type splitter struct {
	rules *rules
	index map[pcommon.TraceID]int32 // into parts
	key   []byte
	last  int32 // the part of the span before
}

// split looks at all spans of a batch, once.
func (s *splitter) split(td ptrace.Traces) *batch {
	b := &batch{td: td, places: make([]place, 0, td.SpanCount()), fixed: batchSize}
	clear(s.index)
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
				p := s.part(b, span.TraceID(), int32(i))
				at := int32(len(b.places))
				b.places = append(b.places, place{int32(i), int32(j), int32(k), none})
				if p.first == none {
					p.first = at
				} else {
					b.places[p.last].next = at
				}
				p.last = at
				s.add(p, span, resource, bits|inherited, bytes)
			}
		}
	}
	b.fixed += int64(len(b.places)) * spanSize
	b.left.Store(int32(len(b.parts)))
	b.spans.Store(int32(len(b.places)))
	return b
}

func (s *splitter) part(b *batch, trace pcommon.TraceID, resource int32) *part {
	if n := int32(len(b.parts)); s.last < n && n > 0 && b.parts[s.last].trace == trace {
		return &b.parts[s.last]
	}
	n, known := s.index[trace]
	if !known {
		n = int32(len(b.parts))
		s.index[trace] = n
		b.parts = append(b.parts, part{trace: trace, first: none, last: none, resource: resource})
	}
	s.last = n
	return &b.parts[n]
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
		p.key = string(s.key)
	}
}
