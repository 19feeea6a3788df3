//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// ordersRig reports the orders of locks that have been taken since it was made.
func ordersRig(t *testing.T) *reporterRig {
	t.Helper()
	t.Cleanup(useHeldLocks())
	rig := newReporterRig(t)
	forgetOrders()
	rig.ordersSent, rig.ordersAgain = 0, now()+nanos(time.Hour)
	return rig
}

// forgetOrders lets each order be new again.
func forgetOrders() {
	o := &lockOrders
	for i := range o.seen {
		o.seen[i].Store(0)
	}
	for i := range o.pairs {
		o.pairs[i].Store(nil)
	}
	o.calls.again()
	o.calls.mu.Lock()
	o.calls.list = nil
	o.calls.waiting.Store(0)
	o.calls.mu.Unlock()
	o.mu.Lock()
	o.list, o.recursions = nil, nil
	o.mu.Unlock()
}

// orders returns what is reported now, each as "held>taken mode guards".
func (r *reporterRig) orders() []string {
	r.t.Helper()
	r.tellOrders(now())
	var orders []string
	for _, s := range r.after(0) {
		orders = append(orders, orderOf(s))
	}
	return orders
}

func orderOf(s *tracepb.Span) string {
	guards := ""
	for _, g := range reported(s, taskspan.LockOrderGuards).GetArrayValue().GetValues() {
		guards += " " + g.GetStringValue()
	}
	return fmt.Sprint(reported(s, taskspan.LockOrderHeld).GetStringValue(), ">", reported(s, taskspan.LockOrderTaken).GetStringValue(), " ",
		reported(s, taskspan.LockOrderMode).GetStringValue(), guards)
}

// runs counts the tests that have made names, so that none has those of another, or of
// the same one before.
var runs atomic.Int64

// lockNames makes names that no other test has: "a", "b" and so on after one part.
func lockNames(t *testing.T, n int) []string {
	names := make([]string, n)
	run := runs.Add(1)
	for i := range names {
		names[i] = fmt.Sprint(t.Name(), " ", run, "/", string(rune('a'+i)))
	}
	return names
}

var beforeLockName = regexp.MustCompile(`Test\w+ \d+/`)

