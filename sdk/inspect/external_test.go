//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// fewExternals is a table without holds, and without names that are handed over.
func fewExternals(t *testing.T) {
	t.Helper()
	forget := func() {
		externals.mu.Lock()
		defer externals.mu.Unlock()
		clear(externals.of)
		clear(externals.by)
		externals.total = 0
		externals.next.Store(0)
	}
	forget()
	t.Cleanup(forget)
}

// expireHolds lets the end of all holds of a lock come.
func expireHolds(lock *External) {
	externals.mu.Lock()
	for _, h := range externals.by[lock.id] {
		h.ends = now() - 1
		externals.endsAt(h.ends)
	}
	externals.mu.Unlock()
	externals.expire(now())
}

// holdNames are the locks that the test's goroutine holds, with their ends.
func holdNames(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, h := range holdsOf(goidOfTest()) {
		fmt.Fprint(&b, h.Resource, " ")
		switch h.Ends {
		case taskspan.EndsUnknown:
			b.WriteString("unknown ")
		case taskspan.EndsByRelease:
			b.WriteString("released ")
		default:
			// The seconds from now, rounded up: some time has passed since.
			fmt.Fprintf(&b, "%ds ", (time.Until(time.Unix(0, h.Ends))+time.Second-1)/time.Second)
		}
	}
	return strings.TrimSpace(b.String())
}

func TestWhatEndsAHoldIsDeclared(t *testing.T) {
	fewExternals(t)
	ctx := context.Background()
	for i, c := range []struct {
		handle []AcquireOption
		opts   []AcquireOption
		want   string
	}{
		{nil, nil, "unknown"},
		{nil, []AcquireOption{WithTTL(20 * time.Second)}, "20s"},
		{[]AcquireOption{WithTTL(30 * time.Second)}, nil, "30s"},
		{[]AcquireOption{WithTTL(30 * time.Second)}, []AcquireOption{WithTTL(40 * time.Second)}, "40s"},
		{nil, []AcquireOption{UntilReleased()}, "released"},
		{[]AcquireOption{UntilReleased()}, []AcquireOption{WithTTL(50 * time.Second)}, "50s"},
		{[]AcquireOption{WithTTL(50 * time.Second)}, []AcquireOption{UntilReleased()}, "released"},
		{nil, []AcquireOption{WithTimeout(time.Second)}, "unknown"}, // is about the wait
		{nil, []AcquireOption{WithTTL(-time.Second)}, "unknown"},
		{nil, []AcquireOption{WithTTL(0)}, "unknown"},
	} {
		lock := NewExternal(fmt.Sprint("declared ", i), c.handle...)
		if err := lock.Acquire(ctx, nothing, c.opts...); err != nil {
			t.Fatal(err)
		}
		if got, want := holdNames(t), lock.id+" "+c.want; got != want {
			t.Errorf("%d: it holds %q, want %q", i, got, want)
		}
		if err := lock.Release(ctx, nothing); err != nil {
			t.Fatal(err)
		}
		if got := holdNames(t); got != "" {
			t.Errorf("%d: it still holds %q", i, got)
		}
	}
}

func TestAnExpiredLockIsHeldByNobodyAndItsTaskIsTold(t *testing.T) {
	fewExternals(t)
	ins := quietInspector(t)
	ctx, task := ins.Begin(context.Background(), "report")
	defer task.End(nil)
	lock, other := NewExternal("expires"), NewExternal("expires not")
	_ = lock.Acquire(ctx, nothing, WithTTL(time.Hour))
	_ = other.Acquire(ctx, nothing, UntilReleased())
	externals.expire(now())
	if points := task.points.Load().list(); len(points) != 0 {
		t.Fatalf("it was told %v before the end", points)
	}
	for range 3 {
		expireHolds(lock)
	}
	if got := holdNames(t); got != "ext:expires not released" {
		t.Errorf("it holds %q", got)
	}
	points := task.points.Load().list()
	if len(points) != 1 || points[0].name != taskspan.EventHoldExpired {
		t.Fatalf("it was told %v", points)
	}
	for _, a := range points[0].attributes {
		switch string(a.Key) {
		case taskspan.WaitResourceID:
			if a.Value.AsString() != "ext:expires" {
				t.Errorf("it is about %s", a.Value.AsString())
			}
		case taskspan.WaitResourceName:
			if a.Value.AsString() != "expires" {
				t.Errorf("it is about %s", a.Value.AsString())
			}
		case taskspan.HoldEnds:
			if ended := time.Unix(0, a.Value.AsInt64()); time.Since(ended) > time.Minute || time.Since(ended) < 0 {
				t.Errorf("it ended at %v", ended)
			}
		default:
			t.Errorf("unknown attribute %s", a.Key)
		}
	}
	if len(points[0].attributes) != 3 {
		t.Errorf("%d attributes", len(points[0].attributes))
	}
	// Afterwards all is as before: the release is its own, and the lock can be held again.
	_, _ = lock.Release(ctx, nothing), other.Release(ctx, nothing)
	if externals.total != 0 || len(externals.by) != 0 || len(externals.of) != 0 {
		t.Errorf("%d holds are left", externals.total)
	}
	_ = lock.Acquire(ctx, nothing, UntilReleased())
	if got := holdNames(t); got != "ext:expires released" {
		t.Errorf("it holds %q", got)
	}
	_ = lock.Release(ctx, nothing)
}

