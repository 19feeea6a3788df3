//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// spansOf reports for goroutines without a task, too.
func spansOf(r *reporterRig) []*tracepb.Span {
	lockOrders.mu.Lock()
	for _, o := range lockOrders.list[r.ordersSent:] {
		if o.task == nil {
			o.task = r.ins
		}
	}
	for _, o := range lockOrders.recursions {
		o.task = r.ins
	}
	lockOrders.mu.Unlock()
	lockOrders.calls.mu.Lock()
	for _, o := range lockOrders.calls.list {
		if o.task == nil {
			o.task = r.ins
		}
	}
	lockOrders.calls.mu.Unlock()
	var spans []*tracepb.Span
	for before := -1; before != len(spans); {
		before = len(spans)
		r.tellOrders(now())
		spans = append(spans, r.after(0)...)
	}
	return spans
}

// relations are the pairs of classes of orders, each class by its number in order of
// appearance.
func relations(spans []*tracepb.Span) (all []string) {
	var classes []string
	number := func(class string) int {
		if i := slices.Index(classes, class); i >= 0 {
			return i
		}
		classes = append(classes, class)
		return len(classes) - 1
	}
	for _, s := range spans {
		held, taken := reported(s, taskspan.LockOrderHeld).GetStringValue(), reported(s, taskspan.LockOrderTaken).GetStringValue()
		all = append(all, fmt.Sprint(number(held), ">", number(taken)))
	}
	return all
}

// contradicts reports whether two of the orders are opposite.
func contradicts(spans []*tracepb.Span) bool {
	all := make(map[[2]string]bool)
	for _, s := range spans {
		all[[2]string{reported(s, taskspan.LockOrderHeld).GetStringValue(), reported(s, taskspan.LockOrderTaken).GetStringValue()}] = true
	}
	for pair := range all {
		if all[[2]string{pair[1], pair[0]}] {
			return true
		}
	}
	return false
}

var localClass = regexp.MustCompile(`^r\d+@[0-9a-f]{8}$`)

func TestLocksWithoutANameAreInOrders(t *testing.T) {
	rig := ordersRig(t)
	var a Mutex
	var b RWMutex
	a.Lock()
	b.RLock()
	b.RUnlock()
	a.Unlock()
	b.Lock()
	a.Lock()
	a.Unlock()
	b.Unlock()
	spans := spansOf(rig)
	if got := relations(spans); !slices.Equal(got[:2], []string{"0>1", "1>0"}) || !contradicts(spans) {
		t.Fatalf("got %v", got)
	}
	for _, s := range spans {
		for _, class := range []string{taskspan.LockOrderHeld, taskspan.LockOrderTaken} {
			if id := reported(s, class).GetStringValue(); !localClass.MatchString(id) {
				t.Errorf("%s is %q, which another process may have, too", class, id)
			}
			if name := reported(s, class+".name").GetStringValue(); !strings.Contains(name, "TestLocksWithoutANameAreInOrders") {
				t.Errorf("%s is called %q", class, name)
			}
		}
	}
	if mode := reported(spans[0], taskspan.LockOrderMode).GetStringValue(); mode != "write/read" {
		t.Errorf("the first is %s", mode)
	}
}

// There can be any number of locks on the same lines. One order is enough, until two
// of them contradict each other.
func TestManyLocksOnTheSameLines(t *testing.T) {
	rig := ordersRig(t)
	move := func(from, to *Mutex) {
		from.Lock()
		to.Lock()
		to.Unlock()
		from.Unlock()
	}
	for range 5000 {
		move(new(Mutex), new(Mutex))
	}
	if spans := spansOf(rig); len(spans) != 1 {
		t.Fatalf("%d orders were reported: %v", len(spans), relations(spans))
	}
	a, b := new(Mutex), new(Mutex)
	move(a, b)
	move(a, b)
	if spans := spansOf(rig); len(spans) != 0 {
		t.Fatalf("reported %v", relations(spans))
	}
	move(b, a)
	spans := spansOf(rig)
	if len(spans) != 2 || !contradicts(spans) {
		t.Fatalf("reported %v", relations(spans))
	}
	// And once for these lines.
	for range 100 {
		c, d := new(Mutex), new(Mutex)
		move(c, d)
		move(d, c)
	}
	if spans := spansOf(rig); len(spans) != 0 {
		t.Errorf("%d more were reported", len(spans))
	}
}

