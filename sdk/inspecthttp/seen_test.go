//go:build !noinspect

package inspecthttp

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// seen is the default Inspector of a test, with spans that can be seen.
type seen struct {
	t        *testing.T
	ins      *inspect.Inspector
	exporter *tracetest.InMemoryExporter
}

func start(t *testing.T, opts ...inspect.Option) *seen {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	ins, err := inspect.Start(t.Context(), append([]inspect.Option{
		inspect.WithSpanExporter(exporter), inspect.WithReports(false),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
	return &seen{t, ins, exporter}
}

// spans returns those that have ended, by name.
func (s *seen) spans() map[string]tracetest.SpanStub {
	s.t.Helper()
	if err := s.ins.TracerProvider().(*sdktrace.TracerProvider).ForceFlush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	byName := make(map[string]tracetest.SpanStub)
	for _, span := range s.exporter.GetSpans() {
		if _, ok := byName[span.Name]; ok {
			s.t.Errorf("two spans called %q", span.Name)
		}
		byName[span.Name] = span
	}
	return byName
}

// spansNamed looks at those of one name, in the order of their end.
func (s *seen) spansNamed(name string, look func([]tracetest.SpanStub)) {
	s.t.Helper()
	if err := s.ins.TracerProvider().(*sdktrace.TracerProvider).ForceFlush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var spans []tracetest.SpanStub
	for _, span := range s.exporter.GetSpans() {
		if span.Name == name {
			spans = append(spans, span)
		}
	}
	look(spans)
}

func attributeOf(s tracetest.SpanStub, key string) any {
	set := attribute.NewSet(s.Attributes...)
	v, _ := set.Value(attribute.Key(key))
	return v.AsInterface()
}

// otherHandler and otherTransport make the spans that an instrumentation such as
// otelhttp makes.
func otherHandler(s *seen, next http.Handler) http.Handler {
	tracer := s.ins.TracerProvider().Tracer("other")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, "other server", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

type otherTransport struct {
	s    *seen
	next http.RoundTripper
}

func (t otherTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.s.ins.TracerProvider().Tracer("other").Start(r.Context(), "other client", trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	r = r.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	return t.next.RoundTrip(r)
}

// callerOf makes a request of another process.
func callerOf(r *http.Request, sampled bool) trace.SpanContext {
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 15: 255}, SpanID: trace.SpanID{7}, TraceFlags: trace.TraceFlags(0).WithSampled(sampled),
	})
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), sc), propagation.HeaderCarrier(r.Header))
	return sc
}
