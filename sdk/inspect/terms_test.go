//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// slowLock is a lock that a test gives.
type slowLock struct{ wanted, given, returned chan struct{} }

func (l slowLock) Lock()   { close(l.wanted); <-l.given }
func (l slowLock) Unlock() { close(l.returned) }

// A lock that comes when nobody wants it any more is given back, and one that comes in
// time is not.
func TestALockThatComesTooLate(t *testing.T) {
	for _, late := range []bool{true, false} {
		l := slowLock{make(chan struct{}), make(chan struct{}), make(chan struct{})}
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan error, 1)
		go func() { got <- lockOrDone(ctx, l) }()
		within(t, l.wanted, "the lock")
		if late {
			cancel()
			if err := <-got; !errors.Is(err, context.Canceled) {
				t.Errorf("it returned %v", err)
			}
			close(l.given)
			within(t, l.returned, "the lock that came too late")
			continue
		}
		close(l.given)
		if err := <-got; err != nil {
			t.Errorf("it returned %v", err)
		}
		cancel()
		select {
		case <-l.returned:
			t.Error("given back by somebody else than the caller")
		default:
		}
	}
}

// A context that is done goes before a lock that is free.
func TestALockThatNobodyWantsAnyMore(t *testing.T) {
	for range 50 {
		var m sync.Mutex
		if err := lockOrDone(cancelled(), &m); !errors.Is(err, context.Canceled) {
			t.Fatalf("it returned %v", err)
		}
		if !m.TryLock() {
			t.Fatal("it is locked")
		}
	}
}

// The table of what is held stands as long as one of its users does.
func TestUsersOfTheHeldTable(t *testing.T) {
	if heldUsers.n != 0 {
		t.Fatalf("%d use it before the test", heldUsers.n)
	}
	first, second := useHeldLocks(), useHeldLocks()
	table := holding.Load()
	for _, step := range []struct {
		what string
		do   func()
		on   bool
	}{
		{"both use it", func() {}, true},
		{"the first stops", first, true},
		{"and again", first, true},
		{"the second stops", second, false},
	} {
		if step.do(); holding.Load() != nil != step.on {
			t.Errorf("%s: on is %v, want %v", step.what, !step.on, step.on)
		}
	}
	defer useHeldLocks()()
	if holding.Load() == table {
		t.Error("what was held before is still known")
	}
}

// What a goroutine holds is known until it is released, by whomever.
func TestTheHeldTableForgets(t *testing.T) {
	defer useHeldLocks()()
	taker, other := newActor(t), newActor(t)
	m := NewRWMutex(unique("table"))
	held := func() int {
		var into [heldSlots]heldView
		return holding.Load().heldBy(taker.id, &into)
	}
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"reads", func() { taker.does(m.RLock) }, 1},
		{"reads twice", func() { taker.does(m.RLock) }, 2},
		{"another releases one", func() { other.does(m.RUnlock) }, 1},
		{"releases the other", func() { taker.does(m.RUnlock) }, 0},
		{"writes", func() { taker.does(m.Lock) }, 1},
		{"another releases it", func() { other.does(m.Unlock) }, 0},
	} {
		if step.do(); held() != step.want {
			t.Errorf("%s: %d are held, want %d", step.what, held(), step.want)
		}
	}
}

// What finds no room is counted: a lock beyond the slots of its bucket, and an order
// beyond the list.
func TestOrdersWithoutRoomAreCounted(t *testing.T) {
	ins, err := Start(context.Background(), WithReports(false), WithoutExport())
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	base := ins.drops[dropLockOrders].Load()
	counted := func(what string, want int64) {
		t.Helper()
		if n := ins.drops[dropLockOrders].Load() - base; n != want {
			t.Errorf("%s: %d are counted, want %d", what, n, want)
		}
	}
	table, name := new(heldTable), &lockName{id: 1 << 40}
	for range heldSlots {
		table.hold(77, name, false, 5)
	}
	counted("a bucket that is full", 0)
	table.hold(77+heldBuckets, name, false, 5)
	counted("one more", 1)
	table.release(77, name)
	table.hold(77+heldBuckets, name, false, 5)
	counted("there is room again", 1)

	orders := new(orderSet)
	for range maxLockOrders {
		orders.append(new(lockOrder))
	}
	counted("a list that is full", 1)
	orders.append(new(lockOrder))
	if counted("one more", 2); len(orders.list) != maxLockOrders {
		t.Errorf("%d are kept, want %d", len(orders.list), maxLockOrders)
	}
}

