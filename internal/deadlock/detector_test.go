package deadlock

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

var (
	epoch = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	roomy = Limits{Limits: fleet.Limits{Processes: 100, Tasks: 10_000, Waits: 10_000, Edges: 100_000}, Deadlocks: 100}
)

const skew = 500 * time.Millisecond

func at(sec float64) time.Time { return epoch.Add(time.Duration(sec * float64(time.Second))) }

// speaker is a process that reports.
type speaker struct {
	process  report.Process
	sequence int64
}

func newSpeaker(service string) *speaker {
	return &speaker{process: report.Process{Service: service, Instance: service + "-1", Epoch: epoch.UnixNano()}}
}

func id(n int) (t report.TaskID) {
	t.Trace[0], t.Trace[1], t.Span[0], t.Span[1] = byte(n), byte(n>>8), byte(n), byte(n>>8)
	t.Trace[15], t.Span[7] = 1, 1
	return t
}

// held is a holder by number.
func held(n int) report.Holder { return report.Holder{Task: id(n), Generation: 1, Weight: 1} }

// stuck reports that task n waits; change may change the report.
func (s *speaker) stuck(n int, since, seen float64, kind taskspan.Kind, resource string, change func(*report.Report), holders ...int) *report.Report {
	s.sequence++
	r := &report.Report{
		Process: s.process, Sequence: s.sequence, Observed: at(seen),
		Task: &report.Task{ID: id(n), Name: fmt.Sprint("task ", n), State: taskspan.Blocked, Start: at(since - 1)},
		Wait: &report.Wait{
			ID: int64(n), Revision: 1, Open: true, Kind: kind, ResourceID: resource, ResourceName: resource,
			Since: at(since), Complete: true,
		},
	}
	for _, h := range holders {
		r.Wait.Holders = append(r.Wait.Holders, held(h))
	}
	if change != nil {
		change(r)
	}
	return r
}

func (s *speaker) mutex(n int, lock string, holder int) *report.Report {
	return s.stuck(n, 0, 1, taskspan.WaitMutex, lock, nil, holder)
}

func (s *speaker) beat(sec float64, waits ...int64) *report.Report {
	s.sequence++
	revisions := make([]int64, len(waits))
	for i := range revisions {
		revisions[i] = 1
	}
	return &report.Report{
		Process: s.process, Sequence: s.sequence, Observed: at(sec),
		Heartbeat: &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1, WaitIDs: waits, Revisions: revisions},
	}
}

func detect(t *testing.T, reports ...*report.Report) (*Detector, []*Deadlock) {
	t.Helper()
	d := New(roomy, skew)
	for _, r := range reports {
		require.Equal(t, report.Used, d.Apply(r, r.Observed))
	}
	found, _ := d.Evaluate(reports[len(reports)-1].Observed)
	return d, found
}

func core(dl *Deadlock) map[report.TaskID]bool {
	in := make(map[report.TaskID]bool)
	for _, t := range dl.Core {
		in[t.ID] = true
	}
	return in
}

