//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// forgetHolds makes all kinds of holds unknown, as in a new process.
func forgetHolds(t *testing.T) {
	t.Helper()
	forget := func() {
		holdKinds.mu.Lock()
		defer holdKinds.mu.Unlock()
		clear(holdKinds.own)
		clear(holdKinds.handed)
		for i := range ownPlaces {
			ownPlaces[i].Store(0)
		}
	}
	forget()
	t.Cleanup(forget)
}

var uniqueNames atomic.Int64

// unique returns a name that no lock of the process has.
func unique(name string) string { return fmt.Sprint(name, " ", uniqueNames.Add(1)) }

// actor is a goroutine that does what it is told, one thing after the other.
type actor struct {
	t    *testing.T
	todo chan func()
	id   uint64
}

func newActor(t *testing.T) *actor {
	a := &actor{t: t, todo: make(chan func())}
	id := make(chan uint64)
	var done sync.WaitGroup
	done.Go(func() {
		id <- goidOfTest()
		for f := range a.todo {
			f()
		}
	})
	a.id = <-id
	t.Cleanup(func() {
		close(a.todo)
		done.Wait()
	})
	return a
}

// starts does not wait until f has returned.
func (a *actor) starts(f func()) { a.todo <- f }

func (a *actor) does(f func()) {
	a.t.Helper()
	done := make(chan struct{})
	a.todo <- func() { defer close(done); f() }
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		a.t.Fatal("an actor has not done its part in 30 s")
	}
}

// blocked waits until the actor waits for somebody, and returns for whom.
func (a *actor) blocked() holderSet {
	a.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if w, ok := waitOf(a.id); ok {
			var s holderSet
			w.holders(&s)
			if len(s.list) > 0 {
				return s
			}
		}
	}
	a.t.Fatal("an actor does not wait for anybody after 30 s")
	return holderSet{}
}

// holdable is a side of a primitive in the tests. Each function is called at one place
// for all locks.
type holdable struct {
	name    string
	make    func(name string) any
	take    func(any)
	release func(any)
	want    func(context.Context, any) error // conflicts with a hold
	undo    func(any)
}

func holdables() []holdable {
	ctx := context.Background()
	return []holdable{
		{
			"mutex", func(name string) any { m := new(Mutex); nameIt(m, name); return m },
			func(l any) { l.(*Mutex).Lock() }, func(l any) { l.(*Mutex).Unlock() },
			func(ctx context.Context, l any) error { return l.(*Mutex).LockContext(ctx) }, func(l any) { l.(*Mutex).Unlock() },
		},
		{
			"mutex by TryLock", func(name string) any { m := new(Mutex); nameIt(m, name); return m },
			func(l any) { l.(*Mutex).TryLock() }, func(l any) { l.(*Mutex).Unlock() },
			func(ctx context.Context, l any) error { return l.(*Mutex).LockContext(ctx) }, func(l any) { l.(*Mutex).Unlock() },
		},
		{
			"write lock, wanted by a reader", func(name string) any { m := new(RWMutex); nameIt(m, name); return m },
			func(l any) { l.(*RWMutex).Lock() }, func(l any) { l.(*RWMutex).Unlock() },
			func(ctx context.Context, l any) error { return l.(*RWMutex).RLockContext(ctx) }, func(l any) { l.(*RWMutex).RUnlock() },
		},
		{
			"write lock, wanted by a writer", func(name string) any { m := new(RWMutex); nameIt(m, name); return m },
			func(l any) { _ = l.(*RWMutex).LockContext(ctx) }, func(l any) { l.(*RWMutex).Unlock() },
			func(ctx context.Context, l any) error { return l.(*RWMutex).LockContext(ctx) }, func(l any) { l.(*RWMutex).Unlock() },
		},
		{
			"read lock", func(name string) any { m := new(RWMutex); nameIt(m, name); return m },
			func(l any) { l.(*RWMutex).RLock() }, func(l any) { l.(*RWMutex).RUnlock() },
			func(ctx context.Context, l any) error { return l.(*RWMutex).LockContext(ctx) }, func(l any) { l.(*RWMutex).Unlock() },
		},
		{
			"permits", func(name string) any { return NewSemaphore(name, 3) },
			func(l any) { _ = l.(*Semaphore).Acquire(ctx, 2) }, func(l any) { l.(*Semaphore).Release(2) },
			func(ctx context.Context, l any) error { return l.(*Semaphore).Acquire(ctx, 3) }, func(l any) { l.(*Semaphore).Release(3) },
		},
		{
			"permits by TryAcquire", func(name string) any { return NewSemaphore(name, 3) },
			func(l any) { l.(*Semaphore).TryAcquire(1) }, func(l any) { l.(*Semaphore).Release(1) },
			func(ctx context.Context, l any) error { return l.(*Semaphore).Acquire(ctx, 3) }, func(l any) { l.(*Semaphore).Release(3) },
		},
	}
}

