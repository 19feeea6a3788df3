//go:build !noinspect

package inspect

import (
	"context"
	"math"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// The number of kept traces is that of the rate, and each says with which
// probability it was kept, so that the sum of adjusted counts is right.
func TestSamplingRate(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(0.1))
	const n = 20_000
	kept := 0
	for range n {
		_, task := ins.Begin(t.Context(), "x")
		if sc := task.SpanContext(); sc.IsSampled() {
			kept++
			if sc.TraceState().Get("ot") != "th:"+newThreshold(0.1).text() {
				t.Fatalf("a kept trace says %q", sc.TraceState())
			}
		} else if sc.TraceState().Len() != 0 {
			t.Fatalf("a dropped trace says %q", sc.TraceState())
		}
		task.End(nil)
	}
	sigma := math.Sqrt(n * 0.1 * 0.9)
	if math.Abs(float64(kept)-n*0.1) > 5*sigma {
		t.Errorf("kept %d of %d at a rate of 0.1", kept, n)
	}
}

// Plain spans of the provider get the same decisions as tasks, by their trace id.
func TestPlainSpansAreSampledAsTasks(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(0.3))
	tracer := ins.own.Tracer("plain")
	kept := 0
	for range 2000 {
		_, span := tracer.Start(t.Context(), "x")
		sc := span.SpanContext()
		keep, state := ins.head.decide(sc.TraceID(), "x", trace.TraceState{})
		if sc.IsSampled() != keep || sc.TraceState().String() != state.String() {
			t.Fatalf("the plain span of trace %v is sampled: %v with %q; a task: %v with %q",
				sc.TraceID(), sc.IsSampled(), sc.TraceState(), keep, state)
		}
		if keep {
			kept++
		}
		span.End()
	}
	if kept == 0 || kept == 2000 {
		t.Errorf("kept %d of 2000", kept)
	}
}

// Children of either kind follow their parent, and carry its state on.
func TestChildrenFollowTheirParent(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(0.5))
	tracer := ins.own.Tracer("plain")
	seen := map[bool]int{}
	for range 200 {
		ctx, task := ins.Begin(t.Context(), "parent")
		want := task.SpanContext()
		seen[want.IsSampled()]++
		in, child := ins.Begin(ctx, "task")
		_, plain := tracer.Start(in, "plain")
		for name, got := range map[string]trace.SpanContext{"task": child.SpanContext(), "plain span": plain.SpanContext()} {
			if got.TraceID() != want.TraceID() || got.IsSampled() != want.IsSampled() ||
				got.TraceState().String() != want.TraceState().String() || !got.SpanID().IsValid() || got.SpanID() == want.SpanID() {
				t.Fatalf("%s %v below %v", name, got, want)
			}
		}
		if child.SpanContext().SpanID() == plain.SpanContext().SpanID() {
			t.Fatal("two spans of one id")
		}
		plain.End()
		child.End(nil)
		task.End(nil)
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("sampled: %d, unsampled: %d", seen[true], seen[false])
	}
}

// The decision of another process is followed, too, also against our own rate.
func TestRemoteParentIsFollowed(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(0))
	state, _ := trace.ParseTraceState("ot=th:c,x=y")
	parent := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: randomTraceID(), SpanID: randomSpanID(), TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true,
	})
	_, task := ins.Begin(trace.ContextWithRemoteSpanContext(t.Context(), parent), "x")
	defer task.End(nil)
	sc := task.SpanContext()
	if !sc.IsSampled() || sc.TraceID() != parent.TraceID() || sc.TraceState().String() != "ot=th:c,x=y" || sc.IsRemote() {
		t.Errorf("below %v the task is %v", parent, sc)
	}
	if task.remote.span != parent.SpanID() || task.remote.trace != parent.TraceID() {
		t.Errorf("the task answers %v", task.remote)
	}
}

