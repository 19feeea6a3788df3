//go:build !noinspect

package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Tasks says everything of a task that waits: what for, since and until when, and who
// holds it. Every number differs.
func TestTasksSaysEverything(t *testing.T) {
	r, on, tasks, end := newReadings(t)
	defer end()
	_, place := goid.GetWithPC()
	_, inner := r.ins.Begin(context.Background(), "innermost")
	defer inner.End(nil)
	here := goid.Get()
	for _, test := range []struct {
		need               int64
		complete, inferred bool
	}{{4, true, false}, {5, false, true}, {0, true, true}, {6, false, false}} {
		set := holderSet{need: test.need, complete: test.complete, inferred: test.inferred, list: []holder{
			{task: tasks["a"], generation: 11, weight: 2, place: place}, {goroutine: here, generation: 23, weight: 3}, {goroutine: 1 << 60, generation: 29, weight: 7},
		}}
		on.first, on.second = set, set
		infos := r.ins.Tasks()
		var names []string
		for _, i := range infos {
			names = append(names, i.Name)
		}
		if want := []string{"a", "b", "c", "waiter", "innermost"}; !slices.Equal(names, want) {
			t.Fatalf("listed are %q, want %q in the order of their start", names, want)
		}
		info := infos[3]
		w, _ := waitOf(info.Goroutine)
		if info.State != taskspan.Blocked || info.Wait == nil || w.task == nil {
			t.Fatalf("the waiter shows as %+v", info)
		}
		node := func(task *Task) (string, string) {
			sc := task.SpanContext()
			return sc.TraceID().String(), sc.SpanID().String()
		}
		traceID, spanID := node(w.task)
		if info.TraceID != traceID || info.SpanID != spanID || info.ParentID != "" || info.Sampled || !info.Start.Equal(w.task.start.time()) || len(info.Points) != 0 {
			t.Errorf("the waiter shows as %+v", info)
		}
		got := *info.Wait
		_, resource := w.on.name().identity()
		_, a := node(tasks["a"])
		_, in := node(inner)
		want := WaitInfo{
			Kind: taskspan.WaitSemaphore, ResourceID: got.ResourceID, Resource: resource, Since: w.start.time(), Place: got.Place, Callers: got.Callers,
			Need: test.need, Complete: test.complete, Inferred: test.inferred,
			Holders: []HolderInfo{
				{Task: "a", SpanID: a, Goroutine: here, Weight: 2, Place: placeInfo(place)},
				{Task: "innermost", SpanID: in, Goroutine: here, Weight: 3},
				{Goroutine: 1 << 60, Weight: 7},
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("it waits as\n%+v, want\n%+v", got, want)
		}
		if got.Place.Function == "" || got.ResourceID == "" || infos[0].Begun.Function == "" || infos[0].State != taskspan.Running || infos[0].Wait != nil {
			t.Errorf("listed are %+v", infos)
		}
	}
}

// A child names its parent, a sampled task says so, points have their attributes, and a
// wait its deadline or that somebody can cancel it.
func TestTasksSaysHowAWaitCanEnd(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(1))
	deadline := time.Now().Add(time.Hour)
	dated, cancelDated := context.WithDeadline(context.Background(), deadline)
	defer cancelDated()
	plain, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, test := range map[string]struct {
		ctx         context.Context
		deadline    bool
		cancellable bool
	}{
		"deadline": {dated, true, false}, "cancel": {plain, false, true}, "never": {context.Background(), false, false},
	} {
		ctx, outer := ins.Begin(test.ctx, "outer")
		ctx, task := ins.Begin(ctx, name)
		w := beginWait(ctx, taskspan.WaitSemaphore, new(scripted))
		info := listed(t, ins, name)
		if info == nil || info.Wait == nil {
			t.Fatalf("%s shows as %+v", name, info)
		}
		if info.ParentID != outer.SpanContext().SpanID().String() || !info.Sampled {
			t.Errorf("%s shows as %+v, want a sampled child of %v", name, info, outer.SpanContext().SpanID())
		}
		if d := info.Wait.Deadline; (d != nil) != test.deadline || d != nil && d.Sub(deadline).Abs() > time.Millisecond || info.Wait.Cancellable != test.cancellable {
			t.Errorf("%s: the deadline is %v, cancellable %t", name, d, info.Wait.Cancellable)
		}
		endWait(w)
		if info := listed(t, ins, name); info.State != taskspan.Running || info.Wait != nil {
			t.Errorf("%s shows as %+v after its wait", name, info)
		}
		task.End(nil)
		outer.End(nil)
	}
}