func nameIt(l interface{ SetName(string) }, name string) {
	if name != "" {
		l.SetName(name)
	}
}

// A hold proves something only once its kind, a name or a place, is known to be
// released by who took it, and never again after another one has released it.
func TestAHoldProvesWhatItsKindIsKnownFor(t *testing.T) {
	type step struct {
		what               string
		do                 func(h *holdable, taker, other *actor, l any)
		complete, inferred bool
	}
	own := func(h *holdable, taker, _ *actor, l any) {
		taker.does(func() { h.take(l) })
		taker.does(func() { h.release(l) })
	}
	handOver := func(h *holdable, taker, other *actor, l any) {
		taker.does(func() { h.take(l) })
		other.does(func() { h.release(l) })
	}
	nothing := func(*holdable, *actor, *actor, any) {}
	for _, h := range holdables() {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/named %v", h.name, named), func(t *testing.T) {
				watched(t)
				forgetHolds(t)
				taker, other, waiter := newActor(t), newActor(t), newActor(t)
				name, another := "", ""
				if named {
					name, another = unique(h.name), unique(h.name)
				}
				look := func(what, name string, complete, inferred bool) {
					t.Helper()
					l := h.make(name) // one that nobody has released yet
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					taker.does(func() { h.take(l) })
					waiter.starts(func() {
						if h.want(ctx, l) == nil {
							h.undo(l)
						}
					})
					set := waiter.blocked()
					if set.complete != complete || complete && set.inferred != inferred {
						t.Errorf("%s: complete %v and inferred %v, want %v and %v",
							what, set.complete, set.inferred, complete, inferred)
					}
					if len(set.list) != 1 || set.list[0].goroutine != taker.id {
						t.Errorf("%s: the holders are %+v, want the taker", what, set.list)
					}
					cancel()
					waiter.does(func() {})
					// By the taker, which must not teach anything here.
					before := holdKinds.snapshot()
					taker.does(func() { h.release(l) })
					holdKinds.restore(before)
				}
				for _, s := range []step{
					{"fresh", nothing, true, true},
					{"released by who took it", own, true, false},
					{"released by another", handOver, false, false},
					{"and again by who took it", own, false, false},
				} {
					s.do(&h, taker, other, h.make(name))
					look(s.what, name, s.complete, s.inferred)
				}
				if named { // of other names nothing is known
					look("another name", another, true, true)
				}
			})
		}
	}
}

type kindSnapshot struct {
	own    map[holdKind]int
	places [len(ownPlaces)]uint64
}

func (t *kindTable) snapshot() kindSnapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := kindSnapshot{own: make(map[holdKind]int)}
	for k, n := range t.own {
		s.own[k] = n
	}
	for i := range ownPlaces {
		s.places[i] = ownPlaces[i].Load()
	}
	return s
}

func (t *kindTable) restore(s kindSnapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.own = s.own
	for i := range ownPlaces {
		ownPlaces[i].Store(s.places[i])
	}
}

