//go:build !noinspect

package inspect

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/internal/propagator"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// fiveCountsOf are those of one name: started, completed, failed, running, blocked.
func fiveCountsOf(ins *Inspector, name string) (n [5]int64) {
	_, byName := ins.counts()
	for _, c := range byName {
		if c.Name == name {
			n = [5]int64{c.Started, c.Completed, c.Failed, c.Running, c.Blocked}
		}
	}
	return n
}

// listed returns the live task with a name.
func listed(t *testing.T, ins *Inspector, name string) *TaskInfo {
	t.Helper()
	tasks := ins.Tasks()
	i := slices.IndexFunc(tasks, func(i TaskInfo) bool { return i.Name == name })
	if i < 0 {
		return nil
	}
	return &tasks[i]
}

func remoteCaller() (context.Context, trace.SpanContext) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: randomTraceID(), SpanID: randomSpanID(), Remote: true})
	return trace.ContextWithRemoteSpanContext(context.Background(), sc), sc
}

// An open server or consumer span is a task, at every sampling rate.
func TestServerSpanIsATask(t *testing.T) {
	for _, rate := range []float64{0, 1} {
		for _, kind := range []trace.SpanKind{trace.SpanKindServer, trace.SpanKindConsumer} {
			ins, exporter := newSeen(t, WithSamplingRate(rate))
			tracer := ins.own.Tracer("other")
			ctx, caller := remoteCaller()
			if rate == 1 {
				ctx = trace.ContextWithRemoteSpanContext(ctx, caller.WithTraceFlags(trace.FlagsSampled))
			}
			_, span := tracer.Start(ctx, "GET", trace.WithSpanKind(kind))
			info := listed(t, ins, "GET")
			if info == nil {
				t.Fatalf("%v at %v is not listed", kind, rate)
			}
			sc := span.SpanContext()
			if info.TraceID != caller.TraceID().String() || info.SpanID != sc.SpanID().String() || info.ParentID != caller.SpanID().String() ||
				info.State != taskspan.Running || info.Goroutine != goid.Get() {
				t.Errorf("listed as %+v, the span is %v below %v", info, sc, caller)
			}
			if got, want := fiveCountsOf(ins, "GET"), [5]int64{0, 0, 0, 1, 0}; got != want {
				t.Errorf("while it is open: %v, want %v", got, want)
			}
			span.SetName("GET /orders/{id}")
			if listed(t, ins, "GET /orders/{id}") == nil {
				t.Error("the new name is not listed")
			}
			span.SetStatus(codes.Error, "broken")
			done := make(chan struct{})
			go func() { // it may end anywhere
				defer close(done)
				span.End()
			}()
			<-done
			span.End()
			if got, want := fiveCountsOf(ins, "GET /orders/{id}"), [5]int64{1, 0, 1, 0, 0}; got != want {
				t.Errorf("afterwards: %v, want %v", got, want)
			}
			if got := fiveCountsOf(ins, "GET"); got != [5]int64{} {
				t.Errorf("under the name that it had: %v", got)
			}
			if n := len(ins.Tasks()); n > 0 || taskOn(goid.Get()) != nil || followed.tasks.Load() != 0 {
				t.Errorf("%d tasks are left, on the goroutine %v, followed %d", n, taskOn(goid.Get()), followed.tasks.Load())
			}
			spans := exported(t, ins, exporter)
			if len(spans) != int(rate) {
				t.Errorf("%d spans at %v", len(spans), rate)
			}
			for _, s := range spans {
				if got := attributeOf(s, taskspan.TaskState).AsString(); got != "failed" {
					t.Errorf("the span says %q", got)
				}
			}
			if shardOf(goid.Get()).ending.Load() != nil {
				t.Error("a task is ending forever")
			}
			_ = ins.Shutdown(context.Background())
		}
	}
}

