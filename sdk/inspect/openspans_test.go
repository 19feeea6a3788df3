//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/declared"
	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// remoteWaits returns the open remote waits of the running goroutine.
func remoteWaits(t *testing.T) (found []waitView) {
	t.Helper()
	if !goid.Supported() {
		t.Skip("goroutines cannot be told apart here")
	}
	for _, w := range openWaits(now(), nil) {
		if w.kind == taskspan.WaitRemote && w.goroutine == goid.Get() {
			found = append(found, w)
		}
	}
	return found
}

func holdersOf(w waitView) (s holderSet) {
	w.holders(&s)
	return s
}

func TestClientSpanIsARemoteWait(t *testing.T) {
	for _, rate := range []float64{0, 1} {
		ins, _ := newSeen(t, WithSamplingRate(rate))
		ctx, task := ins.Begin(t.Context(), "work")
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		_, span := ins.own.Tracer("client").Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindClient))
		waits := remoteWaits(t)
		if len(waits) != 1 {
			t.Fatalf("rate %v: %d waits", rate, len(waits))
		}
		w, sc := waits[0], span.SpanContext()
		id, name := w.on.name().identity()
		if want := "span:" + sc.TraceID().String() + "/" + sc.SpanID().String(); id != want || name != "GET" {
			t.Errorf("the wait is for %s, called %s; want %s", id, name, want)
		}
		if w.task != task || w.deadline() == 0 || !holdersOf(w).inferred {
			t.Errorf("task %v, deadline %v, inferred %v", w.task, w.deadline(), holdersOf(w).inferred)
		}
		if at := placeOf(w.site.place); !strings.HasSuffix(at.file, "openspans_test.go") {
			t.Errorf("it waits at %v", at)
		}
		ended := make(chan struct{})
		go func() { // the span may end anywhere
			defer close(ended)
			span.End()
		}()
		<-ended
		if n := len(remoteWaits(t)); n != 0 {
			t.Errorf("%d waits after the end", n)
		}
		span.End()
		task.End(nil)
		if n := task.blockage.count.Load(); n != int64(rate) { // nobody reads that of an unsampled task
			t.Errorf("rate %v: the task has waited %d times", rate, n)
		}
	}
}