func TestALockKeepsItsIDWhenItGetsAName(t *testing.T) {
	defer useHeldLocks()()
	table := holding.Load()
	g := goidOfTest()
	var held [heldSlots]heldView
	for name, rename := range map[string]func(*Mutex){
		"by a wait": func(m *Mutex) { m.identify(taskspan.WaitMutex, 0) },
		"declared":  func(m *Mutex) { m.SetName("late name") },
	} {
		m := new(Mutex)
		m.Lock()
		if k := table.heldBy(g, &held); k != 1 {
			t.Fatalf("%s: %d are held", name, k)
		}
		before := m.res.Load()
		rename(m)
		if after := m.res.Load(); after == before || after.id != before.id || after.name == "" {
			t.Errorf("%s: %+v became %+v", name, before, after)
		}
		m.Unlock()
		if k := table.heldBy(g, &held); k != 0 {
			t.Errorf("%s: %d are still held", name, k)
		}
	}
}

// A read lock taken twice is reported when it is known that its taker releases it.
func TestAReadLockTakenTwice(t *testing.T) {
	rig := ordersRig(t)
	named := NewRWMutex(lockNames(t, 1)[0])
	for name, m := range map[string]*RWMutex{"declared": named, "without a name": new(RWMutex)} {
		m.RLock()
		m.RLock()
		if spans := spansOf(rig); len(spans) != 0 {
			t.Fatalf("%s: nobody has released it yet: %v", name, spans)
		}
		m.RUnlock()
		m.RUnlock()
		spans := spansOf(rig)
		if len(spans) != 1 || !reported(spans[0], taskspan.LockOrderRecursive).GetBoolValue() ||
			reported(spans[0], taskspan.LockOrderMode).GetStringValue() != "read/read" || relations(spans)[0] != "0>0" {
			t.Errorf("%s: reported %v", name, spans)
		}
	}
	// Not twice the same, or not waiting for it, or in turn.
	a, b := new(RWMutex), new(RWMutex)
	for range 2 {
		a.RLock()
		if !a.TryRLock() {
			t.Fatal("nobody writes")
		}
		a.RUnlock()
		a.RUnlock()
	}
	for range 2 {
		for _, m := range []*RWMutex{a, b} {
			m.RLock()
		}
		a.RUnlock()
		b.RUnlock()
	}
	for _, s := range spansOf(rig) {
		if reported(s, taskspan.LockOrderRecursive).GetBoolValue() {
			t.Errorf("reported %v", s)
		}
	}
}

// A parent that takes the read lock for each of its workers can take it twice.
func TestAReadLockTakenForOthersIsNotTakenTwice(t *testing.T) {
	rig := ordersRig(t)
	m := NewRWMutex(lockNames(t, 1)[0])
	release, released := make(chan struct{}), make(chan struct{})
	for range 2 {
		m.RLock()
		go func() { <-release; m.RUnlock(); released <- struct{}{} }()
	}
	if spans := spansOf(rig); len(spans) != 0 {
		t.Errorf("reported %v", spans)
	}
	close(release)
	<-released
	<-released
	if spans := spansOf(rig); len(spans) != 0 {
		t.Errorf("reported %v", spans)
	}
}

func TestRecursionsAreBounded(t *testing.T) {
	rig := ordersRig(t)
	defaultInspector.Store(rig.ins)
	t.Cleanup(func() { defaultInspector.Store(nil) })
	var set orderSet
	for i := range maxRecursions + 7 {
		set.addRecursion(&lockOrder{goroutine: uint64(i)})
	}
	if len(set.recursions) != maxRecursions || rig.ins.drops[dropLockOrders].Load() != 7 {
		t.Errorf("%d are kept, %d dropped", len(set.recursions), rig.ins.drops[dropLockOrders].Load())
	}
}