// Every kind of deadlock is found, and its twin that only looks like one is not.
func TestKinds(t *testing.T) {
	answers := func(call int) func(*report.Report) {
		return func(r *report.Report) { r.Task.RemoteParent = id(call) }
	}
	call := func(n int) string { return taskspan.ResourceSpan + id(n).String() }
	a, b := newSpeaker("a"), newSpeaker("b")
	for _, c := range []struct {
		name    string
		reports []*report.Report
		core    []int // nil: no deadlock
		kind    Kind
	}{
		{"two mutexes", []*report.Report{a.mutex(1, "x", 2), a.mutex(2, "y", 1)}, []int{1, 2}, Local},
		{"two mutexes, one holder runs", []*report.Report{a.mutex(1, "x", 2), a.mutex(2, "y", 3)}, nil, ""},
		{"three in a ring", []*report.Report{a.mutex(1, "x", 2), a.mutex(2, "y", 3), a.mutex(3, "z", 1)}, []int{1, 2, 3}, Local},
		{"a lock taken twice", []*report.Report{a.mutex(1, "x", 1)}, []int{1}, Self},
		{
			"a writer between two readers", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitRWMutexWrite, "rw", nil, 2, 3),
				a.mutex(2, "x", 1),
				a.stuck(3, 0, 1, taskspan.WaitRWMutexRead, "rw", nil, 1),
			}, []int{1, 2, 3}, Local,
		},
		{
			// A detector that keeps one holder for each lock misses it.
			"two readers, the first of them in the cycle, the other asleep", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitRWMutexWrite, "rw", nil, 2, 3),
				a.mutex(2, "x", 1),
			}, []int{1, 2}, Local,
		},
		{
			"a read lock taken twice around a writer", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitRWMutexRead, "rw", nil, 2),
				a.stuck(2, 0, 1, taskspan.WaitRWMutexWrite, "rw", nil, 1),
			}, []int{1, 2}, Local,
		},
		{
			"all permits held by tasks that are stuck", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitSemaphore, "s", needs(1), 2, 3),
				a.mutex(2, "x", 1), a.mutex(3, "x", 1),
			}, []int{1, 2, 3}, Local,
		},
		{
			// A cycle, but the other permit comes back.
			"a permit of a task that runs", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitSemaphore, "s", needs(1), 2, 3),
				a.mutex(2, "x", 1),
			}, nil, "",
		},
		{
			"more permits needed than can come back", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitSemaphore, "s", needs(2), 2, 3),
				a.mutex(2, "x", 1),
			}, []int{1, 2}, Local,
		},
		{
			"a join on a child that needs the parent's lock", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitJoin, "child", nil, 2), a.mutex(2, "x", 1),
			}, []int{1, 2}, Local,
		},
		{
			"a Once within itself", []*report.Report{a.stuck(1, 0, 1, taskspan.WaitOnce, "config", nil, 1)}, []int{1}, Self,
		},
		{
			"a Once whose function wants what a waiter holds", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitOnce, "config", nil, 2), a.mutex(2, "x", 1),
			}, []int{1, 2}, Local,
		},
		{
			"a pair of channels", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitChannelReceive, "c", needs(1), 2),
				a.stuck(2, 0, 1, taskspan.WaitChannelReceive, "d", needs(1), 1),
			}, []int{1, 2}, Local,
		},
		{
			"a select with a way out", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitSelect, "c or d", needs(1), 2, 3),
				a.stuck(2, 0, 1, taskspan.WaitChannelReceive, "e", needs(1), 1),
			}, nil, "",
		},
		{
			"a select without one", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitSelect, "c or d", needs(1), 2, 3),
				a.stuck(2, 0, 1, taskspan.WaitChannelReceive, "e", needs(1), 1),
				a.stuck(3, 0, 1, taskspan.WaitMutex, "x", nil, 2),
			}, []int{1, 2, 3}, Local,
		},
		{
			// Two things at once: one of them is enough to be stuck.
			"a task that waits for two things", []*report.Report{
				a.mutex(1, "x", 9),
				a.stuck(1, 0, 1, taskspan.WaitMutex, "y", func(r *report.Report) { r.Wait.ID = 77 }, 2),
				a.mutex(2, "z", 1),
			}, []int{1, 2}, Local,
		},
		{
			"a call that comes back to the caller's lock", []*report.Report{
				a.stuck(1, 0, 4, taskspan.WaitRemote, call(100), nil),
				b.stuck(2, 0, 4, taskspan.WaitRemote, call(200), answers(100)),
				a.stuck(3, 0, 4, taskspan.WaitMutex, "x", answers(200), 1),
				a.stuck(1, 0, 6, taskspan.WaitRemote, call(100), nil),
				b.stuck(2, 0, 6, taskspan.WaitRemote, call(200), answers(100)),
				a.stuck(3, 0, 6, taskspan.WaitMutex, "x", answers(200), 1),
			}, []int{1, 2, 3}, Distributed,
		},
		{
			"a call that nobody is known to answer", []*report.Report{
				a.stuck(1, 0, 4, taskspan.WaitRemote, call(100), nil), a.mutex(3, "x", 1),
			}, nil, "",
		},
		{
			"a call that another task may answer", []*report.Report{
				a.stuck(1, 0, 4, taskspan.WaitRemote, call(100), nil),
				a.stuck(2, 0, 4, taskspan.WaitMutex, "x", answers(100), 1),
				a.stuck(3, 0, 4, taskspan.WaitMutex, "y", answers(100), 8),
			}, nil, "",
		},
		{
			"locks outside of the processes", []*report.Report{
				a.stuck(1, 0, 3, taskspan.WaitExternal, "ext:x", holding("ext:y")),
				b.stuck(2, 0, 3, taskspan.WaitExternal, "ext:y", holding("ext:x")),
			}, []int{1, 2}, Distributed,
		},
		{
			"holders that are not all known", []*report.Report{
				a.stuck(1, 0, 1, taskspan.WaitMutex, "x", func(r *report.Report) { r.Wait.Complete = false }, 2),
				a.mutex(2, "y", 1),
			}, nil, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, found := detect(t, c.reports...)
			if c.core == nil {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			want := make(map[report.TaskID]bool)
			for _, n := range c.core {
				want[id(n)] = true
			}
			require.Equal(t, want, core(found[0]))
			require.Equal(t, c.kind, found[0].Kind)
			require.Equal(t, Certain, found[0].Confidence)
			require.NotEmpty(t, found[0].Suggestion())
			again, ended := d.Evaluate(at(7))
			require.Empty(t, again)
			require.Empty(t, ended)
			t.Log(found[0].Story(at(7)))
		})
	}
}