// What is known of one side of a name says nothing of the other sides, but a hand-over
// counts for all.
func TestSidesOfANameAreKnownSeparately(t *testing.T) {
	watched(t)
	forgetHolds(t)
	name := unique("table")
	m, taker, waiter := NewRWMutex(name), newActor(t), newActor(t)
	taker.does(func() { m.Lock(); m.Unlock() }) //nolint:staticcheck // it is what is learned from
	taker.does(m.RLock)
	ctx, cancel := context.WithCancel(context.Background())
	waiter.starts(func() { _ = m.LockContext(ctx) })
	if set := waiter.blocked(); !set.complete || !set.inferred {
		t.Errorf("the read lock: %+v, want it complete and inferred", set)
	}
	cancel()
	waiter.does(func() {})
	taker.does(m.RUnlock)
	taker.does(m.RLock)
	newActor(t).does(m.RUnlock)
	taker.does(m.Lock)
	ctx, cancel = context.WithCancel(context.Background())
	waiter.starts(func() { _ = m.LockContext(ctx) })
	if set := waiter.blocked(); set.complete {
		t.Errorf("the write lock: %+v, want it incomplete", set)
	}
	cancel()
	waiter.does(func() {})
	taker.does(m.Unlock)
}

// A lock of a place that is not its own: one that is released elsewhere is known by
// the place where it was taken.
func TestUnnamedLocksAreKnownByWhereTheyAreTaken(t *testing.T) {
	forgetHolds(t)
	watched(t)
	here := func(m *Mutex) { m.Lock() }
	there := func(m *Mutex) { m.Lock() }
	taker, waiter := newActor(t), newActor(t)
	for _, c := range []struct {
		what     string
		take     func(*Mutex)
		inferred bool
	}{{"here", here, true}, {"here again", here, false}, {"there", there, true}, {"there again", there, false}} {
		var m Mutex
		taker.does(func() { c.take(&m) })
		ctx, cancel := context.WithCancel(context.Background())
		waiter.starts(func() { _ = m.LockContext(ctx) })
		if set := waiter.blocked(); !set.complete || set.inferred != c.inferred {
			t.Errorf("%s: %+v, want inferred %v", c.what, set, c.inferred)
		}
		cancel()
		waiter.does(func() {})
		taker.does(m.Unlock)
	}
}

// A place inside of the SDK or of package sync is shared by locks that have nothing to do
// with each other: a method value, an RLocker, a Cond. It is no kind.
func TestSharedPlacesAreNoKind(t *testing.T) {
	watched(t)
	forgetHolds(t)
	taker, waiter := newActor(t), newActor(t)
	for name, take := range map[string]func(m *RWMutex) (lock, unlock func()){
		"a method value": func(m *RWMutex) (func(), func()) { return m.Lock, m.Unlock },
		"an RLocker":     func(m *RWMutex) (func(), func()) { l := m.RLocker(); return l.Lock, l.Unlock },
	} {
		for range 3 {
			m := new(RWMutex)
			lock, unlock := take(m)
			taker.does(lock)
			ctx, cancel := context.WithCancel(context.Background())
			waiter.starts(func() { _ = m.LockContext(ctx) })
			if set := waiter.blocked(); !set.complete || !set.inferred {
				t.Errorf("%s: %+v, want it complete and inferred", name, set)
			}
			cancel()
			waiter.does(func() {})
			taker.does(unlock)
		}
	}
}

// A suspected deadlock makes no process unready; a certain one does.
func TestASuspectedDeadlockIsAWarningOfReadiness(t *testing.T) {
	for _, used := range []bool{false, true} {
		t.Run(fmt.Sprint("used before ", used), func(t *testing.T) {
			ins, c := quietInspector(t), newCast(t, 1)
			m := stage{used}.mutex()
			c.plays(m.LockContext, m.LockContext)
			c.found()
			check := ins.deadlockCheck()
			want := "warning"
			if used {
				want = "failed"
			}
			if check.Status != want || !strings.Contains(check.Message, m.res.Load().name) {
				t.Errorf("%+v, want %s", check, want)
			}
		})
	}
}

