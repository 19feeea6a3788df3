package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// receive does what a processor does with a report: it is refused if it is too far
// from what the clock of its process shows.
func receive(t *Table, r *report.Report, now time.Time) (used bool) {
	far := func() bool { return r.Observed.Sub(t.Present(r.Process, now)).Abs() > report.MaxClockError }
	if far() && (!t.Refused(r, now) || far()) {
		return false
	}
	return t.Apply(r, now) == report.Used
}

// What is thought of a clock after heartbeats that were observed and came at these
// seconds, of which one comes every five seconds unless said otherwise.
func TestWhatHeartbeatsTellOfAClock(t *testing.T) {
	const day = 24 * 3600
	type beat struct{ observed, came float64 }
	every := func(n int, off, delay float64) (beats []beat) {
		for i := range n {
			beats = append(beats, beat{5*float64(i) + off, 5*float64(i) + delay})
		}
		return beats
	}
	for _, test := range []struct {
		name   string
		beats  []beat
		used   int // of the beats
		ahead  float64
		proved float64
	}{
		{"the same as ours", every(6, 0, 0), 6, 0, 0},
		{"a delay", every(6, 0, 31), 6, 0, 0},
		{"the longest delay", every(6, 0, 60), 6, 0, 0},
		{"more than a delay", every(6, 0, 60.5), 6, -60.5, 0},
		{"three are not enough", every(3, -7200, 1), 3, 0, 0},
		{"four are", every(4, -7200, 1), 4, -7201, 0},
		{"ahead", every(2, 13, 3), 2, 10, 10},
		{"more than a day behind", every(7, -25*3600, 2), 4, -25*3600 - 2, 0},
		{"more than a day ahead", every(7, 26*3600, 2), 4, 26*3600 - 2, 26*3600 - 2},
		{"years behind", every(5, -4000*day, 1), 2, -4000*day - 1, 0},
		{"jitter", []beat{{0, 7200}, {5, 7206}, {10, 7211.5}, {15, 7215}}, 4, -7200, 0},
		{"too much jitter", []beat{{0, 7200}, {5, 7208}, {10, 7210}, {15, 7215}}, 4, 0, 0},
		{"a queue of two hours that empties", []beat{{0, 7200}, {5, 7202}, {10, 7204}, {15, 7206}, {20, 7208}}, 5, 0, 0},
		{"a queue of two days that empties", []beat{{0, 2 * day}, {5, 2*day + 1}, {10, 2*day + 2}, {15, 2*day + 3}, {20, 2*day + 4}}, 0, 0, 0},
		{"heartbeats on demand that came late", []beat{{0, 300}, {1, 301}, {2, 302}, {3, 303}, {4, 304}}, 5, 0, 0},
		{"behind, then set right", append(every(5, -7200, 0), beat{25, 25.25}), 6, 0, 0},
		{"behind, then by less", append(every(5, -7200, 0), beat{-3575, 25}), 6, -3600, 0},
		{"set right, within a delay", append(every(5, -7200, 0), beat{-15, 25}), 6, 0, 0},
		{"ahead, then set right", append(every(5, 600, 0), beat{24.5, 25}), 6, 0, 0},
		{"ahead, then by less", append(every(5, 600, 0), beat{45, 25}), 6, 20, 20},
		{"a day and more behind, then set right", append(every(5, -26*3600, 0), beat{24.5, 25}), 3, 0, 0},
		{"a day and more ahead, then set right", append(every(5, 26*3600, 0), beat{24.5, 25}), 3, 0, 0},
		{"right, then a suspend of a day and more", append(every(5, 0, 1), []beat{
			{25, 2*day + 1}, {30, 2*day + 6}, {35, 2*day + 11}, {40, 2*day + 16}, {45, 2*day + 21},
		}...), 7, -2*day + 24, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSpeaker("a")
			table, _ := newLogged(roomy)
			used := 0
			for _, b := range test.beats {
				if receive(table, s.beat(at(b.observed)), at(b.came)) {
					used++
				}
			}
			require.Equal(t, test.used, used, "heartbeats were used")
			require.Equal(t, test.ahead, table.Ahead(s.process).Seconds(), "ahead")
			require.Equal(t, test.proved, table.ProvedAhead(s.process).Seconds(), "proved")
			table.check(t)
		})
	}
}

