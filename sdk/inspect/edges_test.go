//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Every time of everything that was told follows the wall clock, and nothing else moves.
func TestAllThatWasToldFollowsTheClock(t *testing.T) {
	skew := stepClock(t)
	r := newReporterRig(t)
	r.reporter.step = 0
	task := &Task{ins: r.ins}
	told := func(moved int64) (full, bare *toldWait, long *toldTask) {
		full = &toldWait{
			last: wire.Wait{
				Task: wire.Task{Start: 1000 + moved, Observed: 5000 + moved}, Revision: 3, Since: 2000 + moved, Deadline: 9000 + moved,
				Holders: []wire.Holder{{Since: 1500 + moved, Generation: 7}, {Generation: 8}},
			},
			changed: []wire.Holder{{Since: 1700 + moved, Generation: 9}, {Generation: 10}}, changedSince: 21, steadySince: 22, sentAt: 23, fateAt: 24,
			tellAt: 25, repeated: 5, differs: true,
		}
		bare = &toldWait{last: wire.Wait{Task: wire.Task{Start: 1100 + moved, Observed: 5100 + moved}, Revision: 4, Since: 2100 + moved}, tellAt: 26, repeated: 6}
		long = &toldTask{last: wire.Task{Start: 1200 + moved, Observed: 5200}, key: 27, tellAt: 28, repeated: 7}
		return full, bare, long
	}
	full, bare, long := told(0)
	r.waits[1], r.waits[2], r.tasks[task] = full, bare, long
	for range 2 { // once, however often it is looked
		skew.Store(int64(3 * time.Hour))
		r.followClock()
	}
	wantFull, wantBare, wantLong := told(int64(3 * time.Hour))
	for _, w := range []*toldWait{wantFull, wantBare} {
		w.moved, w.repeated, w.tellAt = true, 0, -1<<63
		w.last.Revision++
	}
	wantLong.repeated, wantLong.tellAt = 0, -1<<63
	if !reflect.DeepEqual(full, wantFull) {
		t.Errorf("told is %+v, want %+v", full, wantFull)
	}
	if !reflect.DeepEqual(bare, wantBare) {
		t.Errorf("told is %+v, want %+v", bare, wantBare)
	}
	if !reflect.DeepEqual(long, wantLong) {
		t.Errorf("told is %+v, want %+v", long, wantLong)
	}
	r.waits, r.tasks = make(map[uint64]*toldWait), make(map[*Task]*toldTask)
}

// forgetLastWords lets a panic wait again.
func forgetLastWords() {
	final.mu.Lock()
	defer final.mu.Unlock()
	final.speaking, final.spent, final.until, final.period, final.names = 0, 0, time.Time{}, time.Time{}, nil
}

// A panic that nobody can recover sends what is known, also if its task has ended, and
// waits until all that are at it have done so.
func TestTheLastWordsOfAFatalPanic(t *testing.T) {
	forgetLastWords()
	t.Cleanup(forgetLastWords)
	inTime(t, nil, func(t *testing.T, ins *Inspector, client *shakyClient) {
		synctest.Wait()
		_, task := ins.Begin(context.Background(), "work")
		_, other := ins.Begin(context.Background(), "other")
		task.End(nil)
		before := len(client.heartbeats())
		task.panicked("boom", false)
		if n := len(client.heartbeats()) - before; n != 0 {
			t.Errorf("a panic after the end of its task that may be recovered brings %d heartbeats", n)
		}
		if _, ok := final.begin(other, true); !ok {
			t.Fatal("the other panic may not speak")
		}
		done := make(chan struct{})
		go func() { task.panicked("boom", true); close(done) }()
		synctest.Wait()
		if n := len(client.heartbeats()) - before; n != 1 {
			t.Errorf("the panic brings %d heartbeats, want one", n)
		}
		select {
		case <-done:
			t.Error("it does not wait for the other one")
		default:
		}
		final.end()
		synctest.Wait()
		select {
		case <-done:
		default:
			t.Error("it still waits after the other one")
		}
		other.End(nil)
	})
}

// A panic in a handler of net/http is recovered, and holds nobody up.
func TestAPanicOfAHandlerIsNotHeldUp(t *testing.T) {
	clearEnv(t)
	forgetLastWords()
	t.Cleanup(forgetLastWords)
	client := new(shakyClient)
	ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	if err := ins.ForceFlush(context.Background()); err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, task := ins.Begin(r.Context(), "handler")
		defer task.End(nil)
		panic("boom")
	})
	for name, h := range map[string]http.Handler{"plain": handler, "with a timeout": http.TimeoutHandler(handler, time.Minute, "")} {
		server := httptest.NewUnstartedServer(h)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		flushes := final.spent
		if resp, err := server.Client().Get(server.URL); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: the panic was swallowed", name)
		}
		server.Close()
		final.mu.Lock()
		if final.spent != flushes || final.names["handler"] {
			t.Errorf("%s: it has waited", name)
		}
		final.mu.Unlock()
	}
}