// How many acquisitions at a time have been released by who made them is what a
// semaphore's holder is believed for; one that waits for itself needs one more.
func TestPermitsProveAsManyAsWereReleased(t *testing.T) {
	acquire := func(n int64) func(*Semaphore) { return func(s *Semaphore) { _ = s.Acquire(context.Background(), n) } }
	for _, c := range []struct {
		name     string
		seen     int   // acquisitions that a goroutine had at a time and released
		holds    int   // acquisitions that the holder has
		weight   int64 // of each
		self     bool  // the holder is who waits
		inferred bool
	}{
		{"nothing seen", 0, 1, 3, false, true},
		{"one seen, one held", 1, 1, 4, false, false},
		{"one seen, two held", 1, 2, 3, false, true},
		{"two seen, two held", 2, 2, 5, false, false},
		{"three seen, two held", 3, 2, 1, false, false},
		{"one seen, one held, by itself", 1, 1, 2, true, true},
		{"two seen, one held, by itself", 2, 1, 6, true, false},
		{"two seen, two held, by itself", 2, 2, 4, true, true},
		{"three seen, two held, by itself", 3, 2, 3, true, false},
	} {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/named %v", c.name, named), func(t *testing.T) {
				watched(t)
				forgetHolds(t)
				name := ""
				if named {
					name = unique("permits")
				}
				take := acquire(c.weight)
				holder, waiter := newActor(t), newActor(t)
				before := NewSemaphore(name, 50)
				holder.does(func() {
					for range c.seen {
						take(before)
					}
					for range c.seen {
						before.Release(c.weight)
					}
				})
				s := NewSemaphore(name, 10)
				holder.does(func() {
					for range c.holds {
						take(s)
					}
				})
				if c.self {
					waiter = holder
				}
				ctx, cancel := context.WithCancel(context.Background())
				waiter.starts(func() { _ = s.Acquire(ctx, 10) })
				set, held := waiter.blocked(), int64(c.holds)*c.weight
				if !set.complete || set.inferred != c.inferred || set.need != held {
					t.Errorf("%+v, want it complete, inferred %v, and a need of %d", set, c.inferred, held)
				}
				if h := set.list[0]; len(set.list) != 1 || h.goroutine != holder.id || h.weight != held || h.place == 0 {
					t.Errorf("the holders are %+v", set.list)
				}
				cancel()
				waiter.does(func() {})
			})
		}
	}
}

// Where the permits were acquired that somebody waits for is told: the newest place.
func TestPermitsHavePlaces(t *testing.T) {
	watched(t)
	forgetHolds(t)
	s, holder, waiter := NewSemaphore(unique("permits"), 9), newActor(t), newActor(t)
	first := func() { _ = s.Acquire(context.Background(), 2) }
	second := func() { s.TryAcquire(3) }
	place := func() string {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		waiter.starts(func() { _ = s.Acquire(ctx, 9) })
		set := waiter.blocked()
		cancel()
		waiter.does(func() {})
		return placeOf(set.list[0].place).function
	}
	const in = "github.com/asyncinspect/asyncinspect/sdk/inspect.TestPermitsHavePlaces.func"
	holder.does(first)
	if p := place(); p != in+"1" {
		t.Errorf("taken at %q", p)
	}
	holder.does(second)
	if p := place(); p != in+"2" {
		t.Errorf("taken at %q", p)
	}
	holder.does(first)
	if p := place(); p != in+"1" {
		t.Errorf("taken at %q", p)
	}
}

// Permits without a name that were acquired at several places are known if all of
// these are, and not at all if there are too many to remember.
func TestPermitsOfSeveralPlaces(t *testing.T) {
	takes := []func(*Semaphore){
		func(s *Semaphore) { s.TryAcquire(1) }, func(s *Semaphore) { s.TryAcquire(1) }, func(s *Semaphore) { s.TryAcquire(1) },
		func(s *Semaphore) { s.TryAcquire(1) }, func(s *Semaphore) { s.TryAcquire(1) },
	}
	for _, c := range []struct {
		known, held int // of the places
		inferred    bool
	}{{3, 3, false}, {2, 3, true}, {4, 4, false}, {5, 5, true}} {
		t.Run(fmt.Sprintf("%d known of %d", c.known, c.held), func(t *testing.T) {
			watched(t)
			forgetHolds(t)
			holder, waiter := newActor(t), newActor(t)
			for _, take := range takes[:c.known] {
				holder.does(func() {
					s := NewSemaphore("", 5)
					for range c.held {
						take(s)
					}
					for range c.held {
						s.Release(1)
					}
				})
			}
			s := NewSemaphore("", 7)
			holder.does(func() {
				for _, take := range takes[:c.held] {
					take(s)
				}
			})
			ctx, cancel := context.WithCancel(context.Background())
			waiter.starts(func() { _ = s.Acquire(ctx, 7) })
			if set := waiter.blocked(); !set.complete || set.inferred != c.inferred {
				t.Errorf("%+v, want it complete, inferred %v", set, c.inferred)
			}
			cancel()
			waiter.does(func() {})
		})
	}
}

