//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// keepingClient keeps what it is sent.
type keepingClient struct {
	mu      sync.Mutex
	sent    []*tracepb.ResourceSpans
	started int
	stopped int
	err     error // of the start
}

func (c *keepingClient) Start(context.Context) error { c.started++; return c.err }
func (c *keepingClient) Stop(context.Context) error  { c.stopped++; return nil }

func (c *keepingClient) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, spans...)
	return nil
}

func (c *keepingClient) spans() (all []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.sent {
		for _, s := range r.ScopeSpans {
			all = append(all, s.Spans...)
		}
	}
	return all
}

// newSeen makes an Inspector whose spans can be seen; it is not the default one.
func newSeen(t *testing.T, opts ...Option) (*Inspector, *tracetest.InMemoryExporter) {
	t.Helper()
	clearEnv(t)
	return newSeenAs(t, opts...)
}

// newSeenAs is newSeen in the environment as it is.
func newSeenAs(t *testing.T, opts ...Option) (*Inspector, *tracetest.InMemoryExporter) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	ins, err := New(t.Context(), append([]Option{WithSpanExporter(exporter), WithReports(false)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
	return ins, exporter
}

// exported returns the spans that have ended.
func exported(t *testing.T, ins *Inspector, e *tracetest.InMemoryExporter) tracetest.SpanStubs {
	t.Helper()
	if err := ins.own.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e.GetSpans()
}

func attributeOf(s tracetest.SpanStub, key string) attribute.Value {
	set := attribute.NewSet(s.Attributes...)
	v, _ := set.Value(attribute.Key(key))
	return v
}

func TestStartMakesTheDefault(t *testing.T) {
	clearEnv(t)
	ctx := t.Context()
	exporter, client := tracetest.NewInMemoryExporter(), new(keepingClient)
	ins, err := Start(ctx, WithSpanExporter(exporter), WithReportClient(client))
	if err != nil {
		t.Fatal(err)
	}
	if Default() != ins {
		t.Error("Start's Inspector is not the default one")
	}
	if _, err := Start(ctx); !errors.Is(err, errStarted) {
		t.Errorf("a second Start says %v", err)
	}
	other, err := New(ctx, WithReports(false), WithSpanExporter(tracetest.NewNoopExporter()))
	if err != nil {
		t.Fatal(err)
	}
	if Default() != ins {
		t.Error("New has changed the default")
	}
	if err := other.Shutdown(ctx); err != nil || Default() != ins {
		t.Errorf("after another one's Shutdown (%v) the default is gone", err)
	}

	in, task := Begin(ctx, "work")
	if task == nil || TaskFromContext(in) != task {
		t.Fatal("Begin begins no task")
	}
	task.End(nil)
	if err := Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if Default() != nil {
		t.Error("there is a default after Shutdown")
	}
	if got, task := Begin(ctx, "late"); task != nil || got != ctx {
		t.Error("Begin begins tasks after Shutdown")
	}
	if got, task := Begin(in, "late child"); task != nil || got != in {
		t.Error("Begin begins tasks in contexts of before Shutdown")
	}
	if err := errors.Join(ins.Shutdown(ctx), Shutdown(ctx)); err != nil {
		t.Errorf("a second Shutdown says %v", err)
	}

	if client.started != 1 || client.stopped != 1 {
		t.Errorf("the client was started %d times and stopped %d times", client.started, client.stopped)
	}
	final := false
	for _, s := range client.spans() {
		for _, a := range s.Attributes {
			final = final || a.Key == taskspan.HeartbeatFinal && a.Value.GetBoolValue()
		}
	}
	if !final {
		t.Error("Shutdown said no goodbye")
	}
	again, err := Start(ctx, WithReports(false), WithSpanExporter(tracetest.NewNoopExporter()))
	if err != nil {
		t.Fatalf("Start after Shutdown: %v", err)
	}
	if err := again.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// A task that ends while or after the Inspector shuts down does no harm.
func TestEndAfterShutdown(t *testing.T) {
	ins, exporter := newSeen(t)
	ctx, task := ins.Begin(t.Context(), "open")
	if err := ins.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	task.Point("late")
	task.End(nil)
	_, inner := ins.Begin(ctx, "inner")
	inner.End(nil)
	if n := len(exporter.GetSpans()); n != 0 {
		t.Errorf("%d spans after Shutdown", n)
	}
}

func TestShutdownExportsWhatHasEnded(t *testing.T) {
	clearEnv(t)
	kept := &keepingExporter{}
	ins, err := New(t.Context(), WithSpanExporter(kept), WithReports(false))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		_, task := ins.Begin(t.Context(), "work")
		task.End(nil)
	}
	if err := ins.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept.n != 1000 {
		t.Errorf("%d spans of 1000", kept.n)
	}
}

type keepingExporter struct{ n int }

func (e *keepingExporter) ExportSpans(_ context.Context, s []sdktrace.ReadOnlySpan) error {
	e.n += len(s)
	return nil
}
func (*keepingExporter) Shutdown(context.Context) error { return nil }

type stuckExporter struct{ stuck chan struct{} }

func (e stuckExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	<-e.stuck
	return nil
}
func (stuckExporter) Shutdown(context.Context) error { return nil }

func TestStartFailsWhole(t *testing.T) {
	clearEnv(t)
	refused := errors.New("refused")
	before := inspectors.Load()
	ins, err := Start(t.Context(), WithSpanExporter(tracetest.NewNoopExporter()), WithReportClient(&keepingClient{err: refused}))
	if !errors.Is(err, refused) || ins != nil {
		t.Errorf("Start returns %v, %v", ins, err)
	}
	if Default() != nil || inspectors.Load() != before {
		t.Error("something is left")
	}
}

func TestGlobalProviderIsLeftAlone(t *testing.T) {
	clearEnv(t)
	before, propagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	ins, _ := newSeen(t)
	if otel.GetTracerProvider() != before {
		t.Fatal("New has changed the global provider")
	}
	_ = ins
	defer func() { otel.SetTracerProvider(before); otel.SetTextMapPropagator(propagator) }()
	global, _ := newSeen(t, WithGlobalTracerProvider())
	if otel.GetTracerProvider() != global.TracerProvider() {
		t.Error("WithGlobalTracerProvider has not set the global provider")
	}
}

// The tasks are spans of the existing provider, which decides about sampling.
func TestWithTracerProvider(t *testing.T) {
	clearEnv(t)
	var logged strings.Builder
	for _, test := range []struct {
		name     string
		sampler  sdktrace.Sampler
		exported int
	}{
		{"sampled", sdktrace.AlwaysSample(), 2},
		{"unsampled", sdktrace.NeverSample(), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			res, err := NewResource(t.Context(), WithServiceName("shop"))
			if err != nil {
				t.Fatal(err)
			}
			exporter := tracetest.NewInMemoryExporter()
			provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSyncer(exporter), sdktrace.WithSampler(test.sampler))
			ins, err := New(t.Context(), WithResource(res), WithTracerProvider(provider), WithReports(false),
				WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
			if err != nil {
				t.Fatal(err)
			}
			ctx, outer := ins.Begin(t.Context(), "outer")
			_, inner := ins.Begin(ctx, "inner")
			if !outer.SpanContext().IsValid() || inner.SpanContext().TraceID() != outer.SpanContext().TraceID() ||
				inner.parent != outer.SpanContext().SpanID() || inner.SpanContext().SpanID() == inner.parent {
				t.Errorf("identities: outer %v, inner %v below %v", outer.SpanContext(), inner.SpanContext(), inner.parent)
			}
			inner.End(nil)
			outer.End(nil)
			spans := exporter.GetSpans()
			if len(spans) != test.exported {
				t.Fatalf("%d spans, want %d", len(spans), test.exported)
			}
			for _, s := range spans {
				if attributeOf(s, taskspan.TaskState).AsString() != "completed" {
					t.Errorf("%s has the attributes %v", s.Name, s.Attributes)
				}
			}
			if err := ins.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, span := provider.Tracer("after").Start(t.Context(), "x"); span.IsRecording() != (test.exported > 0) {
				t.Error("Shutdown has shut down somebody else's provider")
			}
		})
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged.String())
	}
}