func wantOrders(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range got {
		got[i] = beforeLockName.ReplaceAllString(got[i], "")
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnOrderIsReportedOnceWithBothPlaces(t *testing.T) {
	rig := ordersRig(t)
	name := lockNames(t, 2)
	var sent []*tracepb.Span
	for range 3 {
		// Other instances of the same two classes.
		a, b := NewMutex(name[0]), NewMutex(name[1])
		_, task := rig.ins.Begin(context.Background(), "work")
		a.Lock()
		b.Lock()
		b.Unlock()
		a.Unlock()
		task.End(nil)
		rig.tellOrders(now())
		spans := rig.after(0)
		for _, s := range spans {
			sc := task.SpanContext()
			span, trace := sc.SpanID(), sc.TraceID()
			if string(s.ParentSpanId) != string(span[:]) || string(s.TraceId) != string(trace[:]) {
				t.Error("it is not below the task that did it")
			}
		}
		sent = append(sent, spans...)
	}
	if len(sent) != 1 {
		t.Fatalf("%d reports", len(sent))
	}
	wantOrders(t, []string{orderOf(sent[0])}, "a>b write/write")
	held, taken := reported(sent[0], taskspan.LockOrderHeldLine).GetIntValue(), reported(sent[0], taskspan.CodeLineNumber).GetIntValue()
	if held == 0 || taken != held+1 || !strings.HasSuffix(reported(sent[0], taskspan.LockOrderHeldFile).GetStringValue(), "lockorder_test.go") {
		t.Errorf("held at %d, taken at %d", held, taken)
	}
	b, a := NewMutex(name[1]), NewMutex(name[0])
	b.Lock()
	a.Lock()
	a.Unlock()
	b.Unlock()
	rig.ins.drops.add(dropReasons-1, 0)
	wantOrders(t, ordersOf(rig), "b>a write/write")
}

// ordersOf reports for goroutines without a task, too, which belong to nobody while
// there is no default Inspector.
func ordersOf(r *reporterRig) []string {
	lockOrders.mu.Lock()
	for _, o := range lockOrders.list[r.ordersSent:] {
		if o.task == nil {
			o.task = r.ins
		}
	}
	lockOrders.mu.Unlock()
	return r.orders()
}

func TestOrdersHaveGuardsAndModes(t *testing.T) {
	rig := ordersRig(t)
	name := lockNames(t, 3)
	a, b, c := NewMutex(name[0]), NewRWMutex(name[1]), NewRWMutex(name[2])
	a.Lock()
	b.RLock()
	c.Lock()
	c.Unlock()
	c.RLock()
	c.RUnlock()
	b.RUnlock()
	a.Unlock()
	wantOrders(t, ordersOf(rig),
		"a>b write/read",
		"a>c write/write b", "b>c read/write a",
		"a>c write/read b", "b>c read/read a")
}

func TestWhatIsNoOrder(t *testing.T) {
	rig := ordersRig(t)
	name := lockNames(t, 4)
	a, same, b := NewMutex(name[0]), NewMutex(name[0]), NewMutex(name[1])
	a.Lock()
	same.Lock()       // of the same class
	if !b.TryLock() { // does not wait
		t.Fatal("b is free")
	}
	b.Unlock()
	same.Unlock()
	a.Unlock()
	b.Lock() // nothing is held any more
	b.Unlock()
	wantOrders(t, ordersOf(rig))

	// What was only tried is held, though.
	_ = a.TryLock()
	b.Lock()
	b.Unlock()
	a.Unlock()
	wantOrders(t, ordersOf(rig), "a>b write/write")

	// A lock that somebody else has released is not held.
	c, d := NewMutex(name[2]), NewMutex(name[3])
	c.Lock()
	released := make(chan struct{})
	go func() { c.Unlock(); close(released) }()
	<-released
	d.Lock()
	d.Unlock()
	wantOrders(t, ordersOf(rig))
}

func TestOrdersAreOffUnlessSomebodyWantsThem(t *testing.T) {
	clearEnv(t)
	if holding.Load() != nil {
		t.Fatal("somebody wants them already")
	}
	for _, c := range []struct {
		env  string
		opts []Option
		on   bool
	}{
		{"", []Option{WithMode(Production)}, false},
		{"", []Option{WithMode(Development)}, true},
		{"", []Option{WithMode(Analysis)}, true},
		{"", []Option{WithMode(Production), WithLockOrder(true)}, true},
		{"false", []Option{WithMode(Development)}, false},
		{"true", []Option{WithMode(Production)}, true},
		{"true", []Option{WithLockOrder(false)}, false},
	} {
		t.Setenv("ASYNC_INSPECT_LOCK_ORDER", c.env)
		ins, err := New(t.Context(), append(c.opts, WithReportClient(new(reportSink)), WithSpanExporter(discardingExporter{}))...)
		if err != nil {
			t.Fatal(err)
		}
		if on := holding.Load() != nil; on != c.on {
			t.Errorf("%q: on is %v", c.env, on)
		}
		if err := ins.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if holding.Load() != nil {
			t.Error("it stays on")
		}
	}
}

func TestOrdersOfManyGoroutines(t *testing.T) {
	rig := ordersRig(t)
	name := lockNames(t, 3)
	a, b, c := NewRWMutex(name[0]), NewMutex(name[1]), NewMutex(name[2])
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 300 {
				a.RLock()
				b.Lock()
				c.Lock()
				runtime.Gosched()
				c.Unlock()
				b.Unlock()
				a.RUnlock()
			}
		})
	}
	all.Wait()
	orders := ordersOf(rig)
	slices.Sort(orders) // who is the first to see one is not known
	wantOrders(t, orders, "a>b read/write", "a>c read/write b", "b>c write/write a")
	for i := range holding.Load() {
		for j := range heldSlots {
			if holding.Load()[i].who[j].Load() != 0 {
				t.Fatal("a lock is held by nobody")
			}
		}
	}
}

func TestOrdersAreBounded(t *testing.T) {
	var set orderSet
	fresh := 0
	for i := range uint64(10 * orderSlots) {
		if set.isNew(mix(i+1) | 1) {
			fresh++
		}
	}
	if fresh > orderSlots {
		t.Errorf("%d orders in %d slots", fresh, orderSlots)
	}
	var numbers classNumbers
	numbers.of = make(map[string]uint32)
	for i := range 2 * maxLockClasses {
		numbers.number(fmt.Sprint(i))
	}
	if len(numbers.of) != maxLockClasses || numbers.number("one more") != 0 {
		t.Errorf("%d classes", len(numbers.of))
	}
}