// Only a read lock taken twice is an order of a lock with itself; the rest are deadlocks.
func TestWhichLocksAreTakenTwice(t *testing.T) {
	for _, one := range []struct {
		held, taken bool // for reading
		want        int
	}{{true, true, 1}, {true, false, 0}, {false, true, 0}, {false, false, 0}} {
		orders, r := new(orderSet), &lockName{id: lastLockName.Add(1), name: unique("twice"), declared: true}
		orders.took(7, heldView{r, 5, one.taken}, []heldView{{r, 6, one.held}})
		if len(orders.recursions) != one.want || len(orders.list) != 0 {
			t.Errorf("%+v: %d and %d orders", one, len(orders.recursions), len(orders.list))
		}
	}
}

// The holders of the places of a group are complete if each place has a task that is
// known.
func TestHoldersOfPlaces(t *testing.T) {
	for _, one := range []struct {
		places, tasks, unknown int
		complete               bool
	}{{3, 3, 0, true}, {3, 2, 0, false}, {3, 2, 1, false}, {3, 0, 3, false}, {0, 0, 0, false}, {1, 1, 0, true}} {
		p := &slots{free: make(chan struct{}, one.places), taken: make(map[*Handle]struct{})}
		for range one.tasks {
			p.givenTo(&Handle{task: new(Task)})
		}
		for range one.unknown {
			p.givenTo(new(Handle))
		}
		var s holderSet
		if p.holders(nil, &s); s.complete != one.complete || s.need != 1 || len(s.list) != one.tasks {
			t.Errorf("%+v: %+v", one, s)
		}
	}
}

// A group's context is done when the group is, however one waits for it, and not before.
func TestAGroupEnds(t *testing.T) {
	for name, wait := range map[string]func(*Group) error{
		"Wait":        (*Group).Wait,
		"WaitContext": func(g *Group) error { return g.WaitContext(context.Background()) },
	} {
		g, ctx := NewGroup(t.Context(), "")
		release := make(chan struct{})
		g.Go("task", func(context.Context) error { <-release; return nil })
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: SetLimit while one task runs does not panic", name)
				}
			}()
			g.SetLimit(4)
		}()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.WaitContext(gone); !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			t.Errorf("%s: a wait that gives up returned %v, and the group's context is done: %v", name, err, ctx.Err())
		}
		close(release)
		if err := wait(g); err != nil || ctx.Err() == nil {
			t.Errorf("%s: returned %v, and the group's context is done: %v", name, err, ctx.Err())
		}
		g.SetLimit(4)
	}
}

// A wait inside of another one adds nothing to the time for which its task is blocked, and
// the next one does.
func TestWaitsWithinAWaitAreBookedOnce(t *testing.T) {
	ins, err := New(context.Background(), WithReports(false), WithoutExport(), WithSamplingRate(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
	ctx, task := ins.Begin(context.Background(), "waits")
	defer task.End(nil)
	begin := func() *wait { return beginWait(ctx, taskspan.WaitIO, &thing{id: "disk", called: "disk"}) }
	outer := begin()
	inner, another := begin(), begin()
	for i, step := range []struct {
		end  *wait
		want int64
	}{{another, 0}, {inner, 0}, {outer, 1}} {
		endWait(step.end)
		if n := task.blockage.count.Load(); n != step.want {
			t.Errorf("after %d ends %d are booked, want %d", i+1, n, step.want)
		}
	}
	if n := task.openWaits.Load(); n != 0 {
		t.Errorf("%d are open in the end", n)
	}
	before := task.blockage.count.Load()
	endWait(begin())
	if n := task.blockage.count.Load() - before; n != 1 {
		t.Errorf("a wait of its own is booked %d times", n)
	}
}

// A wait that has given up its context knows whether somebody could have cancelled it.
func TestAWaitWithoutItsContext(t *testing.T) {
	quietInspector(t)
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	limited, stop := context.WithTimeout(context.Background(), time.Hour)
	defer stop()
	for _, one := range []struct {
		name        string
		ctx         context.Context
		cancellable bool
		deadline    bool
	}{
		{"background", context.Background(), false, false},
		{"with cancel", cancelled, true, false},
		{"with a deadline", limited, false, true},
	} {
		w := beginWait(one.ctx, taskspan.WaitIO, &thing{id: "disk", called: "disk"})
		w.detach()
		v := w.view()
		if w.cancellable != one.cancellable || v.cancellable() != one.cancellable || (v.deadline() != 0) != one.deadline {
			t.Errorf("%s: cancellable %v and %v, ends at %d", one.name, w.cancellable, v.cancellable(), v.deadline())
		}
		endWait(w)
	}
}

// A wait is among those that began at or before a time from the instant on at which it
// began.
func TestWaitsThatBeganBefore(t *testing.T) {
	quietInspector(t)
	w := beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "disk"})
	defer endWait(w)
	for at, want := range map[nanos]int{w.start - 1: 0, w.start: 1, w.start + 1: 1} {
		n := 0
		for _, v := range openWaits(at, nil) {
			if v.id == w.id {
				n++
			}
		}
		if n != want {
			t.Errorf("%d after its begin: %d, want %d", at-w.start, n, want)
		}
	}
}