// A task has no points once its Inspector has been shut down.
func TestPointsAfterShutdown(t *testing.T) {
	ins, _ := newSeen(t)
	_, task := ins.Begin(context.Background(), "work")
	task.Point("one")
	if err := ins.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	task.Point("two")
	if n, kept := ins.events.Load(), len(task.points.Load().list()); n != 1 || kept != 1 {
		t.Errorf("%d points are counted and %d kept, want one", n, kept)
	}
	task.End(nil)
}

// Spans that are recorded and not sampled are not exported, and not counted as dropped.
func TestUnsampledSpansAreNotDrops(t *testing.T) {
	ins, exporter := newSeen(t, WithSamplingRate(0))
	for range 3 {
		_, span := ins.own.Tracer("x").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer))
		if !span.IsRecording() {
			t.Fatal("the span is not recorded: this test does not look right")
		}
		span.End()
	}
	if err := ins.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := ins.drops.list(); len(got) != 0 || len(exporter.GetSpans()) != 0 {
		t.Errorf("dropped are %v, exported %d", got, len(exporter.GetSpans()))
	}
}

// busyExporter uses the CPU.
type busyExporter struct{ *tracetest.NoopExporter }

func (busyExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	spin(3 * time.Millisecond)
	return nil
}

// spin uses the CPU for as long as the thread's clock says, or a number of rounds where
// there is none.
func spin(d time.Duration) {
	var spent time.Duration
	for range 1_000 {
		stop := threadCPU() // anew: after stop the goroutine may go on on another thread
		for i := range uint64(100_000) {
			_ = mix(i)
		}
		if spent += stop(); spent >= d {
			return
		}
	}
}

// What the exporter of spans costs is the SDK's.
func TestExportsCountAsOverhead(t *testing.T) {
	clearEnv(t)
	ins, err := New(context.Background(), WithReports(false), WithSpanExporter(busyExporter{tracetest.NewNoopExporter()}), WithSamplingRate(1))
	if err != nil {
		t.Fatal(err)
	}
	stop := threadCPU()
	spin(time.Millisecond)
	if stop() == 0 {
		t.Skip("the time of a thread is not known here")
	}
	_, task := ins.Begin(context.Background(), "work")
	task.End(nil)
	before := ins.overhead.spentNS.Load()
	if err := ins.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if spent := time.Duration(ins.overhead.spentNS.Load() - before); spent < 3*time.Millisecond {
		t.Errorf("an export that takes 3 ms counts as %v", spent)
	}
}

// askedSampler counts how often it is asked.
type askedSampler struct{ asked atomic.Int64 }

func (s *askedSampler) ShouldSample(string) bool { s.asked.Add(1); return true }

// A sampler decides once about a trace: not again for the span of its task, nor below it.
func TestASamplerIsAskedOnceForATrace(t *testing.T) {
	s := new(askedSampler)
	ins, _ := newSeen(t, WithSampler(s))
	for want := range int64(3) {
		ctx, outer := ins.Begin(context.Background(), "outer")
		_, inner := ins.Begin(ctx, "inner")
		_, span := ins.own.Tracer("x").Start(ctx, "plain")
		span.End()
		inner.End(nil)
		outer.End(nil)
		if n := s.asked.Load(); n != want+1 {
			t.Errorf("after %d traces it has been asked %d times", want+1, n)
		}
	}
}

// A trace that is not kept, or not by a probability, carries no threshold on; all else in
// its state stays.
func TestThresholdsThatDoNotHoldAreRemoved(t *testing.T) {
	state, err := trace.ParseTraceState("ot=rv:00000000000001;th:8,other=x")
	if err != nil {
		t.Fatal(err)
	}
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: randomTraceID(), SpanID: randomSpanID(), TraceState: state, Remote: true})
	in := sdktrace.SamplingParameters{
		ParentContext: trace.ContextWithRemoteSpanContext(context.Background(), parent), TraceID: parent.TraceID(), Name: "x",
	}
	check := func(who string, r trace.TraceState, kept string) {
		t.Helper()
		if got := r.String(); strings.Contains(got, "th:") != (kept != "") || !strings.Contains(got, "rv:00000000000001") ||
			!strings.Contains(got, "other=x") || !strings.Contains(got, kept) {
			t.Errorf("%s: the state is %q", who, got)
		}
	}
	check("a sampler of names", OTelSampler(new(askedSampler)).ShouldSample(in).Tracestate, "")
	h := newHeadSampler(&config{rate: 0.5, everySpan: true})
	keep, out := h.decide(parent.TraceID(), "x", state)
	if keep {
		t.Error("a randomness of 1 is kept at a rate of a half")
	}
	check("a rate that drops", out, "")
	keep, out = newHeadSampler(&config{rate: 1}).decide(parent.TraceID(), "x", state)
	if !keep {
		t.Error("a rate of 1 drops a trace")
	}
	check("a rate that keeps", out, "th:0")
	keep, out = newHeadSampler(&config{sampler: new(askedSampler)}).decide(parent.TraceID(), "x", state)
	if !keep {
		t.Error("a sampler that keeps all drops a trace")
	}
	check("a sampler that keeps", out, "")
}

