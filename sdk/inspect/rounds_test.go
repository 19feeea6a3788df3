//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/internal/sender"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// inTime runs a test with an Inspector that reports to a client, in a time that only
// passes while all wait.
func inTime(t *testing.T, opts []Option, test func(t *testing.T, ins *Inspector, client *shakyClient)) {
	t.Helper()
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		client := new(shakyClient)
		ins, err := New(context.Background(), append([]Option{WithReportClient(client), WithSpanExporter(discardingExporter{})}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer ins.Shutdown(context.Background())
		test(t, ins, client)
	})
}

// The collector learns of a process at once, and again every five seconds.
func TestWhenHeartbeatsCome(t *testing.T) {
	inTime(t, nil, func(t *testing.T, ins *Inspector, client *shakyClient) {
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {4900 * time.Millisecond, 1}, {200 * time.Millisecond, 2}, {4800 * time.Millisecond, 2}, {200 * time.Millisecond, 3}} {
			time.Sleep(step.after)
			synctest.Wait()
			if n := len(client.heartbeats()); n != step.want {
				t.Errorf("%v later %d heartbeats have come, want %d", step.after, n, step.want)
			}
		}
		// A flush brings one, and the next is due five seconds after it.
		time.Sleep(2 * time.Second)
		if err := ins.ForceFlush(context.Background()); err != nil || len(client.heartbeats()) != 4 {
			t.Errorf("after a flush %d heartbeats have come, %v", len(client.heartbeats()), err)
		}
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		if n := len(client.heartbeats()); n != 4 {
			t.Errorf("%d heartbeats have come before the next is due, want 4", n)
		}
		if late := ins.reporter.late(); late < 0 || late > scanInterval {
			t.Errorf("the last round was %v ago", late)
		}
	})
}

// Each round tells tasks whose external locks have expired, with nobody else looking.
func TestARoundExpiresLocks(t *testing.T) {
	fewExternals(t)
	r := newReporterRig(t)
	r.beatAt = nanos(1) << 62
	_, task := r.ins.Begin(context.Background(), "report")
	defer task.End(nil)
	externals.add(&externalHold{goroutine: goidOfTest(), task: task, id: "ext:" + unusedName("round"), ends: r.at + nanos(600*time.Millisecond)})
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{599 * time.Millisecond, 0}, {601 * time.Millisecond, 1}, {time.Minute, 1}} {
		r.round(r.at + nanos(step.at))
		if n := len(task.points.Load().list()); n != step.want {
			t.Errorf("after %v it has been told %d times, want %d", step.at, n, step.want)
		}
	}
}

// A crowded table is said once with a heartbeat, and again only after it was not.
func TestACrowdedTableIsSaid(t *testing.T) {
	var said strings.Builder
	opts := []Option{WithMaxTasks(10), WithLogger(slog.New(slog.NewTextHandler(&said, nil)))}
	inTime(t, opts, func(t *testing.T, ins *Inspector, _ *shakyClient) {
		var tasks []*Task
		begin := func(n int) {
			for range n {
				_, task := ins.Begin(context.Background(), "work")
				tasks = append(tasks, task)
			}
		}
		end := func(n int) {
			for range n {
				tasks[len(tasks)-1].End(nil)
				tasks = tasks[:len(tasks)-1]
			}
		}
		for i, step := range []struct {
			begin, end, want int
		}{{9, 0, 0}, {1, 0, 1}, {0, 0, 1}, {0, 3, 1}, {3, 0, 2}, {0, 10, 2}} {
			begin(step.begin)
			end(step.end)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := strings.Count(said.String(), "more than 90 %"); n != step.want {
				t.Errorf("step %d: said %d times, want %d", i, n, step.want)
			}
		}
	})
}

// Shutdown tells the orders that were seen since the last round, by the clock as it is
// then, and of no wait that is young.
func TestWhatShutdownTellsLast(t *testing.T) {
	skew := stepClock(t)
	inTime(t, []Option{WithLockOrder(true)}, func(t *testing.T, ins *Inspector, client *shakyClient) {
		time.Sleep(1050 * time.Millisecond)
		synctest.Wait()
		outer, inner := NewMutex(unusedName("last outer")), NewMutex(unusedName("last inner"))
		_, task := ins.Begin(context.Background(), "orderly")
		outer.Lock()
		inner.Lock()
		inner.Unlock()
		outer.Unlock()
		task.End(nil)
		young := blocked(ins, "young", NewChan[int](unusedName("young"), 0))
		synctest.Wait()
		skew.Store(int64(9 * time.Hour))
		wall := now().unix() + int64(9*time.Hour)
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		young()
		if n := len(client.taken(taskspan.ReportLockOrder)); n != 1 {
			t.Errorf("%d lock orders were told, want one", n)
		}
		if w := client.taken(taskspan.ReportWait); len(w) != 0 {
			t.Errorf("a wait that is no second old was told: %v", w)
		}
		beats := client.heartbeats()
		if last := beats[len(beats)-1]; int64(last.StartTimeUnixNano) != wall || !reported(last, taskspan.HeartbeatFinal).GetBoolValue() {
			t.Errorf("the last heartbeat is of %v, want %v", time.Unix(0, int64(last.StartTimeUnixNano)), time.Unix(0, wall))
		}
	})
}