// A lock that is waited for inside of a remote call is what blocks.
func TestInnermostWaitWins(t *testing.T) {
	ins, _ := newSeen(t)
	ctx, task := ins.Begin(t.Context(), "work")
	defer task.End(nil)
	remoteWaits(t)
	err := RemoteWait(ctx, task.SpanContext().WithSpanID(randomSpanID()), "GET", func() error {
		w := beginWait(ctx, taskspan.WaitMutex, NewMutex("inner"))
		if got, ok := waitOf(goid.Get()); !ok || got.kind != taskspan.WaitMutex {
			t.Errorf("blocked on %v", got.kind)
		}
		endWait(w)
		if got, ok := waitOf(goid.Get()); !ok || got.kind != taskspan.WaitRemote {
			t.Errorf("then blocked on %v", got.kind)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWhichSpansAreWaits(t *testing.T) {
	ins, _ := newSeen(t)
	ctx, task := ins.Begin(t.Context(), "work")
	defer task.End(nil)
	for kind := trace.SpanKindInternal; kind <= trace.SpanKindConsumer; kind++ {
		_, span := ins.own.Tracer("x").Start(ctx, "x", trace.WithSpanKind(kind))
		want := 0
		if kind == trace.SpanKindClient {
			want = 1
		}
		if n := len(remoteWaits(t)); n != want {
			t.Errorf("a span of kind %v is %d waits", kind, n)
		}
		span.End()
	}
	_, span := ins.own.Tracer("x").Start(declared.Mark(ctx), "x", trace.WithSpanKind(trace.SpanKindClient))
	if n := len(remoteWaits(t)); n != 0 {
		t.Error("a span that is declared is guessed, too")
	}
	span.End()
}

// A goroutine without a task waits, too: it may hold what others want.
func TestClientSpanOutsideOfATask(t *testing.T) {
	ins, _ := newSeen(t)
	_, span := ins.own.Tracer("client").Start(t.Context(), "GET", trace.WithSpanKind(trace.SpanKindClient))
	if waits := remoteWaits(t); len(waits) != 1 || waits[0].task != nil {
		t.Errorf("waits: %v", waits)
	}
	span.End()
}

// RemoteWait declares the wait, and one that was guessed becomes certain.
func TestRemoteWait(t *testing.T) {
	ins, _ := newSeen(t)
	ctx, task := ins.Begin(t.Context(), "work")
	defer task.End(nil)
	failed := errors.New("failed")
	check := func(sc trace.SpanContext, name string) func() error {
		return func() error {
			waits := remoteWaits(t)
			if len(waits) != 1 {
				t.Fatalf("%d waits", len(waits))
			}
			id, called := waits[0].on.name().identity()
			if !strings.HasSuffix(id, sc.SpanID().String()) || called != name || holdersOf(waits[0]).inferred {
				t.Errorf("waits for %s called %s, inferred: %v", id, called, holdersOf(waits[0]).inferred)
			}
			return failed
		}
	}
	alone := task.SpanContext().WithSpanID(randomSpanID())
	if err := RemoteWait(ctx, alone, "bank:80", check(alone, "bank:80")); err != failed {
		t.Errorf("returns %v", err)
	}
	_, span := ins.own.Tracer("client").Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindClient))
	if err := RemoteWait(ctx, span.SpanContext(), "bank:80", check(span.SpanContext(), "GET")); err != failed {
		t.Errorf("returns %v", err)
	}
	span.End()
	if n := len(remoteWaits(t)); n != 0 {
		t.Errorf("%d waits are left", n)
	}
}

// What a task answers is known through any number of local spans, sampled or not, and
// forgotten when they end.
func TestRemoteParentThroughLocalSpans(t *testing.T) {
	for _, rate := range []float64{0, 1} {
		ins, _ := newSeen(t, WithSamplingRate(rate))
		caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: randomTraceID(), SpanID: randomSpanID(), Remote: true})
		if rate == 1 {
			caller = caller.WithTraceFlags(trace.FlagsSampled)
		}
		tracer := ins.own.Tracer("server")
		ctx, server := tracer.Start(trace.ContextWithRemoteSpanContext(t.Context(), caller), "GET /", trace.WithSpanKind(trace.SpanKindServer))
		in, local := tracer.Start(ctx, "step")
		if rate == 0 {
			in, local = ctx, server // a local span that nobody records cannot be seen
		}
		below, task := ins.Begin(in, "work")
		_, inner := ins.Begin(below, "inner")
		for _, got := range []*Task{task, inner} {
			if got.remote.span != caller.SpanID() || got.remote.trace != caller.TraceID() || got.remote.goroutine != goid.Get() {
				t.Errorf("rate %v: %s answers %v, want %v on goroutine %d", rate, got.Name(), got.remote, caller, goid.Get())
			}
		}
		_, apart := ins.Begin(in, "apart", WithNewRoot())
		if apart.remote.valid() {
			t.Errorf("a task of its own answers %v", apart.remote)
		}
		apart.End(nil)
		inner.End(nil)
		task.End(nil)
		local.End()
		server.End()
		if followed.remoteOf(server.SpanContext().SpanID()).valid() || followed.answers.Load() != 0 {
			t.Error("the span is still followed")
		}
	}
}

// Only the goroutine that answers may say so.
func TestRemoteParentKeepsItsGoroutine(t *testing.T) {
	remoteWaits(t)
	ins, _ := newSeen(t)
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: randomTraceID(), SpanID: randomSpanID(), Remote: true})
	ctx, task := ins.Begin(trace.ContextWithRemoteSpanContext(t.Context(), caller), "handler")
	h := ins.Go(ctx, "spawned", func(ctx context.Context) error {
		if got := TaskFromContext(ctx).remote.goroutine; got == goid.Get() || got != task.goroutine.Load() {
			t.Errorf("a spawned task answers on goroutine %d", got)
		}
		return nil
	})
	if err := h.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	task.End(nil)
}

func TestWithRemoteParent(t *testing.T) {
	ins, _ := newSeen(t)
	caller := newIdentity()
	ctx, outer := ins.Begin(t.Context(), "outer")
	_, task := ins.Begin(ctx, "work", WithRemoteParent(caller))
	if task.remote.span != caller.SpanID() || task.parent != outer.SpanContext().SpanID() {
		t.Errorf("answers %v below %v", task.remote, task.parent)
	}
	task.End(nil)
	outer.End(nil)
}

func TestOpenSpansAreBounded(t *testing.T) {
	ins, _ := newSeen(t)
	ctx, task := ins.Begin(t.Context(), "work")
	defer task.End(nil)
	full := maxOpenSpans - followed.len.Load()
	followed.len.Add(full)
	_, span := ins.own.Tracer("x").Start(ctx, "x", trace.WithSpanKind(trace.SpanKindClient))
	if n := len(remoteWaits(t)); n != 0 {
		t.Error("one more is followed")
	}
	if n := ins.drops[dropSpanTable].Load(); n != 1 {
		t.Errorf("%d drops", n)
	}
	followed.len.Add(-full)
	span.End()
	if n := followed.len.Load(); n != 0 {
		t.Errorf("%d open spans", n)
	}
}