// The story of a Once says who runs the function, and what to change.
func TestOnceInWords(t *testing.T) {
	s := newSpeaker("a")
	for _, c := range []struct {
		name    string
		reports []*report.Report
		want    []string
	}{
		{
			"within itself",
			[]*report.Report{s.stuck(1, 0, 1, taskspan.WaitOnce, "config", nil, 1)},
			[]string{`the first run of "config"`, "up to      itself", "calls Do of the same Once"},
		},
		{
			"and a lock",
			[]*report.Report{s.stuck(1, 0, 1, taskspan.WaitOnce, "config", nil, 2), s.mutex(2, "x", 1)},
			[]string{`the first run of "config"`, "up to  ", "The function that a Once runs needs a resource"},
		},
	} {
		_, found := detect(t, c.reports...)
		require.Len(t, found, 1, c.name)
		for _, want := range c.want {
			require.Contains(t, found[0].Story(at(7))+found[0].Suggestion(), want, c.name)
		}
	}
}

func needs(n int64) func(*report.Report) { return func(r *report.Report) { r.Wait.Need = n } }

func holding(resources ...string) func(*report.Report) {
	return func(r *report.Report) {
		for _, resource := range resources {
			r.Task.Holds = append(r.Task.Holds, report.Hold{Resource: resource, UntilReleased: true})
		}
	}
}

func TestAStorySaysWhoCalledTheLine(t *testing.T) {
	s := newSpeaker("a")
	first, second := s.mutex(1, "x", 2), s.mutex(2, "y", 1)
	first.Wait.Place = report.Place{Function: "main.(*pool).conn", File: "/src/shop/pool.go", Line: 20}
	first.Wait.Callers = []report.Place{
		{Function: "main.(*server).nested", File: "/src/shop/main.go", Line: 99}, {Function: "main.main", File: "/src/shop/main.go", Line: 7},
	}
	_, found := detect(t, first, second)
	require.Len(t, found, 1)
	const callers = "main.(*server).nested shop/main.go:99 ← main.main shop/main.go:7"
	require.Contains(t, found[0].Story(at(7)), "\n    at         main.(*pool).conn shop/pool.go:20\n    called by  "+callers+"\n")
	require.Contains(t, found[0].CycleText(), " at main.(*pool).conn shop/pool.go:20 ← "+callers+", ")
	require.Equal(t, 1, strings.Count(found[0].Story(at(7)), "called by"), "the other wait has no callers")
}

func TestBystandersAreVictimsAndInNoCycle(t *testing.T) {
	s := newSpeaker("a")
	reports := []*report.Report{s.mutex(1, "x", 2), s.mutex(2, "y", 1)}
	for n := 10; n < 20; n++ {
		reports = append(reports, s.mutex(n, "x", 2))
	}
	reports = append(reports, s.mutex(30, "z", 10), s.mutex(40, "w", 41))
	_, found := detect(t, reports...)
	require.Len(t, found, 1)
	require.Len(t, found[0].Core, 2)
	require.Equal(t, 11, found[0].Victims)
	require.Equal(t, 2, strings.Count(found[0].CycleText(), "\n")+1)
}

