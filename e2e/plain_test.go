package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A service that knows nothing of async-inspect gets its states and counts, too.
func TestPlainServiceGetsStates(t *testing.T) {
	t.Parallel()
	collector := startCollector(t)
	ctx := context.Background()
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(collector.endpoint("http")+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "plain"))))
	tracer := provider.Tracer("plain")
	for i := range 300 {
		ctx, server := tracer.Start(ctx, "GET /things", trace.WithSpanKind(trace.SpanKindServer))
		_, inner := tracer.Start(ctx, "not a task")
		inner.End()
		if i%3 == 0 {
			server.SetStatus(codes.Error, "out of things")
		}
		server.End()
	}
	if err := provider.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "counts of the plain service", func() error {
		var differ []error
		for state, want := range map[string]float64{"completed": 200, "failed": 100} {
			got, err := collector.sum(endedTasks, map[string]string{"service": "plain", "task": "GET /things", "state": state})
			if err != nil || got != want {
				differ = append(differ, fmt.Errorf("%s: got %v (%v), want %v", state, got, err, want))
			}
		}
		if n, err := collector.sum(endedTasks, map[string]string{"task": "not a task"}); err != nil || n != 0 {
			differ = append(differ, fmt.Errorf("an inner span counts as a task: %v (%v)", n, err))
		}
		return errors.Join(differ...)
	})
	eventually(t, 20*time.Second, "states on the exported spans", func() error {
		spans, err := os.ReadFile(collector.spans)
		if err != nil {
			return err
		}
		if n := strings.Count(string(spans), `"async_inspect.task.state"`); n != 300 {
			return fmt.Errorf("%d spans carry a state, want 300", n)
		}
		return nil
	})
}