// What is shown of a process with a wrong clock has our time.
func TestATaskOfAProcessThatIsBehind(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	const behind = 30 * time.Hour
	for i := range 4 {
		receive(table, s.beat(at(5*float64(i)).Add(-behind)), at(5*float64(i)))
	}
	require.True(t, receive(table, s.wait(1, 1, 1, true, at(16).Add(-behind), at(17).Add(-behind)), at(17)))
	require.True(t, receive(table, s.beat(at(20).Add(-behind), 1, 1), at(20)))
	task := table.Task(taskID(1))
	require.NotNil(t, task)
	require.Equal(t, at(16), task.Waits[0].Since.Add(-task.Ahead))
	p := table.Processes(nil)
	require.Len(t, p, 1)
	require.Equal(t, -behind, p[0].Ahead)
	require.Equal(t, Reporting, p[0].Status)
	require.Empty(t, table.strangers, "it is known now")
	// Anything that comes sooner than it can corrects that.
	receive(table, s.wait(1, 1, 1, true, at(16), at(22)), at(22))
	require.Zero(t, table.Ahead(s.process))
}

func TestStrangersAreBounded(t *testing.T) {
	table, _ := newLogged(Limits{Processes: 2 * maxStrangers, Tasks: 1, Waits: 1})
	speakers := make([]*speaker, maxStrangers+7)
	for i := range speakers {
		speakers[i] = newSpeaker(fmt.Sprint(i))
		require.False(t, receive(table, speakers[i].beat(at(0)), at(50*3600)))
	}
	require.Len(t, table.strangers, maxStrangers)
	require.EqualValues(t, 7, table.Counters().ClocksForgotten)
	// What is no heartbeat, or not its first part, is no stranger.
	other := newSpeaker("other")
	table.Refused(other.wait(1, 1, 1, true, at(0), at(1)), at(50*3600))
	part := other.beat(at(1))
	part.Heartbeat.Part, part.Heartbeat.Parts = 2, 2
	table.Refused(part, at(50*3600))
	require.NotContains(t, table.strangers, other.process)
	require.EqualValues(t, 7, table.Counters().ClocksForgotten)
}

// After its clock has been set back a process is heard as before: heartbeats confirm
// and close, and what was seen by the old clock is no evidence by the new one.
func TestAClockThatIsSetBackByAnHour(t *testing.T) {
	const hour = 3600
	s := newSpeaker("a")
	table, l := newLogged(roomy)
	table.Apply(s.beat(at(2*hour)), at(hour)) // an hour ahead
	require.Equal(t, time.Hour, table.Ahead(s.process))
	table.Apply(s.wait(1, 11, 1, true, at(2*hour+1), at(2*hour+2)), at(hour+2)) // told again after the step
	table.Apply(s.wait(2, 12, 1, true, at(2*hour+1), at(2*hour+3)), at(hour+3)) // its end gets lost
	table.Apply(s.wait(3, 13, 4, true, at(2*hour+1), at(2*hour+4)), at(hour+4)) // of an SDK that does not notice steps
	table.Apply(s.beat(at(2*hour+5), 11, 1, 12, 1, 13, 4), at(hour+5))

	table.Apply(s.wait(1, 11, 2, true, at(hour+1), at(hour+8)), at(hour+8))
	table.Apply(s.beat(at(hour+10), 11, 2, 13, 4), at(hour+10))
	require.Zero(t, table.Ahead(s.process))
	one, two, three := table.Task(taskID(1)), table.Task(taskID(2)), table.Task(taskID(3))
	require.Empty(t, two.Waits, "a heartbeat that is newer does not list it")
	require.Equal(t, ByHeartbeat, l.of(WaitClosed)[0].Reason)
	w := one.Waits[0]
	require.Equal(t, []time.Time{at(hour + 8), at(hour + 8), at(hour + 10)}, []time.Time{w.First, w.Last, w.Confirmed()})
	w = three.Waits[0]
	require.Equal(t, []time.Time{at(hour + 10), at(hour + 10), at(hour + 10)}, []time.Time{w.First, w.Last, w.Confirmed()})
	require.False(t, w.Since.After(w.First))
	for _, task := range []*Task{one, two, three} {
		require.False(t, task.LastSeen.After(at(hour+10)), "it was last seen at %v", task.LastSeen)
	}
	table.check(t)

	// Afterwards all is as ever.
	table.Apply(s.beat(at(hour+15), 11, 2, 13, 4), at(hour+15))
	require.Equal(t, at(hour+15), table.Task(taskID(1)).Waits[0].Confirmed())
	require.Equal(t, at(hour+15), table.Task(taskID(3)).Waits[0].Confirmed())
	table.Apply(s.beat(at(hour+20), 11, 2), at(hour+20))
	require.Empty(t, table.Task(taskID(3)).Waits)
	table.check(t)
}

