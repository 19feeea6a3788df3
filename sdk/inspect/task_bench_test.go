//go:build !noinspect

package inspect

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// ignoringProcessor makes the provider do all that it does for a span but export it.
type ignoringProcessor struct{}

func (ignoringProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (ignoringProcessor) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (ignoringProcessor) Shutdown(context.Context) error                  { return nil }
func (ignoringProcessor) ForceFlush(context.Context) error                { return nil }

// benchInspector has a provider of its own that exports nothing, and no reporter.
func benchInspector(b *testing.B, rate float64, opts ...Option) *Inspector {
	b.Helper()
	opts = append([]Option{
		WithMode(Production), WithSamplingRate(rate), WithReports(false), WithSpanExporter(discardingExporter{}),
	}, opts...)
	ins, err := New(b.Context(), opts...)
	if err != nil {
		b.Fatal(err)
	}
	ins.own.RegisterSpanProcessor(ignoringProcessor{})
	b.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
	return ins
}

type discardingExporter struct{}

func (discardingExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discardingExporter) Shutdown(context.Context) error                             { return nil }

// A task beside the plain OpenTelemetry span of the same provider, with the same
// processors. "plain span" has no attributes; "plain span with attributes" has as
// many as the task sets.
func BenchmarkTask(b *testing.B) {
	b.Run("unsampled", func(b *testing.B) { benchTasks(b, benchInspector(b, 0)) })
	b.Run("unsampled child", func(b *testing.B) {
		ins := benchInspector(b, 0)
		ctx, task := ins.Begin(b.Context(), "parent")
		defer task.End(nil)
		benchTasksIn(b, ctx, ins)
	})
	b.Run("sampled", func(b *testing.B) { benchTasks(b, benchInspector(b, 1)) })
	b.Run("sampled/without labels", func(b *testing.B) { benchTasks(b, benchInspector(b, 1, WithPprofLabels(false))) })
	b.Run("plain span", func(b *testing.B) {
		tracer := benchInspector(b, 1).own.Tracer("plain")
		b.ReportAllocs()
		for b.Loop() {
			_, span := tracer.Start(b.Context(), "work")
			span.End()
		}
	})
	b.Run("plain span with attributes", func(b *testing.B) {
		tracer := benchInspector(b, 1).own.Tracer("plain")
		b.ReportAllocs()
		for b.Loop() {
			_, span := tracer.Start(b.Context(), "work")
			span.SetAttributes(
				attribute.String("a", "completed"), attribute.Int64("b", 1), attribute.Int64("c", 2), attribute.Int64("d", 3),
				attribute.String("e", "function"), attribute.String("f", "file"), attribute.Int("g", 4))
			span.End()
		}
	})
}

func benchTasks(b *testing.B, ins *Inspector) { benchTasksIn(b, b.Context(), ins) }

func benchTasksIn(b *testing.B, ctx context.Context, ins *Inspector) {
	b.ReportAllocs()
	for b.Loop() {
		_, task := ins.Begin(ctx, "work")
		task.End(nil)
	}
}

func BenchmarkTaskParallel(b *testing.B) {
	ins := benchInspector(b, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, task := ins.Begin(b.Context(), "work")
			task.End(nil)
		}
	})
}

// While the SDK is off.
func BenchmarkTaskOff(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, task := Begin(b.Context(), "work")
		task.End(nil)
	}
}