func TestWaitsThatDidNotStandTogetherProveNothing(t *testing.T) {
	s := newSpeaker("a")
	// 1 waited for 2 until some time after 1 s; 2 waits for 1 since some time before 3 s.
	first, second := s.mutex(1, "x", 2), s.stuck(2, 2, 3, taskspan.WaitMutex, "y", nil, 1)
	d, found := detect(t, first, second)
	require.Empty(t, found)
	// The same wait of 1, seen again later, stood all the time.
	later := *first
	s.sequence++
	later.Sequence, later.Observed = s.sequence, at(4)
	d.Apply(&later, at(4))
	found, _ = d.Evaluate(at(4))
	require.Len(t, found, 1)
	require.Equal(t, at(2), found[0].Since)
}

func TestAHeartbeatConfirms(t *testing.T) {
	s := newSpeaker("a")
	d, found := detect(t, s.mutex(1, "x", 2), s.stuck(2, 2, 3, taskspan.WaitMutex, "y", nil, 1))
	require.Empty(t, found)
	d.Apply(s.beat(5, 1, 2), at(5))
	found, _ = d.Evaluate(at(5))
	require.Len(t, found, 1)
}

func TestClocksOfTwoProcessesMayDiffer(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	ext := func(s *speaker, n int, waits, has string, seen float64) *report.Report {
		return s.stuck(n, 0, seen, taskspan.WaitExternal, waits, holding(has))
	}
	d, found := detect(t, ext(a, 1, "ext:x", "ext:y", 0.9), ext(b, 2, "ext:y", "ext:x", 0.9))
	require.Empty(t, found, "they overlap for less than twice the skew")
	d.Apply(ext(a, 1, "ext:x", "ext:y", 1.2), at(1.2))
	found, _ = d.Evaluate(at(1.2))
	require.Empty(t, found)
	d.Apply(ext(b, 2, "ext:y", "ext:x", 1.2), at(1.2))
	found, _ = d.Evaluate(at(1.2))
	require.Len(t, found, 1)
}

// Every ending that there is a name for occurs.
func TestADeadlockEndsOnceAndSaysHow(t *testing.T) {
	tried := map[Ending]func(d *Detector, s *speaker){
		Released: func(d *Detector, s *speaker) {
			r := s.mutex(1, "x", 2)
			r.Wait.Open, r.Observed = false, at(9)
			d.Apply(r, at(9))
		},
		ProcessLost: func(d *Detector, _ *speaker) { d.Advance(at(60)) },
		Cancelled: func(d *Detector, s *speaker) {
			r := s.beat(9)
			r.Heartbeat.Final = true
			d.Apply(r, at(9))
		},
		DeadlineReached: func(d *Detector, s *speaker) { d.Apply(s.beat(9), at(9)) },
		Evicted:         func(d *Detector, _ *speaker) { d.Apply(newSpeaker("b").mutex(3, "z", 4), at(9)) },
	}
	for _, how := range Endings {
		t.Run(string(how), func(t *testing.T) {
			s := newSpeaker("a")
			first := s.mutex(1, "x", 2)
			if how == DeadlineReached {
				first.Wait.Deadline = at(8)
			}
			limits := roomy
			if how == Evicted {
				limits.Waits = 2
			}
			d := New(limits, skew)
			d.Apply(first, at(1))
			d.Apply(s.mutex(2, "y", 1), at(1))
			found, _ := d.Evaluate(at(1))
			require.Len(t, found, 1)
			if how == DeadlineReached {
				require.Equal(t, Transient, found[0].Confidence)
			}
			require.NotNil(t, d.Deadlocked(id(1)))
			tried[how](d, s)
			found, ended := d.Evaluate(at(61))
			require.Empty(t, found)
			require.Len(t, ended, 1)
			require.Equal(t, how, ended[0].How)
			require.Nil(t, d.Deadlocked(id(1)))
			require.Empty(t, d.Standing(nil))
			require.Len(t, d.Past(nil), 1)
			found, ended = d.Evaluate(at(62))
			require.Empty(t, found)
			require.Empty(t, ended)
		})
	}
}