// Without tasks the answer is an empty list, also of what is off; goroutines without a task
// are listed by the default Inspector only.
func TestTasksOfNobody(t *testing.T) {
	ins := quietInspector(t)
	var none *Inspector
	for name, of := range map[string]*Inspector{"without tasks": ins, "nil": none} {
		var out bytes.Buffer
		if err := of.WriteJSON(&out); err != nil || out.String() != "[]\n" {
			t.Errorf("%s: written is %q, %v", name, out.String(), err)
		}
	}
	w := beginWait(context.Background(), taskspan.WaitSemaphore, new(scripted))
	defer endWait(w)
	for _, is := range []bool{false, true} {
		if is {
			defaultInspector.Store(ins)
			defer defaultInspector.Store(nil)
		}
		var out bytes.Buffer
		if err := ins.WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		var infos []TaskInfo
		if err := json.Unmarshal(out.Bytes(), &infos); err != nil {
			t.Fatal(err)
		}
		mine := slices.ContainsFunc(infos, func(i TaskInfo) bool {
			return i.Goroutine == goid.Get() && i.State == taskspan.Blocked && i.Wait != nil && i.SpanID == "" && !i.Start.IsZero()
		})
		if mine != is {
			t.Errorf("as the default one: %t, the goroutine is listed: %t", is, mine)
		}
	}
}

// Whoever asks for the tasks has guesses looked at: nobody else needs to have.
func TestTasksLooksAtGuesses(t *testing.T) {
	freshLooks(t)
	ins, _ := newSeen(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ctx, task := ins.Begin(context.Background(), "calls")
		defer task.End(nil)
		_, span := ins.own.Tracer("x").Start(ctx, "call", trace.WithSpanKind(trace.SpanKindClient))
		defer span.End()
		<-stop
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if info := listed(t, ins, "calls"); info != nil && info.State == taskspan.Blocked && info.Wait.Kind == taskspan.WaitRemote && info.Wait.Inferred {
			break
		}
		if time.Now().After(deadline) {
			t.Error("the goroutine that calls does not show as waiting for its answer within 20 s")
			break
		}
		time.Sleep(time.Millisecond) // it is on its way
	}
	close(stop)
	<-done
}

// An open span is taken by one who ends it, and is unknown afterwards.
func TestAnOpenSpanIsTakenOnce(t *testing.T) {
	id := randomSpanID()
	before := followed.len.Load()
	if !followed.reserve() {
		t.Fatal("no room")
	}
	followed.put(id, openSpan{remote: &remoteParent{trace: randomTraceID(), span: randomSpanID()}})
	if _, ok := followed.take(randomSpanID()); ok {
		t.Error("another span is taken")
	}
	for _, want := range []bool{true, false} {
		if _, ok := followed.get(id); ok != want {
			t.Errorf("it is known: %t, want %t", ok, want)
		}
		if _, ok := followed.take(id); ok != want {
			t.Errorf("it is taken: %t, want %t", ok, want)
		}
	}
	if n := followed.len.Load(); n != before {
		t.Errorf("%d spans are open, want %d", n, before)
	}
}