// stopFails is a client that cannot be stopped.
type stopFails struct {
	shakyClient
	err error
}

func (c *stopFails) Stop(context.Context) error { return c.err }

func TestShutdownReturnsTheErrorOfItsClient(t *testing.T) {
	clearEnv(t)
	client := &stopFails{err: errors.New("no stop")}
	ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ins.Shutdown(context.Background()); !errors.Is(err, client.err) {
			t.Errorf("Shutdown returned %v, want %v", err, client.err)
		}
	}
}

// What the queue of reports has no room for is counted as such.
func TestAFullQueueOfReportsIsCounted(t *testing.T) {
	inTime(t, nil, func(t *testing.T, ins *Inspector, client *shakyClient) {
		synctest.Wait()
		client.set(errors.New("no collector"), 0)
		for id := range uint64(queueLimit + 3) {
			ins.reporter.sender.Send(sender.Key{Kind: taskspan.ReportWait, ID: id}, &tracepb.Span{Attributes: (&toldWait{}).last.Encode().Attributes})
			if id == 0 {
				synctest.Wait() // it fails, and the sender pauses
			}
		}
		if got := ins.drops.list(); !slices.Equal(got, []string{"report_queue_full=3"}) {
			t.Errorf("dropped are %v, want three", got)
		}
		client.set(nil, 0)
	})
}

// A heartbeat is of the instant of its scan, as are the reports of that.
func TestAHeartbeatIsOfItsScan(t *testing.T) {
	r, on, tasks, end := newReadings(t)
	defer end()
	set := holderSet{complete: true, list: []holder{{task: tasks["a"], generation: 7}}}
	on.first, on.second = set, set
	var goroutine uint64
	for _, v := range openWaits(now()+nanos(time.Hour), nil) {
		if v.task != nil && v.task.ins == r.ins {
			goroutine = v.goroutine
		}
	}
	w, _ := waitOf(goroutine)
	s := r.oneAfter(1100 * time.Millisecond)
	if got := r.heartbeat(false).Observed; got != int64(s.EndTimeUnixNano) {
		t.Errorf("the heartbeat is of %d, the report of %d", got, s.EndTimeUnixNano)
	}
	if s.StartTimeUnixNano != uint64(w.start.unix()) {
		t.Errorf("the wait is told to begin at %d, and began at %d", s.StartTimeUnixNano, w.start.unix())
	}
}

// A long task is told from its limit on, and again after 1, 2, 4, 8 and then every 30
// seconds; while it waits, its wait is told instead.
func TestWhenALongTaskIsTold(t *testing.T) {
	r := newReporterRig(t)
	_, task := r.ins.Begin(context.Background(), "import")
	defer task.End(nil)
	r.at = task.start
	r.nothingAfter(30*time.Second-1, "it is not long yet")
	ids := make(map[string]bool)
	told := func(after time.Duration) {
		t.Helper()
		s := r.oneAfter(after)
		if reported(s, taskspan.TaskName).GetStringValue() != "import" || s.EndTimeUnixNano != uint64(r.at.unix()) || ids[string(s.SpanId)] {
			t.Errorf("told is %v", s)
		}
		ids[string(s.SpanId)] = true
	}
	told(1)
	for _, pause := range []time.Duration{1, 2, 4, 8, 30, 30} {
		r.nothingAfter(pause*time.Second-1, "it was told less than that ago")
		told(1)
	}

	m := NewMutex(unusedName("long"))
	m.Lock()
	var ended sync.WaitGroup
	waiter := r.blockedOn(m, "waits", &ended)
	for range 3 {
		for _, s := range r.after(31 * time.Second) {
			if name := reported(s, taskspan.TaskName).GetStringValue(); name == "waits" && reported(s, taskspan.WaitID) == nil {
				t.Errorf("a task that waits is told as one that runs: %v", s)
			}
		}
	}
	m.Unlock()
	ended.Wait()
	if !waiter.ended() {
		t.Error("it has not ended")
	}
}