// A lock that gets its name late keeps what is known of it, also if that becomes known
// while it gets the name.
func TestALockThatWasHandedOverGetsAName(t *testing.T) {
	for i, handed := range []bool{true, false, true} {
		m := new(Mutex)
		r := m.orderName(9)
		if handed && i == 0 {
			m.markHandedOver(r)
		}
		m.SetName(unique("late"))
		if handed && i > 0 {
			m.markHandedOver(r) // who has read the name before
		}
		if now := m.res.Load(); now == r || now.id != r.id || now.handed.Load() != handed || !now.declared {
			t.Errorf("handed over %v: %+v", handed, now)
		}
	}
}

// The first of all that end a wait is its end, in whatever order they become known.
func TestTheFirstEndOfAWaitCounts(t *testing.T) {
	quietInspector(t)
	began := now()
	for _, one := range []struct {
		name     string
		context  time.Duration // 0: no deadline
		declared []time.Duration
		want     time.Duration
	}{
		{"nothing", 0, nil, 0},
		{"a context", 7 * time.Hour, nil, 7 * time.Hour},
		{"declared", 0, []time.Duration{5 * time.Hour}, 5 * time.Hour},
		{"declared again, earlier", 0, []time.Duration{5 * time.Hour, 3 * time.Hour}, 3 * time.Hour},
		{"declared again, later", 0, []time.Duration{4 * time.Hour, 6 * time.Hour}, 4 * time.Hour},
		{"the context first", 2 * time.Hour, []time.Duration{8 * time.Hour}, 2 * time.Hour},
		{"the context last", 9 * time.Hour, []time.Duration{time.Hour}, time.Hour},
	} {
		for _, detached := range []bool{false, true} {
			ctx, want := context.Background(), nanos(0)
			if one.want != 0 {
				want = began + nanos(one.want)
			}
			if one.context != 0 {
				limited, cancel := context.WithDeadline(ctx, (began + nanos(one.context)).time())
				defer cancel()
				ctx = limited
			}
			w := beginWait(ctx, taskspan.WaitIO, &thing{id: "disk", called: "disk"})
			for _, d := range one.declared {
				w.willEndBy(began + nanos(d))
			}
			if detached {
				w.detach()
			}
			if v := w.view(); v.deadline() != want || v.cancellable() {
				t.Errorf("%s, without its context %t: it ends at %v, want %v; cancellable %t",
					one.name, detached, time.Duration(v.deadline()-began), one.want, v.cancellable())
			}
			endWait(w)
		}
	}
}

// A wait that ends while Deadlocks reads it is in no deadlock, though nothing about its
// resource has changed.
func TestAWaitThatEndsWhileDeadlocksLooks(t *testing.T) {
	for _, ends := range []bool{false, true} {
		_, on, _, end := newReadings(t)
		waiter := theWaitFor(t, on)
		set := holderSet{complete: true, list: []holder{{goroutine: waiter.goroutine, generation: 7}}}
		on.first, on.second = set, set
		if ends {
			on.between = end
		}
		want := 1
		if ends {
			want = 0
		}
		if found := Deadlocks(); len(found) != want {
			t.Errorf("it ends: %t; found %v, want %d", ends, found, want)
		}
		end()
	}
}

// theWaitFor returns the open wait for a resource.
func theWaitFor(t *testing.T, on identified) waitView {
	t.Helper()
	for _, v := range openWaits(now(), nil) {
		if v.on == on {
			return v
		}
	}
	t.Fatal("nobody waits for it")
	return waitView{}
}

// What is made without a name is called after the function that waits for it first.
func TestNamesThatAreNotGiven(t *testing.T) {
	g, _ := NewGroup(context.Background(), "")
	for name, n := range map[string]*named{
		"Chan": &NewChan[int]("", 3).named, "Semaphore": &NewSemaphore("", 3).named, "Cond": &NewCond("", new(sync.Mutex)).named,
		"Group": &g.tasks.named, "Mutex": &new(Mutex).named,
	} {
		if r := n.res.Load(); r != nil {
			t.Errorf("%s is called %q", name, r.name)
		}
		n.identify(taskspan.WaitMutex, 0)
		if _, called := n.name().identity(); called != string(taskspan.WaitMutex) {
			t.Errorf("%s is then called %q", name, called)
		}
		n.setName("late")
		if _, called := n.name().identity(); called == "late" {
			t.Errorf("%s changes its name", name)
		}
	}
	g, _ = NewGroup(context.Background(), "group")
	for name, n := range map[string]*named{
		"a": &NewChan[int]("a", 3).named, "b": &NewSemaphore("b", 3).named, "c": &NewCond("c", new(sync.Mutex)).named,
		"group": &g.tasks.named, "d": &NewMutex("d").named,
	} {
		if r := n.res.Load(); r == nil || r.name != name || !r.declared {
			t.Errorf("%s is called %+v", name, r)
		}
	}
}