func TestExternalLocksAreInOrders(t *testing.T) {
	fewExternals(t)
	rig := ordersRig(t)
	name := lockNames(t, 3)
	ctx := context.Background()
	x, y, m := NewExternal(name[0]), NewExternal(name[1], WithTTL(1<<40)), NewMutex(name[2])
	_ = x.Acquire(ctx, nothing)
	_ = NewExternal(name[1], WithTTL(1<<40)).Acquire(ctx, nothing)
	m.Lock()
	m.Unlock()
	_ = NewExternal(name[0]).Release(ctx, nothing) // another handle on the same lock
	m.Lock()
	m.Unlock()
	expireHolds(y)
	m.Lock()
	m.Unlock()
	y.Extend(1 << 40) // it has not expired
	_ = x.Acquire(ctx, nothing)
	y.Lost()
	_, _ = y.Release(ctx, nothing), x.Release(ctx, nothing)
	m.Lock()
	_ = x.Acquire(ctx, nothing)
	m.Unlock()
	_ = x.Release(ctx, nothing)
	got := ordersOf(rig)
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], taskspan.ResourceExternal, "!")
	}
	wantOrders(t, got,
		"!a>!b write/write",
		"!a>c write/write !b", "!b>c write/write !a", // in both
		"!b>c write/write", // in one, and in none after the end of the other
		"!b>!a write/write",
		"c>!a write/write")
	var held [heldSlots]heldView
	if k := holding.Load().heldBy(goidOfTest(), &held); k != 0 {
		t.Errorf("%d are still held", k)
	}
}

func TestCallsAreInOrders(t *testing.T) {
	rig := ordersRig(t)
	t.Cleanup(lockOrders.calls.again)
	lockOrders.calls.again()
	name := lockNames(t, 3)
	a, b, c := NewMutex(name[0]), NewMutex(name[1]), NewMutex(name[2])
	client := func(n byte) trace.SpanContext {
		return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: n}, SpanID: trace.SpanID{7: n}, Remote: true})
	}
	// The caller, without a lock and with two.
	_ = RemoteWait(context.Background(), client(1), "GET bank "+name[0], func() error { return nil })
	a.Lock()
	b.Lock()
	_ = RemoteWait(context.Background(), client(2), "GET bank "+name[0], func() error { return nil })
	b.Unlock()
	a.Unlock()
	// Who answers it, and calls on; and a child, which does not answer.
	ctx, task := rig.ins.Begin(context.Background(), "pay", WithRemoteParent(client(2)))
	c.Lock()
	c.Unlock()
	c.Lock() // told already
	c.Unlock()
	_ = RemoteWait(ctx, client(3), "GET shop", func() error { return nil })
	child := make(chan struct{})
	rig.ins.Go(ctx, "child", func(context.Context) error {
		defer close(child)
		a.Lock()
		a.Unlock()
		return nil
	})
	<-child
	task.End(nil)
	b.Lock() // the answer has been given
	b.Unlock()
	var got []string
	for _, s := range spansOf(rig) {
		text := orderOf(s)
		for n := range byte(4) {
			text = strings.ReplaceAll(text, callName(client(n).TraceID(), client(n).SpanID(), "").name, fmt.Sprint("call", n))
		}
		if strings.Contains(text, "call") {
			got = append(got, text)
		}
		if called := reported(s, taskspan.LockOrderHeldName).GetStringValue(); strings.HasPrefix(text, "call") && called != "pay" {
			t.Errorf("who answers is called %q", called)
		}
	}
	wantOrders(t, got, "a>call2 write/write b", "b>call2 write/write a", "call2>c write/write", "call2>call3 write/write")
	var held [heldSlots]heldView
	if k := holding.Load().heldBy(goidOfTest(), &held); k != 0 {
		t.Errorf("%d are still held", k)
	}
}

// An open server span answers a call as a task does.
func TestServerSpansAnswerCallsInOrders(t *testing.T) {
	rig := ordersRig(t)
	ins, _ := newSeen(t)
	m := NewMutex(lockNames(t, 1)[0])
	client := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 9}, SpanID: trace.SpanID{7: 9}, Remote: true})
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), client)
	_, span := ins.own.Tracer("server").Start(ctx, "GET /orders", trace.WithSpanKind(trace.SpanKindServer))
	m.Lock()
	m.Unlock()
	span.End()
	m.Lock()
	m.Unlock()
	lockOrders.calls.mu.Lock()
	for _, o := range lockOrders.calls.list {
		o.task = rig.ins
	}
	lockOrders.calls.mu.Unlock()
	spans := spansOf(rig)
	if want := callName(client.TraceID(), client.SpanID(), "").name; len(spans) != 1 || reported(spans[0], taskspan.LockOrderHeld).GetStringValue() != want {
		t.Errorf("reported %v, want an order of %s", spans, want)
	}
}