// traceidratio without parentbased_ asks the threshold about every span.
func TestEverySpanDecides(t *testing.T) {
	clearEnv(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	exporter := tracetest.NewInMemoryExporter()
	ins, err := New(t.Context(), WithSpanExporter(exporter), WithReports(false))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(t.Context())
	parent := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: randomTraceID(), SpanID: randomSpanID(), TraceFlags: trace.FlagsSampled, Remote: true,
	})
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), parent)
	_, task := ins.Begin(ctx, "x")
	task.End(nil)
	_, plain := ins.own.Tracer("plain").Start(ctx, "x")
	plain.End()
	if task.SpanContext().IsSampled() || plain.SpanContext().IsSampled() {
		t.Error("always_off samples below a sampled parent")
	}
}

type apiSampler struct{}

func (apiSampler) ShouldSample(name string) bool { return strings.HasPrefix(name, "api::") }

func TestCustomSamplerDecidesByName(t *testing.T) {
	ins, exporter := newSeen(t, WithSampler(apiSampler{}))
	for _, name := range []string{"api::a", "job", "api::b"} {
		ctx, task := ins.Begin(t.Context(), name)
		_, child := ins.Begin(ctx, "child of "+name)
		child.End(nil)
		task.End(nil)
	}
	var names []string
	for _, s := range exported(t, ins, exporter) {
		names = append(names, s.Name)
		if s.SpanContext.TraceState().Len() != 0 {
			t.Errorf("%s claims a probability: %q", s.Name, s.SpanContext.TraceState())
		}
	}
	if got := strings.Join(names, ", "); got != "child of api::a, api::a, child of api::b, api::b" {
		t.Errorf("exported: %s", got)
	}
	if ins.SamplingRate() != -1 {
		t.Errorf("the rate is %v", ins.SamplingRate())
	}
}

// A Sampler works inside of any OpenTelemetry sampler.
func TestOTelSamplerOfASampler(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithSampler(sdktrace.ParentBased(OTelSampler(apiSampler{}))))
	for _, name := range []string{"api::a", "job"} {
		ctx, span := provider.Tracer("x").Start(t.Context(), name)
		_, child := provider.Tracer("x").Start(ctx, "child of "+name)
		child.End()
		span.End()
	}
	spans := exporter.GetSpans()
	if len(spans) != 2 || spans[0].Name != "child of api::a" || spans[1].Name != "api::a" {
		t.Errorf("exported: %v", spans)
	}
}

// An OpenTelemetry sampler is asked once for each span, with what it would be told in
// any provider, and its whole answer counts.
func TestOTelSampler(t *testing.T) {
	asked := &recordingOTelSampler{Sampler: sdktrace.ParentBased(sdktrace.AlwaysSample())}
	ins, exporter := newSeen(t, WithOTelSampler(asked))
	ctx, task := ins.Begin(t.Context(), "sampled")
	_, child := ins.Begin(ctx, "child")
	child.End(nil)
	task.End(nil)
	asked.Sampler = sdktrace.NeverSample()
	_, dropped := ins.Begin(t.Context(), "dropped")
	dropped.End(nil)

	if got := strings.Join(asked.names, " "); got != "sampled child dropped" {
		t.Errorf("asked about %s", got)
	}
	if n := len(exported(t, ins, exporter)); n != 2 {
		t.Errorf("%d spans", n)
	}
	if sc := dropped.SpanContext(); !sc.IsValid() || sc.IsSampled() {
		t.Errorf("the dropped task is %v", sc)
	}
}

type recordingOTelSampler struct {
	sdktrace.Sampler
	names []string
}

func (s *recordingOTelSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.names = append(s.names, p.Name)
	return s.Sampler.ShouldSample(p)
}