// A goroutine's slots are all of those that it has, and what a task has left behind is
// what it had taken itself.
func TestSlotsOfAGoroutine(t *testing.T) {
	table := new(heldTable)
	locks := make([]*lockName, 5)
	for i := range locks {
		locks[i] = &lockName{id: uint64(i + 1)}
		table.hold(7, locks[i], false, 5)
		if i == 1 {
			table.hold(7+heldBuckets, &lockName{id: 99}, false, 5) // another goroutine, in one bucket
		}
	}
	const all, second = 0b111011, 0b010
	if got := table.slots(7); got != all {
		t.Errorf("its slots are %b, want %b", got, all)
	}
	if got := table.slots(7 + heldBuckets); got != 0b100 {
		t.Errorf("the slots of another are %b", got)
	}
	called := 0
	table.leave(7, all&^second, func() *lastTask { called++; return &lastTask{name: "left"} })
	for i, r := range locks {
		if last, left := table.leaver(7, r); left != (i == 1) || left && last.name != "left" {
			t.Errorf("lock %d was left behind: %t by %q", i, left, last.name)
		}
	}
	table.leave(7, all, func() *lastTask { called++; return nil })
	if called != 1 {
		t.Errorf("who has left was asked for %d times", called)
	}
	table.release(7, locks[1])
	table.hold(7, locks[1], false, 5)
	if _, left := table.leaver(7, locks[1]); left {
		t.Error("a lock that was taken again was left behind")
	}
}

// What a holder says of the goroutine that has to be looked at.
func TestLinksOfHolders(t *testing.T) {
	t.Cleanup(func() { departed = departedGoroutines{known: make(map[uint64]lastTask)} })
	r := newReporterRig(t)
	_, waiting := r.ins.Begin(context.Background(), "waits itself")
	defer waiting.End(nil)
	wait := beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "disk"})
	defer endWait(wait)
	view := wait.view()

	actors := []*actor{newActor(t), newActor(t), newActor(t)}
	runs, blocked, plain := actors[0], actors[1], actors[2]
	var running *Task
	runs.does(func() { _, running = r.ins.Begin(context.Background(), "runs") })
	blocked.does(func() {
		w := beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "disk"})
		t.Cleanup(func() { endWait(w) })
	})
	const gone, left = 1<<40 - 1, 1<<40 - 2
	departed.add(gone, lastTask{})
	departed.add(left, lastTask{node: r.goroutineNode(3), name: "left"})
	prepared := &Task{ins: r.ins, name: r.ins.names.other}
	prepared.rarely().label = "not begun"
	prepared.setSpanContext(newIdentity())
	ended := &Task{ins: r.ins, name: r.ins.names.other}
	ended.state.Store(endedCompleted)

	for _, one := range []struct {
		name   string
		holder holder
		ok     bool
		called string
		idle   uint64
		ended  bool
	}{
		{"a task that runs", holder{task: running}, true, "runs", runs.id, false},
		{"the goroutine of a task", holder{goroutine: runs.id}, true, "runs", runs.id, false},
		{"a task that has not begun", holder{task: prepared}, true, "not begun", 0, false},
		{"a task that has ended", holder{task: ended}, false, "", 0, false},
		{"the waiter", holder{goroutine: view.goroutine}, true, "waits itself", 0, false},
		{"another one that waits", holder{goroutine: blocked.id}, true, "goroutine in inspect.TestLinksOfHolders.func3", 0, false},
		{"a goroutine without a task", holder{goroutine: plain.id}, true, "", plain.id, false},
		{"one that has ended", holder{goroutine: gone}, true, "", 0, true},
		{"one that has ended with its task", holder{goroutine: left}, true, "left", 0, true},
	} {
		one.holder.generation, one.holder.since, one.holder.weight = 11, 13, 17
		l, idle, ok := r.link(&view, one.holder)
		if ok != one.ok || !ok {
			if ok != one.ok {
				t.Errorf("%s: linked %t", one.name, ok)
			}
			continue
		}
		if l.TaskName != one.called || idle != one.idle || l.Ended != one.ended || l.Generation != 11 || l.Since != 13 || l.Weight != 17 || l.Span == [8]byte{} {
			t.Errorf("%s: %+v, to be looked at %d", one.name, l, idle)
		}
	}
	runs.does(func() { running.End(nil) })
}
