//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Above 192 bytes, a size class of the allocator, each task costs a step more.
func TestTaskFitsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(Task{}); unsafe.Sizeof(uintptr(0)) == 8 && size > 192 {
		t.Errorf("a Task takes %d bytes, want at most 192: what few tasks have belongs into taskRare", size)
	}
}

// A name is known by what it says. Where its bytes lie may only make it faster to find.
func TestNamesAreFoundByWhatTheySay(t *testing.T) {
	n := newNames()
	long := strings.Clone("checkout of a basket")
	names := []string{long, long[:8], long[:11], long[9:], strings.Clone(long), strings.Clone("checkout"), "", taskspan.OtherNames}
	want := make(map[string]*nameEntry)
	for round := range 3 {
		for _, name := range names {
			e, shown := n.entry(name)
			if shown != name || e.name != name {
				t.Fatalf("round %d: %q is shown as %q and counted under %q", round, name, shown, e.name)
			}
			if known, ok := want[name]; ok && known != e {
				t.Fatalf("round %d: %q has two entries", round, name)
			}
			want[name] = e
		}
	}
	if len(want) != 6 {
		t.Errorf("%d names, want 6", len(want))
	}
	// Addresses that want the same slot take it from each other.
	all := strings.Repeat("x", 5*len(n.recent))
	for round := range 2 {
		for i := range len(all) {
			name := all[i : i+1]
			if e, _ := n.entry(name); e.name != "x" {
				t.Fatalf("round %d: byte %d is counted under %q", round, i, e.name)
			}
		}
	}
	// What is not clean is never found by its address.
	dirty := strings.Clone("a\xffb")
	for range 2 {
		if e, shown := n.entry(dirty); shown == dirty || e.name != shown {
			t.Errorf("%q is shown as %q and counted under %q", dirty, shown, e.name)
		}
	}
	// Names above the limit stay what they are, and share one entry.
	for i := range maxTaskNames {
		n.entry(fmt.Sprint("fill ", i))
	}
	for range 2 {
		if e, shown := n.entry("one too many"); e != n.other || shown != "one too many" {
			t.Errorf("above the limit: counted under %q, shown as %q", e.name, shown)
		}
	}
}

// Tasks above the limit of names are counted under "other" and keep their own names,
// also below a task and on a goroutine of their own.
func TestTaskAboveTheLimitOfNamesKeepsItsName(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(0))
	for i := range maxTaskNames {
		ins.names.entry(fmt.Sprint("fill ", i))
	}
	ctx, outer := ins.Begin(t.Context(), "outer above the limit")
	_, inner := ins.Begin(ctx, "inner above the limit")
	_, other := ins.Begin(ctx, "other")
	for task, want := range map[*Task]string{outer: "outer above the limit", inner: "inner above the limit", other: "other"} {
		if task.Name() != want {
			t.Errorf("it is called %q, want %q", task.Name(), want)
		}
	}
	if n := countsOf(ins, "other"); n.Started != 3 || n.Running != 3 {
		t.Errorf("counts %+v, want 3 that run", n)
	}
	other.End(nil)
	inner.End(nil)
	outer.End(nil)
}

// The tasks of goroutines that want the same slot of a shard do not meet: what ends on
// one, in order or not, or on another goroutine, leaves the others' as they are.
func TestTasksOfGoroutinesThatShareASlot(t *testing.T) {
	ins, _ := newSeen(t, WithSamplingRate(0))
	const same = shards * currentSlots
	begin := func(g uint64) *Task {
		c := ins.newTask(t.Context(), nil, "x", g, 0, &noTaskOptions)
		c.task.bind(g, t.Context())
		return c.task
	}
	first := uint64(1<<38 + 5) // no goroutine of the test has such an id
	a, b, c := first, first+same, first+2*same
	a1, b1, b2, c1 := begin(a), begin(b), begin(b), begin(c)
	check := func(when string, wantA, wantB, wantC *Task) {
		t.Helper()
		for g, want := range map[uint64]*Task{a: wantA, b: wantB, c: wantC} {
			if got := taskOn(g); got != want {
				t.Errorf("%s: goroutine %d has %p, want %p", when, g-first, got, want)
			}
		}
	}
	check("all begun", a1, b2, c1)
	b1.End(nil)
	check("the outer one of b has ended first", a1, b2, c1)
	a1.End(nil)
	check("the slot is free", nil, b2, c1)
	b3 := begin(b)
	a2 := begin(a)
	check("a has the slot again, b stays in the map", a2, b3, c1)
	b2.End(nil)
	b3.End(nil)
	check("b has ended all", a2, nil, c1)
	a2.End(nil)
	c1.End(nil)
	check("all have ended", nil, nil, nil)
	s := &shardOf(a).current
	if s.slot(a).task != nil || len(s.more) != 0 {
		t.Errorf("left: %v, %v", s.slot(a), s.more)
	}
}

// The identity of a task is that of its parent's trace, sampled or not, with the
// tracestate and the flags.
func TestIdentityBelowARemoteParent(t *testing.T) {
	for _, sampled := range []bool{false, true} {
		ins, _ := newSeen(t)
		parent := remoteParentFor(t, sampled)
		ctx, task := ins.Begin(contextWithRemote(t, parent), "x")
		_, child := ins.Begin(ctx, "y")
		for _, sc := range []*Task{task, child} {
			got := sc.SpanContext()
			if got.TraceID() != parent.TraceID() || got.TraceState().String() != parent.TraceState().String() ||
				got.TraceFlags() != parent.TraceFlags() || got.IsRemote() || got.SpanID() == parent.SpanID() || !got.IsValid() {
				t.Errorf("sampled %v: %v below %v", sampled, got, parent)
			}
		}
		if child.parent != task.SpanContext().SpanID() || child.SpanContext().SpanID() == task.SpanContext().SpanID() {
			t.Errorf("sampled %v: the child is %v below %v", sampled, child.SpanContext(), task.SpanContext())
		}
		child.End(nil)
		task.End(nil)
	}
}

func remoteParentFor(t *testing.T, sampled bool) trace.SpanContext {
	t.Helper()
	state, err := trace.ParseTraceState("ot=th:8;rv:90000000000000,vendor=1")
	if err != nil {
		t.Fatal(err)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2}, SpanID: trace.SpanID{3}, TraceState: state,
		TraceFlags: trace.TraceFlags(2).WithSampled(sampled), Remote: true,
	})
}

func contextWithRemote(t *testing.T, sc trace.SpanContext) context.Context {
	return trace.ContextWithRemoteSpanContext(t.Context(), sc)
}
