//go:build !noinspect

package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

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
	for _, sc := range []trace.SpanContext{task.SpanContext(), newIdentity(task.SpanContext())} {
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
