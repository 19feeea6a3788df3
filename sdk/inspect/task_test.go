//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/failure"
	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// countsOf are the counts of one name.
func countsOf(ins *Inspector, name string) taskspan.NameCounts {
	e, _ := ins.names.entry(name)
	return e.counts.sum()
}

func TestHowATaskEnds(t *testing.T) {
	deadline, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	for _, test := range []struct {
		name      string
		end       func(*Task)
		state     taskspan.State
		errorType string
	}{
		{"nil", func(t *Task) { t.End(nil) }, taskspan.Completed, ""},
		{"error", func(t *Task) { t.End(errors.New("no")) }, taskspan.Failed, "*errors.errorString"},
		{"canceled", func(t *Task) { t.End(context.Canceled) }, taskspan.Cancelled, ""},
		{"wrapped canceled", func(t *Task) { t.End(fmt.Errorf("stop: %w", context.Canceled)) }, taskspan.Cancelled, ""},
		{"deadline", func(t *Task) { t.End(deadline.Err()) }, taskspan.Failed, "context.deadlineExceededError"},
		{"EndWith nil pointer", func(t *Task) { t.EndWith(nil) }, taskspan.Completed, ""},
		{"EndWith no error", func(t *Task) { var err error; t.EndWith(&err) }, taskspan.Completed, ""},
		{"EndWith error", func(t *Task) { err := errors.New("no"); t.EndWith(&err) }, taskspan.Failed, "*errors.errorString"},
		{"EndPanic", func(t *Task) { t.EndPanic("boom") }, taskspan.Failed, "panic"},
		{"twice", func(t *Task) { t.End(nil); t.End(errors.New("late")) }, taskspan.Completed, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			ins, exporter := newSeen(t)
			_, task := ins.Begin(t.Context(), "work")
			if n := countsOf(ins, "work"); n.Started != 1 || n.Running != 1 {
				t.Errorf("while it runs: %+v", n)
			}
			test.end(task)

			want := taskspan.NameCounts{Started: 1}
			switch test.state {
			case taskspan.Completed:
				want.Completed = 1
			case taskspan.Failed:
				want.Failed = 1
			case taskspan.Cancelled:
				want.Cancelled = 1
			}
			if n := countsOf(ins, "work"); n != want {
				t.Errorf("counts %+v, want %+v", n, want)
			}
			if ins.live.Load() != 0 {
				t.Errorf("%d live tasks", ins.live.Load())
			}
			spans := exported(t, ins, exporter)
			if len(spans) != 1 {
				t.Fatalf("%d spans", len(spans))
			}
			s := spans[0]
			if got := attributeOf(s, taskspan.TaskState).AsString(); got != string(test.state) {
				t.Errorf("the span's state is %q", got)
			}
			if got := attributeOf(s, taskspan.ErrorType).AsString(); got != test.errorType {
				t.Errorf("the span's error type is %q", got)
			}
			if failed := test.state == taskspan.Failed; (s.Status.Code == codes.Error) != failed || (len(s.Events) == 1) != failed {
				t.Errorf("the span's status is %v, its events %v", s.Status, s.Events)
			}
		})
	}
}

// A panic is recorded on the task and goes on.
func TestPanicGoesOn(t *testing.T) {
	for name, work := range map[string]func(*Task){
		"End":     func(task *Task) { defer task.End(nil); panic("boom") },
		"EndWith": func(task *Task) { var err error; defer task.EndWith(&err); panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			ins, exporter := newSeen(t)
			_, task := ins.Begin(t.Context(), "work")
			func() {
				defer func() {
					if r := recover(); r != "boom" {
						t.Errorf("the panic arrives as %v", r)
					}
				}()
				work(task)
			}()
			s := exported(t, ins, exporter)[0]
			if s.Status.Code != codes.Error || !strings.Contains(s.Status.Description, "boom") ||
				attributeOf(s, taskspan.ErrorType).AsString() != "panic" {
				t.Errorf("status %v, attributes %v", s.Status, s.Attributes)
			}
			if n := countsOf(ins, "work"); n.Failed != 1 {
				t.Errorf("counts %+v", n)
			}
		})
	}
}