// Which spans are tasks, and how many tasks one piece of work is.
func TestWhichSpansAreTasks(t *testing.T) {
	ins, _ := newSeen(t)
	off, _ := newSeen(t, WithServerTasks(false))
	begin := func(ctx context.Context, ins *Inspector, kind trace.SpanKind) (context.Context, func()) {
		ctx, span := ins.own.Tracer("other").Start(ctx, "span", trace.WithSpanKind(kind))
		return ctx, func() { span.End() }
	}
	for _, c := range []struct {
		name  string
		ins   *Inspector
		begin func(ctx context.Context) func()
		tasks int
	}{
		{"an internal span", ins, func(ctx context.Context) func() { _, end := begin(ctx, ins, trace.SpanKindInternal); return end }, 0},
		{"a producer's", ins, func(ctx context.Context) func() { _, end := begin(ctx, ins, trace.SpanKindProducer); return end }, 0},
		{"a server's", ins, func(ctx context.Context) func() { _, end := begin(ctx, ins, trace.SpanKindServer); return end }, 1},
		{"a server's while that is off", off, func(ctx context.Context) func() { _, end := begin(ctx, off, trace.SpanKindServer); return end }, 0},
		{"a task of kind server", ins, func(ctx context.Context) func() {
			_, task := ins.Begin(ctx, "x", WithSpanKind(trace.SpanKindServer))
			return func() { task.End(nil) }
		}, 1},
		{"a task below a server's span", ins, func(ctx context.Context) func() {
			ctx, end := begin(ctx, ins, trace.SpanKindServer)
			_, task := ins.Begin(ctx, "x")
			return func() { task.End(nil); end() }
		}, 2},
		{"a task within a server's span", ins, func(ctx context.Context) func() {
			ctx, end := begin(ctx, ins, trace.SpanKindServer)
			_, task := ins.Begin(ctx, "x", WithinServerSpan())
			return func() { task.End(nil); end() }
		}, 1},
		{"a task that is within one no more", ins, func(ctx context.Context) func() {
			ctx, end := begin(ctx, ins, trace.SpanKindServer)
			end()
			_, task := ins.Begin(ctx, "x", WithinServerSpan())
			return func() { task.End(nil) }
		}, 1},
		{"a consumer's span below a task", ins, func(ctx context.Context) func() {
			ctx, task := ins.Begin(ctx, "poll")
			_, end := begin(ctx, ins, trace.SpanKindConsumer)
			return func() { end(); task.End(nil) }
		}, 2},
		{"a server's span in a task that is in the headers", ins, func(ctx context.Context) func() {
			ctx, task := ins.Begin(ctx, "x")
			_, end := begin(trace.ContextWithRemoteSpanContext(ctx, task.SpanContext()), ins, trace.SpanKindServer)
			return func() { end(); task.End(nil) }
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, _ := remoteCaller()
			end := c.begin(ctx)
			if n := len(c.ins.Tasks()); n != c.tasks {
				t.Errorf("%d tasks, want %d: %+v", n, c.tasks, c.ins.Tasks())
			}
			end()
			if n := len(c.ins.Tasks()); n != 0 {
				t.Errorf("%d tasks afterwards", n)
			}
		})
	}
	total, _ := ins.counts()
	if total.Started != total.Completed || total.Started != 10 {
		t.Errorf("%d started and %d completed, want 10", total.Started, total.Completed)
	}
}

