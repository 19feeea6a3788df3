//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/sender"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A change of one term that stays is told once, a second after it was first read, with a
// new revision. Then the report is repeated as often as that of a new wait.
func TestAChangeThatStaysIsTold(t *testing.T) {
	const gone = uint64(1)<<60 + 77 // no goroutine has this id
	for name, change := range map[string]func(set *holderSet, other *Task){
		"who":          func(set *holderSet, other *Task) { set.list[0].task = other },
		"generation":   func(set *holderSet, _ *Task) { set.list[1].generation++ },
		"weight":       func(set *holderSet, _ *Task) { set.list[0].weight++ },
		"one less":     func(set *holderSet, _ *Task) { set.list = set.list[1:] },
		"need":         func(set *holderSet, _ *Task) { set.need = 5 },
		"completeness": func(set *holderSet, _ *Task) { set.complete = false },
		"a guess":      func(set *holderSet, _ *Task) { set.inferred = true },
		"has ended":    func(*holderSet, *Task) { departed.add(gone, lastTask{}) },
	} {
		t.Run(name, func(t *testing.T) {
			r, on, tasks, end := newReadings(t)
			defer end()
			t.Cleanup(func() { departed = departedGoroutines{known: make(map[uint64]lastTask)} })
			set := holderSet{need: 4, complete: true, list: []holder{
				{task: tasks["a"], generation: 11, weight: 2}, {task: tasks["b"], generation: 23, weight: 3}, {goroutine: gone, generation: 37, weight: 1},
			}}
			on.first, on.second = set, set
			const half = 500 * time.Millisecond
			first := r.oneAfter(1100 * time.Millisecond)
			second := r.oneAfter(time.Second) // told twice; the third time would be after two more seconds
			if slices.Equal(first.SpanId, second.SpanId) {
				t.Error("two reports have one span id")
			}

			changed := holderSet{need: set.need, complete: set.complete, list: slices.Clone(set.list)}
			change(&changed, tasks["c"])
			on.first, on.second = changed, changed
			r.nothingAfter(half, "it has just changed")
			if h := r.heartbeat(false); h.Revisions[0] != 2 {
				t.Errorf("the heartbeat lists revision %d of a wait that is not as it was told", h.Revisions[0])
			}
			r.nothingAfter(time.Second-1, "it has not stayed so for a second")
			s := r.oneAfter(1)
			got := holderSet{
				need: reported(s, taskspan.WaitNeed).GetIntValue(), complete: reported(s, taskspan.WaitHoldersComplete).GetBoolValue(),
				inferred: reported(s, taskspan.WaitInferred).GetBoolValue(),
			}
			if reported(s, taskspan.WaitRevision).GetIntValue() != 2 || len(s.Links) != len(changed.list) ||
				got.need != changed.need || got.complete != changed.complete || got.inferred != changed.inferred {
				t.Errorf("told is %v, want revision 2 of %+v", s, changed)
			}
			r.nothingAfter(time.Second-1, "it has been told less than a second ago")
			if s := r.oneAfter(1); reported(s, taskspan.WaitRevision).GetIntValue() != 2 {
				t.Errorf("repeated is %v, want revision 2", s)
			}
			r.nothingAfter(2*time.Second-1, "it has been repeated less than two seconds ago")
			if h := r.heartbeat(false); h.Revisions[0] != 2 {
				t.Errorf("the heartbeat lists revision %d, want 2", h.Revisions[0])
			}
		})
	}
}

// A holder whose task has ended has let go, whatever the resource says.
func TestATaskThatHasEndedHoldsNothing(t *testing.T) {
	r, on, tasks, end := newReadings(t)
	defer end()
	set := holderSet{complete: true, list: []holder{{task: tasks["a"], generation: 11}, {task: tasks["b"], generation: 23}}}
	on.first, on.second = set, set
	tasks["a"].End(nil)
	s := r.oneAfter(1100 * time.Millisecond)
	if id := tasks["b"].SpanContext().SpanID(); len(s.Links) != 1 || !slices.Equal(s.Links[0].SpanId, id[:]) || reported(s, taskspan.WaitHoldersComplete) != nil {
		t.Errorf("told is %v, want the other one, and not that he is all", s)
	}
}