// While nothing looks at the table a late release tells the same.
func TestALateReleaseTellsThatTheLockHadExpired(t *testing.T) {
	fewExternals(t)
	ins := quietInspector(t)
	ctx, task := ins.Begin(context.Background(), "report")
	defer task.End(nil)
	lock := NewExternal("released late")
	_ = lock.Acquire(ctx, nothing, WithTTL(time.Nanosecond))
	time.Sleep(time.Millisecond) // the clock is the machine's
	_ = lock.Release(ctx, nothing)
	if points := task.points.Load().list(); len(points) != 1 || points[0].name != taskspan.EventHoldExpired {
		t.Errorf("it was told %v", points)
	}
}

func TestExtendMovesTheEndAlsoFromAnotherGoroutine(t *testing.T) {
	fewExternals(t)
	ctx := context.Background()
	lock := NewExternal("extended")
	lock.Extend(time.Minute) // nobody holds it
	_ = lock.Acquire(ctx, nothing, WithTTL(20*time.Second))
	lock.Extend(30 * time.Second)
	if got := holdNames(t); got != "ext:extended 30s" {
		t.Errorf("it holds %q", got)
	}
	watchdog := make(chan struct{})
	go func() {
		defer close(watchdog)
		NewExternal("ext:extended").Extend(40 * time.Second)
	}()
	<-watchdog
	lock.Extend(0)
	lock.Extend(-time.Second)
	if got := holdNames(t); got != "ext:extended 40s" {
		t.Errorf("it holds %q", got)
	}
	expireHolds(lock)
	lock.Extend(50 * time.Second) // it was not too late
	if got := holdNames(t); got != "ext:extended 50s" {
		t.Errorf("it holds %q", got)
	}
	_ = lock.Release(ctx, nothing)
	if handedOver.has(lock.id) {
		t.Error("an extension is no hand-over")
	}
}

func TestALostLockIsHeldByNobody(t *testing.T) {
	fewExternals(t)
	ins := quietInspector(t)
	ctx, task := ins.Begin(context.Background(), "report")
	defer task.End(nil)
	lock := NewExternal("lost")
	lock.Lost()
	_ = lock.Acquire(ctx, nothing, WithTTL(time.Hour))
	watchdog := make(chan struct{})
	go func() {
		defer close(watchdog)
		lock.Lost()
		lock.Lost()
	}()
	<-watchdog
	if got := holdNames(t); got != "" {
		t.Errorf("it holds %q", got)
	}
	if externals.by[lock.id][0].ordered {
		t.Error("the orders of locks still take it for held")
	}
	if points := task.points.Load().list(); len(points) != 1 || points[0].name != taskspan.EventHoldLost {
		t.Errorf("it was told %v", points)
	}
	_ = lock.Release(ctx, nothing)
	if handedOver.has(lock.id) || externals.total != 0 {
		t.Error("the release is its own")
	}
}

func TestHoldsAreBounded(t *testing.T) {
	fewExternals(t)
	rig := newReporterRig(t)
	defaultInspector.Store(rig.ins)
	t.Cleanup(func() { defaultInspector.Store(nil) })
	ctx := context.Background()
	for i := range maxExternalHolds {
		ends := now() + nanos(time.Hour)
		if i == 7 {
			ends = now() - 1
		}
		externals.add(&externalHold{goroutine: 1 << 30 * uint64(i+1), id: fmt.Sprint("ext:many ", i), ends: ends})
	}
	one, more := NewExternal("one"), NewExternal("one more")
	_ = one.Acquire(ctx, nothing) // in the place of the one that has expired
	_ = more.Acquire(ctx, nothing)
	if n := rig.ins.drops[dropExternalHolds].Load(); n != 1 {
		t.Errorf("%d were dropped, want 1", n)
	}
	if externals.total != maxExternalHolds || len(externals.by[one.id]) != 1 || len(externals.by[more.id]) != 0 {
		t.Errorf("%d are held, %d of one, %d more", externals.total, len(externals.by[one.id]), len(externals.by[more.id]))
	}
	_ = more.Release(ctx, nothing)
	_ = one.Release(ctx, nothing)
	_ = more.Acquire(ctx, nothing)
	if len(externals.by[more.id]) != 1 {
		t.Error("there is room again")
	}
}