// What crosses processes is recorded also where it is not sampled, and nothing else.
func TestUnsampledSpansThatAreRecorded(t *testing.T) {
	wrapped := sdktrace.NewTracerProvider(sdktrace.WithSampler(WrapSampler(sdktrace.NeverSample())))
	own, _ := newSeen(t, WithSamplingRate(0))
	without, _ := newSeen(t, WithSamplingRate(0), WithRemoteWaits(false), WithServerTasks(false))
	servers, _ := newSeen(t, WithSamplingRate(0), WithRemoteWaits(false))
	for _, test := range []struct {
		name     string
		provider trace.TracerProvider
		records  map[trace.SpanKind]bool
	}{
		{"our provider", own.own, map[trace.SpanKind]bool{trace.SpanKindClient: true, trace.SpanKindServer: true, trace.SpanKindConsumer: true}},
		{"a wrapped sampler", wrapped, map[trace.SpanKind]bool{trace.SpanKindClient: true, trace.SpanKindServer: true, trace.SpanKindConsumer: true}},
		{"without remote waits", servers.own, map[trace.SpanKind]bool{trace.SpanKindServer: true, trace.SpanKindConsumer: true}},
		{"without server tasks, too", without.own, nil},
	} {
		for kind := trace.SpanKindInternal; kind <= trace.SpanKindConsumer; kind++ {
			_, span := test.provider.Tracer("x").Start(t.Context(), "x", trace.WithSpanKind(kind))
			if span.IsRecording() != test.records[kind] || span.SpanContext().IsSampled() {
				t.Errorf("%s: a span of kind %v records: %v, is sampled: %v", test.name, kind, span.IsRecording(), span.SpanContext().IsSampled())
			}
			span.End()
		}
	}
}

// An unsampled task of any kind costs no span.
func TestUnsampledTaskHasNoSpan(t *testing.T) {
	ins, exporter := newSeen(t, WithSamplingRate(0))
	ctx, task := ins.Begin(t.Context(), "x", WithSpanKind(trace.SpanKindServer))
	if span := trace.SpanFromContext(ctx); span.IsRecording() || !span.SpanContext().Equal(task.SpanContext()) || span.TracerProvider() != ins.provider {
		t.Errorf("its span: recording %v, %v", span.IsRecording(), span.SpanContext())
	}
	task.End(nil)
	if n := len(exported(t, ins, exporter)); n != 0 {
		t.Errorf("%d spans", n)
	}
}

// While the fallback is in force, contexts carry spans as OpenTelemetry's own do.
func TestSpanOfAContextWithoutItsKey(t *testing.T) {
	key := spanKey
	if key == nil {
		t.Fatal("the key of spans in contexts is not known any more; see spanKey")
	}
	spanKey = nil
	defer func() { spanKey = key }()
	ins, _ := newSeen(t)
	for _, rate := range []float64{0, 1} {
		ins.head.setRate(rate)
		ctx, task := ins.Begin(context.Background(), "x")
		if !trace.SpanContextFromContext(ctx).Equal(task.SpanContext()) {
			t.Errorf("at the rate %v the context carries %v", rate, trace.SpanContextFromContext(ctx))
		}
		task.End(nil)
	}
}

// A task with a trace of its own takes nothing of the tracestate that it leaves, and a
// child keeps all of it, sampled or not.
func TestTheTracestateOfANewRoot(t *testing.T) {
	for _, rate := range []float64{0, 1} {
		ins, _ := newSeen(t, WithSamplingRate(rate))
		state, err := trace.ParseTraceState("vendor=7,ot=rv:00000000000001")
		if err != nil {
			t.Fatal(err)
		}
		ctx, caller := remoteCaller()
		ctx = trace.ContextWithRemoteSpanContext(ctx, caller.WithTraceState(state).WithTraceFlags(trace.TraceFlags(0).WithSampled(rate == 1)))
		for _, root := range []bool{false, true} {
			var opts []TaskOption
			if root {
				opts = append(opts, WithNewRoot())
			}
			_, task := ins.Begin(ctx, "work", opts...)
			sc := task.SpanContext()
			if got := sc.TraceState(); (got.Get("vendor") == "7") == root || (getOT(got, keyRandomness) != "") == root || (sc.TraceID() == caller.TraceID()) == root {
				t.Errorf("rate %v, a root %t: its tracestate is %q in the trace %v", rate, root, got.String(), sc.TraceID())
			}
			if sc.IsSampled() != (rate == 1) {
				t.Errorf("rate %v, a root %t: sampled %t", rate, root, sc.IsSampled())
			}
			task.End(nil)
		}
	}
}
