package adaptivesampler

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

const (
	attributePolicy = "async_inspect.sampling.policy"
	attributeRate   = "async_inspect.sampling.rate"
)

// output gathers the spans that are kept. Resources and scopes are copied once for
// each batch that they come from; spans are moved.
type output struct {
	td     ptrace.Traces
	record Record
	spans  int

	resources map[outKey]ptrace.ResourceSpans
	// Of the span before.
	last      outKey
	lastScope int32
	scope     ptrace.ScopeSpans
	// The text of the threshold before.
	lastThreshold uint64
	text, state   string
}

type outKey struct {
	batch    *batch
	resource int32
}

func newOutput(record Record) *output {
	return &output{td: ptrace.NewTraces(), record: record, resources: make(map[outKey]ptrace.ResourceSpans)}
}

// keep moves a part out of its batch. bar is the threshold that it is kept with, and
// policy the one that has decided, if one has.
func (o *output) keep(b *batch, p *part, bar uint64, policy *policy) {
	o.threshold(bar)
	for i := p.first; i != none; i = b.places[i].next {
		s := b.span(b.places[i])
		o.mark(p, s, bar, policy)
		o.move(b, b.places[i], s)
	}
	o.spans += int(p.spans)
}

// threshold makes the text of a threshold ready.
func (o *output) threshold(bar uint64) {
	if o.state == "" || o.lastThreshold != bar {
		o.lastThreshold, o.text = bar, threshold.Text(bar)
		o.state = "ot=th:" + o.text
	}
}

// mark writes into a span with what threshold it is kept, and into a root why.
func (o *output) mark(p *part, s ptrace.Span, bar uint64, policy *policy) {
	state := s.TraceState()
	if raw := state.AsRaw(); raw == "" {
		state.FromRaw(o.state)
	} else {
		state.FromRaw(threshold.Write(raw, o.text))
	}
	if p.rooted && s.ParentSpanID().IsEmpty() {
		o.note(s.Attributes(), bar, policy)
	}
}

// passOn passes a batch on that nobody else uses, without the spans that are not kept.
func (o *output) passOn(b *batch, keep []keeping) {
	kept := 0
	for _, k := range keep {
		p := &b.parts[k.part]
		o.threshold(k.bar)
		for at := p.first; at != none; at = b.places[at].next {
			o.mark(p, b.span(b.places[at]), k.bar, k.policy)
		}
		kept += int(p.spans)
	}
	o.spans += kept
	if kept < len(b.places) {
		b.only(keep)
	}
	b.td.ResourceSpans().MoveAndAppendTo(o.td.ResourceSpans())
}

// only removes all spans but those of some parts. Places are in the order of the spans.
func (b *batch) only(keep []keeping) {
	stays := make([]bool, len(b.places))
	for _, k := range keep {
		for at := b.parts[k.part].first; at != none; at = b.places[at].next {
			stays[at] = true
		}
	}
	at := -1
	b.td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
			ss.Spans().RemoveIf(func(ptrace.Span) bool { at++; return !stays[at] })
			return ss.Spans().Len() == 0
		})
		return rs.ScopeSpans().Len() == 0
	})
}

// note says on a root span why its trace is kept.
func (o *output) note(attrs pcommon.Map, t uint64, policy *policy) {
	if o.record.Policy && policy != nil {
		attrs.PutStr(attributePolicy, policy.name)
	}
	if o.record.Rate {
		attrs.PutDouble(attributeRate, threshold.Probability(t))
	}
}

func (o *output) move(b *batch, at place, s ptrace.Span) {
	key := outKey{b, at.resource}
	if o.last != key || o.lastScope != at.scope {
		o.scope = o.find(key, at.scope)
		o.last, o.lastScope = key, at.scope
	}
	s.MoveTo(o.scope.Spans().AppendEmpty())
}

// find returns the scope in the output that stands for one in a batch.
func (o *output) find(key outKey, scope int32) ptrace.ScopeSpans {
	from := key.batch.td.ResourceSpans().At(int(key.resource))
	to, known := o.resources[key]
	if !known {
		to = o.td.ResourceSpans().AppendEmpty()
		from.Resource().CopyTo(to.Resource())
		to.SetSchemaUrl(from.SchemaUrl())
		o.resources[key] = to
	}
	wanted := from.ScopeSpans().At(int(scope))
	for i := to.ScopeSpans().Len() - 1; i >= 0; i-- {
		ss := to.ScopeSpans().At(i)
		if ss.SchemaUrl() == wanted.SchemaUrl() && sameScope(ss.Scope(), wanted.Scope()) {
			return ss
		}
	}
	ss := to.ScopeSpans().AppendEmpty()
	wanted.Scope().CopyTo(ss.Scope())
	ss.SetSchemaUrl(wanted.SchemaUrl())
	return ss
}

func sameScope(a, b pcommon.InstrumentationScope) bool {
	return a.Name() == b.Name() && a.Version() == b.Version() &&
		a.DroppedAttributesCount() == b.DroppedAttributesCount() && a.Attributes().Equal(b.Attributes())
}