// Waits of the goroutine belong to the task, and say what it answers.
func TestWaitsOfAServerSpan(t *testing.T) {
	r := newReporterRig(t)
	m := NewMutex(t.Name())
	m.Lock()
	ctx, caller := remoteCaller()
	var done sync.WaitGroup
	begun := make(chan uint64)
	done.Go(func() {
		_, span := r.ins.own.Tracer("other").Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		begun <- goid.Get()
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	lockHolders(t, <-begun)
	s := r.oneAfter(2 * time.Second)
	want := caller.TraceID().String() + "/" + caller.SpanID().String()
	if got := reported(s, taskspan.TaskRemoteParent).GetStringValue(); got != want || reported(s, taskspan.TaskName).GetStringValue() != "GET" {
		t.Errorf("%q answers %s, want %s", reported(s, taskspan.TaskName).GetStringValue(), got, want)
	}
	if got, want := fiveCountsOf(r.ins, "GET"), [5]int64{0, 0, 0, 0, 1}; got != want {
		t.Errorf("counts are %v, want %v", got, want)
	}
	m.Unlock()
	done.Wait()
	if got, want := fiveCountsOf(r.ins, "GET"), [5]int64{1, 1, 0, 0, 0}; got != want {
		t.Errorf("afterwards counts are %v, want %v", got, want)
	}
}

// A start is booked once, under the name at the end, or the one at the heartbeat that
// has found the span open for an interval; the last heartbeat books all.
func TestWhenTheStartOfAServerSpanIsBooked(t *testing.T) {
	for _, c := range []struct {
		name        string
		age         time.Duration // at the heartbeat
		final       bool
		first, last [5]int64 // counts after the heartbeat under the first name, and in the end under the last
		firstInEnd  [5]int64
	}{
		{"young", 4999 * time.Millisecond, false, [5]int64{0, 0, 0, 1, 0}, [5]int64{1, 1, 0, 0, 0}, [5]int64{}},
		{"open for an interval", 5001 * time.Millisecond, false, [5]int64{1, 0, 0, 1, 0}, [5]int64{}, [5]int64{1, 1, 0, 0, 0}},
		{"at the goodbye", 0, true, [5]int64{1, 0, 0, 1, 0}, [5]int64{}, [5]int64{1, 1, 0, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ins, _ := newSeen(t)
			_, span := ins.own.Tracer("other").Start(context.Background(), "first", trace.WithSpanKind(trace.SpanKindServer))
			task := followed.taskOf(span.SpanContext().SpanID())
			before := now()
			if !c.final {
				task.start = before - nanos(c.age)
				before -= nanos(5 * time.Second)
			}
			for range 2 {
				ins.bookOld(before)
			}
			if got := fiveCountsOf(ins, "first"); got != c.first {
				t.Errorf("after the heartbeat: %v, want %v", got, c.first)
			}
			span.SetName("last")
			if task.Name() != "last" {
				t.Errorf("it is called %q", task.Name())
			}
			span.End()
			if got := fiveCountsOf(ins, "last"); got != c.last {
				t.Errorf("in the end: %v, want %v", got, c.last)
			}
			if got := fiveCountsOf(ins, "first"); got != c.firstInEnd {
				t.Errorf("in the end, under the first name: %v, want %v", got, c.firstInEnd)
			}
		})
	}
}

// Beyond max_tasks they are counted, as all are.
func TestServerSpansBeyondMaxTasks(t *testing.T) {
	ins, _ := newSeen(t, WithMaxTasks(1))
	tracer := ins.own.Tracer("other")
	_, one := tracer.Start(context.Background(), "a", trace.WithSpanKind(trace.SpanKindServer))
	_, two := tracer.Start(context.Background(), "a", trace.WithSpanKind(trace.SpanKindServer))
	if got, want := fiveCountsOf(ins, "a"), [5]int64{1, 0, 0, 2, 0}; got != want || len(ins.Tasks()) != 1 {
		t.Errorf("%v of which %d are listed, want %v of which 1 is", got, len(ins.Tasks()), want)
	}
	two.End()
	one.End()
	if got, want := fiveCountsOf(ins, "a"), [5]int64{2, 2, 0, 0, 0}; got != want {
		t.Errorf("afterwards %v, want %v", got, want)
	}
}

// The option of the processor is for providers of others.
func TestWithoutServerTasks(t *testing.T) {
	clearEnv(t)
	ins, err := Start(t.Context(), WithReports(false), WithoutExport())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ins.Shutdown(context.Background()) }()
	for _, c := range []struct {
		opts  []SpanProcessorOption
		tasks int
	}{{nil, 1}, {[]SpanProcessorOption{WithoutServerTasks()}, 0}} {
		provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(NewSpanProcessor(c.opts...)))
		ctx, caller := remoteCaller()
		_, span := provider.Tracer("x").Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindServer))
		if n := len(Tasks()); n != c.tasks {
			t.Errorf("%d tasks, want %d", n, c.tasks)
		}
		if got := followed.remoteOf(span.SpanContext().SpanID()); !got.valid() || got.span != caller.SpanID() {
			t.Errorf("it answers %v, want %v", got, caller)
		}
		span.End()
		if n := len(Tasks()); n != 0 {
			t.Errorf("%d tasks afterwards", n)
		}
	}
}

