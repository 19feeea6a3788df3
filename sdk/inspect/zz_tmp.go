package inspect

import (
	"go.opentelemetry.io/otel/trace"
)

type headSampler struct{ rate float64 }

func (h *headSampler) decide(id trace.TraceID, name string, ts trace.TraceState) (bool, trace.TraceState) {
	return h.rate > 0.5, ts
}

type openSpans struct{}

func (*openSpans) remoteOf(trace.SpanID) remoteParent { return remoteParent{} }

// Stand-ins until reporter.go exists.
type reporter struct{}