// A wait's span lasts as long as the wait.
func TestAWaitSpanLastsAsLongAsTheWait(t *testing.T) {
	ins, exporter := newSeen(t, WithSamplingRate(1))
	ctx, task := ins.Begin(context.Background(), "work")
	w := beginWait(ctx, taskspan.WaitSemaphore, new(scripted))
	task.waitSpan(w, 70*time.Millisecond)
	start := w.start.time()
	endWait(w)
	task.End(nil)
	for _, s := range exported(t, ins, exporter) {
		if s.Parent.SpanID() != task.SpanContext().SpanID() {
			continue
		}
		if s.StartTime.UnixNano() != start.UnixNano() || s.EndTime.Sub(s.StartTime) != 70*time.Millisecond {
			t.Errorf("it lasts from %v to %v, want 70 ms from %v", s.StartTime, s.EndTime, start)
		}
		return
	}
	t.Error("there is no span of the wait")
}

// A span that ends inside of the End of a task's is not taken for it.
func TestAnotherSpanInsideOfAnEndIsItself(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(1))
	_, task := ins.Begin(context.Background(), "work")
	defer task.End(nil)
	next := new(endedSpans)
	ending := &shardOf(goid.Get()).ending
	ending.Store(task)
	defer ending.Store(nil)
	for _, sc := range []trace.SpanContext{task.SpanContext(), newIdentity()} {
		taskSpans{next}.OnEnd(tracetest.SpanStub{SpanContext: sc}.Snapshot())
	}
	if len(next.spans) != 2 {
		t.Fatalf("%d spans were handed on, want 2", len(next.spans))
	}
	for i, want := range []bool{true, false} {
		if _, is := next.spans[i].(*taskView); is != want {
			t.Errorf("span %d is seen as the task's: %t, want %t", i, is, want)
		}
	}
}

type endedSpans struct {
	sdktrace.SpanProcessor
	spans []sdktrace.ReadOnlySpan
}

func (p *endedSpans) OnEnd(s sdktrace.ReadOnlySpan) { p.spans = append(p.spans, s) }

// A call that is declared is certain as long as it lasts. Afterwards its span may stay
// open, and is a call that has returned.
func TestADeclaredCallIsCertainWhileItLasts(t *testing.T) {
	ins, _ := newSeen(t)
	ctx, span := ins.own.Tracer("x").Start(context.Background(), "call", trace.WithSpanKind(trace.SpanKindClient))
	sc := span.SpanContext()
	open, ok := followed.get(sc.SpanID())
	if !ok || open.call == nil {
		t.Fatal("the call is not followed")
	}
	check := func(when string, inferred, returned bool) {
		t.Helper()
		var set holderSet
		open.call.holders(nil, &set)
		if set.inferred != inferred || !set.complete || len(set.list) != 0 || open.call.guess.isReturned() != returned {
			t.Errorf("%s: %+v, returned %t; want inferred %t, returned %t", when, set, open.call.guess.isReturned(), inferred, returned)
		}
	}
	check("before", true, false)
	waits := len(openWaits(now(), nil))
	failed := errors.New("refused")
	if err := RemoteWait(ctx, sc, "call", func() error {
		check("meanwhile", false, false)
		if n := len(openWaits(now(), nil)); n != waits {
			t.Errorf("%d waits are open, want %d", n, waits)
		}
		return failed
	}); err != failed {
		t.Errorf("RemoteWait returned %v", err)
	}
	check("afterwards", true, true)
	span.End()
	if n := len(openWaits(now(), nil)); n != waits-1 {
		t.Errorf("%d waits are open in the end, want %d", n, waits-1)
	}
	// Without a span it is a wait of its own, and ends with the call.
	if err := RemoteWait(context.Background(), newIdentity(), "other", func() error {
		if n := len(openWaits(now(), nil)); n != waits {
			t.Errorf("%d waits are open, want %d", n, waits)
		}
		return nil
	}); err != nil || len(openWaits(now(), nil)) != waits-1 {
		t.Errorf("%d waits are open after a call without a span, %v", len(openWaits(now(), nil)), err)
	}
}

