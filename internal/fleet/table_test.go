package fleet

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }

func taskID(n byte) report.TaskID {
	return report.TaskID{Trace: [16]byte{15: n}, Span: [8]byte{7: n}}
}

// speaker makes the reports of one process, with its sequence numbers.
type speaker struct {
	process  report.Process
	sequence int64
}

func newSpeaker(name string) *speaker {
	return &speaker{process: report.Process{Service: "orders", Instance: name, Epoch: epoch.UnixNano()}}
}

func (s *speaker) say(observed time.Time) *report.Report {
	s.sequence++
	return &report.Report{Process: s.process, Sequence: s.sequence, Observed: observed}
}

func (s *speaker) wait(task byte, id, revision int64, open bool, since, observed time.Time) *report.Report {
	r := s.say(observed)
	r.Task = &report.Task{ID: taskID(task), Name: "order", State: taskspan.Blocked, Start: epoch}
	r.Wait = &report.Wait{
		ID: id, Revision: revision, Open: open, Kind: taskspan.WaitMutex,
		ResourceID: "m1", ResourceName: "inventory", Since: since,
	}
	return r
}

func (s *speaker) task(task byte, state taskspan.State, observed time.Time) *report.Report {
	r := s.say(observed)
	r.Task = &report.Task{ID: taskID(task), Name: "order", State: state, Start: epoch}
	return r
}

// beat lists waits as id, revision pairs.
func (s *speaker) beat(observed time.Time, waits ...int64) *report.Report {
	r := s.say(observed)
	r.Heartbeat = &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1}
	for i := 0; i < len(waits); i += 2 {
		r.Heartbeat.WaitIDs = append(r.Heartbeat.WaitIDs, waits[i])
		r.Heartbeat.Revisions = append(r.Heartbeat.Revisions, waits[i+1])
	}
	return r
}

func (s *speaker) counting(r *report.Report, name string, n report.NameCounts) *report.Report {
	r.Heartbeat.ByName = map[string]report.NameCounts{name: n}
	r.Heartbeat.Counts = n.Counts
	r.Heartbeat.Running, r.Heartbeat.Blocked = n.Running, n.Blocked
	return r
}

// log collects the events of a table.
type log struct {
	events []Event
	totals map[string]Delta
}

func newLogged(limits Limits) (*Table, *log) {
	l := &log{totals: make(map[string]Delta)}
	return NewTable(limits, func(e Event) {
		l.events = append(l.events, e)
		if e.Kind == CountsAdvanced {
			sum := l.totals[e.Process.Service+"/"+e.Name]
			sum.Started += e.Delta.Started
			sum.Completed += e.Delta.Completed
			sum.Failed += e.Delta.Failed
			sum.Cancelled += e.Delta.Cancelled
			sum.Running += e.Delta.Running
			sum.Blocked += e.Delta.Blocked
			sum.Lost += e.Delta.Lost
			sum.Durations.Seconds += e.Delta.Durations.Seconds
			for i, n := range e.Delta.Durations.Buckets {
				sum.Durations.Buckets[i] += n
			}
			l.totals[e.Process.Service+"/"+e.Name] = sum
		}
	}), l
}

func (l *log) of(kind EventKind) []Event {
	return slices.DeleteFunc(slices.Clone(l.events), func(e Event) bool { return e.Kind != kind })
}

var roomy = Limits{Processes: 100, Tasks: 1000, Waits: 1000}