func TestOneIdentityHoweverLongItStandsAndWhoeverFindsIt(t *testing.T) {
	s := newSpeaker("a")
	first := []*report.Report{s.mutex(1, "x", 2), s.stuck(2, 0.5, 1, taskspan.WaitRWMutexWrite, "y", nil, 1, 3)}
	joins := s.stuck(3, 0.9, 2, taskspan.WaitMutex, "z", nil, 1)
	d, found := detect(t, first...)
	require.Len(t, found, 1)
	one := found[0].ID
	// 3 holds y, too, and gets stuck later: the same deadlock has grown.
	for _, r := range append(first, joins) {
		again := *r
		s.sequence++
		again.Sequence, again.Observed = s.sequence, at(2)
		d.Apply(&again, at(2))
	}
	found, ended := d.Evaluate(at(2))
	require.Empty(t, ended)
	require.Len(t, found, 1)
	require.Equal(t, one, found[0].ID)
	require.Len(t, found[0].Added, 1)
	require.Len(t, found[0].Core, 3)
	require.Len(t, d.Standing(nil), 1)
	// Another collector sees all of it at once.
	for _, r := range append(first, joins) {
		s.sequence++
		r.Sequence, r.Observed = s.sequence, at(40)
	}
	_, found = detect(t, append(first, joins)...)
	require.Len(t, found, 1)
	require.Equal(t, one, found[0].ID)
}

func TestGuessedWaitsAreSuspected(t *testing.T) {
	s := newSpeaker("a")
	first := s.mutex(1, "x", 2)
	first.Wait.Inferred = true
	_, found := detect(t, first, s.mutex(2, "y", 1))
	require.Len(t, found, 1)
	require.Equal(t, Suspected, found[0].Confidence)
}

// guessed marks the wait of a report as a guess, in a revision.
func guessed(r *report.Report, is bool, revision int64, seen float64) *report.Report {
	r.Wait.Inferred, r.Wait.Revision, r.Observed = is, revision, at(seen)
	return r
}

// What was a guess can be known later: the deadlock is then told once more, as certain,
// and counts as one.
func TestASuspectedDeadlockBecomesCertain(t *testing.T) {
	s := newSpeaker("a")
	d, found := detect(t, guessed(s.mutex(1, "x", 2), true, 1, 1), guessed(s.mutex(2, "y", 1), true, 1, 1))
	require.Len(t, found, 1)
	require.Equal(t, Suspected, found[0].Confidence)
	first := found[0].ID
	apply := func(now float64, reports ...*report.Report) []*Deadlock {
		for _, r := range reports {
			require.Equal(t, report.Used, d.Apply(r, r.Observed))
		}
		found, ended := d.Evaluate(at(now))
		require.Empty(t, ended)
		require.Len(t, d.Standing(nil), 1)
		require.Equal(t, first, d.Standing(nil)[0].ID)
		return found
	}
	// One of two is not enough.
	require.Empty(t, apply(3, guessed(s.mutex(1, "x", 2), false, 2, 3), guessed(s.mutex(2, "y", 1), true, 1, 3)))
	require.Equal(t, Suspected, d.Standing(nil)[0].Confidence)
	// The new revision of the second is known before an instant that both share.
	require.Empty(t, apply(4, guessed(s.mutex(2, "y", 1), false, 2, 4)))
	require.Equal(t, Suspected, d.Standing(nil)[0].Confidence)
	// Now the first has stood at that instant, too.
	found = apply(5, guessed(s.mutex(1, "x", 2), false, 2, 5))
	require.Len(t, found, 1)
	require.True(t, found[0].Raised)
	require.Nil(t, found[0].Added)
	require.Equal(t, Certain, found[0].Confidence)
	require.Equal(t, Certain, d.Standing(nil)[0].Confidence)
	// Only once.
	require.Empty(t, apply(6, guessed(s.mutex(1, "x", 2), false, 2, 6), guessed(s.mutex(2, "y", 1), false, 2, 6)))
	// And the other way round, which is no news.
	require.Empty(t, apply(8, guessed(s.mutex(1, "x", 2), true, 3, 7), guessed(s.mutex(2, "y", 1), false, 2, 8), guessed(s.mutex(1, "x", 2), true, 3, 8)))
	require.Equal(t, Suspected, d.Standing(nil)[0].Confidence)
}