// A provider that makes no spans does not take the tasks' identity away.
func TestWithTracerProviderThatDoesNothing(t *testing.T) {
	clearEnv(t)
	ins, err := New(t.Context(), WithTracerProvider(otel.GetTracerProvider()), WithReports(false))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(t.Context())
	ctx, outer := ins.Begin(t.Context(), "outer")
	in, inner := ins.Begin(ctx, "inner")
	a, b := outer.SpanContext(), inner.SpanContext()
	if !a.IsValid() || !b.IsValid() || a.TraceID() != b.TraceID() || a.SpanID() == b.SpanID() {
		t.Errorf("identities: %v and %v", a, b)
	}
	if !trace.SpanContextFromContext(in).Equal(b) {
		t.Error("the context does not carry the identity on")
	}
	inner.End(nil)
	outer.End(nil)
}

// Each part of what identifies a process has to be the same on spans and reports.
func TestWarnsOfAnotherIdentity(t *testing.T) {
	clearEnv(t)
	ours, err := NewResource(t.Context(), WithServiceName("shop"), WithResourceAttributes(attribute.String("rack", "7")))
	if err != nil {
		t.Fatal(err)
	}
	with := func(a attribute.KeyValue) *resource.Resource {
		r, err := resource.Merge(ours, resource.NewSchemaless(a))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, test := range map[string]struct {
		provider *resource.Resource
		says     string // "": nothing
	}{
		"nothing":              {resource.Empty(), "attribute=service.name"},
		"the same":             {ours, ""},
		"another place":        {with(attribute.String("rack", "8")), ""},
		"another service":      {with(semconv.ServiceName("bank")), "attribute=service.name"},
		"another instance":     {with(semconv.ServiceInstanceID("second")), "attribute=service.instance.id"},
		"another start of one": {with(attribute.Int64(taskspan.ProcessEpoch, 5)), "attribute=" + taskspan.ProcessEpoch},
	} {
		var logged strings.Builder
		ins, err := New(t.Context(), WithResource(ours), WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithResource(test.provider))),
			WithReports(false), WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, task := ins.Begin(t.Context(), "x")
			task.End(nil)
		}
		want := 1
		if test.says == "" {
			want = 0
		}
		if n := strings.Count(logged.String(), "inspect.NewResource"); n != want || !strings.Contains(logged.String(), test.says) {
			t.Errorf("%s: %d warnings, want %d with %q:\n%s", name, n, want, test.says, logged.String())
		}
		_ = ins.Shutdown(t.Context())
	}
}