// What it costs to know the orders: nothing else held, and one other lock held.
func BenchmarkLockOrder(b *testing.B) {
	outer, inner := NewMutex("benchmark outer"), NewMutex("benchmark inner")
	run := func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			inner.Lock()
			inner.Unlock()
		}
	}
	b.Run("off", run)
	defer useHeldLocks()()
	b.Run("on", run)
	outer.Lock()
	defer outer.Unlock()
	b.Run("on, one held", run)
}

// The orders of a goroutine without a task are the default Inspector's to tell, and those
// of a task its own Inspector's.
func TestWhoseOrdersAreTold(t *testing.T) {
	other := quietInspector(t)
	for _, one := range []struct {
		name      string
		task      func(*reporterRig) *Task
		isDefault bool
		want      int
	}{
		{"nobody's, of the default one", func(*reporterRig) *Task { return nil }, true, 1},
		{"nobody's, of another one", func(*reporterRig) *Task { return nil }, false, 0},
		{"its own", func(r *reporterRig) *Task { return began(r.ins) }, false, 1},
		{"another one's", func(*reporterRig) *Task { return began(other) }, true, 0},
	} {
		for _, call := range []bool{false, true} {
			rig := ordersRig(t)
			if one.isDefault {
				defaultInspector.Store(rig.ins)
			}
			task := one.task(rig)
			name := lockNames(t, 2)
			a, b := NewMutex(name[0]), NewMutex(name[1])
			a.Lock()
			if call {
				noteCalling(context.Background(), remoteSpan(), "GET")
			} else {
				b.Lock()
				b.Unlock() //nolint:staticcheck // only the order matters
			}
			a.Unlock()
			task.End(nil)
			if got := rig.orders(); len(got) != one.want {
				t.Errorf("%s, a call %t: told are %q, want %d", one.name, call, got, one.want)
			}
			defaultInspector.Store(nil)
		}
	}
}

// began is a task of the test's goroutine.
func began(ins *Inspector) *Task {
	_, task := ins.Begin(context.Background(), "work")
	return task
}

// An order with a lock that was handed over is none: by its name, by itself, or by the
// place where it was taken.
func TestOrdersOfLocksThatWereHandedOver(t *testing.T) {
	forgetHolds(t)
	places := permitPlaces()
	name := unique("handed")
	holdKinds.addHanded(holdKind{name: name})
	holdKinds.addHanded(holdKind{place: places[1]})
	itself := &lockName{id: 1, first: places[0]}
	itself.handed.Store(true)
	for what, one := range map[string]struct {
		view heldView
		want bool
	}{
		"nothing":                {heldView{lock: &lockName{id: 2, first: places[0]}, place: places[0]}, false},
		"its name":               {heldView{lock: &lockName{id: 3, name: name, declared: true}, place: places[0]}, true},
		"another name":           {heldView{lock: &lockName{id: 4, name: name + "x", declared: true}, place: places[1]}, false},
		"the lock":               {heldView{lock: itself, place: places[0]}, true},
		"its place":              {heldView{lock: &lockName{id: 5, first: places[0]}, place: places[1]}, true},
		"no place":               {heldView{lock: &lockName{id: 6, first: places[0]}}, false},
		"a name that is made up": {heldView{lock: &lockName{id: 7, name: name}, place: places[2]}, false},
	} {
		if got := one.view.handedOver(); got != one.want {
			t.Errorf("%s: handed over %t", what, got)
		}
		fine := heldView{lock: &lockName{id: 9, first: places[3]}, place: places[3]}
		for _, order := range []*lockOrder{{held: one.view, taken: fine}, {held: fine, taken: one.view}} {
			var set orderSet
			set.add(order)
			set.calls.add(order)
			if want := map[bool]int{false: 1}[one.want]; len(set.list) != want || len(set.calls.list) != want {
				t.Errorf("%s: %d orders and %d of calls, want %d", what, len(set.list), len(set.calls.list), want)
			}
		}
	}
}