func TestNamesOutsideAreTheSameThingWhoeverWaits(t *testing.T) {
	fewExternals(t)
	watched(t)
	ctx := context.Background()
	lock := NewExternal("same thing")
	_ = lock.Acquire(ctx, nothing, UntilReleased())
	defer lock.Release(ctx, nothing)
	for name, wait := range map[string]func(context.Context, func(context.Context) error) error{
		"Wait": func(ctx context.Context, fn func(context.Context) error) error {
			return Wait(ctx, taskspan.WaitIO, "ext:same thing", fn, UntilReleased())
		},
		"an External": func(ctx context.Context, fn func(context.Context) error) error {
			return NewExternal("same thing", UntilReleased()).Acquire(ctx, fn)
		},
		"an External with the prefix": func(ctx context.Context, fn func(context.Context) error) error {
			return NewExternal("ext:same thing", UntilReleased()).Acquire(ctx, fn)
		},
	} {
		done := make(chan error)
		go func() {
			done <- wait(ctx, func(context.Context) error {
				w, ok := waitOf(goidOfTest())
				if !ok {
					t.Errorf("%s: it does not wait", name)
					return errors.ErrUnsupported
				}
				var s holderSet
				w.holders(&s)
				id, text := w.on.name().identity()
				if id != "ext:same thing" || text != "same thing" || !s.complete || s.inferred || s.need != 1 || len(s.list) != 1 {
					t.Errorf("%s: it waits for %s %q, %+v", name, id, text, s)
				}
				return errors.ErrUnsupported // so it does not hold it
			})
		}()
		<-done
	}
}

func TestWhatEndsAWaitIsDeclared(t *testing.T) {
	fewExternals(t)
	watched(t)
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	timed, stop := context.WithTimeout(context.Background(), time.Hour)
	defer stop()
	for i, c := range []struct {
		ctx         context.Context
		opts        []WaitOption
		inferred    bool
		deadline    time.Duration // 0: none
		cancellable bool
	}{
		{context.Background(), nil, true, 0, false},
		{context.Background(), []WaitOption{UntilReleased()}, false, 0, false},
		{context.Background(), []WaitOption{WithTimeout(time.Minute)}, false, time.Minute, false},
		{context.Background(), []WaitOption{WithTimeout(0)}, true, 0, false},
		{context.Background(), []WaitOption{UntilReleased(), WithTimeout(2 * time.Minute)}, false, 2 * time.Minute, false},
		{cancelled, nil, true, 0, true},
		{cancelled, []WaitOption{UntilReleased()}, false, 0, true},
		{cancelled, []WaitOption{WithTimeout(3 * time.Minute)}, false, 3 * time.Minute, false},
		{timed, nil, true, time.Hour, false},
		{timed, []WaitOption{WithTimeout(4 * time.Minute)}, false, 4 * time.Minute, false},
		{timed, []WaitOption{WithTimeout(2 * time.Hour)}, false, time.Hour, false},
	} {
		look := func(ctx context.Context) error {
			w, _ := waitOf(goidOfTest())
			var s holderSet
			w.holders(&s)
			left := time.Duration(0)
			if w.deadline() != 0 {
				left = w.deadline().sub(now()).Round(time.Minute)
			}
			if !s.complete || s.inferred != c.inferred || left != c.deadline || w.cancellable() != c.cancellable {
				t.Errorf("%d: %+v, %v left, cancellable: %v", i, s, left, w.cancellable())
			}
			return errors.ErrUnsupported
		}
		_ = Wait(c.ctx, taskspan.WaitExternal, "ext:declared wait", look, c.opts...)
		var opts []AcquireOption
		for _, o := range c.opts {
			opts = append(opts, o)
		}
		_ = NewExternal("declared wait").Acquire(c.ctx, look, opts...)
	}
	// What one Acquire declares counts before what the handle does, and for it alone.
	for i, c := range []struct {
		handle, opts []AcquireOption
		inferred     bool
	}{
		{[]AcquireOption{UntilReleased()}, []AcquireOption{WithTTL(time.Minute)}, true},
		{[]AcquireOption{WithTTL(time.Minute)}, []AcquireOption{UntilReleased()}, false},
		{[]AcquireOption{UntilReleased()}, nil, false},
		{[]AcquireOption{WithTimeout(time.Minute)}, nil, false},
		{nil, []AcquireOption{UntilReleased()}, false},
		{nil, nil, true},
	} {
		lock := NewExternal(fmt.Sprint("declared of a handle ", i), c.handle...)
		before := lock.use
		_ = lock.Acquire(context.Background(), func(context.Context) error {
			w, _ := waitOf(goidOfTest())
			var s holderSet
			if w.holders(&s); s.inferred != c.inferred {
				t.Errorf("%d, of a handle: inferred %t, want %t", i, s.inferred, c.inferred)
			}
			return errors.ErrUnsupported
		}, c.opts...)
		if lock.use != before {
			t.Errorf("%d, of a handle: it declares %+v now, and was %+v", i, lock.use, before)
		}
	}
	// The kind of a wait is what Wait was told.
	_ = Wait(context.Background(), taskspan.WaitIO, "ext:a bucket", func(context.Context) error {
		if w, _ := waitOf(goidOfTest()); w.kind != taskspan.WaitIO {
			t.Errorf("it is a wait of kind %s", w.kind)
		}
		return nil
	})
	// A limit of any other wait.
	_ = Wait(context.Background(), taskspan.WaitIO, "disk", func(context.Context) error {
		if w, _ := waitOf(goidOfTest()); w.deadline() == 0 {
			t.Error("it has no deadline")
		}
		return nil
	}, WithTimeout(time.Hour))
}

