package adaptivesampler

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

// takeDirect takes the scopes out of a batch whose spans pass at once: reports, which
// are about tasks that have not ended, and what detectors add. found is called for the
// trace of each span of a detector.
func takeDirect(td ptrace.Traces, found func(pcommon.TraceID)) (direct ptrace.Traces, any bool) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			any = any || passes(ss.Scope())
		}
	}
	if !any {
		return direct, false
	}
	direct = ptrace.NewTraces()
	td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		var to ptrace.ResourceSpans
		made := false
		rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
			if !passes(ss.Scope()) {
				return false
			}
			if !made {
				made = true
				to = direct.ResourceSpans().AppendEmpty()
				rs.Resource().CopyTo(to.Resource())
				to.SetSchemaUrl(rs.SchemaUrl())
			}
			if classify.ScopeOf(ss.Scope()) == classify.Detector {
				for _, s := range ss.Spans().All() {
					found(s.TraceID())
				}
			}
			ss.MoveTo(to.ScopeSpans().AppendEmpty())
			return true
		})
		return made && rs.ScopeSpans().Len() == 0
	})
	return direct, true
}

func passes(scope pcommon.InstrumentationScope) bool {
	return classify.ScopeOf(scope) != classify.Application
}

// fixedRate samples at a fixed rate, span by span, and buffers nothing. All spans of a
// trace share their randomness, so traces stay whole.
type fixedRate struct {
	threshold uint64
	text      string
	counts    *counts
}

func newFixedRate(rate float64, c *counts) *fixedRate {
	t := threshold.Of(rate)
	return &fixedRate{threshold: t, text: threshold.Text(t), counts: c}
}

// sample removes what is not kept, and reports whether anything is left.
func (f *fixedRate) sample(td ptrace.Traces) bool {
	td.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
		rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
			before := ss.Spans().Len()
			ss.Spans().RemoveIf(func(s ptrace.Span) bool { return !f.keep(s) })
			f.counts.spansIn.Add(int64(before))
			f.counts.spans[kept].Add(int64(ss.Spans().Len()))
			f.counts.spans[dropped].Add(int64(before - ss.Spans().Len()))
			return before > 0 && ss.Spans().Len() == 0
		})
		return rs.ScopeSpans().Len() == 0
	})
	return td.ResourceSpans().Len() > 0
}

func (f *fixedRate) keep(s ptrace.Span) bool {
	state := s.TraceState()
	raw := state.AsRaw()
	incoming, randomness := sampledBefore(s.TraceID(), raw)
	if randomness < f.threshold {
		return false
	}
	if f.threshold >= incoming {
		state.FromRaw(threshold.Write(raw, f.text))
	}
	return true
}
