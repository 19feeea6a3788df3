package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// tallies are honest counts of a process: tasks start, block and end.
type tallies map[string]report.NameCounts

func (c tallies) work(rnd *rand.Rand) {
	for i := range 3 {
		name := fmt.Sprint("task", i)
		n := c[name]
		begun := rnd.Int64N(20)
		n.Started += begun
		n.Running += begun
		for _, ended := range []*int64{&n.Completed, &n.Failed, &n.Cancelled} {
			k := rnd.Int64N(n.Running/3 + 1)
			*ended += k
			n.Running -= k
		}
		all := n.Running + n.Blocked
		n.Blocked = rnd.Int64N(all + 1)
		n.Running = all - n.Blocked
		c[name] = n
	}
}

func (c tallies) beat(s *speaker, observed time.Time) *report.Report {
	r := s.beat(observed)
	r.Heartbeat.ByName = make(map[string]report.NameCounts)
	for name, n := range c {
		r.Heartbeat.ByName[name] = n
	}
	return r
}

// balance holds the counts against each other: whatever has started has ended or lives.
// Tasks of a process that came back after it was lost are in both, until they end.
func (t *Table) balance(tb testing.TB, l *log) {
	tb.Helper()
	var sum Delta
	for _, d := range l.totals {
		sum.Add(d.NameCounts)
		sum.Lost += d.Lost
		require.GreaterOrEqual(tb, min(d.Running, d.Blocked, d.Lost, d.Started, d.Completed, d.Failed, d.Cancelled), int64(0))
	}
	var back int64
	for _, p := range t.processes {
		own := p.copy()
		var backHere int64
		if p.status == Reporting {
			for _, a := range p.books.byName {
				backHere += a.writtenOff
			}
		}
		require.Equal(tb, own.Counts.Started+backHere, ends(own.Counts)+own.LostTasks+own.Running+own.Blocked, "process %+v", own)
		back += backHere
	}
	require.Equal(tb, sum.Started+back, ends(sum.Counts)+sum.Lost+sum.Running+sum.Blocked)
}

// Started is ended plus live, whatever processes do: they say goodbye, are killed,
// start again, come back after a break; and their heartbeats come late, twice or never.
func TestWhatHasStartedHasEndedOrLives(t *testing.T) {
	var goodbyes, losses, returns, replacements, late int
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		table, l := newLogged(roomy)
		now := epoch
		speakers := []*speaker{newSpeaker("a"), newSpeaker("b"), newSpeaker("c")}
		counts := []tallies{{}, {}, {}}
		var held []*report.Report
		apply := func(r *report.Report) {
			require.Equal(t, report.Used, table.Apply(r, now))
			table.balance(t, l)
		}
		for range 60 {
			i := rnd.IntN(len(speakers))
			s := speakers[i]
			counts[i].work(rnd)
			r := counts[i].beat(s, now)
			switch rnd.IntN(12) {
			case 0:
				r.Heartbeat.Final = true // and it may go on, as after a Shutdown that was too early
				goodbyes++
				apply(r)
			case 1:
				now = now.Add(time.Minute) // all others are lost
				apply(r)
			case 2:
				again := newSpeaker(s.process.Instance)
				again.process.Epoch = s.process.Epoch + int64(time.Minute)
				speakers[i], counts[i] = again, tallies{}
				held = append(held, r) // its last words come late, if at all
				replacements++
			case 3:
				held = append(held, r)
			case 4:
				apply(r)
				apply(r)
			default:
				apply(r)
			}
			if len(held) > 0 && rnd.IntN(4) == 0 {
				k := rnd.IntN(len(held))
				apply(held[k])
				held = slices.Delete(held, k, k+1)
				late++
			}
			now = now.Add(time.Duration(rnd.IntN(6)) * time.Second)
			table.Advance(now)
			table.balance(t, l)
		}
		for _, e := range l.of(ProcessEnded) {
			if e.Status == Lost {
				losses++
			}
		}
		returns += len(l.of(ProcessFound)) - len(table.processes)
		table.check(t)
	}
	for what, n := range map[string]int{"goodbyes": goodbyes, "losses": losses, "returns": returns, "replacements": replacements, "late": late} {
		require.Greater(t, n, 50, what)
	}
}