// A server span inside of a task is a task of its own, and answers its own caller; but
// the server span of a task that has put itself into the headers is that task.
func TestAServerSpanInsideOfATask(t *testing.T) {
	ins, _ := newSeen(t)
	tracer := ins.own.Tracer("x")
	first, firstCaller := remoteCaller()
	ctx, outer := ins.Begin(first, "outer")
	_, caller := remoteCaller()
	for name, test := range map[string]struct {
		ctx    context.Context
		isTask bool
		answer trace.SpanID
	}{
		"a caller of its own": {trace.ContextWithRemoteSpanContext(ctx, caller), true, caller.SpanID()},
		"no caller":           {ctx, true, firstCaller.SpanID()},
		"the task itself":     {trace.ContextWithRemoteSpanContext(ctx, outer.SpanContext()), false, trace.SpanID{}},
	} {
		_, span := tracer.Start(test.ctx, "GET", trace.WithSpanKind(trace.SpanKindServer))
		task := followed.taskOf(span.SpanContext().SpanID())
		if (task != nil) != test.isTask {
			t.Errorf("%s: it is a task: %t", name, task != nil)
		}
		if task != nil && (!task.remote.valid() || task.remote.span != test.answer) {
			t.Errorf("%s: it answers %+v, want %v", name, task.remote, test.answer)
		}
		span.End()
	}
	outer.End(nil)
}

// The start of a server span is booked once, from its time on, and stays booked.
func TestStartsOfServerSpansAreBookedOnce(t *testing.T) {
	ins, _ := newSeen(t)
	_, span := ins.own.Tracer("x").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	task := followed.taskOf(span.SpanContext().SpanID())
	for _, step := range []struct {
		before nanos
		want   int64
	}{{task.start - 1, 0}, {task.start, 1}, {task.start + 1, 1}} {
		ins.bookOld(step.before)
		if got := fiveCountsOf(ins, "GET"); got != [5]int64{step.want, 0, 0, 1, 0} {
			t.Errorf("booked up to %d of its start: counts are %v, want %d started", step.before-task.start, got, step.want)
		}
		if n := len(ins.unbooked(nil)); int64(n) != 1-step.want {
			t.Errorf("%d starts are not booked, want %d", n, 1-step.want)
		}
	}
}

// Begin within a server span is that span's task on its own goroutine, while it is open.
func TestWhoIsWithinAServerSpan(t *testing.T) {
	ins, _ := newSeen(t)
	ctx, span := ins.own.Tracer("x").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer))
	server := followed.taskOf(span.SpanContext().SpanID())
	begin := func(name string, opts ...TaskOption) bool {
		_, task := ins.Begin(ctx, name, opts...)
		if task == server {
			return true
		}
		task.End(nil)
		return false
	}
	if !begin("orders", WithinServerSpan()) || server.Name() != "orders" {
		t.Errorf("on its goroutine it is another one; its name is %q", server.Name())
	}
	if begin("plain") {
		t.Error("without the option it is the same one")
	}
	other := make(chan bool)
	go func() { other <- begin("elsewhere", WithinServerSpan()) }()
	if <-other {
		t.Error("on another goroutine it is the same one")
	}
	if server.Name() != "orders" {
		t.Errorf("its name became %q", server.Name())
	}
	server.End(nil)
	if begin("late", WithinServerSpan()) {
		t.Error("after its end it is the same one")
	}
	span.End()
}