// More holders than a report has room for are complete only if all of them have to
// release: then those that are told are reason enough.
func TestMoreHoldersThanAReportHasRoomFor(t *testing.T) {
	for _, test := range []struct {
		holders  int
		need     int64
		links    int
		complete bool
	}{
		{taskspan.MaxHolders - 1, 3, taskspan.MaxHolders - 1, true},
		{taskspan.MaxHolders, 3, taskspan.MaxHolders, true},
		{taskspan.MaxHolders + 1, 3, taskspan.MaxHolders, false},
		{taskspan.MaxHolders + 1, 0, taskspan.MaxHolders, true},
		{taskspan.MaxHolders, 0, taskspan.MaxHolders, true},
	} {
		r, on, _, end := newReadings(t)
		set := holderSet{need: test.need, complete: true}
		for i := range test.holders {
			set.list = append(set.list, holder{goroutine: uint64(1)<<60 + uint64(i), generation: uint64(i) + 5, weight: int64(i) + 1})
		}
		on.first, on.second = set, set
		s := r.oneAfter(1100 * time.Millisecond)
		if complete := reported(s, taskspan.WaitHoldersComplete).GetBoolValue(); len(s.Links) != test.links || complete != test.complete {
			t.Errorf("of %d holders with a need of %d, %d are told, complete is %t; want %d and %t",
				test.holders, test.need, len(s.Links), complete, test.links, test.complete)
		}
		end()
	}
}