// An Acquire that gets its permits at the moment at which it gives up returns them by
// itself. That says nothing about what the program does with permits.
func TestAnAcquireThatGivesUpTeachesNothing(t *testing.T) {
	forgetHolds(t)
	synctest.Test(t, func(t *testing.T) {
		name := unique("permits")
		s := NewSemaphore(name, 2)
		s.TryAcquire(2)
		ctx, cancel := context.WithCancel(context.Background())
		gaveUp := make(chan error)
		go func() { gaveUp <- s.Acquire(ctx, 1) }()
		synctest.Wait() // it waits in its select
		s.mu.Lock()
		cancel() // this is what wakes it
		s.release(goidOfTest(), 2, false)
		s.mu.Unlock()
		if err := <-gaveUp; err != context.Canceled {
			t.Fatalf("it returned %v", err)
		}
		if depth, handed := holdKinds.look(holdKind{side: permitHold, name: name}); depth != 0 || handed {
			t.Errorf("known is %d and handed over %v, want nothing", depth, handed)
		}
		if s.free != 2 || len(s.holds) != 0 {
			t.Errorf("%d are free and %v held", s.free, s.holds)
		}
	})
}

// What is known is bounded. What finds no room stays unknown, or makes a hand-over
// unknown again, and both are counted.
func TestKnowledgeOfHoldsIsBounded(t *testing.T) {
	forgetHolds(t)
	ins, err := Start(context.Background(), WithReports(false), WithoutExport())
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	kind := func(i int) holdKind { return holdKind{side: mutexHold, name: fmt.Sprint("bounded ", i)} }
	counted := func(want int64) {
		t.Helper()
		if n := ins.drops[dropHoldKinds].Load(); n != want {
			t.Errorf("%d were counted, want %d", n, want)
		}
	}
	for i := range maxHoldKinds {
		holdKinds.addOwn(kind(i), 1)
	}
	counted(0)
	holdKinds.addOwn(kind(maxHoldKinds), 1)
	counted(1)
	if depth, _ := holdKinds.look(kind(maxHoldKinds)); depth != 0 {
		t.Error("one too many is known")
	}
	m := NewMutex(kind(maxHoldKinds).name)
	for range 3 { // it is counted once for each lock
		m.Lock()
		m.Unlock() //nolint:staticcheck // the pair is what is learned from
	}
	counted(2)
	holdKinds.addOwn(kind(5), 3) // is known already
	if depth, _ := holdKinds.look(kind(5)); depth != 3 {
		t.Errorf("known is %d, want 3", depth)
	}
	counted(2)
	for i := range maxHandedOver {
		holdKinds.addHanded(kind(i))
	}
	counted(2)
	if depth, handed := holdKinds.look(kind(5)); depth != 0 || !handed {
		t.Errorf("known is %d and handed over %v after the hand-over", depth, handed)
	}
	holdKinds.addHanded(kind(maxHandedOver))
	counted(3)
	if len(holdKinds.handed) != maxHandedOver || !holdKinds.isHanded(kind(maxHandedOver)) {
		t.Errorf("%d are handed over, the newest among them: %v", len(holdKinds.handed), holdKinds.isHanded(kind(maxHandedOver)))
	}
	holdKinds.addOwn(kind(maxHoldKinds+1), 1) // there is room again
	if depth, _ := holdKinds.look(kind(maxHoldKinds + 1)); depth != 1 {
		t.Error("there is room, and it is not known")
	}
	counted(3)
}