// A suspected deadlock in which a lock turns out to be handed over is over.
func TestASuspectedDeadlockIsTakenBack(t *testing.T) {
	s := newSpeaker("a")
	d, found := detect(t, guessed(s.mutex(1, "x", 2), true, 1, 1), guessed(s.mutex(2, "y", 1), true, 1, 1))
	require.Len(t, found, 1)
	r := guessed(s.mutex(1, "x", 2), false, 2, 3)
	r.Wait.Complete = false
	require.Equal(t, report.Used, d.Apply(r, at(3)))
	found, ended := d.Evaluate(at(3))
	require.Empty(t, found)
	require.Len(t, ended, 1)
	require.Empty(t, d.Standing(nil))
}

// Nothing that a suspected deadlock says is said without an "if".
func TestSuspicionsAreWordedAsSuch(t *testing.T) {
	call := taskspan.ResourceSpan + id(1).String()
	answers := func(r *report.Report) { r.Task.RemoteParent = id(1) }
	guess := func(r *report.Report) { r.Wait.Inferred = true }
	s, other := newSpeaker("shop"), newSpeaker("bank")
	for _, c := range []struct {
		name    string
		reports []*report.Report
		says    []string
	}{
		{"two locks", []*report.Report{
			guessed(s.mutex(1, "x", 2), true, 1, 1), guessed(s.stuck(2, 0, 1, taskspan.WaitSemaphore, "y", nil, 1), true, 1, 1),
		}, []string{
			`2 tasks of shop may be waiting for each other: a deadlock if mutex "x" and semaphore "y" are released only by the goroutines that took them`,
			"nother goroutine may be about to release this one", "If it is a deadlock: ", "no goroutine has held as many permits at a time",
		}},
		{"one lock of two", []*report.Report{s.mutex(1, "x", 2), guessed(s.mutex(2, "y", 1), true, 1, 1)}, []string{
			`a deadlock if mutex "y" is released only by the goroutine that took it`,
		}},
		{"a lock taken twice", []*report.Report{guessed(s.mutex(1, "x", 1), true, 1, 1)}, []string{
			`a task of shop may be waiting for itself: a deadlock if mutex "x" is released only by the goroutine that took it`,
		}},
		{"four locks", []*report.Report{
			guessed(s.mutex(1, "x", 2), true, 1, 1), guessed(s.mutex(2, "y", 3), true, 1, 1),
			guessed(s.mutex(3, "z", 4), true, 1, 1), guessed(s.mutex(4, "w", 1), true, 1, 1),
		}, []string{`mutex "w", mutex "x", mutex "y" and others are released only by`}},
		{"two channels", []*report.Report{
			guessed(s.stuck(1, 0, 1, taskspan.WaitChannelSend, "y", nil, 2), true, 1, 1),
			guessed(s.stuck(2, 0, 1, taskspan.WaitSelect, "x", nil, 1), true, 1, 1),
		}, []string{
			`a deadlock if channel send "y" and select "x" have ends that only the goroutines use that opened them`,
			"nother goroutine may be about to use this one",
		}},
		{"a channel, a lock and a group", []*report.Report{
			guessed(s.stuck(1, 0, 1, taskspan.WaitChannelReceive, "y", nil, 2), true, 1, 1), guessed(s.mutex(2, "x", 3), true, 1, 1),
			guessed(s.stuck(3, 0, 1, taskspan.WaitJoin, "workers", nil, 1), true, 1, 1),
		}, []string{
			`a deadlock if mutex "x" is released only by the goroutine that took it and channel receive "y" has ends that only the ` +
				`goroutines use that opened them and the end of "workers" comes only from the task itself`,
			"nother goroutine may be about to release this one", "nother goroutine may be about to use this one", "may be about to call Done for one",
		}},
		{"a guessed call", []*report.Report{
			s.stuck(1, 0, 1, taskspan.WaitRemote, call, guess), other.stuck(2, 0, 1, taskspan.WaitMutex, "x", answers, 1),
			s.beat(4, 1), other.beat(4, 2),
		}, []string{
			"2 tasks of bank and shop may be waiting for each other: a deadlock if the callers are blocked until their calls return", "as with a stream",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, found := detect(t, c.reports...)
			require.Len(t, found, 1)
			found[0].Victims = 2
			story := strings.Join(strings.Fields(found[0].Story(at(9))), " ")
			require.True(t, strings.HasPrefix(story, "SUSPECTED DEADLOCK "+found[0].Headline()), story)
			for _, want := range append(c.says, "2 more tasks are waiting behind it", "If it lasts longer than the work can take") {
				require.Contains(t, story, want)
			}
			for _, never := range []string{"can never proceed", "ends it now", "stuck", "seem"} {
				require.NotContains(t, story, never)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	limits := roomy
	limits.Edges, limits.Deadlocks = 50, 3
	d := New(limits, skew)
	for i := range 20 {
		s := newSpeaker(fmt.Sprint("p", i))
		n := 10 * i
		r := s.mutex(n+1, "x", n+2)
		d.Apply(r, at(1))
		d.Apply(s.mutex(n+2, "y", n+1), at(1))
	}
	for i := range 20 {
		s := newSpeaker(fmt.Sprint("p", i))
		s.sequence = 50
		n := 10 * i
		wide := s.stuck(n+3, 0, 1, taskspan.WaitRWMutexWrite, "z", holding("ext:a", "ext:b", "ext:c"), 1, 2, 4, 5, 6, 7, 8)
		d.Apply(wide, at(1))
	}
	found, _ := d.Evaluate(at(1))
	require.Len(t, found, 20, "each is told")
	require.Len(t, d.Standing(nil), 3)
	require.Equal(t, 17, d.NotKept())
	require.EqualValues(t, 17, d.Counters().DeadlocksGivenUp)
	require.NotZero(t, d.Table().Counters().EdgesRefused)
	require.LessOrEqual(t, d.Table().Edges(), 50)
	for i := range 20 {
		s := newSpeaker(fmt.Sprint("p", i))
		s.sequence = 100
		r := s.beat(2)
		r.Heartbeat.Final = true
		d.Apply(r, at(2))
	}
	d.Evaluate(at(2))
	d.Evaluate(at(3))
	claims, standing, past, unproven := d.Sizes()
	require.Equal(t, []int{0, 0, 3, 0}, []int{claims, standing, past, unproven})
	require.Zero(t, d.Table().Edges())
	require.True(t, d.touched.empty())
}

func TestALongRingIsFound(t *testing.T) {
	limits := roomy
	limits.Tasks, limits.Waits, limits.Edges = 200_000, 200_000, 1_000_000
	d := New(limits, skew)
	s := newSpeaker("a")
	const n = 60_000 // as many as id tells apart
	for i := range n {
		d.Apply(s.mutex(i, "x", (i+1)%n), at(1))
	}
	found, _ := d.Evaluate(at(1))
	require.Len(t, found, 1)
	require.Len(t, found[0].Core, n)
	require.Less(t, len(found[0].Story(at(2))), 10_000)
	require.Less(t, len(found[0].CycleText()), 10_000)
}

// The order in which reports come does not matter.
func TestAnyOrderGivesTheSame(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		a, b := newSpeaker("a"), newSpeaker("b")
		var reports []*report.Report
		for round := range 3 {
			sec := float64(round*2 + 1)
			for n := range 6 {
				s, other := a, (n+1)%6
				if n >= 3 {
					s = b
				}
				if n == 5 {
					other = 50 // runs
				}
				reports = append(reports, s.stuck(n, 0, sec, taskspan.WaitMutex, "x", nil, other))
			}
			reports = append(reports, a.stuck(20, 0, sec, taskspan.WaitMutex, "y", nil, 21), b.stuck(21, 0, sec, taskspan.WaitMutex, "z", nil, 20))
		}
		rnd.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
		reports = append(reports, reports[:5]...)
		d := New(roomy, skew)
		total := 0
		for _, r := range reports {
			d.Apply(r, at(6))
			if rnd.IntN(3) == 0 {
				found, _ := d.Evaluate(at(6))
				total += len(found)
			}
		}
		found, _ := d.Evaluate(at(6))
		require.Equal(t, 1, total+len(found), "seed %d", seed)
		require.Len(t, d.Standing(nil)[0].Core, 2)
	}
}