// Whether the holders of a wait still live is looked at when it is ten seconds old, and
// more and more rarely after that.
func TestWhenTheFateOfHoldersIsLookedAt(t *testing.T) {
	l := freshLooks(t)
	looks := 0
	stack := l.stack
	l.stack = func(buf []byte) int { looks++; return stack(buf) }
	r, on, tasks, end := newReadings(t)
	defer end()
	set := holderSet{complete: true, list: []holder{{task: tasks["a"], generation: 7}}}
	on.first, on.second = set, set
	r.oneAfter(2 * time.Second)
	r.beatAt = nanos(1) << 62
	start := theOnly(r.waits).fateAt - nanos(fateAfter)
	if w := r.at - start; w < nanos(1900*time.Millisecond) || w > nanos(3*time.Second) {
		t.Errorf("the first look is due %v after the beginning of the wait", w)
	}
	for _, step := range []struct {
		age  time.Duration // of the wait
		want int
	}{
		{9 * time.Second, 0},
		{10*time.Second - 1, 0},
		{10 * time.Second, 1},
		{20*time.Second - 1, 1},
		{20 * time.Second, 2},
		{60*time.Second - 1, 2},
		{60 * time.Second, 3},
		{219 * time.Second, 3},
		{220 * time.Second, 4},
		{819 * time.Second, 4},
		{820 * time.Second, 5},
		{1419 * time.Second, 5},
		{1420 * time.Second, 6},
	} {
		r.after((start + nanos(step.age)).sub(r.at))
		if looks != step.want {
			t.Errorf("%d looks when it is %v old, want %d", looks, step.age, step.want)
		}
		if n := len(theOnly(r.waits).holders); n != 1 {
			t.Errorf("%d holders are known when it is %v old, want one", n, step.age)
		}
	}
}

// A server span that has been open for a heartbeat is counted as started, and a final
// heartbeat counts them all.
func TestWhenServerSpansCountAsStarted(t *testing.T) {
	for _, test := range []struct {
		final bool
		age   time.Duration
		want  int64
	}{
		{false, 50 * time.Minute, 0}, {false, 70 * time.Minute, 1}, {true, 0, 1},
	} {
		ins, _ := newSeen(t)
		r := newReporterRig(t)
		r.reporter.ins, r.config.heartbeatInterval = ins, time.Hour
		_, span := ins.own.Tracer("x").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer))
		for _, task := range ins.unbooked(nil) {
			task.start -= nanos(test.age)
		}
		h := r.heartbeat(test.final)
		if h.Total.Started != test.want || h.Total.Running != 1 || h.Final != test.final {
			t.Errorf("with %+v the heartbeat counts %+v", test, h.Total)
		}
		span.End()
		if h := r.heartbeat(test.final); h.Total.Started != 1 || h.Total.Completed != 1 || h.Total.Running != 0 {
			t.Errorf("afterwards the heartbeat counts %+v", h.Total)
		}
	}
}

// The sum of counts has every term: each field differs.
func TestCountsAreAdded(t *testing.T) {
	counts := func(base int64) (n taskspan.NameCounts) {
		v := reflect.ValueOf(&n).Elem()
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Int64 {
				v.Field(i).SetInt(base * int64(i+2))
			}
		}
		n.Durations = &taskspan.Durations{Seconds: float64(base) * 1.5, Buckets: make([]int64, taskspan.DurationBuckets)}
		for i := range n.Durations.Buckets {
			n.Durations.Buckets[i] = base * int64(i+31)
		}
		return n
	}
	var got taskspan.NameCounts
	one, two := counts(10), counts(300)
	add(&got, one)
	add(&got, two)
	add(&got, taskspan.NameCounts{Started: 7})
	want := counts(310)
	want.Started += 7
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the sum is %+v %+v, want %+v %+v", got, got.Durations, want, want.Durations)
	}
	if !reflect.DeepEqual(one, counts(10)) || !reflect.DeepEqual(two, counts(300)) {
		t.Error("what was added has changed")
	}
}

// Tasks that run under "other" only are in the sum and in the list.
func TestOtherHasWhatOnlyRuns(t *testing.T) {
	ins, _ := newSeen(t)
	names := ins.names
	for range taskspan.MaxNames - 1 {
		names.listed[&nameEntry{}] = true
	}
	_, span := ins.own.Tracer("x").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	total, byName := ins.counts()
	if len(byName) != 1 || byName[0].Name != taskspan.OtherNames || byName[0].Running != 1 || total.Running != 1 {
		t.Errorf("counts are %+v, by name %+v", total, byName)
	}
}