// closedExporter says how often it was shut down.
type closedExporter struct {
	*tracetest.NoopExporter
	closed atomic.Int64
}

func (e *closedExporter) Shutdown(context.Context) error { e.closed.Add(1); return nil }

// noStart is a client that cannot be started.
type noStart struct {
	shakyClient
	err error
}

func (c *noStart) Start(context.Context) error { return c.err }

// A start that fails leaves nothing behind, and one that is refused touches nothing.
func TestAStartThatFails(t *testing.T) {
	clearEnv(t)
	before := inspectors.Load()
	exporter := &closedExporter{NoopExporter: tracetest.NewNoopExporter()}
	client := &noStart{err: errors.New("no start")}
	ins, err := Start(context.Background(), WithReportClient(client), WithSpanExporter(exporter))
	if ins != nil || !errors.Is(err, client.err) {
		t.Errorf("Start returned %v, %v", ins, err)
	}
	if exporter.closed.Load() != 1 || Default() != nil || inspectors.Load() != before {
		t.Errorf("the exporter was shut down %d times, %d Inspectors are left", exporter.closed.Load(), inspectors.Load()-before)
	}

	first, err := Start(context.Background(), WithReports(false), WithoutExport())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Shutdown(context.Background())
	other := &closedExporter{NoopExporter: tracetest.NewNoopExporter()}
	second, err := Start(context.Background(), WithReports(false), WithSpanExporter(other))
	if second != nil || !errors.Is(err, errStarted) {
		t.Errorf("the second Start returned %v, %v", second, err)
	}
	if n := other.closed.Load(); n != 0 || Default() != first {
		t.Errorf("the exporter of a Start that is refused was shut down %d times", n)
	}
}

// What is wrong with the configuration while the SDK is off is said, once, and only then.
func TestWhatIsWrongWhileOffIsSaid(t *testing.T) {
	clearEnv(t)
	t.Setenv("ASYNC_INSPECT_ENABLED", "false")
	for name, want := range map[string]int{"": 1, "shop": 0} {
		var said strings.Builder
		ins, err := New(context.Background(), WithServiceName(name), WithLogger(slog.New(slog.NewTextHandler(&said, nil))))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(said.String(), "errors in its configuration are ignored"); n != want {
			t.Errorf("with the name %q it is said %d times, want %d: %s", name, n, want, said.String())
		}
		_ = ins.Shutdown(context.Background())
	}
}

// Client spans are waits, and server spans are tasks, each as far as it is asked for.
// Server spans hand on whom they answer as long as anybody wants to know about waits.
func TestWhichSpansAreFollowed(t *testing.T) {
	for _, test := range []struct {
		remoteWaits, serverTasks bool
		calls, answers           bool
	}{
		{true, true, true, true}, {true, false, true, true}, {false, true, false, true}, {false, false, false, false},
	} {
		ins, _ := newSeen(t, WithSamplingRate(0), WithRemoteWaits(test.remoteWaits), WithServerTasks(test.serverTasks))
		tracer := ins.own.Tracer("x")
		_, call := tracer.Start(context.Background(), "call", trace.WithSpanKind(trace.SpanKindClient))
		if span, is := followed.get(call.SpanContext().SpanID()); is != test.calls || is && span.call == nil {
			t.Errorf("with %+v the client span is followed: %t", test, is)
		}
		if call.IsRecording() != test.calls {
			t.Errorf("with %+v the client span is recorded: %t", test, call.IsRecording())
		}
		call.End()
		ctx, caller := remoteCaller()
		_, serves := tracer.Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindServer))
		id := serves.SpanContext().SpanID()
		if got := followed.remoteOf(id); got.valid() != test.answers || test.answers && got.span != caller.SpanID() {
			t.Errorf("with %+v the server span answers %v, want %v: %t", test, got, caller, test.answers)
		}
		if is := followed.taskOf(id) != nil; is != test.serverTasks {
			t.Errorf("with %+v the server span is a task: %t", test, is)
		}
		serves.End()
		if followed.len.Load() != 0 || followed.answers.Load() != 0 || followed.tasks.Load() != 0 {
			t.Errorf("with %+v %d spans, %d answers and %d tasks are left", test, followed.len.Load(), followed.answers.Load(), followed.tasks.Load())
		}
		_ = ins.Shutdown(context.Background())
	}
}