// Both sides of a call choose the same traces, however many of them each sees, and few
// of many.
func TestBothSidesOfACallChooseTheSameTraces(t *testing.T) {
	var rare, busy callOrders
	const calls = 200_000
	chosenByRare, chosenByBusy, both := 0, 0, 0
	for i := range calls {
		var id trace.TraceID
		putRandom(id[:8])
		putRandom(id[8:])
		b := chosen(&busy.answered, "pay", id)
		if b {
			chosenByBusy++
		}
		if i%50 != 0 { // one call in fifty is made with a lock held
			continue
		}
		if r := chosen(&rare.made, "POST bank", id); r {
			chosenByRare++
			if b {
				both++
			}
		}
	}
	if both < 3 {
		t.Errorf("both sides have %d calls in common, of %d and %d", both, chosenByRare, chosenByBusy)
	}
	if chosenByBusy > 20*callsInFull {
		t.Errorf("%d of %d requests are told", chosenByBusy, calls)
	}
}

// At first all are told, and again when it begins anew.
func TestTheFirstCallsAreAllTold(t *testing.T) {
	var c callOrders
	for range 2 {
		for i := range 2*callsInFull - 1 {
			if !chosen(&c.made, "GET", trace.TraceID{8: byte(i), 15: 1}) {
				t.Fatalf("call %d is not told", i+1)
			}
		}
		told := 0
		for i := range 1000 {
			var id trace.TraceID
			putRandom(id[8:])
			if chosen(&c.made, "GET", id) {
				told++
			}
			_ = i
		}
		if told == 0 || told > 300 {
			t.Errorf("%d of the next 1000 are told", told)
		}
		c.again()
	}
}

func TestCallOrdersAreBounded(t *testing.T) {
	rig := ordersRig(t)
	defaultInspector.Store(rig.ins)
	t.Cleanup(func() { defaultInspector.Store(nil) })
	gone := &Inspector{}
	gone.stopped.Store(true)
	var c callOrders
	lock := &lockName{id: 1, first: 1}
	order := func(ins *Inspector) *lockOrder {
		return &lockOrder{held: heldView{lock: lock}, taken: heldView{lock: lock}, task: ins}
	}
	c.add(order(gone))
	for range maxCallOrders + 4 {
		c.add(order(rig.ins))
	}
	if n := rig.ins.drops[dropLockOrders].Load(); n != 5 {
		t.Errorf("%d were dropped", n)
	}
	his := func(o *lockOrder) bool { return o.task == rig.ins }
	if n := len(c.take(his, 100)); n != 100 {
		t.Errorf("%d of 100 were taken", n)
	}
	if n := len(c.take(his, maxCallOrders)); n != maxCallOrders-101 || len(c.list) != 0 {
		t.Errorf("%d more were taken, %d are left", n, len(c.list))
	}
	// One request tells each lock once, and at most 32.
	call := callName(trace.TraceID{1}, trace.SpanID{1}, "pay")
	for i := range 200 {
		taken := heldView{lock: &lockName{id: uint64(i + 10), first: uintptr(i + 1)}, place: uintptr(i + 1)}
		for range 3 {
			c.taken(1, taken, []heldView{{lock: call}}, 0)
		}
	}
	if n := len(c.list); n < 16 || n > 32 {
		t.Errorf("%d orders of one request", n)
	}
}