// Two Inspectors in a process each report what is their own; goroutines without a task
// belong to the default one.
func TestEachInspectorReportsItsOwn(t *testing.T) {
	mine, other := newReporterRig(t), newReporterRig(t)
	m := NewMutex(unusedName("shared"))
	m.Lock()
	var ended sync.WaitGroup
	mine.blockedOn(m, "mine", &ended)
	waits := make(chan uint64)
	ended.Go(func() {
		waits <- goidOfTest()
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	goroutine := <-waits
	lockHolders(t, goroutine)
	_, long := mine.ins.Begin(context.Background(), "long")

	told := func(r *reporterRig, d time.Duration) (names []string) {
		for _, s := range r.after(d) {
			names = append(names, reported(s, taskspan.TaskName).GetStringValue())
		}
		slices.Sort(names)
		return names
	}
	bare := "goroutine in inspect.TestEachInspectorReportsItsOwn.func1"
	for _, step := range []struct {
		isDefault   *Inspector
		mine, other []string
	}{
		{nil, []string{"mine"}, nil},
		{other.ins, []string{"mine"}, []string{bare}},
	} {
		defaultInspector.Store(step.isDefault)
		t.Cleanup(func() { defaultInspector.Store(nil) })
		if got := told(mine, 1100*time.Millisecond); !slices.Equal(got, step.mine) {
			t.Errorf("its own Inspector reports %q, want %q", got, step.mine)
		}
		if got := told(other, 1100*time.Millisecond); !slices.Equal(got, step.other) {
			t.Errorf("the other Inspector reports %q, want %q", got, step.other)
		}
	}
	if got := told(other, time.Hour); slices.Contains(got, "long") || slices.Contains(got, "mine") {
		t.Errorf("the other Inspector reports %q of the long tasks", got)
	}
	if got := told(mine, time.Hour); !slices.Contains(got, "long") {
		t.Errorf("its own Inspector reports %q of the long tasks", got)
	}
	if h := other.heartbeat(false); h.Total.Running+h.Total.Blocked != 0 {
		t.Errorf("the other Inspector counts %+v", h.Total)
	}
	// Now that the default Inspector is the one of the task, the goroutine's wait is closed by
	// the one that has told of it.
	defaultInspector.Store(mine.ins)
	if got := told(other, time.Second); !slices.Equal(got, []string{bare}) || len(other.waits) != 0 {
		t.Errorf("the other Inspector closes %q, %d are left", got, len(other.waits))
	}
	m.Unlock()
	ended.Wait()
	long.End(nil)
}

// roomFor gives the rig a sender that has room for so many reports of a scan, and keeps
// them: nothing that comes is sent.
func (r *reporterRig) roomFor(n int) (back func()) {
	before := r.sender
	hangs := &shakyClient{takes: time.Hour}
	r.sender = sender.Start(sender.Config{
		Client: hangs, Limit: reserved + n, Timeout: time.Hour, Dropped: func() {}, Failed: func(error) {},
	})
	return func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.sender.Close(ctx)
		r.sender = before
	}
}

// A scan reports as many waits and long tasks as there is room for; the others have their
// turn in a later one.
func TestAScanKeepsToTheRoom(t *testing.T) {
	r := newReporterRig(t)
	m := NewMutex(unusedName("room"))
	m.Lock()
	var ended sync.WaitGroup
	for range 5 {
		r.blockedOn(m, "waits", &ended)
	}
	var long []*Task
	for range 4 {
		_, task := r.ins.Begin(context.Background(), "long")
		long = append(long, task)
	}
	for _, step := range []struct {
		after       time.Duration
		room        int
		waits, told int // known afterwards, and how many of the long tasks
	}{
		{1100 * time.Millisecond, 0, 0, 0},
		{scanInterval, 3, 3, 0},
		{scanInterval, 1, 4, 0},
		{scanInterval, 2, 5, 0},     // one place is left
		{32 * time.Second, 7, 5, 2}, // five are told again
		{scanInterval, 1, 5, 3},
		{scanInterval, 5, 5, 4},
	} {
		back := r.roomFor(step.room)
		r.at += nanos(step.after)
		r.scan(r.at)
		back()
		told := 0
		for _, task := range r.tasks {
			if task.repeated > 0 {
				told++
			}
		}
		if len(r.waits) != step.waits || told != step.told {
			t.Errorf("with room for %d, %d waits and %d long tasks are known, want %d and %d", step.room, len(r.waits), told, step.waits, step.told)
		}
	}
	// Without room nothing is told again, and as soon as there is some it is.
	back := r.roomFor(0)
	sentAt := make(map[uint64]nanos)
	for id, told := range r.waits {
		sentAt[id] = told.sentAt
	}
	r.at += nanos(time.Minute)
	r.scan(r.at)
	back()
	for id, told := range r.waits {
		if told.sentAt != sentAt[id] {
			t.Error("a wait is told again without room")
		}
	}
	if spans := r.after(scanInterval); len(spans) != 9 {
		t.Errorf("%d reports as soon as there is room, want 9", len(spans))
	}
	m.Unlock()
	ended.Wait()
	for _, task := range slices.Backward(long) {
		task.End(nil)
	}
}

// The waits and tasks that are told are bounded, and those beyond it are counted.
func TestWhatIsToldIsBounded(t *testing.T) {
	for _, test := range []struct {
		known int
		told  bool
	}{{maxTold - 1, true}, {maxTold, false}} {
		r := newReporterRig(t)
		m := NewMutex(unusedName("bounded"))
		m.Lock()
		var ended sync.WaitGroup
		r.blockedOn(m, "waits", &ended)
		for i := range test.known {
			r.waits[uint64(1)<<62+uint64(i)] = new(toldWait)
		}
		r.at += nanos(1100 * time.Millisecond)
		r.scan(r.at) // tells it, or does not, and closes the others
		if told := len(r.waits) == 1; told != test.told {
			t.Errorf("with %d that are told, the next one is told: %t", test.known, told)
		}
		if got, want := r.ins.drops.list(), fmt.Sprint([]string{"stuck_waits=1"}); !test.told && fmt.Sprint(got) != want || test.told && len(got) != 0 {
			t.Errorf("dropped are %v", got)
		}
		m.Unlock()
		ended.Wait()

		r = newReporterRig(t)
		_, task := r.ins.Begin(context.Background(), "long")
		for range test.known {
			r.tasks[&Task{ins: r.ins}] = new(toldTask)
		}
		r.at += nanos(time.Minute)
		r.scan(r.at)
		if _, told := r.tasks[task]; told != test.told {
			t.Errorf("with %d long tasks that are told, the next one is told: %t", test.known, told)
		}
		if got, want := r.ins.drops.list(), fmt.Sprint([]string{"long_tasks=1"}); !test.told && fmt.Sprint(got) != want || test.told && len(got) != 0 {
			t.Errorf("dropped are %v", got)
		}
		task.End(nil)
	}
}

// A lock that is gone is told at once, an end that moves once a second.
func TestWhenOtherHoldsAreTold(t *testing.T) {
	fewExternals(t)
	r := newReporterRig(t)
	const goroutine = uint64(1)<<60 + 5
	at := r.at
	hold := func(id string, ends nanos) {
		externals.add(&externalHold{goroutine: goroutine, id: id, ends: ends})
	}
	a, b := "ext:"+unusedName("told"), "ext:"+unusedName("told")
	hold(a, at+nanos(time.Hour))
	told := &toldWait{sentAt: at}
	told.last.Holds = holdsOf(goroutine)
	check := func(why string, after time.Duration, want bool) {
		t.Helper()
		if got := told.holdsOthers(goroutine, at+nanos(after)); got != want {
			t.Errorf("%s, %v after the last report: %t, want %t", why, after, got, want)
		}
	}
	check("nothing has changed", time.Minute, false)
	externals.release(goroutine, a)
	hold(a, at+nanos(2*time.Hour))
	check("an end has moved", time.Second-1, false)
	check("an end has moved", time.Second, true)
	hold(b, at+nanos(time.Hour))
	check("a lock is new", 1, true)
	told.last.Holds = holdsOf(goroutine)
	check("all of it is told", time.Minute, false)
	externals.release(goroutine, a)
	check("a lock is gone", 1, true)
}

// The end of a wait says so in every respect: the state of its task, the instant, an id
// of its own.
func TestTheEndOfAWaitSaysSo(t *testing.T) {
	r, on, tasks, end := newReadings(t)
	set := holderSet{complete: true, list: []holder{{task: tasks["a"], generation: 7}}}
	on.first, on.second = set, set
	open := r.oneAfter(1100 * time.Millisecond)
	end()
	var closed *tracepb.Span
	for _, s := range r.after(time.Second) {
		if reported(s, taskspan.WaitID) != nil {
			closed = s
		}
	}
	if closed == nil {
		t.Fatal("the end of the wait is not told")
	}
	for key, want := range map[string]any{
		taskspan.WaitOpen: false, taskspan.TaskState: string(taskspan.Running), taskspan.WaitID: reported(open, taskspan.WaitID).GetIntValue(),
		taskspan.WaitRevision: int64(1), taskspan.TaskStart: reported(open, taskspan.TaskStart).GetIntValue(),
	} {
		v := reported(closed, key)
		if got := []any{v.GetBoolValue(), v.GetStringValue(), v.GetIntValue()}; !slices.Contains(got, want) {
			t.Errorf("%s is %v, want %v", key, v, want)
		}
	}
	if slices.Equal(closed.SpanId, open.SpanId) || closed.StartTimeUnixNano != open.StartTimeUnixNano {
		t.Errorf("the end is %v, and was told as %v", closed, open)
	}
	if closed.EndTimeUnixNano <= open.EndTimeUnixNano {
		t.Errorf("the end was at %d, after it was last read at %d", closed.EndTimeUnixNano, open.EndTimeUnixNano)
	}
}

// A wait whose resource is out of reach is told as it was; if its holders were others when
// they were last read, they are told, and not as all there are.
func TestWhatIsToldOfAResourceOutOfReach(t *testing.T) {
	for _, changes := range []bool{false, true} {
		r, on, tasks, end := newReadings(t)
		set := holderSet{need: 4, complete: true, list: []holder{{task: tasks["a"], generation: 11, weight: 2}, {task: tasks["b"], generation: 23, weight: 3}}}
		on.first, on.second = set, set
		r.oneAfter(1100 * time.Millisecond)
		if changes {
			set.list = []holder{{task: tasks["c"], generation: 31, weight: 5}}
			on.first, on.second = set, set
			r.nothingAfter(scanInterval, "the holders have just changed")
		}
		back := lose(t, theOnly(r.waits).last.Goroutine)
		r.nothingAfter(scanInterval, "nothing is known to have changed since")
		s := r.oneAfter(1100 * time.Millisecond)
		links, revision := 2, int64(1)
		if changes {
			links, revision = 1, 2
		}
		if len(s.Links) != links || reported(s, taskspan.WaitRevision).GetIntValue() != revision ||
			reported(s, taskspan.WaitHoldersComplete).GetBoolValue() == changes || reported(s, taskspan.WaitNeed).GetIntValue() != 4 {
			t.Errorf("with other holders: %t, told is %v", changes, s)
		}
		back()
		end()
	}
}

// Who waits with the context of a task on another goroutine is a node of its own in the
// task's trace, which only a task itself or nobody's goroutine is not.
func TestWhoWaits(t *testing.T) {
	for _, one := range []struct {
		name string
		wait func(ctx context.Context, m *Mutex) // ctx is that of a task
		own  bool                                // the task itself waits
		task bool
		want string
	}{
		{"a helper", func(ctx context.Context, m *Mutex) { _ = m.LockContext(ctx) }, false, true, "work (helper goroutine)"},
		{"nobody's", func(_ context.Context, m *Mutex) { m.Lock() }, false, false, "goroutine in inspect.TestWhoWaits.func2"},
		{"the task", func(ctx context.Context, m *Mutex) {
			ctx, task := TaskFromContext(ctx).ins.Begin(ctx, "own")
			defer task.End(nil)
			_ = m.LockContext(ctx)
		}, true, true, "own"},
	} {
		r := newReporterRig(t)
		defaultInspector.Store(r.ins)
		m := NewMutex(unique("waits"))
		ctx, task := r.ins.Begin(context.Background(), "work")
		m.Lock()
		waiter := newActor(t)
		waiter.starts(func() { one.wait(ctx, m); m.Unlock() })
		waiter.blocked()
		r.at = now()
		s := r.oneAfter(2 * time.Second)
		id, traceID := task.SpanContext().SpanID(), task.SpanContext().TraceID()
		ofTask := slices.Equal(s.TraceId, traceID[:])
		below := reported(s, taskspan.TaskParentSpanID).GetStringValue() == id.String()
		began := reported(s, taskspan.TaskStart).GetIntValue() == int64(s.StartTimeUnixNano)
		if got := reported(s, taskspan.TaskName).GetStringValue(); got != one.want || ofTask != one.task || below != one.task || began == one.own || slices.Equal(s.ParentSpanId, id[:]) {
			t.Errorf("%s: called %q, in the task's trace %t, below it %t, began with the wait %t", one.name, got, ofTask, below, began)
		}
		m.Unlock()
		waiter.does(func() {})
		task.End(nil)
		defaultInspector.Store(nil)
	}
}

// A goroutine is the same node in all reports of an Inspector, and no other's.
func TestNodesOfGoroutines(t *testing.T) {
	first, second := newReporterRig(t), newReporterRig(t)
	seen := make(map[[8]byte]string)
	note := func(id [8]byte, what string) {
		if before, is := seen[id]; is || id == [8]byte{} {
			t.Errorf("%s is %x, as %s", what, id, before)
		}
		seen[id] = what
	}
	for name, r := range map[string]*reporterRig{"first": first, "second": second} {
		for g := range uint64(3) {
			n := r.goroutineNode(g)
			note([8]byte(n.Trace[:8]), fmt.Sprint(name, " trace ", g))
			note([8]byte(n.Trace[8:]), fmt.Sprint(name, " end of trace ", g))
			note(n.Span, fmt.Sprint(name, " span ", g))
			if again := r.goroutineNode(g); again != n {
				t.Errorf("%s: goroutine %d is %v and then %v", name, g, n, again)
			}
		}
	}
}

// Only the goroutine that answers a call says so when it is stuck, and not what it has
// spawned.
func TestWhoSaysThatItAnswers(t *testing.T) {
	r := newReporterRig(t)
	m := NewMutex(unique("answer"))
	m.Lock()
	ctx, caller := remoteCaller()
	want := caller.TraceID().String() + "/" + caller.SpanID().String()
	var all sync.WaitGroup
	answering := make(chan uint64, 2)
	all.Go(func() {
		ctx, task := r.ins.Begin(ctx, "answers")
		defer task.End(nil)
		child := r.ins.Go(ctx, "spawned", func(context.Context) error {
			answering <- goidOfTest()
			m.Lock()
			m.Unlock() //nolint:staticcheck // the wait is the point
			return nil
		})
		answering <- goidOfTest()
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
		_ = child.Wait(ctx)
	})
	lockHolders(t, <-answering)
	lockHolders(t, <-answering)
	r.at = now()
	spans := r.after(2 * time.Second)
	if len(spans) != 2 {
		t.Errorf("%d reports, want 2", len(spans))
	}
	for _, s := range spans {
		name := reported(s, taskspan.TaskName).GetStringValue()
		got := reported(s, taskspan.TaskRemoteParent).GetStringValue()
		if answers := name == "answers"; answers && got != want || !answers && got != "" {
			t.Errorf("%s answers %q", name, got)
		}
	}
	m.Unlock()
	all.Wait()
}

// Each wait that ends is told, also of several that end at once.
func TestSeveralEndsAtOnce(t *testing.T) {
	r := newReporterRig(t)
	var (
		m     Mutex
		ended sync.WaitGroup
	)
	m.Lock()
	open := make(map[int64]bool)
	for i := range 3 {
		r.blockedOn(&m, fmt.Sprint("waiter ", i), &ended)
	}
	for _, s := range r.after(2 * time.Second) {
		open[reported(s, taskspan.WaitID).GetIntValue()] = reported(s, taskspan.WaitOpen).GetBoolValue()
	}
	if len(open) != 3 {
		t.Fatalf("%v are told", open)
	}
	m.Unlock()
	ended.Wait()
	tasks := 0
	for _, s := range r.after(time.Second) {
		if reported(s, taskspan.Report).GetStringValue() == "task" {
			tasks++
			continue
		}
		open[reported(s, taskspan.WaitID).GetIntValue()] = reported(s, taskspan.WaitOpen).GetBoolValue()
	}
	for id, is := range open {
		if is {
			t.Errorf("the end of wait %d is not told", id)
		}
	}
	if tasks != 3 || len(open) != 3 {
		t.Errorf("the ends of %d tasks and %d waits are told", tasks, len(open))
	}
}

// A wait rests while nothing is due, whoever it is for: each term alone.
func TestWhenAWaitRests(t *testing.T) {
	const at, far = nanos(1_000_000_000_000), nanos(1) << 60
	soon := at + 2*nanos(scanInterval)
	for name, one := range map[string]struct {
		change func(*toldWait)
		rests  bool
	}{
		"nothing":                   {func(*toldWait) {}, true},
		"it differs":                {func(w *toldWait) { w.differs = true }, false},
		"a guess":                   {func(w *toldWait) { w.looked = true }, false},
		"the clock has moved":       {func(w *toldWait) { w.moved = true }, false},
		"restless":                  {func(w *toldWait) { w.restless = true }, false},
		"steady since just now":     {func(w *toldWait) { w.steadySince = at - nanos(restAfter) + 1 }, false},
		"due":                       {func(w *toldWait) { w.tellAt = at }, false},
		"due in a moment":           {func(w *toldWait) { w.tellAt = at + 1 }, true},
		"fate, and holders":         {func(w *toldWait) { w.fateAt, w.holders = soon, []uint64{7} }, false},
		"fate later, and holders":   {func(w *toldWait) { w.fateAt, w.holders = soon+1, []uint64{7} }, true},
		"fate, and nobody to doubt": {func(w *toldWait) { w.fateAt = soon }, true},
	} {
		w := &toldWait{steadySince: at - nanos(restAfter), tellAt: far, fateAt: far}
		one.change(w)
		if got := w.rests(at); got != one.rests {
			t.Errorf("%s: it rests: %t", name, got)
		}
	}
}

// A task above the limit is not listed, and is told by its name when it is stuck.
func TestATaskAboveTheLimitIsTold(t *testing.T) {
	r := newReporterRig(t)
	r.ins.maxTasks = 1
	_, first := r.ins.Begin(context.Background(), "first")
	defer first.End(nil)
	m := NewMutex(unique("above"))
	m.Lock()
	waiter := newActor(t)
	var second *Task
	waiter.starts(func() {
		ctx, task := r.ins.Begin(context.Background(), "second")
		second = task
		_ = m.LockContext(ctx)
		m.Unlock()
		task.End(nil)
	})
	waiter.blocked()
	s := r.oneAfter(2 * time.Second)
	id := second.SpanContext().SpanID()
	if got := reported(s, taskspan.TaskName).GetStringValue(); second.tracked || got != "second" || !slices.Equal(s.ParentSpanId, id[:]) {
		t.Errorf("listed %t, told as %q below %x, want %s", second.tracked, got, s.ParentSpanId, id)
	}
	m.Unlock()
	waiter.does(func() {})
	ended := false
	for _, s := range r.after(time.Second) {
		ended = ended || reported(s, taskspan.TaskState).GetStringValue() == string(taskspan.Completed)
	}
	if !ended {
		t.Error("its end is not told")
	}
}