// A wrapped sampler records the spans between processes that its base drops, but not those
// of tasks, which the SDK sees anyway; while nothing inspects, it decides as its base.
func TestWhatAWrappedSamplerRecords(t *testing.T) {
	clearEnv(t)
	s := WrapSampler(sdktrace.NeverSample())
	starting := &taskContext{Context: context.Background(), task: &Task{}}
	check := func(ctx context.Context, kind trace.SpanKind, want sdktrace.SamplingDecision) {
		t.Helper()
		got := s.ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: randomTraceID(), Name: "x", Kind: kind}).Decision
		if got != want {
			t.Errorf("a span of kind %v is decided as %v, want %v", kind, got, want)
		}
	}
	if inspecting() {
		t.Fatal("somebody inspects: this test does not look right")
	}
	check(context.Background(), trace.SpanKindServer, sdktrace.Drop)
	ins := quietInspector(t)
	defer ins.Shutdown(context.Background())
	for kind, want := range map[trace.SpanKind]sdktrace.SamplingDecision{
		trace.SpanKindClient: sdktrace.RecordOnly, trace.SpanKindServer: sdktrace.RecordOnly, trace.SpanKindConsumer: sdktrace.RecordOnly,
		trace.SpanKindInternal: sdktrace.Drop, trace.SpanKindProducer: sdktrace.Drop,
	} {
		check(context.Background(), kind, want)
		check(starting, kind, sdktrace.Drop)
	}
	s = WrapSampler(sdktrace.AlwaysSample())
	check(context.Background(), trace.SpanKindServer, sdktrace.RecordAndSample)
}

// Options add up, in whatever order and however nested: none takes back what another says.
func TestTaskOptionsAddUp(t *testing.T) {
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: randomTraceID(), SpanID: randomSpanID()})
	a, b := attribute.Int("a", 1), attribute.Int("b", 2)
	all := []TaskOption{
		WithSpanKind(trace.SpanKindServer), WithRemoteParent(remote), WithinServerSpan(), WithNewRoot(), WithAttributes(a), WithAttributes(b),
	}
	want := taskConfig{attributes: []attribute.KeyValue{a, b}, newRoot: true, kind: trace.SpanKindServer, remote: remote, within: true}
	for name, opts := range map[string][]TaskOption{
		"one by one":           all,
		"joined":               {JoinTaskOptions(all...)},
		"in two parts":         {JoinTaskOptions(all[:3]...), JoinTaskOptions(all[3:]...)},
		"the first ones later": {JoinTaskOptions(all[3:]...), JoinTaskOptions(all[:3]...)},
		"nested":               {JoinTaskOptions(JoinTaskOptions(all[:5]...), all[5]), JoinTaskOptions()},
	} {
		if got := newTaskConfig(opts); !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, want %+v", name, *got, want)
		}
	}
	if got := newTaskConfig(nil); got != &noTaskOptions || !reflect.DeepEqual(*got, taskConfig{}) {
		t.Errorf("without options: %+v", *got)
	}
}

// A task that is about to end has not ended: who waits for it still does.
func TestATaskThatIsEndingHasNotEnded(t *testing.T) {
	for how := endedCompleted; how <= endedCancelled; how++ {
		task := new(Task)
		h := &Handle{task: task}
		for _, step := range []struct {
			state int32
			ended bool
			end   taskspan.State
		}{{0, false, ""}, {-how, false, endStates[how]}, {how, true, endStates[how]}} {
			task.state.Store(step.state)
			var set holderSet
			h.holders(nil, &set)
			if task.ended() != step.ended || task.endState() != step.end || (len(set.list) == 1) == step.ended || set.complete == step.ended {
				t.Errorf("in state %d it has ended: %t as %q, and is waited for: %+v", step.state, task.ended(), task.endState(), set)
			}
		}
	}
}

// What measured tasks cost at their end counts as well.
func TestTheEndOfAMeasuredTaskCounts(t *testing.T) {
	ins := quietInspector(t)
	for range 200 { // a clock may be coarse
		_, task := ins.Begin(context.Background(), "work")
		task.measure = true
		began := ins.overhead.spentNS.Load()
		task.End(nil)
		if ins.overhead.spentNS.Load() > began {
			return
		}
	}
	t.Error("200 ends of tasks cost nothing")
}