// The global provider comes with a propagator, unless somebody has set one.
func TestGlobalProviderSetsAPropagator(t *testing.T) {
	clearEnv(t)
	if propagator.Global() != nil {
		t.Fatal("a propagator is set already")
	}
	none, provider := otel.GetTextMapPropagator(), otel.GetTracerProvider()
	t.Cleanup(func() { otel.SetTextMapPropagator(none); otel.SetTracerProvider(provider) })
	for _, c := range []struct {
		name string
		set  propagation.TextMapPropagator
		opts []Option
		want []string
	}{
		{"without the option", none, nil, nil},
		{"with it", none, []Option{WithGlobalTracerProvider()}, []string{"baggage", "traceparent", "tracestate"}},
		{"with one of somebody else", propagation.Baggage{}, []Option{WithGlobalTracerProvider()}, []string{"baggage"}},
	} {
		if c.set != otel.GetTextMapPropagator() {
			otel.SetTextMapPropagator(c.set)
		}
		ins, _ := newSeen(t, c.opts...)
		var got []string
		if p := propagator.Global(); p != nil {
			got = slices.Sorted(slices.Values(p.Fields()))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		_ = ins.Shutdown(context.Background())
	}
}

// Without a propagator nothing can be joined, which is said once.
func TestMissingPropagatorIsSaid(t *testing.T) {
	none := otel.GetTextMapPropagator()
	t.Cleanup(func() { otel.SetTextMapPropagator(none) })
	remote, _ := remoteCaller()
	for _, c := range []struct {
		name string
		set  propagation.TextMapPropagator
		kind trace.SpanKind
		ctx  context.Context
		want int
	}{
		{"a client span", none, trace.SpanKindClient, context.Background(), 1},
		{"a server span", none, trace.SpanKindServer, context.Background(), 1},
		{"a server span that has a remote parent", none, trace.SpanKindServer, remote, 0},
		{"an internal span", none, trace.SpanKindInternal, context.Background(), 0},
		{"with a propagator", propagation.TraceContext{}, trace.SpanKindClient, context.Background(), 0},
	} {
		if c.set != otel.GetTextMapPropagator() {
			otel.SetTextMapPropagator(c.set)
		}
		var said strings.Builder
		ins, _ := newSeen(t, WithLogger(slog.New(slog.NewTextHandler(&said, nil))))
		for range 3 {
			_, span := ins.own.Tracer("x").Start(c.ctx, "x", trace.WithSpanKind(c.kind))
			span.End()
		}
		if n := strings.Count(said.String(), "no global propagator"); n != c.want {
			t.Errorf("%s: said %d times, want %d: %s", c.name, n, c.want, said.String())
		}
		_ = ins.Shutdown(context.Background())
	}
}

// lockingError wants a lock to say what it is.
type lockingError struct{ m *Mutex }

func (e lockingError) Error() string {
	e.m.Lock()
	defer e.m.Unlock()
	return "locked out"
}

// A task that gets stuck inside of its own End is still that task.
func TestATaskThatIsStuckInItsEndKeepsItsName(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(1))
	m := NewMutex(t.Name())
	m.Lock()
	var done sync.WaitGroup
	begun := make(chan uint64)
	done.Go(func() {
		_, task := ins.Begin(context.Background(), "checkout")
		begun <- goid.Get()
		task.End(lockingError{m})
	})
	goroutine := <-begun
	lockHolders(t, goroutine)
	info := listed(t, ins, "checkout")
	if info == nil || info.State != taskspan.Blocked || info.Wait == nil {
		t.Errorf("listed as %+v", info)
	}
	if got, want := fiveCountsOf(ins, "checkout"), [5]int64{1, 0, 0, 0, 1}; got != want {
		t.Errorf("counts are %v, want %v", got, want)
	}
	m.Unlock()
	done.Wait()
	if got, want := fiveCountsOf(ins, "checkout"), [5]int64{1, 0, 1, 0, 0}; got != want || listed(t, ins, "checkout") != nil {
		t.Errorf("afterwards counts are %v, want %v", got, want)
	}
}