// The budget of looks fills in a minute, is never more than full, and is spent by what a
// look takes.
func TestTheBudgetOfLooks(t *testing.T) {
	l := newLookout()
	begin := l.filled
	l.budget = 0
	for _, step := range []struct {
		at   time.Duration
		want time.Duration
	}{
		{0, 0},
		{30 * time.Second, lookBudget / 2},
		{30 * time.Second, lookBudget / 2},
		{45 * time.Second, lookBudget * 3 / 4},
		{40 * time.Second, lookBudget * 3 / 4},
		{time.Minute, lookBudget},
		{10 * time.Minute, lookBudget},
	} {
		enough, more := l.afford(step.want, begin+nanos(step.at)), l.afford(step.want+1, begin+nanos(step.at))
		if l.budget != step.want || !enough || more {
			t.Errorf("after %v the budget is %v, want %v; it is enough for that: %t, and for more: %t", step.at, l.budget, step.want, enough, more)
		}
	}
	if !goid.Supported() {
		return
	}
	l.filled = now() + nanos(time.Hour) // nothing is filled up
	l.stack = func([]byte) int { time.Sleep(3 * time.Millisecond); return 0 }
	l.count = func() int { return 2 }
	if seen, _ := l.take(map[uint64]bool{1: true}, lookAtMost); seen == nil {
		t.Fatal("a look is refused")
	}
	if spent := lookBudget - l.budget; spent < 3*time.Millisecond {
		t.Errorf("a look of 3 ms takes %v off the budget", spent)
	}
	if l.cost < 1500*time.Microsecond {
		t.Errorf("a goroutine costs %v, of two that took 3 ms", l.cost)
	}
}

// Tasks shows the points that are kept, oldest first, with their attributes.
func TestTasksShowsPoints(t *testing.T) {
	ins := quietInspector(t)
	_, task := ins.Begin(context.Background(), "work")
	defer task.End(nil)
	before := now()
	task.Point("one", attribute.Int("n", 3), attribute.String("s", "x"))
	task.Point("two")
	points := listed(t, ins, "work").Points
	if len(points) != 2 || points[0].Name != "one" || points[1].Name != "two" || points[1].Attributes != nil ||
		!reflect.DeepEqual(points[0].Attributes, map[string]any{"n": int64(3), "s": "x"}) {
		t.Fatalf("shown are %+v", points)
	}
	if points[0].Time.Before(before.time()) || points[1].Time.Before(points[0].Time) || points[1].Time.After(now().time()) {
		t.Errorf("they were passed at %v and %v", points[0].Time, points[1].Time)
	}
}

// noFlush is a provider that cannot be flushed.
type noFlush struct {
	trace.TracerProvider
	err error
}

func (p noFlush) ForceFlush(context.Context) error { return p.err }

// ForceFlush returns the error of the provider that an Inspector was given, on or off.
func TestForceFlushOfAGivenProvider(t *testing.T) {
	failed := errors.New("no flush")
	for _, enabled := range []string{"true", "false"} {
		clearEnv(t)
		t.Setenv("ASYNC_INSPECT_ENABLED", enabled)
		ins, err := New(context.Background(), WithReports(false), WithTracerProvider(noFlush{noop.NewTracerProvider(), failed}))
		if err != nil {
			t.Fatal(err)
		}
		if err := ins.ForceFlush(context.Background()); !errors.Is(err, failed) {
			t.Errorf("enabled %s: ForceFlush returned %v, want %v", enabled, err, failed)
		}
		_ = ins.Shutdown(context.Background())
	}
}

// Who answers is the goroutine that the server span began on, also for tasks of others
// below it.
func TestWhoAnswersForAServerSpan(t *testing.T) {
	for _, serverTasks := range []bool{false, true} {
		ins, _ := newSeen(t, WithServerTasks(serverTasks))
		in, caller := remoteCaller()
		ctx, span := ins.own.Tracer("x").Start(in, "GET", trace.WithSpanKind(trace.SpanKindServer))
		below := make(chan *Task)
		go func() {
			_, task := ins.Begin(ctx, "below")
			defer task.End(nil)
			below <- task
		}()
		task := <-below
		if task.remote == nil || task.remote.span != caller.SpanID() || task.remote.goroutine != goid.Get() {
			t.Errorf("with tasks of server spans: %t, it answers %+v, want %v on goroutine %d", serverTasks, task.remote, caller.SpanID(), goid.Get())
		}
		span.End()
		_ = ins.Shutdown(context.Background())
	}
}