func TestAnExternalWaitThatPanicsHasEnded(t *testing.T) {
	fewExternals(t)
	watched(t)
	lock := NewExternal("panics")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = lock.Acquire(context.Background(), func(context.Context) error { panic("no Redis") })
	}()
	if _, waits := waitOf(goidOfTest()); waits || holdNames(t) != "" {
		t.Error("it still waits, or holds")
	}
}

// What Deadlocks says of two goroutines that take two external locks in opposite orders.
func TestDeadlocksThroughExternalLocks(t *testing.T) {
	for name, c := range map[string]struct {
		opts  [2][]AcquireOption
		found taskspan.Confidence // empty: there is none
	}{
		"until their release":       {[2][]AcquireOption{{UntilReleased()}, {UntilReleased()}}, taskspan.Certain},
		"the first has a TTL":       {[2][]AcquireOption{{WithTTL(time.Hour)}, {UntilReleased()}}, ""},
		"the second has a TTL":      {[2][]AcquireOption{{UntilReleased()}, {WithTTL(time.Hour)}}, ""},
		"a wait has a limit":        {[2][]AcquireOption{{UntilReleased(), WithTimeout(time.Hour)}, {UntilReleased()}}, ""},
		"nothing is declared":       {[2][]AcquireOption{nil, nil}, taskspan.Suspected},
		"one of them is declared":   {[2][]AcquireOption{nil, {UntilReleased()}}, taskspan.Suspected},
		"the other one is declared": {[2][]AcquireOption{{UntilReleased()}, nil}, taskspan.Suspected},
	} {
		t.Run(name, func(t *testing.T) {
			fewExternals(t)
			c1 := newCast(t, 2)
			a, b := NewExternal(t.Name()+" a"), NewExternal(t.Name()+" b")
			take := func(e *External, opts []AcquireOption) func(context.Context) error {
				return func(ctx context.Context) error { return e.Acquire(ctx, nothing, opts...) }
			}
			want := func(e *External, opts []AcquireOption) func(context.Context) error {
				return func(ctx context.Context) error {
					return e.Acquire(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, opts...)
				}
			}
			c1.plays(take(a, c.opts[0]), want(b, c.opts[0]))
			c1.plays(take(b, c.opts[1]), want(a, c.opts[1]))
			if c.found == "" {
				c1.none(2)
				return
			}
			if d := c1.found(); d.Size != 2 || d.Confidence != c.found || !d.Cancellable || !strings.Contains(d.String(), "it ends only if a caller gives up") {
				t.Errorf("found %v", d)
			}
		})
	}
}

// holdsReported is what a report says of holds, as "resource ends".
func holdsReported(s *tracepb.Span) (holds []wire.Hold) {
	ends := reported(s, taskspan.HoldsEnds).GetArrayValue().GetValues()
	for i, v := range reported(s, taskspan.Holds).GetArrayValue().GetValues() {
		h := wire.Hold{Resource: v.GetStringValue()}
		if ends != nil {
			h.Ends = ends[i].GetIntValue()
		}
		holds = append(holds, h)
	}
	return holds
}

