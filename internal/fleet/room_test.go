package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// begun is a report about one of a speaker's tasks, each of which began later.
func (s *speaker) begun(r *report.Report, task int) *report.Report {
	r.Task.ID.Trace[0], r.Task.Start = s.process.Instance[0], at(float64(task))
	return r
}

func (s *speaker) running(task int) *report.Report {
	return s.begun(s.task(byte(task), taskspan.Running, at(250)), task)
}

func (s *speaker) blocked(task int, open bool) *report.Report {
	return s.begun(s.wait(byte(task), int64(task), 0, open, at(float64(task)), at(250)), task)
}

// Each process has its share of the live tasks, and running tasks go before blocked
// ones. A step is a process with how many running and blocked tasks it reports; want is
// what is live of each process afterwards, running and blocked.
func TestTasksHaveShares(t *testing.T) {
	type step struct {
		who              string
		running, blocked int
	}
	for _, c := range []struct {
		name             string
		steps            []step
		want             map[string][2]int
		evicted, refused int64
	}{
		{"one process may fill the table", []step{{"a", 14, 0}}, map[string][2]int{"a": {12, 0}}, 0, 2},
		{"running tasks of a noisy one go up to the share", []step{{"a", 12, 0}, {"b", 9, 0}}, map[string][2]int{"a": {6, 0}, "b": {6, 0}}, 6, 3},
		{"a third one has its share, too", []step{{"a", 12, 0}, {"b", 9, 0}, {"c", 7, 0}}, map[string][2]int{"a": {4, 0}, "b": {4, 0}, "c": {4, 0}}, 6 + 4, 3 + 3},
		{"blocked tasks push out running ones of the same process", []step{{"a", 12, 3}}, map[string][2]int{"a": {9, 3}}, 3, 0},
		{"and those of another one, also below its share", []step{{"b", 5, 0}, {"a", 0, 7}, {"c", 0, 2}}, map[string][2]int{"b": {3, 0}, "a": {0, 7}, "c": {0, 2}}, 2, 0},
		{"blocked tasks of a noisy one do not push out running ones within their share", []step{{"b", 5, 0}, {"a", 0, 9}}, map[string][2]int{"b": {5, 0}, "a": {0, 7}}, 0, 2},
		{"blocked tasks of a noisy one go up to the share", []step{{"a", 0, 13}, {"b", 0, 8}}, map[string][2]int{"a": {0, 6}, "b": {0, 6}}, 6, 1 + 2},
		{"running tasks push out no blocked ones", []step{{"a", 0, 12}, {"b", 3, 0}}, map[string][2]int{"a": {0, 12}, "b": {0, 0}}, 0, 3},
		{"running ones of a noisy one go first", []step{{"a", 2, 10}, {"b", 0, 4}}, map[string][2]int{"a": {0, 8}, "b": {0, 4}}, 4, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := NewTable(Limits{Processes: 9, Tasks: 12, Waits: 12}, func(Event) {})
			speakers := make(map[string]*speaker)
			for _, s := range c.steps {
				if speakers[s.who] == nil {
					speakers[s.who] = newSpeaker(s.who)
				}
				for i := range s.running {
					table.Apply(speakers[s.who].running(1+i), at(300))
				}
				for i := range s.blocked {
					table.Apply(speakers[s.who].blocked(101+i, true), at(300))
				}
			}
			got := make(map[string][2]int)
			for _, p := range table.Processes(nil) {
				got[p.Instance] = [2]int{p.LiveTasks - p.OpenWaits, p.OpenWaits}
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.evicted, table.Counters().TasksEvicted)
			require.Equal(t, c.refused, table.Counters().TasksRefused)
			table.check(t)
		})
	}
}

// The youngest go first, and what was pushed out is back when there is room.
func TestPushedOutTasksComeBack(t *testing.T) {
	table, l := newLogged(Limits{Processes: 9, Tasks: 4, Waits: 4})
	a, b := newSpeaker("a"), newSpeaker("b")
	for i := range 4 {
		table.Apply(a.running(1+i), at(300))
	}
	first := b.blocked(101, true)
	table.Apply(first, at(300))
	evicted := l.of(TaskEnded)
	require.Len(t, evicted, 1)
	require.Equal(t, ByEviction, evicted[0].Reason)
	require.Equal(t, a.running(4).Task.ID, evicted[0].Task.ID, "the youngest")
	table.Apply(b.blocked(101, false), at(301))
	table.EndTask(first.Task.ID, taskspan.Completed, at(301), at(301))
	table.Apply(a.running(4), at(302))
	require.NotNil(t, table.Task(a.running(4).Task.ID))
	table.check(t)
}