// Heartbeats in parts of before and after a step are not mixed, and those that miss
// parts of before do not stand in the way of later ones.
func TestPartsAcrossAClockThatIsSetBack(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	part := func(observed time.Time, part, parts int, waits ...int64) {
		r := s.beat(observed, waits...)
		r.Heartbeat.Part, r.Heartbeat.Parts = part, parts
		table.Apply(r, observed)
	}
	for i := range maxPending {
		part(at(5000+5*float64(i)), 1, 2, 1, 1) // the second part is lost
	}
	table.Apply(s.wait(1, 1, 1, true, at(100), at(101)), at(101))
	part(at(105), 1, 2, 1, 1)
	part(at(105), 2, 2)
	require.Equal(t, at(105), table.Task(taskID(1)).Waits[0].Confirmed())
	part(at(110), 1, 2)
	part(at(110), 2, 2)
	require.Empty(t, table.Task(taskID(1)).Waits)
	require.EqualValues(t, maxPending, table.Counters().PartsGivenUp)
	table.check(t)
}

// What a clock makes of lags, in seconds, whatever it was before.
func TestTheClockIsWhatRegularHeartbeatsSay(t *testing.T) {
	for _, test := range []struct {
		name          string
		before        float64 // a report came so long after it was observed
		newest        float64 // when the last heartbeat was observed
		lags          []float64
		ahead, behind float64
	}{
		{"behind after it was ahead", -600, 0, []float64{7200, 7201, 7202, 7200.5}, 0, 7200},
		{"ahead by less than was seen before", -600, 0, []float64{-20, -21, -20.5, -20}, 600, 0},
		{"ahead by more", -6, 0, []float64{-20, -22.25, -20.5, -22}, 22.25, 0},
		{"set back, then behind", 0, 1000, []float64{7200, 7201, 7202, 7200.5}, 0, 7200},
	} {
		t.Run(test.name, func(t *testing.T) {
			seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
			c := clock{newest: at(test.newest)}
			c.report(seconds(test.before))
			for i, lag := range test.lags {
				observed := at(5 * float64(i+1))
				c.heartbeat(observed, observed.Add(seconds(lag)), 5*time.Second)
			}
			require.Equal(t, seconds(test.ahead), c.ahead, "ahead")
			require.Equal(t, seconds(test.behind), c.behind, "behind")
		})
	}
}

// A report that is refused for its time, though it has nearly ours, says how much its
// clock is ahead now.
func TestARefusedReportNearOurTime(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	for i := range 5 {
		receive(table, s.beat(at(26*3600+5*float64(i))), at(5*float64(i)))
	}
	require.Equal(t, 26*time.Hour, table.Ahead(s.process))
	require.True(t, table.Refused(s.beat(at(45)), at(25)))
	require.Equal(t, 20*time.Second, table.Ahead(s.process))
}

// What was sent after a heartbeat that shows a step, and comes before it, is of the new
// clock already.
func TestReportsThatOvertakeTheHeartbeatOfAStep(t *testing.T) {
	const hour = 3600
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	table.Apply(s.beat(at(2*hour)), at(hour))
	table.Apply(s.wait(1, 11, 1, true, at(2*hour+1), at(2*hour+2)), at(hour+2))
	table.Apply(s.task(2, taskspan.Running, at(2*hour+3)), at(hour+3))
	step := s.beat(at(hour+10), 11, 3) // its wait has been told again since, which got lost
	table.Apply(s.wait(3, 13, 1, true, at(hour+12), at(hour+13)), at(hour+13))
	table.Apply(step, at(hour+13))
	require.Empty(t, table.Task(taskID(1)).Waits, "the revision that is known is not the one that is open")
	old, overtook := table.Task(taskID(2)), table.Task(taskID(3))
	require.Equal(t, []time.Time{at(hour + 10), at(hour + 10)}, []time.Time{old.FirstSeen, old.LastSeen})
	require.Equal(t, at(hour+13), overtook.LastSeen)
	require.Len(t, overtook.Waits, 1)
	require.Equal(t, at(hour+13), overtook.Waits[0].Last)
	require.Equal(t, at(hour+12), overtook.Waits[0].Since)
	table.check(t)
}