// Who has called a wait is listed, the nearest first.
func TestTasksSaysWhoCalled(t *testing.T) {
	ins := quietInspector(t)
	for callers := range 4 {
		var m Mutex
		m.Lock()
		waiter := newActor(t)
		waiter.starts(func() { lockBelow(callers, &m) })
		waiter.blocked()
		defaultInspector.Store(ins) // which lists goroutines without a task
		tasks := ins.Tasks()
		defaultInspector.Store(nil)
		found := false
		for _, task := range tasks {
			if task.Goroutine != waiter.id {
				continue
			}
			found = true
			var names []string
			for _, c := range task.Wait.Callers {
				names = append(names, shortFunction(c.Function))
			}
			if len(names) != 2 || !strings.HasSuffix(task.Wait.Place.Function, ".lockBelow") || (names[0] == "inspect.lockBelow") != (callers > 0) || (names[1] == "inspect.lockBelow") != (callers > 1) {
				t.Errorf("%d callers: at %v, called by %q", callers, task.Wait.Place, names)
			}
		}
		if !found {
			t.Error("the waiter is not listed")
		}
		m.Unlock()
		waiter.does(func() {})
	}
}

//go:noinline
func lockBelow(callers int, m *Mutex) {
	if callers > 0 {
		lockBelow(callers-1, m)
		return
	}
	m.Lock()
	m.Unlock() //nolint:staticcheck // the wait is the point
}

// What a wait is for and why, as Wait was told it; a kind that nobody knows is io.
func TestWhatWaitShows(t *testing.T) {
	quietInspector(t)
	for _, one := range []struct{ kind, want taskspan.Kind }{{taskspan.WaitIO, taskspan.WaitIO}, {taskspan.WaitCond, taskspan.WaitCond}, {"coffee", taskspan.WaitIO}} {
		ran := false
		err := Wait(context.Background(), one.kind, "price list", func(context.Context) error {
			ran = true
			w, waits := waitOf(goid.Get())
			if !waits {
				t.Fatal("it does not wait")
			}
			if id, name := w.on.name().identity(); id != "price list" || name != "price list" || w.kind != one.want {
				t.Errorf("%s: waits for %q called %q as %s", one.kind, id, name, w.kind)
			}
			return context.Canceled
		})
		if err != context.Canceled || !ran {
			t.Errorf("returned %v, ran %t", err, ran)
		}
		if _, waits := waitOf(goid.Get()); waits {
			t.Error("it still waits")
		}
	}
}

// A nil Inspector, and the functions while there is none, answer and do nothing.
func TestWithoutAnInspector(t *testing.T) {
	clearEnv(t)
	var none *Inspector
	if rate := none.SamplingRate(); rate != -1 {
		t.Errorf("the rate is %v", rate)
	}
	if m := none.MemoryStats(); m != (MemoryStats{}) {
		t.Errorf("%+v is in use", m)
	}
	if none.Tasks() != nil || Tasks() != nil || none.running() || Default() != nil || Enabled(context.Background()) {
		t.Error("there are tasks, or an Inspector")
	}
	if none.TracerProvider() != otel.GetTracerProvider() {
		t.Error("its provider is not the global one")
	}
	Point(context.Background(), "nobody's")
}

// Point is for the task of the context.
func TestPointOfAContext(t *testing.T) {
	ins := quietInspector(t)
	ctx, task := ins.Begin(context.Background(), "work")
	defer task.End(nil)
	_, other := ins.Begin(context.Background(), "other")
	defer other.End(nil)
	Point(ctx, "passed", attribute.Int("n", 7))
	if got := task.points.Load().list(); len(got) != 1 || got[0].name != "passed" || len(got[0].attributes) != 1 || other.points.Load() != nil {
		t.Errorf("it has passed %v", got)
	}
	if n := ins.events.Load(); n != 1 {
		t.Errorf("%d points are counted", n)
	}
}