// namedSpan is a server span whose name is asked for.
type namedSpan struct {
	sdktrace.ReadWriteSpan
	asked func()
}

func (s namedSpan) Name() string { s.asked(); return "GET" }

// A start that is booked while tasks are counted counts once.
func TestAStartThatIsBookedDuringACount(t *testing.T) {
	for _, books := range []bool{false, true} {
		ins := quietInspector(t)
		second := &Task{ins: ins, name: ins.names.other}
		first := namedSpan{asked: func() {
			if books {
				second.booked.CompareAndSwap(nil, ins.names.other)
			}
		}}
		second.serverSpan = &serverSpan{server: namedSpan{asked: func() {}}}
		blocked := &Task{ins: ins, name: ins.names.other, serverSpan: &serverSpan{server: first}}
		for _, task := range []*Task{blocked, second} {
			followed.tasks.Add(1)
			task.track()
			task.bind(goidOfTest(), context.Background())
		}
		w := beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "disk"})
		_, unbooked := ins.liveByName()
		endWait(w)
		var n int64
		for _, of := range unbooked {
			n += of
		}
		if want := map[bool]int64{false: 2, true: 1}[books]; n != want {
			t.Errorf("booked meanwhile %t: %d are not booked, want %d", books, n, want)
		}
		for _, task := range []*Task{second, blocked} {
			task.state.Store(endedCompleted)
			task.unbind()
			ins.live.Add(-1)
			followed.tasks.Add(-1)
		}
	}
}

// A server span's task that was blocked, or runs for long, is reported with the stack of its
// start where stacks are recorded.
func TestAServerSpanIsReportedWithItsStack(t *testing.T) {
	for _, backtraces := range []bool{true, false} {
		for _, sampled := range []float64{1, 0} {
			rig := newReporterRig(t)
			ins, _ := newSeen(t, WithSamplingRate(sampled), WithBacktraces(backtraces), WithReports(false))
			rig.reporter.ins = ins
			ctx, span := ins.own.Tracer("other").Start(t.Context(), "GET", trace.WithSpanKind(trace.SpanKindServer))
			c := NewChan[int]("answers", 0)
			received := make(chan struct{})
			here := goid.Get()
			go func() {
				defer close(received)
				waitFor(t, "the handler to wait", func() bool { _, waits := waitOf(here); return waits })
				rig.oneAfter(2 * time.Second)
				_ = c.Send(context.Background(), 1)
			}()
			_, _ = c.Receive(ctx)
			within(t, received, "the reporter")
			rig.after(time.Second) // the wait is over
			var long *tracepb.Span
			for _, s := range rig.after(40 * time.Second) {
				if s.Name == taskspan.SpanTaskReport+" GET" {
					long = s
				}
			}
			if long == nil {
				t.Fatal("a long task is not reported")
			}
			stack := reported(long, taskspan.CodeStacktrace).GetStringValue()
			if want := backtraces && sampled == 1; strings.Contains(stack, "TestAServerSpanIsReportedWithItsStack") != want {
				t.Errorf("backtraces %v at %v: its stack is %q", backtraces, sampled, stack)
			}
			span.End()
		}
	}
}

// Each Inspector counts its own server spans.
func TestServerSpansOfTwoInspectors(t *testing.T) {
	first, _ := newSeen(t)
	second, _ := newSeen(t)
	for n, ins := range map[int]*Inspector{2: first, 3: second} {
		for range n {
			_, span := ins.own.Tracer("x").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer))
			defer span.End()
		}
	}
	for n, ins := range map[int]*Inspector{2: first, 3: second} {
		if got := len(ins.unbooked(nil)); got != n {
			t.Errorf("%d are not booked, want %d", got, n)
		}
		if total, _ := ins.counts(); total.Running != int64(n) {
			t.Errorf("%d run, want %d", total.Running, n)
		}
	}
}