// state is everything that must not depend on the order of the reports.
func state(t *Table) string {
	var b strings.Builder
	tasks := t.Tasks(nil)
	slices.SortFunc(tasks, func(a, b *Task) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	for _, task := range tasks {
		fmt.Fprintf(&b, "%s %s seq=%d seen=%s..%s\n", task.ID, task.Live(), task.Sequence,
			task.FirstSeen.Sub(epoch), task.LastSeen.Sub(epoch))
		for _, w := range task.Waits {
			fmt.Fprintf(&b, "  wait %d rev=%d seq=%d %s..%s confirmed %s\n", w.ID, w.Revision, w.Sequence,
				w.First.Sub(epoch), w.Last.Sub(epoch), w.Confirmed().Sub(epoch))
		}
	}
	processes := t.Processes(nil)
	slices.SortFunc(processes, func(a, b Process) int { return strings.Compare(a.Instance, b.Instance) })
	for _, p := range processes {
		fmt.Fprintf(&b, "%s %s running=%d blocked=%d %+v\n", p.Instance, p.Status, p.Running, p.Blocked, p.Counts)
	}
	return b.String()
}

// story is what a random honest process sends in a while: waits come, get new
// holders and go, heartbeats re-check them, in one or several parts.
func story(rnd *rand.Rand, name string, first byte) []*report.Report {
	s := newSpeaker(name)
	type open struct {
		task     byte
		revision int64
		since    time.Time
	}
	var out []*report.Report
	waits := map[int64]*open{}
	next := int64(0)
	var counts report.Counts
	// It ends between two heartbeats, so that closing reports have to do their part.
	for second := 1; second <= 43; second++ {
		now := at(float64(second))
		for range rnd.Intn(3) {
			next++
			waits[next] = &open{task: first + byte(next%16), since: now.Add(-time.Second)}
			counts.Started++
			out = append(out, s.wait(waits[next].task, next, 0, true, waits[next].since, now))
		}
		ids := make([]int64, 0, len(waits))
		for id := range waits {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			w := waits[id]
			switch rnd.Intn(12) {
			case 0:
				w.revision++
				out = append(out, s.wait(w.task, id, w.revision, true, w.since, now))
			case 1:
				out = append(out, s.wait(w.task, id, w.revision, true, w.since, now))
			case 2:
				delete(waits, id)
				counts.Completed++
				out = append(out, s.wait(w.task, id, w.revision, false, w.since, now))
			case 3:
				// It ends, and the report of that is lost.
				delete(waits, id)
				counts.Failed++
				s.sequence++
			}
		}
		if second%5 == 0 {
			parts := 1 + rnd.Intn(3)
			var beats []*report.Report
			for range parts {
				beats = append(beats, s.beat(now))
			}
			for i, b := range beats {
				b.Heartbeat.Part, b.Heartbeat.Parts = i+1, parts
			}
			for id, w := range waits {
				h := beats[rnd.Intn(parts)].Heartbeat
				h.WaitIDs = append(h.WaitIDs, id)
				h.Revisions = append(h.Revisions, w.revision)
			}
			s.counting(beats[0], "order", report.NameCounts{Counts: counts, Blocked: int64(len(waits))})
			out = append(out, beats...)
		}
	}
	return out
}

func TestAnyOrderAndRepetitionGivesTheSameState(t *testing.T) {
	for seed := range int64(60) {
		rnd := rand.New(rand.NewSource(seed))
		reports := append(story(rnd, "a", 0), story(rnd, "b", 100)...)
		now := at(44)
		inOrder, told := newLogged(roomy)
		for _, r := range reports {
			inOrder.Apply(r, now)
		}
		want := state(inOrder)
		require.Contains(t, want, "wait ", "seed %d: a story without open waits proves nothing", seed)
		for range 10 {
			shuffled := slices.Clone(reports)
			for range len(reports) / 2 {
				shuffled = append(shuffled, reports[rnd.Intn(len(reports))])
			}
			rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			table, l := newLogged(roomy)
			for _, r := range shuffled {
				table.Apply(r, now)
			}
			require.Equal(t, want, state(table), "seed %d", seed)
			require.Equal(t, told.totals, l.totals, "seed %d", seed)
			table.check(t)
		}
	}
}

// check holds the table against its own invariants.
func (t *Table) check(tb testing.TB) {
	tb.Helper()
	waits, listed, reporting := 0, 0, 0
	for _, p := range t.processes {
		waits += len(p.waits)
		if p.status == Reporting {
			reporting++
		}
		if p.beat != nil {
			listed += len(p.beat.lists)
		}
		for _, part := range p.pending {
			listed += len(part.lists)
		}
		for _, w := range p.waits {
			require.False(tb, w.Last.Before(w.First) || w.Confirmed().Before(w.Last), "wait %d: First <= Last <= Confirmed", w.ID)
			require.Contains(tb, t.tasks[w.Task].Waits, w, "a wait is listed by its task")
		}
		running := 0
		for id := range p.tasks {
			require.Equal(tb, p.id, t.tasks[id].Process)
			if len(t.tasks[id].Waits) == 0 {
				require.Contains(tb, p.running, id)
				running++
			}
		}
		require.Len(tb, p.running, running)
		require.Equal(tb, []int{len(p.waits), len(p.tasks), running}, []int{p.byWaits.n, p.byTasks.n, p.byRunning.n})
		require.LessOrEqual(tb, len(p.books.byName), maxNames+1)
	}
	most := 0
	for _, p := range t.processes {
		most = max(most, len(p.waits))
	}
	if largest := t.byWaits.largest(); largest != nil {
		require.Len(tb, largest.waits, most)
	} else {
		require.Zero(tb, most)
	}
	require.Equal(tb, waits, t.waits)
	require.Equal(tb, listed, t.listed)
	require.Equal(tb, reporting, t.reporting)
	require.LessOrEqual(tb, t.waits, t.limits.Waits)
	require.LessOrEqual(tb, len(t.tasks), t.limits.Tasks)
	require.LessOrEqual(tb, t.reporting, t.limits.Processes)
	require.LessOrEqual(tb, len(t.gone), t.limits.Processes)
	goneNames := 0
	for _, p := range t.gone {
		goneNames += len(p.books.byName)
	}
	require.Equal(tb, goneNames, t.goneNames)
}

func TestANewerRevisionWinsAndClosedWins(t *testing.T) {
	s := newSpeaker("a")
	first := s.wait(1, 7, 0, true, at(1), at(2))
	second := s.wait(1, 7, 1, true, at(1), at(3))
	closing := s.wait(1, 7, 1, false, at(1), at(4))

	table, l := newLogged(roomy)
	table.Apply(second, at(5))
	table.Apply(first, at(5))
	require.EqualValues(t, 1, table.Task(taskID(1)).Waits[0].Revision)
	require.Equal(t, taskspan.Blocked, table.Task(taskID(1)).Live())
	table.Apply(closing, at(5))
	require.Equal(t, taskspan.Running, table.Task(taskID(1)).Live())
	require.Equal(t, at(4), l.of(WaitClosed)[0].At)
	require.Equal(t, ByReport, l.of(WaitClosed)[0].Reason)
}

func TestAHeartbeatClosesWhatItDoesNotList(t *testing.T) {
	s := newSpeaker("a")
	gone, stays := s.wait(1, 1, 0, true, at(1), at(2)), s.wait(2, 2, 0, true, at(1), at(2))
	beat := s.beat(at(5), 2, 0)
	after := s.wait(3, 3, 0, true, at(5), at(6))
	table, l := newLogged(roomy)
	for _, r := range []*report.Report{gone, stays, after, beat} {
		table.Apply(r, at(6))
	}
	require.Empty(t, table.Task(taskID(1)).Waits)
	require.Equal(t, at(5), table.Task(taskID(2)).Waits[0].Confirmed())
	require.Equal(t, at(2), table.Task(taskID(2)).Waits[0].Last)
	require.Len(t, table.Task(taskID(3)).Waits, 1, "a wait reported after the heartbeat is not its matter")
	require.Equal(t, ByHeartbeat, l.of(WaitClosed)[0].Reason)
}

func TestAHeartbeatWithAPartMissingClosesNothing(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	table.Apply(s.wait(1, 1, 0, true, at(1), at(2)), at(2))
	one, two := s.beat(at(5)), s.beat(at(5), 1, 0)
	one.Heartbeat.Parts, two.Heartbeat.Parts, two.Heartbeat.Part = 2, 2, 2
	table.Apply(one, at(5))
	require.Len(t, table.Task(taskID(1)).Waits, 1)
	require.Equal(t, at(2), table.Task(taskID(1)).Waits[0].Confirmed())
	table.Apply(two, at(5))
	require.Len(t, table.Task(taskID(1)).Waits, 1)
	require.Equal(t, at(5), table.Task(taskID(1)).Waits[0].Confirmed())
}

func TestAHeartbeatThatWaitedInAQueueClosesNothingItCannotKnow(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	table.Apply(s.wait(1, 1, 0, true, at(5), at(6)), at(6))
	table.Apply(s.beat(at(5)), at(6)) // made before, numbered and sent after
	require.Len(t, table.Task(taskID(1)).Waits, 1)
}

func TestAClockThatStepsBackClosesNothing(t *testing.T) {
	s := newSpeaker("a")
	beat, wait := s.beat(at(10)), s.wait(1, 1, 0, true, at(5), at(6))
	for _, reports := range [][]*report.Report{{beat, wait}, {wait, beat}} {
		table, _ := newLogged(roomy)
		for _, r := range reports {
			table.Apply(r, at(10))
		}
		require.Len(t, table.Task(taskID(1)).Waits, 1, "it was sent after the heartbeat")
	}
}

func TestATaskSpanEndsItsWaitsEvenIfItComesFirst(t *testing.T) {
	s := newSpeaker("a")
	open := s.wait(1, 1, 0, true, at(1), at(2))
	for _, spanFirst := range []bool{false, true} {
		table, l := newLogged(roomy)
		if spanFirst {
			table.EndTask(taskID(1), taskspan.Failed, at(3), at(3))
			table.Apply(open, at(3))
			require.Empty(t, l.of(TaskFound))
		} else {
			table.Apply(open, at(3))
			table.EndTask(taskID(1), taskspan.Failed, at(3), at(3))
			ended := l.of(TaskEnded)
			require.Len(t, ended, 1)
			require.Equal(t, taskspan.Failed, ended[0].State)
			require.Equal(t, ByTask, l.of(WaitClosed)[0].Reason)
		}
		require.Nil(t, table.Task(taskID(1)))
		table.check(t)
	}
}

func TestThreeMissedHeartbeatsAreTheEndUnlessItSaidGoodbye(t *testing.T) {
	crashed, left := newSpeaker("crashed"), newSpeaker("left")
	table, l := newLogged(roomy)
	for i, s := range []*speaker{crashed, left} {
		table.Apply(s.counting(s.beat(at(0)), "order", report.NameCounts{Counts: report.Counts{Started: 3, Completed: 1}, Running: 2}), at(0))
		table.Apply(s.wait(byte(i+1), 1, 0, true, at(0), at(1)), at(1))
	}
	final := left.beat(at(2))
	final.Heartbeat.Final = true
	table.Apply(left.counting(final, "order", report.NameCounts{Counts: report.Counts{Started: 3, Completed: 2}, Running: 1}), at(2))
	require.Equal(t, taskspan.Cancelled, l.of(TaskEnded)[0].State)
	require.Equal(t, ByGoodbye, l.of(TaskEnded)[0].Reason)

	table.Advance(at(18))
	require.Len(t, l.of(TaskEnded), 1, "the lease of 17.5 s has run from the last report at 1 s")
	table.Advance(at(18.6))
	require.Len(t, l.of(TaskEnded), 2)
	require.Equal(t, taskspan.Lost, l.of(TaskEnded)[1].State)
	require.Equal(t, Lost, l.of(ProcessEnded)[1].Status)
	require.Equal(t, Delta{Lost: 2, NameCounts: report.NameCounts{Counts: report.Counts{Started: 6, Completed: 3, Cancelled: 1}}}, l.totals["orders/order"])
	table.check(t)
}

func TestAProcessThatComesBackIsNotCountedTwice(t *testing.T) {
	s := newSpeaker("a")
	say := func(sec float64, started int64) *report.Report {
		return s.counting(s.beat(at(sec)), "order", report.NameCounts{Counts: report.Counts{Started: started, Completed: started}})
	}
	table, l := newLogged(roomy)
	table.Apply(say(0, 100), at(0))
	table.Advance(at(60))
	require.Equal(t, Lost, table.Processes(nil)[0].Status)
	table.Apply(say(70, 130), at(70))
	require.Equal(t, Reporting, table.Processes(nil)[0].Status)
	require.EqualValues(t, 130, l.totals["orders/order"].Started)
	table.check(t)
}

func TestANewEpochEndsTheOldOneWhoseLateWordsStillCount(t *testing.T) {
	old, again := newSpeaker("a"), newSpeaker("a")
	again.process.Epoch += int64(time.Minute)
	table, l := newLogged(roomy)
	table.Apply(old.counting(old.beat(at(0)), "order", report.NameCounts{Counts: report.Counts{Started: 10}, Running: 10}), at(0))
	table.Apply(old.wait(1, 1, 0, true, at(0), at(1)), at(1))
	table.Apply(again.counting(again.beat(at(60)), "order", report.NameCounts{Counts: report.Counts{Started: 1}, Running: 1}), at(2))
	require.Equal(t, ByReplacement, l.of(TaskEnded)[0].Reason)
	require.Equal(t, taskspan.Lost, l.of(TaskEnded)[0].State)
	table.Apply(old.counting(old.beat(at(2)), "order", report.NameCounts{Counts: report.Counts{Started: 12, Completed: 12}}), at(3))
	table.Apply(old.wait(2, 2, 0, true, at(1), at(2)), at(3))
	require.Nil(t, table.Task(taskID(2)), "a start that is over opens nothing")
	sum := l.totals["orders/order"]
	require.EqualValues(t, 13, sum.Started)
	require.EqualValues(t, 1, sum.Running)
	table.check(t)
}

// An earlier start that was lost does not come back beside a later one, and its counts
// still count.
func TestAnOldStartDoesNotComeBackBesideANewOne(t *testing.T) {
	old, again := newSpeaker("a"), newSpeaker("a")
	again.process.Epoch += int64(time.Minute)
	table, l := newLogged(roomy)
	table.Apply(old.counting(old.beat(at(0)), "order", report.NameCounts{Counts: report.Counts{Started: 7, Failed: 2}, Running: 5}), at(0))
	table.Advance(at(60))
	table.Apply(again.counting(again.beat(at(61)), "order", report.NameCounts{Counts: report.Counts{Started: 4}, Blocked: 4}), at(61))
	table.Apply(old.counting(old.beat(at(62)), "order", report.NameCounts{Counts: report.Counts{Started: 9, Failed: 3}, Running: 6}), at(62))
	table.Apply(old.wait(1, 1, 0, true, at(50), at(63)), at(63))
	require.Empty(t, table.Tasks(nil))
	statuses := make(map[int64]Status)
	for _, p := range table.Processes(nil) {
		statuses[p.Epoch] = p.Status
	}
	require.Equal(t, map[int64]Status{old.process.Epoch: Lost, again.process.Epoch: Reporting}, statuses)
	require.Equal(t, Delta{NameCounts: report.NameCounts{Counts: report.Counts{Started: 13, Failed: 2}, Blocked: 4}, Lost: 7}, l.totals["orders/order"])
	table.balance(t, l)
	table.check(t)
}

func TestANoisyProcessCannotPushOutOthers(t *testing.T) {
	table, _ := newLogged(Limits{Processes: 10, Tasks: 1000, Waits: 10})
	noisy, small := newSpeaker("noisy"), newSpeaker("small")
	for i := range int64(20) {
		table.Apply(noisy.wait(byte(i), i, 0, true, at(0), at(1)), at(1))
	}
	require.EqualValues(t, 10, table.Counters().WaitsRefused)
	for i := range int64(8) {
		table.Apply(small.wait(byte(100+i), i, 0, true, at(0), at(1)), at(1))
	}
	open := map[string]int{}
	for _, p := range table.Processes(nil) {
		open[p.Instance] = p.OpenWaits
	}
	require.Equal(t, map[string]int{"noisy": 5, "small": 5}, open)
	require.EqualValues(t, 5, table.Counters().WaitsEvicted)
	table.check(t)
}

func TestNothingGrowsWithUptime(t *testing.T) {
	limits := Limits{Processes: 3, Tasks: 5, Waits: 5}
	table, _ := newLogged(limits)
	now := epoch
	for i := range 300 {
		s := newSpeaker(fmt.Sprint("p", i))
		now = now.Add(10 * time.Second)
		b := s.beat(now)
		b.Heartbeat.ByName = map[string]report.NameCounts{}
		for n := range 300 {
			b.Heartbeat.ByName[fmt.Sprint("task", i, n)] = report.NameCounts{Counts: report.Counts{Started: 1}}
		}
		table.Apply(b, now)
		for w := range int64(9) {
			table.Apply(s.wait(byte(w), w, 0, true, now, now), now)
		}
		table.Advance(now)
		table.check(t)
	}
	require.LessOrEqual(t, table.ended.size, limits.Tasks)
	require.LessOrEqual(t, len(table.newest), 2*limits.Processes)
	require.NotZero(t, table.Counters().NamesMerged)
}

func TestSilentTasksAreGivenUp(t *testing.T) {
	s := newSpeaker("a")
	table, l := newLogged(roomy)
	table.Apply(s.task(1, taskspan.Running, at(30)), at(30))
	table.Apply(s.wait(2, 1, 0, true, at(28), at(30)), at(30))
	table.Apply(s.wait(2, 1, 0, false, at(28), at(31)), at(31))
	for sec := 35.0; sec <= 125; sec += 5 {
		table.Apply(s.beat(at(sec)), at(sec))
		table.Advance(at(sec))
		require.Equal(t, sec <= 46, table.Task(taskID(2)) != nil, "at %v", sec)
		require.Equal(t, sec <= 120, table.Task(taskID(1)) != nil, "at %v", sec)
	}
	require.Equal(t, ByQuiet, l.of(TaskEnded)[0].Reason)
}

func TestATaskReportEndsItsTask(t *testing.T) {
	s := newSpeaker("a")
	table, l := newLogged(roomy)
	running, done := s.task(1, taskspan.Running, at(30)), s.task(1, taskspan.Completed, at(40))
	table.Apply(running, at(30))
	table.Apply(done, at(40))
	require.Nil(t, table.Task(taskID(1)))
	require.Equal(t, taskspan.Completed, l.of(TaskEnded)[0].State)
	table.Apply(s.task(1, taskspan.Running, at(39)), at(41))
	require.Nil(t, table.Task(taskID(1)))
}

func TestDeadlockedIsTheStateOfATaskThatWaits(t *testing.T) {
	s := newSpeaker("a")
	table, l := newLogged(roomy)
	table.Apply(s.wait(1, 1, 0, true, at(1), at(2)), at(2))
	stuck := s.wait(1, 1, 0, true, at(1), at(3))
	stuck.Task.State = taskspan.Deadlocked
	table.Apply(stuck, at(3))
	require.Equal(t, taskspan.Deadlocked, table.Task(taskID(1)).Live())
	table.Apply(s.wait(1, 1, 0, true, at(1), at(4)), at(4))
	require.Equal(t, taskspan.Blocked, table.Task(taskID(1)).Live())
	var states []taskspan.State
	for _, e := range l.of(TaskChanged) {
		states = append(states, e.State)
	}
	require.Equal(t, []taskspan.State{taskspan.Blocked, taskspan.Deadlocked, taskspan.Blocked}, states)
}

// A task is deadlocked only if a detector is certain. The newest word holds, in whatever
// order words come, until the task waits no more.
func TestTheNewestWordOfADetectorHolds(t *testing.T) {
	type word struct {
		confidence taskspan.Confidence
		sec        float64 // of the detector's clock
		want       taskspan.Confidence
		state      taskspan.State
	}
	for name, words := range map[string][]word{
		"suspected, then certain, then over": {
			{taskspan.Suspected, 3, taskspan.Suspected, taskspan.Blocked},
			{taskspan.Certain, 4, taskspan.Certain, taskspan.Deadlocked},
			{"", 5, "", taskspan.Blocked},
		},
		"an end overtakes": {
			{"", 5, "", taskspan.Blocked},
			{taskspan.Certain, 4, "", taskspan.Blocked},
			{taskspan.Transient, 6, taskspan.Transient, taskspan.Blocked},
		},
		"certainty overtakes a suspicion": {
			{taskspan.Certain, 4, taskspan.Certain, taskspan.Deadlocked},
			{taskspan.Suspected, 3, taskspan.Certain, taskspan.Deadlocked},
			{taskspan.Certain, 7, taskspan.Certain, taskspan.Deadlocked},
			{"", 6, taskspan.Certain, taskspan.Deadlocked},
			{"", 7, "", taskspan.Blocked},
		},
	} {
		s := newSpeaker("a")
		table, _ := newLogged(roomy)
		table.Judge(taskID(1), taskspan.Certain, at(9), at(9)) // nobody knows it
		table.Apply(s.wait(1, 1, 0, true, at(1), at(2)), at(2))
		for i, w := range words {
			table.Judge(taskID(1), w.confidence, at(w.sec), at(10))
			task := table.Task(taskID(1))
			require.Equal(t, w.want, task.Deadlock(), "%s, word %d", name, i)
			require.Equal(t, w.state, task.Live(), "%s, word %d", name, i)
		}
		table.Judge(taskID(1), taskspan.Certain, at(20), at(20))
		table.Apply(s.wait(1, 1, 0, false, at(1), at(21)), at(21))
		require.Empty(t, table.Task(taskID(1)).Deadlock())
		table.Apply(s.wait(1, 2, 0, true, at(22), at(23)), at(23))
		require.Equal(t, taskspan.Blocked, table.Task(taskID(1)).Live(), "the next wait is another matter")
	}
}

// A detector on the way marks reports, too. Its span that the deadlock is over counts for
// them as well.
func TestAMarkOnAReportIsAWordOfADetector(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	say := func(sec float64, state taskspan.State, confidence taskspan.Confidence) *Task {
		r := s.wait(1, 1, 0, true, at(1), at(sec))
		r.Task.State, r.Task.Deadlock = state, confidence
		require.Equal(t, report.Used, table.Apply(r, at(sec)))
		return table.Task(taskID(1))
	}
	require.Empty(t, say(2, taskspan.Blocked, "").Deadlock())
	require.Equal(t, taskspan.Suspected, say(3, taskspan.Blocked, taskspan.Suspected).Deadlock())
	require.Equal(t, taskspan.Blocked, table.Task(taskID(1)).Live())
	require.Equal(t, taskspan.Certain, say(4, taskspan.Deadlocked, taskspan.Certain).Deadlock())
	table.Judge(taskID(1), "", at(5), at(5))
	require.Empty(t, table.Task(taskID(1)).Deadlock())
	require.Equal(t, taskspan.Blocked, table.Task(taskID(1)).Live())
	require.Equal(t, taskspan.Certain, say(6, taskspan.Deadlocked, "").Deadlock(), "a detector of an earlier version says only this")
}

func TestLiveCountsAddUp(t *testing.T) {
	for _, c := range []struct {
		running, blocked, deadlocked, doubtful int64
		want                                   Live
	}{
		{7, 5, 0, 0, Live{7, 5, 0}},
		{7, 5, 3, 0, Live{7, 2, 3}},
		{7, 5, 5, 0, Live{7, 0, 5}},
		{7, 5, 8, 0, Live{4, 0, 8}},    // the heartbeat is older than the waits
		{7, 5, 14, 0, Live{0, 0, 14}},  // and older than the tasks
		{-2, 5, 1, 0, Live{0, 4, 1}},   // gauges of a heartbeat that makes no sense
		{3, -4, 2, 0, Live{1, 0, 2}},   //
		{0, 0, 6, 0, Live{0, 0, 6}},    // no heartbeat yet
		{0, 11, 11, 0, Live{0, 0, 11}}, //
		{7, 5, 0, 5, Live{7, 5, 0}},    // those in doubt are blocked
		{7, 5, 0, 6, Live{6, 6, 0}},    // also if the heartbeat is older
		{7, 5, 3, 4, Live{5, 4, 3}},
		{1, 0, 0, 3, Live{0, 3, 0}},
	} {
		require.Equal(t, c.want, LiveOf(c.running, c.blocked, c.deadlocked, c.doubtful), "%+v", c)
	}
	sum := Live{1, 2, 3}
	sum.Add(Live{10, 20, 30})
	require.Equal(t, Live{11, 22, 33}, sum)
}

func TestLossIsCountedOnceAndNeverForWhatWasBeforeUs(t *testing.T) {
	s := newSpeaker("a")
	s.sequence = 500
	table, _ := newLogged(roomy)
	for i := range 10 {
		if i == 4 {
			s.sequence += 3
		}
		r := s.beat(at(float64(5 * i)))
		table.Apply(r, r.Observed)
		table.Apply(r, r.Observed)
	}
	require.EqualValues(t, 3, table.Counters().LostSpans)
	require.EqualValues(t, 10, table.Counters().Duplicates)
}

func TestSequencesAgreeWithASet(t *testing.T) {
	for seed := range int64(50) {
		rnd := rand.New(rand.NewSource(seed))
		var s sequences
		came := map[int64]bool{}
		base, newest := int64(1000), int64(0)
		for i := range 5000 {
			n := base + rnd.Int63n(200)
			if i == 0 {
				n = base
			}
			if rnd.Intn(20) == 0 {
				base += rnd.Int63n(100)
			}
			isNewest, fresh := s.add(n)
			require.Equal(t, n > newest, isNewest)
			if n > newest-windowSize {
				require.Equal(t, !came[n], fresh, "seed %d step %d number %d", seed, i, n)
			}
			came[n] = true
			newest = max(newest, n)
		}
		s.settle(newest)
		var lost int64
		for n := int64(1000); n <= newest; n++ {
			if !came[n] {
				lost++
			}
		}
		require.Equal(t, lost, s.lost, "seed %d", seed)
	}
}

func TestHandedOutRecordsNeverChange(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	table.Apply(s.wait(1, 1, 0, true, at(1), at(2)), at(2))
	before := table.Task(taskID(1))
	copied, wait := *before, *before.Waits[0]
	table.Apply(s.beat(at(5), 1, 0), at(5))
	table.Apply(s.wait(1, 1, 1, true, at(1), at(6)), at(6))
	table.Apply(s.wait(1, 2, 0, true, at(3), at(7)), at(7))
	table.EndTask(taskID(1), taskspan.Completed, at(8), at(8))
	require.True(t, reflect.DeepEqual(copied, *before))
	require.True(t, reflect.DeepEqual(wait, *before.Waits[0]))
}

// Inspection points and drops are told once, whatever repeats, overtakes or comes back.
func TestActivityIsToldByHowMuchItGrew(t *testing.T) {
	table, l := newLogged(roomy)
	s := newSpeaker("shop")
	beat := func(events, full int64) *report.Report {
		r := s.beat(epoch)
		r.Heartbeat.Events, r.Heartbeat.Dropped = events, map[string]int64{"queue_full": full}
		return r
	}
	first, second := beat(3, 0), beat(10, 4)
	table.Apply(second, epoch)
	table.Apply(first, epoch)
	table.Apply(second, epoch)
	table.Apply(beat(11, 4), epoch)
	events, dropped := int64(0), int64(0)
	for _, e := range l.of(ActivityAdvanced) {
		events += e.Activity.Events
		dropped += e.Activity.Dropped["queue_full"]
	}
	require.EqualValues(t, 11, events)
	require.EqualValues(t, 4, dropped)
}

// Each count is a maximum: late, repeated and contradictory heartbeats add nothing, and
// what each one adds is what it has grown by, whatever the name it ends up under.
func TestDurationsAdvanceLikeCounts(t *testing.T) {
	durations := func(seconds float64, first, second, last int64) (d report.Durations) {
		d.Seconds = seconds
		d.Buckets[0], d.Buckets[1], d.Buckets[len(d.Buckets)-1] = first, second, last
		return d
	}
	table, l := newLogged(roomy)
	a, b := newSpeaker("1"), newSpeaker("2")
	say := func(s *speaker, second float64, name string, n report.NameCounts) *report.Report {
		r := s.counting(s.beat(at(second)), name, n)
		return r
	}
	first := say(a, 1, "order", report.NameCounts{Counts: report.Counts{Started: 9, Completed: 5, Failed: 3, Cancelled: 1}, Durations: durations(7.5, 4, 3, 2)})
	second := say(a, 2, "order", report.NameCounts{Counts: report.Counts{Started: 17, Completed: 8, Failed: 5, Cancelled: 2}, Durations: durations(19.25, 6, 8, 3)})
	third := say(a, 3, "order", report.NameCounts{Counts: report.Counts{Started: 17, Completed: 7, Failed: 6, Cancelled: 1}, Durations: durations(11, 5, 11, 1)})
	other := say(b, 3, "order", report.NameCounts{Counts: report.Counts{Started: 2, Completed: 2}, Durations: durations(0.25, 1, 0, 1)})
	apply := func(r *report.Report) {
		require.Equal(t, report.Used, table.Apply(r, at(4)))
	}
	apply(second)
	require.Equal(t, durations(19.25, 6, 8, 3), l.totals["orders/order"].Durations)
	apply(first) // late
	apply(second)
	require.Equal(t, durations(19.25, 6, 8, 3), l.totals["orders/order"].Durations)
	apply(third) // some are fewer, some are more
	require.Equal(t, durations(19.25, 6, 11, 3), l.totals["orders/order"].Durations)
	apply(other) // the second of two processes
	require.Equal(t, durations(19.5, 7, 11, 4), l.totals["orders/order"].Durations)
	require.Equal(t, report.Counts{Started: 19, Completed: 10, Failed: 6, Cancelled: 2}, l.totals["orders/order"].Counts)

	// Names beyond the limit are summed, with their durations.
	many := a.beat(at(5))
	many.Heartbeat.ByName = make(map[string]report.NameCounts)
	for i := range maxNames + 3 {
		many.Heartbeat.ByName[fmt.Sprint("task ", i)] = report.NameCounts{Counts: report.Counts{Started: 2}, Durations: durations(0.5, 2, 0, 0)}
	}
	apply(many)
	var seconds float64
	var timed int64
	for _, sum := range l.totals {
		seconds += sum.Durations.Seconds
		timed += sum.Durations.Buckets[0]
	}
	require.InDelta(t, 19.5+0.5*float64(maxNames+3), seconds, 1e-9)
	require.EqualValues(t, 7+2*(maxNames+3), timed)
	require.EqualValues(t, 2*4, l.totals["orders/other"].Durations.Buckets[0])
}