// What became of the open tasks of a process, in numbers, and what its later words change.
func TestOpenTasksOfAProcessThatIsOver(t *testing.T) {
	n := func(started, completed, failed, cancelled, running, blocked int64) report.NameCounts {
		return report.NameCounts{
			Counts:  report.Counts{Started: started, Completed: completed, Failed: failed, Cancelled: cancelled},
			Running: running, Blocked: blocked,
		}
	}
	delta := func(c report.NameCounts, lost int64) Delta { return Delta{NameCounts: c, Lost: lost} }
	for name, c := range map[string]struct {
		end   func(table *Table, s *speaker, last report.NameCounts) // ends it at 10 s
		ended Delta
		after report.NameCounts // said after that
		then  Delta
	}{
		"goodbye": {
			func(table *Table, s *speaker, last report.NameCounts) {
				r := s.counting(s.beat(at(10)), "order", last)
				r.Heartbeat.Final = true
				table.Apply(r, at(10))
			}, delta(n(29, 11, 5, 3+10, 0, 0), 0),
			n(31, 14, 6, 4, 2, 5), delta(n(31, 11, 5, 15, 0, 0), 0), // 5 of 10 ended otherwise, and 2 more had started
		},
		"lost, and back": {
			func(table *Table, _ *speaker, _ report.NameCounts) { table.Advance(at(10 + 60)) },
			delta(n(29, 11, 5, 3, 0, 0), 10),
			n(31, 14, 6, 4, 2, 5), delta(n(31, 11, 5, 3, 2, 5), 10),
		},
		"lost, and back with many ends": {
			func(table *Table, _ *speaker, _ report.NameCounts) { table.Advance(at(10 + 60)) },
			delta(n(29, 11, 5, 3, 0, 0), 10),
			n(41, 30, 7, 4, 0, 0), delta(n(41, 21, 7, 3, 0, 0), 10), // 10 of 22 are not told again
		},
		"replaced": {
			func(table *Table, s *speaker, _ report.NameCounts) {
				again := newSpeaker("a")
				again.process.Epoch += int64(time.Minute)
				table.Apply(again.beat(at(60)), at(60))
			}, delta(n(29, 11, 5, 3, 0, 0), 10),
			n(31, 14, 6, 4, 2, 5), delta(n(31, 11, 5, 3, 0, 0), 12),
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpeaker("a")
			table, l := newLogged(roomy)
			first := n(29, 11, 5, 3, 4, 6)
			table.Apply(s.counting(s.beat(at(9)), "order", first), at(9))
			c.end(table, s, first)
			require.Equal(t, c.ended, l.totals["orders/order"])
			table.balance(t, l)
			table.Apply(s.counting(s.beat(at(100)), "order", c.after), at(100))
			require.Equal(t, c.then, l.totals["orders/order"])
			table.balance(t, l)
		})
	}
}

// A process that is lost twice has lost its tasks once.
func TestAProcessThatIsLostTwiceIsCountedOnce(t *testing.T) {
	s := newSpeaker("a")
	table, l := newLogged(roomy)
	for i, c := range []struct {
		said report.NameCounts
		lost int64
	}{
		{report.NameCounts{Counts: report.Counts{Started: 19, Completed: 7, Failed: 2}, Running: 10}, 10},
		{report.NameCounts{Counts: report.Counts{Started: 19, Completed: 7, Failed: 2}, Running: 10}, 10},                           // no change
		{report.NameCounts{Counts: report.Counts{Started: 25, Completed: 11, Failed: 3, Cancelled: 1}, Running: 4, Blocked: 6}, 16}, // 6 ended, 6 began
	} {
		sec := float64(i) * 100
		table.Apply(s.counting(s.beat(at(sec)), "order", c.said), at(sec))
		for tick := range 60 { // as it is called: a jump is time in which we were stopped
			table.Advance(at(sec + float64(tick)))
		}
		require.Equal(t, c.lost, l.totals["orders/order"].Lost, "loss %d", i)
		require.Equal(t, c.lost, table.Processes(nil)[0].LostTasks)
	}
}

// A report about a task of another process, or for a wait of another task, is refused
// and changes nothing. When the first has ended, the second may have it.
func TestATaskBelongsToTheProcessThatReportedItFirst(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	table, _ := newLogged(roomy)
	for i, c := range []struct {
		r    *report.Report
		want report.Drop
	}{
		{a.wait(1, 11, 0, true, at(1), at(2)), report.Used},
		{b.wait(1, 12, 0, true, at(1), at(2)), report.DropClaimed},
		{b.task(1, taskspan.Running, at(2)), report.DropClaimed},
		{b.task(1, taskspan.Completed, at(2)), report.DropClaimed},
		{a.wait(2, 11, 5, true, at(1), at(3)), report.DropClaimed},
		{a.wait(2, 11, 5, false, at(1), at(3)), report.DropClaimed},
		{b.wait(2, 11, 0, true, at(1), at(3)), report.Used}, // wait ids are of a process
		{a.wait(1, 11, 1, true, at(1), at(4)), report.Used},
	} {
		require.Equal(t, c.want, table.Apply(c.r, at(5)), "report %d", i)
	}
	require.Equal(t, a.process, table.Task(taskID(1)).Process)
	require.EqualValues(t, 1, table.Task(taskID(1)).Waits[0].Revision)
	require.Equal(t, b.process, table.Task(taskID(2)).Process)
	table.check(t)

	table.Apply(a.task(1, taskspan.Completed, at(6)), at(6))
	table.Advance(at(60))
	require.Equal(t, report.Used, table.Apply(b.wait(1, 12, 1, true, at(1), at(60)), at(60)))
	require.Equal(t, b.process, table.Task(taskID(1)).Process)
}

// What comes of a process that is over is counted.
func TestLateReportsAreCounted(t *testing.T) {
	old, again := newSpeaker("a"), newSpeaker("a")
	again.process.Epoch += int64(time.Minute)
	table, _ := newLogged(roomy)
	table.Apply(old.wait(1, 1, 0, true, at(0), at(1)), at(1))
	table.Apply(again.beat(at(60)), at(60))
	require.Zero(t, table.Counters().LateReports)
	table.Apply(old.wait(2, 2, 0, true, at(1), at(2)), at(61))
	table.Apply(old.task(3, taskspan.Running, at(2)), at(61))
	table.Apply(old.beat(at(2)), at(61)) // is used: its counts may be new
	require.EqualValues(t, 2, table.Counters().LateReports)
	require.Empty(t, table.Tasks(nil))
}
