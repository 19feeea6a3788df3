//go:build !noinspect

package inspecthttp

import (
	"context"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/propagator"
)

// otherHeader reads the caller's trace from a header of its own.
type otherHeader struct{ propagation.TraceContext }

func (p otherHeader) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	return p.TraceContext.Extract(ctx, propagation.MapCarrier{"traceparent": c.Get("other")})
}

// The global propagator counts as soon as somebody has set one, also one that
// propagates nothing; until then it is W3C trace context.
func TestGlobalPropagator(t *testing.T) {
	before := otel.GetTextMapPropagator()
	if propagator.Global() != nil {
		t.Fatal("a propagator is set already")
	}
	t.Cleanup(func() { otel.SetTextMapPropagator(before) })
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("traceparent", "00-000000000000000000000000000000aa-00000000000000bb-01")
	r.Header.Set("other", "00-000000000000000000000000000000cc-00000000000000dd-01")
	c := newConfig(nil)
	callerIs := func(want string) {
		t.Helper()
		ctx := c.propagator().Extract(context.Background(), propagation.HeaderCarrier(r.Header))
		if got := trace.SpanContextFromContext(ctx); got.TraceID().String() != want {
			t.Errorf("the caller's trace is %v, want %s", got.TraceID(), want)
		}
	}
	callerIs("000000000000000000000000000000aa")
	otel.SetTextMapPropagator(otherHeader{})
	callerIs("000000000000000000000000000000cc")
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(otherHeader{}))
	callerIs("000000000000000000000000000000cc")
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator())
	callerIs("00000000000000000000000000000000")
	c = newConfig([]Option{WithPropagators(propagation.TraceContext{})})
	callerIs("000000000000000000000000000000aa")
}