// BenchmarkSpanProcessor: what a span pays that is of no interest, and a client span.
func BenchmarkSpanProcessor(b *testing.B) {
	inspectors.Add(1)
	defer inspectors.Add(-1)
	for _, with := range []bool{false, true} {
		opts := []sdktrace.TracerProviderOption{sdktrace.WithSpanProcessor(ignoringProcessor{})}
		name := "without"
		if with {
			name, opts = "with", append(opts, sdktrace.WithSpanProcessor(NewSpanProcessor()))
		}
		tracer := sdktrace.NewTracerProvider(opts...).Tracer("x")
		for _, kind := range []trace.SpanKind{trace.SpanKindInternal, trace.SpanKindClient} {
			b.Run(kind.String()+"/"+name, func(b *testing.B) {
				option := trace.WithSpanKind(kind)
				b.ReportAllocs()
				for b.Loop() {
					_, span := tracer.Start(b.Context(), "x", option)
					span.End()
				}
			})
		}
	}
}

// RemoteWait takes the wait of an open client span for its own. Any other span that is
// followed has none, and is a wait like that for an unknown span.
func TestRemoteWaitForASpanThatIsNoCall(t *testing.T) {
	ins, _ := newSeen(t)
	_, server := ins.own.Tracer("server").Start(t.Context(), "GET /", trace.WithSpanKind(trace.SpanKindServer))
	defer server.End()
	if span, ok := followed.get(server.SpanContext().SpanID()); !ok || span.call != nil {
		t.Fatalf("the server span is followed as %+v (%v)", span, ok)
	}
	ran := false
	if err := RemoteWait(t.Context(), server.SpanContext(), "itself", func() error {
		ran = true
		if waits := remoteWaits(t); len(waits) != 1 || holdersOf(waits[0]).inferred {
			t.Errorf("the waits are %v", waits)
		}
		return nil
	}); err != nil || !ran {
		t.Errorf("returned %v; the call was made: %t", err, ran)
	}
}

// A span that neither waits, nor answers, nor is a task takes no room.
func TestSpansOfNoInterestAreNotFollowed(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(1))
	before := followed.len.Load()
	for kind := trace.SpanKindInternal; kind <= trace.SpanKindConsumer; kind++ {
		if kind == trace.SpanKindClient || kind == trace.SpanKindServer || kind == trace.SpanKindConsumer {
			continue
		}
		_, span := ins.own.Tracer("x").Start(t.Context(), "x", trace.WithSpanKind(kind))
		if n := followed.len.Load() - before; n != 0 {
			t.Errorf("of kind %v %d are followed", kind, n)
		}
		span.End()
	}
	// And one for which there is no room is dropped once.
	full := maxOpenSpans - followed.len.Load()
	followed.len.Add(full)
	ctx, _ := remoteCaller()
	defaultInspector.Store(ins)
	_, span := ins.own.Tracer("x").Start(ctx, "x", trace.WithSpanKind(trace.SpanKindServer))
	defaultInspector.Store(nil)
	followed.len.Add(-full)
	span.End()
	if n := ins.drops[dropSpanTable].Load(); n != 1 {
		t.Errorf("%d drops of one span", n)
	}
	if n := followed.len.Load() - before; n != 0 {
		t.Errorf("%d are still followed", n)
	}
}

// A span belongs to the Inspector of its task, else to that of its provider, else to the
// default one.
func TestWhoseASpanIs(t *testing.T) {
	of, task, standard := quietInspector(t), quietInspector(t), quietInspector(t)
	in, began := task.Begin(context.Background(), "work")
	defer began.End(nil)
	for _, one := range []struct {
		provider  *Inspector
		ctx       context.Context
		isDefault bool
		want      *Inspector
	}{
		{of, context.Background(), true, of},
		{of, in, true, task},
		{nil, in, true, task},
		{nil, context.Background(), true, standard},
		{nil, context.Background(), false, nil},
		{of, context.Background(), false, of},
	} {
		if one.isDefault {
			defaultInspector.Store(standard)
		}
		got := spanProcessor{ins: one.provider}.inspector(one.ctx)
		defaultInspector.Store(nil)
		if got != one.want {
			t.Errorf("%+v: another one", one)
		}
	}
}