func TestHoldsTravelWithTheirEnds(t *testing.T) {
	fewExternals(t)
	rig := newReporterRig(t)
	a, b, c := NewExternal("travels a"), NewExternal("travels b"), NewExternal("travels c")
	ctx, cancel := context.WithCancel(context.Background())
	waiting, done := make(chan uint64), make(chan struct{})
	go func() {
		defer close(done)
		ctx, task := rig.ins.Begin(ctx, "report")
		defer task.End(nil)
		_ = a.Acquire(ctx, nothing, WithTTL(time.Hour))
		_ = b.Acquire(ctx, nothing, UntilReleased())
		_ = c.Acquire(ctx, func(ctx context.Context) error {
			waiting <- goidOfTest()
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	g := <-waiting
	s := rig.oneAfter(1500 * time.Millisecond)
	if !reported(s, taskspan.WaitInferred).GetBoolValue() || !reported(s, taskspan.WaitCancellable).GetBoolValue() {
		t.Error("nobody has said what ends the wait, and its context can be cancelled")
	}
	first := holdsReported(s)
	if !slices.Equal(first, holdsOf(g)) || len(first) != 2 || first[0].Ends < time.Now().Add(59*time.Minute).UnixNano() || first[1].Ends != taskspan.EndsByRelease {
		t.Errorf("it holds %v", first)
	}
	rig.nothingAfter(250*time.Millisecond, "nothing has changed")
	a.Extend(2 * time.Hour)
	rig.nothingAfter(250*time.Millisecond, "an end that moves is told once a second")
	s = rig.oneAfter(time.Second)
	if moved := holdsReported(s); len(moved) != 2 || moved[0].Ends < first[0].Ends+int64(59*time.Minute) || reported(s, taskspan.WaitRevision).GetIntValue() != 1 {
		t.Errorf("it holds %v", moved)
	}
	b.Lost()
	s = rig.oneAfter(250 * time.Millisecond)
	if left := holdsReported(s); len(left) != 1 || left[0].Resource != "ext:travels a" {
		t.Errorf("it holds %v", left)
	}
	expireHolds(a)
	s = rig.oneAfter(250 * time.Millisecond)
	if left := holdsReported(s); len(left) != 0 {
		t.Errorf("it holds %v", left)
	}
	rig.nothingAfter(250*time.Millisecond, "that was all")
	cancel()
	<-done
}

// Every wait says whether whoever made its context can end it.
func TestWaitsSayWhetherACallerCanGiveUp(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	timed, stop := context.WithTimeout(context.Background(), time.Hour)
	defer stop()
	waits := map[string]func(context.Context){
		"mutex":      func(ctx context.Context) { m := NewMutex(""); m.Lock(); _ = m.LockContext(ctx) },
		"read lock":  func(ctx context.Context) { m := new(RWMutex); m.Lock(); _ = m.RLockContext(ctx) },
		"write lock": func(ctx context.Context) { m := new(RWMutex); m.Lock(); _ = m.LockContext(ctx) },
		"semaphore":  func(ctx context.Context) { s := NewSemaphore("", 1); _ = s.Acquire(ctx, 1); _ = s.Acquire(ctx, 1) },
		"receive":    func(ctx context.Context) { _, _ = NewChan[int]("", 0).Receive(ctx) },
		"send":       func(ctx context.Context) { _ = NewChan[int]("", 0).Send(ctx, 1) },
		"select":     func(ctx context.Context) { _, _ = Select(ctx, ReceiveCase(NewChan[int]("", 0), new(int))) },
		"join": func(ctx context.Context) {
			_ = Go(cancelled, "child", func(c context.Context) error { <-c.Done(); return nil }).Wait(ctx)
		},
		"Wait": func(ctx context.Context) {
			_ = Wait(ctx, taskspan.WaitIO, "disk", func(context.Context) error { <-cancelled.Done(); return nil })
		},
		"remote call": func(ctx context.Context) {
			_ = RemoteWait(ctx, remoteSpan(), "shop", func() error { <-cancelled.Done(); return nil })
		},
		"singleflight": func(ctx context.Context) { busyFlight(cancelled, ctx) },
	}
	watched(t)
	var (
		leaves []context.CancelFunc
		done   []chan struct{}
	)
	for name, wait := range waits {
		for _, c := range []struct {
			ctx  context.Context
			want bool
		}{{cancelled, true}, {timed, false}} {
			id, end := make(chan uint64), make(chan struct{})
			ctx, leave := context.WithCancel(c.ctx)
			leaves, done = append(leaves, leave), append(done, end)
			go func() {
				defer close(end)
				id <- goidOfTest()
				wait(ctx)
			}()
			g := <-id
			w := waitWithin(t, g, name)
			if w.cancellable() != c.want || w.info().Cancellable != c.want {
				t.Errorf("%s with deadline %v: cancellable is %v", name, w.deadline() != 0, w.cancellable())
			}
		}
	}
	cancel()
	for _, leave := range leaves {
		leave()
	}
	for _, end := range done {
		<-end
	}
	m := NewMutex("")
	m.Lock()
	id := make(chan uint64)
	unlocked := make(chan struct{})
	go func() { id <- goidOfTest(); m.Lock(); close(unlocked) }()
	if w := waitWithin(t, <-id, "Lock"); w.cancellable() {
		t.Error("nothing can end a Lock")
	}
	m.Unlock()
	<-unlocked
}

// waitWithin returns the wait of a goroutine that is about to wait.
func waitWithin(t *testing.T, goroutine uint64, name string) waitView {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if w, ok := waitOf(goroutine); ok {
			return w
		}
	}
	t.Fatalf("%s: goroutine %d does not wait", name, goroutine)
	return waitView{}
}

func remoteSpan() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
}

// busyFlight waits for a leader that works until free is done.
func busyFlight(free, ctx context.Context) {
	var f Flight[int]
	leads := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = f.Do(context.Background(), "k", func(context.Context) (int, error) { close(leads); <-free.Done(); return 0, nil })
	}()
	<-leads
	_, _, _ = f.Do(ctx, "k", func(context.Context) (int, error) { return 0, nil })
	<-ended
}