// What it costs to know the orders of locks without a name: of one that has been seen,
// and of locks that are new each time, as those of requests are.
func BenchmarkLockOrderWithoutNames(b *testing.B) {
	var outer, inner Mutex
	nested := func(b *testing.B, inner func() *Mutex) {
		b.ReportAllocs()
		outer.Lock()
		defer outer.Unlock()
		for b.Loop() {
			m := inner()
			m.Lock()
			m.Unlock()
		}
	}
	same, fresh := func() *Mutex { return &inner }, func() *Mutex { return new(Mutex) }
	b.Run("off, the same", func(b *testing.B) { nested(b, same) })
	b.Run("off, new ones", func(b *testing.B) { nested(b, fresh) })
	defer useHeldLocks()()
	b.Run("on, the same", func(b *testing.B) { nested(b, same) })
	b.Run("on, new ones", func(b *testing.B) { nested(b, fresh) })
}

// Only calls that are in an order count: those that hold no lock take nothing from the
// ones that do. Of these the first are all told, and then those of some traces.
func TestWhichCallsAreTold(t *testing.T) {
	ordersRig(t)
	client := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 1}})
	zeros := bits.TrailingZeros64(mix(1)) // of the hash of this trace
	for _, one := range []struct{ without, with, want int }{
		{50 * callsInFull, 1, 1}, {0, callsInFull + 1, callsInFull + 1}, {7, 20 * callsInFull, callsInFull<<(zeros+1) - 1},
	} {
		forgetOrders()
		name := unique("GET")
		m := NewMutex(name)
		for range one.without {
			noteCalling(context.Background(), client, name)
		}
		m.Lock()
		for range one.with {
			noteCalling(context.Background(), client, name)
		}
		m.Unlock()
		if got := len(lockOrders.calls.list); got != one.want {
			t.Errorf("%+v: %d are told", one, got)
		}
	}
	forgetOrders()
	for _, counters := range []*[callCounters]atomic.Uint32{&lockOrders.calls.made, &lockOrders.calls.answered} {
		for i := range counters {
			counters[i].Store(uint32(i + 1))
		}
	}
	lockOrders.calls.again()
	for i := range callCounters {
		if made, answered := lockOrders.calls.made[i].Load(), lockOrders.calls.answered[i].Load(); made != 0 || answered != 0 {
			t.Fatalf("counter %d is %d and %d when all are told again", i, made, answered)
		}
	}
}

// A lock of a class without a number is in no order of calls: the names are too many.
func TestACallAndALockWithoutAClass(t *testing.T) {
	ordersRig(t)
	for _, number := range []uint32{0, 7} {
		taken := heldView{lock: &lockName{id: lastLockName.Add(1), name: unique("lock"), declared: true}, place: 5}
		taken.lock.number.Store(number)
		lockClasses.mu.Lock()
		of := lockClasses.of
		lockClasses.of = make(map[string]uint32, maxLockClasses)
		for i := range maxLockClasses {
			lockClasses.of[fmt.Sprint(i)] = uint32(i + 1)
		}
		lockClasses.mu.Unlock()
		call := heldView{lock: callName(trace.TraceID{1}, trace.SpanID{2}, "GET")}
		lockOrders.calls.taken(goidOfTest(), taken, []heldView{call}, 0)
		if n, want := len(lockOrders.calls.list), min(int(number), 1); n != want {
			t.Errorf("class %d: %d orders, want %d", number, n, want)
		}
		lockClasses.mu.Lock()
		lockClasses.of = of
		lockClasses.mu.Unlock()
		forgetOrders()
	}
}

// Two pairs of locks that share a slot displace each other: the newest is known.
func TestPairsThatShareASlot(t *testing.T) {
	forgetOrders()
	defer forgetOrders()
	o := new(orderSet)
	lock := func(id uint64) heldView { return heldView{lock: &lockName{id: id, first: 5}, place: uintptr(id)} }
	taken := lock(1)
	slot := func(held heldView) any { return o.pairs.slot(held.lock.orderClass(), taken.lock.orderClass(), 0) }
	first := lock(2)
	second := lock(3)
	for slot(second) != slot(first) {
		second = lock(second.lock.id + 1)
	}
	for turn, held := range []heldView{first, first, second, second, first} {
		o.pair(7, taken, []heldView{held}, 0)
		known := o.pairs.slot(held.lock.orderClass(), taken.lock.orderClass(), 0).Load()
		if known == nil || known.held.lock != held.lock || known.taken.lock != taken.lock {
			t.Errorf("turn %d: the slot has %+v", turn, known)
		}
	}
}
