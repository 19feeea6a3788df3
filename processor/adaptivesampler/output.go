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
	text          string
}

type outKey struct {
	batch    *batch
	resource int32
}

func newOutput(record Record) *output {
	return &output{td: ptrace.NewTraces(), record: record, resources: make(map[outKey]ptrace.ResourceSpans)}
}

// keep moves a part out of its batch. t is the threshold with which it is kept, and
// policy, if it is not nil, the one that has decided.
func (o *output) keep(b *batch, p *part, t uint64, policy *policy) {
	if o.text == "" || o.lastThreshold != t {
		o.lastThreshold, o.text = t, threshold.Text(t)
	}
	b.each(p, func(at place, s ptrace.Span) {
		state := s.TraceState()
		if raw := state.AsRaw(); raw == "" {
			state.FromRaw("ot=th:" + o.text)
		} else {
			state.FromRaw(threshold.Write(raw, o.text))
		}
		if s.ParentSpanID().IsEmpty() {
			o.note(s.Attributes(), t, policy)
		}
		o.move(b, at, s)
	})
	o.spans += int(p.spans)
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