// An open client span keeps no context of its caller, and still knows whether that can
// give up.
func TestClientSpansSayWhetherTheirCallerCanGiveUp(t *testing.T) {
	ins, _ := newSeen(t)
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	timed, stop := context.WithTimeout(cancelled, time.Hour)
	defer stop()
	for i, c := range []struct {
		ctx  context.Context
		want bool
	}{{context.Background(), false}, {cancelled, true}, {timed, false}, {context.WithoutCancel(cancelled), false}} {
		_, span := ins.own.Tracer("client").Start(c.ctx, "GET", trace.WithSpanKind(trace.SpanKindClient))
		waits := remoteWaits(t)
		if len(waits) != 1 || waits[0].cancellable() != c.want {
			t.Errorf("%d: %d waits, cancellable: %v", i, len(waits), len(waits) > 0 && waits[0].cancellable())
		}
		span.End()
	}
}

// Of several holds of one lock, the newest of the goroutine is meant, or else the newest.
func TestWhichHoldIsMeant(t *testing.T) {
	fewExternals(t)
	ctx := context.Background()
	lock := NewExternal("held by several")
	acquire := func(ttl time.Duration) { _ = lock.Acquire(ctx, nothing, WithTTL(ttl)) }
	acquire(20 * time.Second)
	acquire(40 * time.Second)
	elsewhere(func() { acquire(60 * time.Second); acquire(80 * time.Second) })
	// ends are all holds, in the order in which they were acquired.
	ends := func(what string, want ...time.Duration) {
		t.Helper()
		var got []time.Duration
		for _, h := range externals.by[lock.id] {
			if h.known(now()) {
				got = append(got, (h.ends.sub(now())+time.Second-1)/time.Second)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %s the holds end in %d s, want %d", what, got, want)
		}
	}
	ends("four acquisitions", 20, 40, 60, 80)
	lock.Extend(45 * time.Second)
	ends("an extension by the first goroutine", 20, 45, 60, 80)
	elsewhere(func() { lock.Extend(85 * time.Second) })
	ends("an extension by a third goroutine", 20, 45, 60, 85)
	elsewhere(lock.Lost)
	ends("a loss that a third goroutine has seen", 20, 45, 60)
	_ = lock.Release(ctx, nothing)
	ends("a release by the first goroutine", 20, 60)
	lock.Lost()
	ends("its loss", 60)
	acquire(30 * time.Second)
	ends("another acquisition", 60, 30)
	if n := len(externals.of[goidOfTest()]); n != 1 {
		t.Errorf("the goroutine has %d holds: what it had lost is over once it has acquired the lock again", n)
	}
}

// A hold that expires is told to the task of the context, and no other.
func TestTheTaskOfTheContextHolds(t *testing.T) {
	fewExternals(t)
	ins := quietInspector(t)
	ctx, outer := ins.Begin(context.Background(), "outer")
	defer outer.End(nil)
	_, inner := ins.Begin(ctx, "inner")
	defer inner.End(nil)
	lock := NewExternal("of the outer task")
	_ = lock.Acquire(ctx, nothing, WithTTL(time.Hour))
	expireHolds(lock)
	if n := len(outer.points.Load().list()); n != 1 {
		t.Errorf("the task of the context was told %d times", n)
	}
	if n := len(inner.points.Load().list()); n != 0 {
		t.Errorf("the other task was told %d times", n)
	}
}

// Those who hold a lock are told with numbers that differ, and what nobody has declared of
// one of them makes the wait a guess, wherever it is in the list.
func TestHoldersOfAnExternalLock(t *testing.T) {
	fewExternals(t)
	const unknown, released, expired = time.Duration(0), time.Duration(-1), time.Duration(1)
	for i, c := range []struct {
		holds    []time.Duration
		listed   int
		inferred bool
	}{
		{nil, 0, false},
		{[]time.Duration{released}, 1, false},
		{[]time.Duration{unknown, released}, 2, true},
		{[]time.Duration{released, unknown, time.Hour}, 3, true},
		{[]time.Duration{released, time.Hour, unknown}, 3, true},
		{[]time.Duration{time.Hour, expired, released, expired}, 2, false},
		{[]time.Duration{expired}, 0, false},
	} {
		id := unique("ext:holders")
		for j, d := range c.holds {
			h := &externalHold{goroutine: 1<<40 + uint64(j), id: id, ends: nanos(d)}
			if d > 0 {
				h.ends = now() + nanos(d)
			}
			externals.add(h)
		}
		lock := externalLock{thing: externalThing(id), declared: true}
		var s holderSet
		lock.holders(nil, &s)
		numbers := make(map[uint64]bool)
		for _, h := range s.list {
			numbers[h.generation] = true
		}
		if len(s.list) != c.listed || len(numbers) != c.listed || !s.complete || s.inferred != c.inferred {
			t.Errorf("%d: %+v with %d numbers; want %d, inferred %t", i, s, len(numbers), c.listed, c.inferred)
		}
		handedOver.add(id)
		var other holderSet
		if lock.holders(nil, &other); len(other.list) != 0 {
			t.Errorf("%d: whoever took it need not be who lets it go, and %d hold it", i, len(other.list))
		}
		for j := range c.holds {
			if held := externals.heldBy(1<<40+uint64(j), now()); slices.ContainsFunc(held, func(h externalHold) bool { return h.id == id }) {
				t.Errorf("%d: the goroutine reports a lock that others release as its own", i)
			}
		}
	}
}

// A goroutine that has got an external lock has ended its wait when it counts as the
// holder: else it would be seen to wait for itself.
func TestWhoGetsAnExternalLockNoLongerWaits(t *testing.T) {
	fewExternals(t)
	freshLooks(t)
	quietInspector(t)
	lock := NewExternal(unique("lock"))
	acquired, got := make(chan uint64), make(chan struct{})
	go func() {
		defer close(got)
		if err := lock.Acquire(context.Background(), func(context.Context) error {
			externals.mu.Lock() // the hold cannot be entered
			acquired <- goidOfTest()
			return nil
		}, UntilReleased()); err != nil {
			t.Error(err)
		}
	}()
	goroutine := <-acquired
	waitFor(t, "the goroutine to enter its hold", func() bool {
		seen, _ := looks.take(map[uint64]bool{goroutine: true}, lookAtMost)
		return seen.of[goroutine].State == "sync.Mutex.Lock"
	})
	w, waits := waitOf(goroutine)
	externals.mu.Unlock()
	within(t, got, "the lock")
	if waits {
		t.Errorf("it still waits for %v", w.kind)
	}
	if n := len(externals.heldBy(goroutine, now())); n != 1 {
		t.Errorf("it holds %d locks", n)
	}
}

// A report says which hold of an external lock a wait is for, since when, and where it was
// acquired.
func TestAHoldOfAnExternalLockIsTold(t *testing.T) {
	fewExternals(t)
	r := newReporterRig(t)
	lock := NewExternal(unique("lock"), UntilReleased())
	holder := newActor(t)
	holder.does(func() {
		if err := lock.Acquire(context.Background(), nothing); err != nil {
			t.Error(err)
		}
	})
	hold := externals.heldBy(holder.id, now())[0]
	ctx, cancel := context.WithCancel(context.Background())
	waiter := newActor(t)
	waiter.starts(func() {
		ctx, task := r.ins.Begin(ctx, "waiter")
		defer task.End(nil)
		_ = lock.Acquire(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	})
	waiter.blocked()
	r.at = now()
	s := r.oneAfter(2 * time.Second)
	since, generation := linkSays(t, s, taskspan.HoldSince).GetIntValue(), linkSays(t, s, taskspan.HoldGeneration).GetIntValue()
	if since != hold.since.unix() || generation != int64(hold.number) || hold.number == 0 {
		t.Errorf("hold %d since %d is told, want %d since %d", generation, since, hold.number, hold.since.unix())
	}
	if at := linkSays(t, s, taskspan.CodeFilePath).GetStringValue(); !strings.HasSuffix(at, "external_test.go") {
		t.Errorf("it was acquired in %q", at)
	}
	cancel()
	waiter.does(func() {})
}

// A lock whose time is over is its holder's to release, also while another goroutine has
// it: that one keeps it.
func TestALateReleaseIsOfTheExpiredHold(t *testing.T) {
	fewExternals(t)
	quietInspector(t)
	lock := NewExternal(unique("lock"), WithTTL(time.Hour))
	late, next := newActor(t), newActor(t)
	acquire := func() {
		if err := lock.Acquire(context.Background(), nothing); err != nil {
			t.Error(err)
		}
	}
	late.does(acquire)
	expireHolds(lock)
	next.does(acquire)
	held := func(a *actor) int { return len(externals.heldBy(a.id, now())) }
	if held(late) != 0 || held(next) != 1 {
		t.Fatalf("the late one holds %d, the next one %d", held(late), held(next))
	}
	late.does(func() { _ = lock.Release(context.Background(), nothing) })
	if held(next) != 1 || handedOver.has(lock.id) {
		t.Errorf("after the late release the next one holds %d, handed over %t", held(next), handedOver.has(lock.id))
	}
	next.does(acquire) // its own that is expired makes room, and no other's
	next.does(func() { _ = lock.Release(context.Background(), nothing) })
	if externals.total != len(externals.by[lock.id]) || externals.total != 1 {
		t.Errorf("%d holds are left, %d of the lock", externals.total, len(externals.by[lock.id]))
	}
}

// The next end is that of the first hold to come, whether there is somebody to be told of
// it or not.
func TestTheNextEndOfHolds(t *testing.T) {
	e := externalHolds{of: make(map[uint64][]*externalHold), by: make(map[string][]*externalHold)}
	at := now()
	for i, ends := range []nanos{at + 500, endsUnknown, at + 300, endsByRelease, at + 900} {
		e.add(&externalHold{goroutine: uint64(i + 1), id: fmt.Sprint("ext:", i), ends: ends})
	}
	for _, step := range []struct{ at, want nanos }{{0, 300}, {299, 300}, {300, 500}, {499, 500}, {700, 900}, {900, -1}, {2000, -1}} {
		e.expire(at + step.at)
		want := at + step.want
		if step.want < 0 {
			want = 0
		}
		if got := nanos(e.next.Load()); got != want {
			t.Errorf("%d later the next end is %d, want %d", step.at, got-at, step.want)
		}
	}
	known := 0
	for _, holds := range e.of {
		for _, h := range holds {
			if h.known(at + 2000) {
				known++
			}
		}
	}
	if known != 2 {
		t.Errorf("%d stand in the end, want the 2 without a time", known)
	}
}

// The task of a hold is that of the context, or else of the goroutine.
func TestWhoseHoldAnExternalLockIs(t *testing.T) {
	ins := quietInspector(t)
	ctx, outer := ins.Begin(context.Background(), "outer")
	defer outer.End(nil)
	if got := taskOf(context.Background()); got != outer {
		t.Errorf("the goroutine's task is %v", got)
	}
	inner, task := ins.Begin(ctx, "inner")
	defer task.End(nil)
	for name, one := range map[string]struct {
		ctx  context.Context
		want *Task
	}{"background": {context.Background(), task}, "outer": {ctx, outer}, "inner": {inner, task}} {
		if got := taskOf(one.ctx); got != one.want {
			t.Errorf("%s: the task is %v", name, got)
		}
	}
}

// A lock that somebody has released for another one is in nobody's hands, as far as is
// told.
func TestHoldsThatWereHandedOverAreNotTold(t *testing.T) {
	fewExternals(t)
	name := unique("ext:handed")
	for _, handed := range []bool{false, true} {
		if handed {
			handedOver.add(name)
		}
		externals.add(&externalHold{goroutine: 7, id: name, ends: endsByRelease})
		want := 1
		if handed {
			want = 0
		}
		var s holderSet
		externals.addHolders(name, &s)
		if told := holdsOf(7); len(told) != want || len(s.list) != want {
			t.Errorf("handed over %t: told are %v, holders are %v", handed, told, s.list)
		}
		externals.release(7, name)
	}
}