// Without a deadline Shutdown gives up by itself.
func TestShutdownHasALimit(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		ins, err := New(t.Context(), WithSpanExporter(stuckExporter{stuck}), WithReports(false))
		if err != nil {
			t.Fatal(err)
		}
		_, task := ins.Begin(t.Context(), "work")
		task.End(nil)
		begun := time.Now()
		if err := ins.Shutdown(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown says %v", err)
		}
		if took := time.Since(begun); took != leaving {
			t.Errorf("Shutdown took %v", took)
		}
		close(stuck)
	})
}

// The adaptive sampler's goroutine sets the rate, and ends with the Inspector.
func TestSteering(t *testing.T) {
	if processCPU() == 0 {
		t.Skip("the CPU time of the process is not known here")
	}
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		ins, err := New(t.Context(), WithSpanExporter(discardingExporter{}), WithReports(false),
			WithAdaptiveSampler(AdaptiveConfig{MaxRate: 0.5}))
		if err != nil {
			t.Fatal(err)
		}
		defer ins.Shutdown(t.Context())
		synctest.Wait() // until it has begun to measure
		for rate := ins.SamplingRate(); rate > 0.001; rate = ins.SamplingRate() {
			ins.spent(time.Hour) // far too much
			for busy := processCPU(); processCPU()-busy < 2*leastCPU; {
				allocationSink = make([]byte, 1024)
			}
			time.Sleep(steeringInterval) // of the bubble: no time passes
			synctest.Wait()
			if got := ins.SamplingRate(); got >= rate || got < 0.001 {
				t.Fatalf("the rate goes from %v to %v", rate, got)
			}
		}
		if err := ins.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// One Inspector can use the provider of another, which decides for both.
func TestProviderOfAnotherInspector(t *testing.T) {
	for _, rate := range []float64{0, 1} {
		first, exporter := newSeen(t, WithSamplingRate(rate))
		second, err := New(t.Context(), WithResource(first.resource), WithTracerProvider(first.TracerProvider()), WithReports(false))
		if err != nil {
			t.Fatal(err)
		}
		_, task := second.Begin(t.Context(), "x", WithSpanKind(trace.SpanKindServer))
		task.End(nil)
		if sc := task.SpanContext(); !sc.IsValid() || sc.IsSampled() != (rate == 1) {
			t.Errorf("at the rate %v the task is %v", rate, sc)
		}
		if n := len(exported(t, first, exporter)); n != int(rate) {
			t.Errorf("at the rate %v there are %d spans", rate, n)
		}
		if err := second.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestEnabledWhileSomebodyLooks(t *testing.T) {
	ctx := t.Context()
	if Enabled(ctx) {
		t.Error("enabled before there is an Inspector")
	}
	ins, _ := newSeen(t)
	inside, task := ins.Begin(ctx, "task")
	if Enabled(ctx) || !Enabled(inside) {
		t.Error("an Inspector beside the default one is there for its tasks, and for nobody else")
	}
	task.End(nil)
	if err := ins.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if Enabled(inside) {
		t.Error("enabled after the shutdown")
	}
}
