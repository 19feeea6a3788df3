package propagator

import (
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
)

// The propagator that OpenTelemetry has while nobody has set one is none.
func TestGlobal(t *testing.T) {
	if p := Global(); p != nil {
		t.Fatalf("before any is set it is %v", p)
	}
	for _, p := range []propagation.TextMapPropagator{propagation.TraceContext{}, propagation.Baggage{}} {
		otel.SetTextMapPropagator(p)
		if got := Global(); got == nil || got.Fields()[0] != p.Fields()[0] {
			t.Errorf("%v is set, and it is %v", p.Fields(), got)
		}
	}
}