// A report says that it is inferred while the kind is unknown; when the kind is known
// a new revision says so, and when it is handed over the next one is incomplete.
func TestReportsSayWhatIsKnownOfAKind(t *testing.T) {
	forgetHolds(t)
	r := newReporterRig(t)
	name := unique("stock")
	m, holder, other := NewMutex(name), newActor(t), newActor(t)
	holder.does(m.Lock)
	var ended sync.WaitGroup
	r.blockedOn(m, "reserve", &ended)
	expect := func(d time.Duration, revision int64, complete, inferred bool) {
		t.Helper()
		s := r.oneAfter(d)
		got := [3]any{
			reported(s, taskspan.WaitRevision).GetIntValue(), reported(s, taskspan.WaitHoldersComplete).GetBoolValue(),
			reported(s, taskspan.WaitInferred).GetBoolValue(),
		}
		if want := [3]any{revision, complete, inferred}; got != want {
			t.Errorf("revision, complete and inferred are %v, want %v", got, want)
		}
	}
	expect(2*time.Second, 1, true, true)
	expect(time.Second, 1, true, true)
	another := NewMutex(name)
	other.does(another.Lock)
	other.does(another.Unlock)
	r.nothingAfter(100*time.Millisecond, "it must be so for a second")
	expect(1100*time.Millisecond, 2, true, false)
	other.does(another.Lock)
	holder.does(another.Unlock)
	r.nothingAfter(100*time.Millisecond, "it must be so for a second")
	expect(1100*time.Millisecond, 3, false, false)
	holder.does(m.Unlock)
	ended.Wait()
}

// permitPlaces are places of the application, each on a line of its own.
func permitPlaces() []uintptr {
	here := func() uintptr {
		var pc [1]uintptr
		runtime.Callers(2, pc[:])
		return pc[0]
	}
	return []uintptr{
		here(),
		here(),
		here(),
		here(),
		here(),
	}
}

// A goroutine that releases all its permits teaches something about each place at which
// it has acquired some, unless there were too many places to know them all or somebody
// else has released permits of this semaphore.
func TestWhatReleasesOfPermitsTeach(t *testing.T) {
	for _, one := range []struct {
		places int
		handed bool
		learns bool
	}{{1, false, true}, {4, false, true}, {5, false, false}, {1, true, false}, {3, true, false}} {
		forgetHolds(t)
		s := NewSemaphore("", 9)
		r := s.orderName(permitPlaces()[0])
		r.handed.Store(one.handed)
		var h semaphoreHold
		places := permitPlaces()[:one.places]
		for _, place := range places {
			h.add(1, place)
		}
		s.learnOwn(&h)
		for i, place := range places {
			want := 0
			if one.learns {
				want = one.places
			}
			if depth, _ := holdKinds.look(holdKind{side: permitHold, place: place}); depth != want {
				t.Errorf("%+v: place %d is known to be released %d at a time, want %d", one, i, depth, want)
			}
		}
	}
}

// How many permits a goroutine has had at a time counts until it has none, whatever it
// has released and acquired in between.
func TestTheMostPermitsAtATime(t *testing.T) {
	forgetHolds(t)
	for _, one := range []struct {
		changes []int // acquisitions, or, below 0, releases
		want    int
	}{{[]int{1, -1}, 1}, {[]int{3, -3}, 3}, {[]int{3, -2, 1, -2}, 3}, {[]int{2, -1, 3, -4}, 4}, {[]int{4, -3, 2, -3}, 4}} {
		name := unique("most")
		s := NewSemaphore(name, 9)
		for _, n := range one.changes {
			for range max(n, 0) {
				_ = s.Acquire(context.Background(), 1)
			}
			for range max(-n, 0) {
				s.Release(1)
			}
		}
		if depth, _ := holdKinds.look(holdKind{side: permitHold, name: name}); depth != one.want {
			t.Errorf("%v: known to be released %d at a time, want %d", one.changes, depth, one.want)
		}
	}
}
