package adaptivesampler

import (
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// batch is what came in one call. It stays as it came; who holds a trace holds the
// places of its spans in it. Spans that are kept are moved out of it in the end. Those
// that are not stay and go with the batch, when all of its traces are decided, or are
// emptied before, when memory is short.
type batch struct {
	td     ptrace.Traces
	places []place
	parts  []part
	// fixed is what is accounted until the batch goes, beside its parts.
	fixed int64
	bytes int64 // of all parts
	held  bool  // a pending trace has had a part of it

	refs    atomic.Int32 // parts that are not released, and those who work on it
	spans   atomic.Int32 // that have not been released
	garbage atomic.Int64 // bytes of what is dropped and still in it

	// Of the tick that decides about parts of it.
	touched bool
	keeping []keeping
}

// keeping is a part that is kept, with the threshold, and the policy that has
// decided, if one has.
type keeping struct {
	part   int32
	bar    uint64
	policy *policy
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
	resource    int32 // of the first span
	bytes       int64
	bits        uint64
	start, end  pcommon.Timestamp
	state       string // tracestate of the root, or of the first span
	key         string // of the root
	rooted      bool
	fate        fate    // guarded by the shard of the trace
	next        segment // of the same trace, while it is pending
}

// fate is what has become of a part.
type fate uint8

const (
	waiting fate = iota
	gone         // moved out, or emptied
	garbage      // dropped, and still there
)

// segment is the part of a batch that a trace has.
type segment struct {
	batch *batch
	part  int32
}

// became notes what has become of a part, which is of no pending trace any more.
func (p *part) became(how fate) { p.fate, p.next = how, segment{} }

func (g segment) of() *part { return &g.batch.parts[g.part] }

// none is no place.
const none = -1

func (b *batch) span(at place) ptrace.Span {
	return b.td.ResourceSpans().At(int(at.resource)).ScopeSpans().At(int(at.scope)).Spans().At(int(at.span))
}

// append adds a place to a part.
func (b *batch) append(to int32, at place) {
	p, n := &b.parts[to], int32(len(b.places))
	b.places = append(b.places, at)
	if p.first == none {
		p.first, p.resource = n, at.resource
	} else {
		b.places[p.last].next = n
	}
	p.last = n
}

// hold keeps a batch from going, unless it has gone.
func (b *batch) hold() bool {
	for {
		n := b.refs.Load()
		if n == 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// reset makes a batch that nobody holds ready for the next spans.
func (b *batch) reset() {
	clear(b.parts)
	*b = batch{places: b.places[:0], parts: b.parts[:0]}
}