func TestNilTaskDoesNothing(t *testing.T) {
	var task *Task
	err := errors.New("no")
	task.End(err)
	task.EndWith(&err)
	task.EndPanic("boom")
	task.Point("x")
	if task.Name() != "" || task.SpanContext().IsValid() {
		t.Error("a nil task is somebody")
	}
}

func TestTaskSpan(t *testing.T) {
	ins, exporter := newSeen(t)
	ctx, outer := ins.Begin(t.Context(), "outer")
	innerCtx, inner := ins.Begin(ctx, "inner", WithAttributes(attribute.String("tenant", "a")), WithSpanKind(trace.SpanKindConsumer))
	inner.blocked(&thing{id: "r1", called: "stock"}, 3*time.Second)
	inner.blocked(&thing{id: "r2", called: "till"}, time.Second)
	trace.SpanFromContext(innerCtx).SetAttributes(attribute.Int("items", 2))
	inner.End(nil)
	outer.End(nil)

	s := exported(t, ins, exporter)[0]
	if s.Name != "inner" || s.SpanKind != trace.SpanKindConsumer || s.Parent.SpanID() != outer.SpanContext().SpanID() ||
		!s.SpanContext.Equal(inner.SpanContext()) || s.InstrumentationScope.Name != ScopeName {
		t.Errorf("the span is %+v", s)
	}
	for key, want := range map[string]any{
		"tenant": "a", "items": int64(2),
		"async_inspect.task.state":                 "completed",
		"async_inspect.task.blocked_ns":            int64(4e9),
		"async_inspect.task.waits":                 int64(2),
		"async_inspect.task.longest_wait_ns":       int64(3e9),
		"async_inspect.task.longest_wait_resource": "stock",
		"code.function.name":                       packageOfTests + ".TestTaskSpan",
	} {
		if got := attributeOf(s, key).AsInterface(); got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if got := attributeOf(s, "code.file.path").AsString(); !strings.HasSuffix(got, "/task_test.go") {
		t.Errorf("it was begun in %q", got)
	}
	if got := uint64(attributeOf(s, "thread.id").AsInt64()); goid.Supported() && got != goid.Get() {
		t.Errorf("it ran on goroutine %d", got)
	}
	seen := map[attribute.Key]bool{}
	for _, a := range s.Attributes {
		if seen[a.Key] {
			t.Errorf("%s is there twice", a.Key)
		}
		seen[a.Key] = true
	}
}

const packageOfTests = "github.com/asyncinspect/asyncinspect/sdk/inspect"

// The processors of a provider of our own see the span as it was made, the exporter
// sees what the SDK adds, also if many tasks end side by side.
func TestTaskSpansThatEndSideBySide(t *testing.T) {
	ins, exporter := newSeen(t)
	const tasks, goroutines = 100, 16 // fewer than the queue has room for
	done := make(chan struct{})
	for range goroutines {
		go func() {
			for range tasks {
				_, task := ins.Begin(context.Background(), "x")
				task.End(nil)
			}
			done <- struct{}{}
		}()
	}
	for range goroutines {
		<-done
	}
	n := 0
	for _, s := range exported(t, ins, exporter) {
		n++
		if attributeOf(s, taskspan.TaskState).AsString() != "completed" || attributeOf(s, taskspan.ThreadID).AsInt64() == 0 {
			t.Fatalf("a span has the attributes %v", s.Attributes)
		}
	}
	if n != tasks*goroutines {
		t.Errorf("%d spans of %d", n, tasks*goroutines)
	}
	for i := range table {
		if table[i].ending.Load() != nil {
			t.Error("a task is ending for ever")
		}
	}
}

func TestNewRoot(t *testing.T) {
	ins, exporter := newSeen(t)
	ctx, outer := ins.Begin(t.Context(), "outer")
	in, task := ins.Begin(ctx, "apart", WithNewRoot())
	if task.SpanContext().TraceID() == outer.SpanContext().TraceID() || task.parent.IsValid() {
		t.Errorf("the task is %v below %v", task.SpanContext(), task.parent)
	}
	_, child := ins.Begin(in, "child")
	if child.SpanContext().TraceID() != task.SpanContext().TraceID() || child.parent != task.SpanContext().SpanID() {
		t.Errorf("its child is %v below %v", child.SpanContext(), child.parent)
	}
	child.End(nil)
	task.End(nil)
	s := exported(t, ins, exporter)[1]
	if s.Parent.IsValid() || len(s.Links) != 1 || s.Links[0].SpanContext.SpanID() != outer.SpanContext().SpanID() {
		t.Errorf("parent %v, links %v", s.Parent, s.Links)
	}
	if !s.SpanContext.Equal(task.SpanContext()) {
		t.Errorf("the span is %v, the task %v", s.SpanContext, task.SpanContext())
	}
	outer.End(nil)
}

// Who has no context finds the innermost open task of the goroutine, in whatever order
// tasks end.
func TestCurrentTask(t *testing.T) {
	if !goid.Supported() {
		t.Skip("goroutines cannot be told apart here")
	}
	ins, _ := newSeen(t)
	current := func(want *Task) {
		t.Helper()
		if got := currentTask(); got != want {
			t.Errorf("the current task is %q, want %q", got.Name(), want.Name())
		}
	}
	current(nil)
	ctx, a := ins.Begin(t.Context(), "a")
	ctx, b := ins.Begin(ctx, "b")
	_, c := ins.Begin(ctx, "c")
	current(c)
	b.End(nil)
	current(c)
	c.End(nil)
	current(a) // b has ended before
	_, d := ins.Begin(ctx, "d")
	current(d)
	a.End(nil)
	d.End(nil)
	current(nil)

	_, e := ins.Begin(t.Context(), "e")
	done := make(chan struct{})
	go func() { // a task may end on another goroutine
		defer close(done)
		current(nil)
		e.End(nil)
	}()
	<-done
	current(nil)
	for i := range table {
		for task := table[i].tasks.front; task != nil; task = task.next {
			if task.ins == ins {
				t.Errorf("%q is left in the list", task.Name())
			}
		}
		for _, task := range table[i].current.all() {
			if task.ins == ins {
				t.Errorf("%q is left as a goroutine's task", task.Name())
			}
		}
	}
}

// Above max_tasks tasks are counted exactly and work, but they are not listed.
func TestMaxTasks(t *testing.T) {
	ins, exporter := newSeen(t, WithMaxTasks(2))
	var tasks []*Task
	for range 5 {
		ctx, task := ins.Begin(t.Context(), "x")
		if TaskFromContext(ctx) != task {
			t.Fatal("the context does not carry the task")
		}
		tasks = append(tasks, task)
	}
	if tasks[1].tracked == false || tasks[2].tracked {
		t.Error("the wrong ones are listed")
	}
	if n := countsOf(ins, "x"); n.Running != 5 || ins.drops[dropMaxTasks].Load() != 3 {
		t.Errorf("counts %+v, %d drops", n, ins.drops[dropMaxTasks].Load())
	}
	for _, task := range tasks {
		task.End(nil)
	}
	if n := countsOf(ins, "x"); n.Completed != 5 || ins.live.Load() != 0 {
		t.Errorf("counts %+v, %d live", n, ins.live.Load())
	}
	if n := len(exported(t, ins, exporter)); n != 5 {
		t.Errorf("%d spans", n)
	}
	_, task := ins.Begin(t.Context(), "x")
	if !task.tracked {
		t.Error("there is no room although all have ended")
	}
	task.End(nil)
}

// More names than are told apart are counted under one, and keep their own in spans.
func TestNamesOverflow(t *testing.T) {
	ins, exporter := newSeen(t)
	for i := range maxTaskNames + 10 {
		_, task := ins.Begin(t.Context(), fmt.Sprint("name", i))
		task.End(nil)
	}
	known := *ins.names.known.Load()
	if len(known) != maxTaskNames {
		t.Errorf("%d names", len(known))
	}
	var total int64
	for _, e := range known {
		total += e.counts.sum().Completed
	}
	if other := countsOf(ins, taskspan.OtherNames); total != maxTaskNames+10 || other.Completed != 11 {
		t.Errorf("%d tasks, %d under another name", total, other.Completed)
	}
	spans := exported(t, ins, exporter)
	if last := spans[len(spans)-1]; last.Name != fmt.Sprint("name", maxTaskNames+9) {
		t.Errorf("the last span is called %q", last.Name)
	}
}

// Profiles show the task, beside the labels of the application, and those are back
// afterwards.
func TestPprofLabels(t *testing.T) {
	ins, _ := newSeen(t)
	mine := pprof.WithLabels(t.Context(), pprof.Labels("tenant", "a"))
	pprof.SetGoroutineLabels(mine)
	defer pprof.SetGoroutineLabels(t.Context())
	ctx, outer := ins.Begin(mine, "outer")
	goroutineHas(t, `"async_inspect.task":"outer"`, `"tenant":"a"`)
	_, inner := ins.Begin(ctx, "inner")
	goroutineHas(t, `"async_inspect.task":"inner"`, `"tenant":"a"`)
	inner.End(nil)
	goroutineHas(t, `"async_inspect.task":"outer"`, `"tenant":"a"`)
	outer.End(nil)
	goroutineHas(t, `"tenant":"a"`)
	if labels := ownProfile(t); strings.Contains(labels, "async_inspect.task") {
		t.Errorf("the label stays after the task:\n%s", labels)
	}
}

func goroutineHas(t *testing.T, labels ...string) {
	t.Helper()
	profile := ownProfile(t)
	for _, label := range labels {
		if !strings.Contains(profile, label) {
			t.Errorf("the goroutine has no label %s:\n%s", label, profile)
		}
	}
}

// ownProfile is what the goroutine profile says of the running goroutine.
func ownProfile(t *testing.T) string {
	t.Helper()
	for block := range strings.SplitSeq(goroutineProfile(t), "\n\n") {
		if strings.Contains(block, ".ownProfile") {
			return block
		}
	}
	t.Fatal("the goroutine is not in the profile")
	return ""
}

func goroutineProfile(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What was allocated while a task ran is on its span, at least its own.
func TestTrackAllocations(t *testing.T) {
	ins, exporter := newSeen(t, WithMode(Development))
	most := readAllocated()
	_, task := ins.Begin(t.Context(), "x")
	allocationSink = make([]byte, 10<<20)
	task.End(nil)
	most = most.untilNow()
	without, other := newSeen(t, WithTrackAllocations(false))
	_, task = without.Begin(t.Context(), "x")
	task.End(nil)

	s := exported(t, ins, exporter)[0]
	if got := attributeOf(s, taskspan.TaskAllocatedBytes).AsInt64(); got < 10<<20 || got > int64(most.bytes) {
		t.Errorf("%d bytes, at most %d were allocated meanwhile", got, most.bytes)
	}
	if got := attributeOf(s, taskspan.TaskAllocatedObjects).AsInt64(); got < 1 || got > int64(most.objects) {
		t.Errorf("%d objects, at most %d were allocated meanwhile", got, most.objects)
	}
	if got := attributeOf(exported(t, without, other)[0], taskspan.TaskAllocatedBytes); got.Type() != attribute.EMPTY {
		t.Errorf("where they are not tracked: %v", got.String())
	}
}

var allocationSink []byte

// An unsampled task is two allocations, for each of the ways to begin one: the task and its
// context, which the table must not reach through the task.
func TestTaskAllocatesTwice(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(0))
	ctx, parent := ins.Begin(t.Context(), "parent")
	defer parent.End(nil)
	for name, in := range map[string]context.Context{"root": t.Context(), "child": ctx} {
		if n := testing.AllocsPerRun(100, func() {
			_, task := ins.Begin(in, "x")
			task.End(nil)
		}); n > 2 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Joined options do what each of them does, alone, among others and joined again.
func TestJoinTaskOptions(t *testing.T) {
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	a, b := attribute.String("a", "1"), attribute.String("b", "2")
	opts := []TaskOption{WithAttributes(a), WithNewRoot(), WithSpanKind(trace.SpanKindConsumer), WithRemoteParent(caller), WithAttributes(b)}
	want := fmt.Sprintf("%+v", *newTaskConfig(opts))
	for name, same := range map[string][]TaskOption{
		"alone":          {JoinTaskOptions(opts...)},
		"among others":   {opts[0], JoinTaskOptions(opts[1:4]...), opts[4]},
		"joined again":   {JoinTaskOptions(JoinTaskOptions(opts[:2]...), JoinTaskOptions(opts[2:]...))},
		"beside nothing": {JoinTaskOptions(), JoinTaskOptions(opts...)},
	} {
		if got := fmt.Sprintf("%+v", *newTaskConfig(same)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// Who joins them may use them as often as he likes.
	kept := JoinTaskOptions(WithAttributes(a))
	newTaskConfig([]TaskOption{kept, WithAttributes(b)})
	if n := len(newTaskConfig([]TaskOption{kept}).attributes); n != 1 {
		t.Errorf("options that were kept have %d attributes now, want 1", n)
	}
}

// waitsBelow waits in a function that so many others have called.
//
//go:noinline
func waitsBelow(ctx context.Context, callers int, done chan<- struct{}) {
	if callers == 0 {
		endWait(beginWait(ctx, taskspan.WaitIO, &thing{id: "disk", called: "sda"}))
		close(done)
		return
	}
	waitsBelow(ctx, callers-1, done)
}

// A wait span has the place of the wait and its callers, as many as there are up to two,
// and is a child of its task, whatever it waited with.
func TestASpanOfAWait(t *testing.T) {
	for callers := range 4 {
		ins, exporter := newSeen(t, WithMinWait(0), WithBacktraces(false))
		ctx, task := ins.Begin(t.Context(), "work")
		done := make(chan struct{})
		go waitsBelow(ctx, callers, done)
		within(t, done, "the wait")
		endWait(beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "sdb"}))
		task.End(nil)
		var found int
		for _, s := range exported(t, ins, exporter) {
			if !strings.HasPrefix(s.Name, taskspan.WaitSpanPrefix) {
				continue
			}
			found++
			if s.Parent.SpanID() != task.SpanContext().SpanID() {
				t.Errorf("%s is below %v, want %v", s.Name, s.Parent, task.SpanContext())
			}
			if !strings.HasSuffix(s.Name, " sda") {
				continue
			}
			at := attributeOf(s, taskspan.CodeFunctionName).AsString()
			got := attributeOf(s, taskspan.WaitCallers).AsStringSlice()
			if want := min(callers, taskspan.MaxCallers); len(got) != want || !strings.HasSuffix(at, ".waitsBelow") {
				t.Errorf("%d callers: it waits at %s, called by %q, want %d", callers, at, got, want)
			}
		}
		if found != 2 {
			t.Errorf("%d spans of waits, want 2", found)
		}
	}
}

// What has been allocated since a reading is the difference of both counters.
func TestAllocatedUntilNow(t *testing.T) {
	before := readAllocated()
	since := allocated{bytes: before.bytes / 2, objects: before.objects / 3}
	got := since.untilNow()
	after := readAllocated()
	if got.bytes < before.bytes-since.bytes || got.bytes > after.bytes-since.bytes ||
		got.objects < before.objects-since.objects || got.objects > after.objects-since.objects {
		t.Errorf("since %+v it is %+v; in all it was %+v before and %+v after", since, got, before, after)
	}
	for i, want := range []attribute.KeyValue{
		attribute.Int64(taskspan.TaskAllocatedBytes, 70), attribute.Int64(taskspan.TaskAllocatedObjects, 3),
	} {
		if got := (allocated{bytes: 70, objects: 3}).attributes()[i]; got != want {
			t.Errorf("attribute %d is %v, want %v", i, got, want)
		}
	}
}

// panickingProcessor panics when a span ends.
type panickingProcessor struct{ sdktrace.SpanProcessor }

func (panickingProcessor) OnEnd(sdktrace.ReadOnlySpan) { panic("no disk") }

// A task ends, also if somebody's processor panics at the end of its span.
func TestATaskWhoseSpanPanicsEnds(t *testing.T) {
	clearEnv(t)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(panickingProcessor{sdktrace.NewSimpleSpanProcessor(tracetest.NewInMemoryExporter())}))
	ins, err := New(t.Context(), WithTracerProvider(provider), WithReports(false))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(t.Context())
	_, task := ins.Begin(t.Context(), "work")
	func() {
		defer func() {
			if r := recover(); r != "no disk" {
				t.Errorf("the panic arrives as %v", r)
			}
		}()
		task.end(nil)
	}()
	if n := countsOf(ins, "work"); n.Completed != 1 || n.Running != 0 || !task.ended() || currentTask() == task || ins.live.Load() != 0 {
		t.Errorf("counted is %+v, ended %t, %d are live", n, task.ended(), ins.live.Load())
	}
}

// The longest wait of a task is the first of those that took longest, and all are summed.
func TestTheLongestWaitOfATask(t *testing.T) {
	ins, exporter := newSeen(t, WithSamplingRate(1))
	_, task := ins.Begin(t.Context(), "work")
	for i, d := range []time.Duration{5, 3, 9, 9, 7} {
		task.blocked(&thing{id: fmt.Sprint("id ", i), called: fmt.Sprint("disk ", i)}, d*time.Millisecond)
	}
	task.End(nil)
	s := exported(t, ins, exporter)[0]
	for key, want := range map[string]attribute.Value{
		taskspan.TaskWaits: attribute.Int64Value(5), taskspan.TaskBlockedNS: attribute.Int64Value(33_000_000),
		taskspan.TaskLongestWaitNS: attribute.Int64Value(9_000_000), taskspan.TaskLongestWaitResource: attribute.StringValue("disk 2"),
	} {
		if got := attributeOf(s, key); got != want {
			t.Errorf("%s is %v, want %v", key, got.String(), want.String())
		}
	}
}

// A wait is a span from the least duration on.
func TestWaitsThatAreSpans(t *testing.T) {
	const least = 7 * time.Millisecond
	for d, want := range map[time.Duration]int{least - 1: 0, least: 1, least + 1: 1} {
		clearEnv(t)
		synctest.Test(t, func(t *testing.T) {
			exporter := tracetest.NewInMemoryExporter()
			ins, err := New(t.Context(), WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))), WithReports(false), WithMinWait(least))
			if err != nil {
				t.Fatal(err)
			}
			ctx, task := ins.Begin(t.Context(), "work")
			w := beginWait(ctx, taskspan.WaitIO, &thing{id: "disk", called: "disk"})
			time.Sleep(d)
			endWait(w)
			spans := exporter.GetSpans()
			if len(spans) != want {
				t.Errorf("a wait of %v is %d spans, want %d", d, len(spans), want)
			}
			for _, s := range spans {
				if took := s.EndTime.Sub(s.StartTime); took != d {
					t.Errorf("the span of a wait of %v takes %v", d, took)
				}
			}
			task.End(nil)
			_ = ins.Shutdown(t.Context())
		})
	}
}

// What the type of an error is called: of a status its code, of a panic "panic", of
// anything else its Go type.
func TestTypesOfErrors(t *testing.T) {
	for want, err := range map[string]error{
		"503": failure.Status(503), taskspan.ErrorPanic: &panicError{value: "boom"}, "*errors.errorString": errors.New("x"),
		"*fmt.wrapError": fmt.Errorf("with %w", failure.Status(504)),
	} {
		if got := errorType(err); got != want {
			t.Errorf("%v is of type %q, want %q", err, got, want)
		}
	}
}