// A heartbeat has the facts of its Inspector: every number differs.
func TestAHeartbeatHasTheFactsOfItsInspector(t *testing.T) {
	r := newReporterRig(t)
	r.ins.head.setRate(0.25)
	r.ins.events.Store(61)
	r.ins.keptPoints.Store(7)
	r.ins.drops.add(dropMaxTasks, 71)
	r.ins.drops.add(dropReaders, 72)
	r.ins.overhead.share = 0.125
	r.config.heartbeatInterval = 2500 * time.Millisecond
	h := r.heartbeat(true)
	if h.IntervalMS != 2500 || !h.Final || h.Events != 61 || h.Rate != 0.25 || h.Overhead != 0.125 || h.Trace != r.seed ||
		!slices.Equal(h.Dropped, []string{"max_tasks=71", "readers=72"}) {
		t.Errorf("it is %+v", h)
	}
	if m, ok := h.Memory.(MemoryStats); !ok || m.EventCount != 7 || m.MaxEvents != r.ins.maxEvents {
		t.Errorf("its memory is %+v", h.Memory)
	}
	r.ins.keptPoints.Store(0)
}

// After a round that was late the next heartbeat is due an interval after it.
func TestAHeartbeatAfterALateRound(t *testing.T) {
	r := newReporterRig(t)
	r.round(r.at) // the first is due at once
	for _, after := range []time.Duration{0, 5 * time.Second, 17 * time.Second} {
		r.at = max(r.beatAt, r.at) + nanos(after)
		r.round(r.at)
		if due := r.beatAt.sub(r.at); due != 5*time.Second {
			t.Errorf("%v late, the next heartbeat is due in %v, want 5 s", after, due)
		}
	}
}

// A reporter that has just been started is not late, and only failures with an error are
// said.
func TestWhatAReporterSaysOfItself(t *testing.T) {
	var said strings.Builder
	ins, _ := newSeen(t, WithLogger(slog.New(slog.NewTextHandler(&said, nil))))
	if late := ins.reporter.late(); late < 0 || late > time.Minute || ins.reporter.lastScan.Load() == 0 {
		t.Errorf("a new reporter is late by %v", late)
	}
	for i, err := range []error{errors.New("refused"), nil, nil} {
		ins.reporter.exportFailed(err)
		if n := strings.Count(said.String(), "reports cannot be sent"); n != 1 {
			t.Errorf("after %d failures it is said %d times, want once", i+1, n)
		}
	}
}

// Each kind of a resource attribute travels as what it is.
func TestResourceAttributesTravel(t *testing.T) {
	res := resource.NewSchemaless(
		attribute.Bool("off", false), attribute.Bool("on", true), attribute.Int("n", 3), attribute.Float64("f", 2.5),
		attribute.String("s", "x"), attribute.StringSlice("l", []string{"a", "b"}), attribute.String("k\xff", "caf\xe9"),
	)
	got := make(map[string]string)
	for _, kv := range protoResource(res).Attributes {
		v := kv.Value
		switch {
		case v.GetArrayValue() != nil:
			for _, e := range v.GetArrayValue().Values {
				got[kv.Key] += e.GetStringValue() + ","
			}
		default:
			got[kv.Key] = fmt.Sprintf("%t %d %g %s", v.GetBoolValue(), v.GetIntValue(), v.GetDoubleValue(), v.GetStringValue())
		}
	}
	want := map[string]string{
		"off": "false 0 0 ", "on": "true 0 0 ", "n": "false 3 0 ", "f": "false 0 2.5 ", "s": "false 0 0 x", "l": "a,b,", "k\uFFFD": "false 0 0 caf\uFFFD",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("they travel as %q, want %q", got, want)
	}
}

// A report of a long task says what it is, and where it was begun.
func TestWhatIsToldOfALongTask(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(1), WithBacktraces(true))
	ctx, parent := ins.Begin(context.Background(), "parent")
	defer parent.End(nil)
	_, task := ins.Begin(ctx, "long")
	defer task.End(nil)
	r := &reporter{ins: ins}
	got := r.longTask(task)
	if got.Node != taskNode(task) || got.Name != "long" || got.State != taskspan.Running || got.Start != task.start.unix() ||
		got.Parent != parent.SpanContext().SpanID() || got.Goroutine != goid.Get() || got.Place != wirePlace(task.begun) ||
		!strings.HasSuffix(got.Place.Function, ".TestWhatIsToldOfALongTask") || !strings.Contains(got.Stack, "TestWhatIsToldOfALongTask") {
		t.Errorf("told is %+v", got)
	}
	task.sampled = false
	if got := r.longTask(task); got.Stack != "" {
		t.Errorf("of one that is not sampled the stack is told: %q", got.Stack)
	}
	task.sampled = true
}
