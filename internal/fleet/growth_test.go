package fleet

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/growth"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

// blockedFleet has one process with so many waits, perTask of them in each task.
func blockedFleet(waits, perTask int) (*Table, *speaker) {
	t := NewTable(Limits{Processes: 10, Tasks: waits, Waits: waits}, func(Event) {})
	s := newSpeaker("a")
	for n := range waits {
		r := s.wait(0, int64(n), 0, true, at(1), at(2))
		binary.BigEndian.PutUint32(r.Task.ID.Trace[:], uint32(n/perTask)+1)
		t.Apply(r, at(2))
	}
	return t, s
}

func (s *speaker) beatOf(waits int, observed time.Time) *report.Report {
	r := s.beat(observed)
	for n := range waits {
		r.Heartbeat.WaitIDs = append(r.Heartbeat.WaitIDs, int64(n))
		r.Heartbeat.Revisions = append(r.Heartbeat.Revisions, 0)
	}
	return r
}

// BenchmarkHeartbeat is a heartbeat that confirms all waits of a process.
func BenchmarkHeartbeat(b *testing.B) {
	for name, perTask := range map[string]int{"of few tasks": maxTaskWaits, "of many tasks": 1} {
		b.Run(name, func(b *testing.B) {
			growth.Benchmark(b, 1000, func(n int) func() {
				t, s := blockedFleet(n, perTask)
				r := s.beatOf(n, at(5))
				return func() { t.Apply(r, at(5)) }
			})
		})
	}
}

// BenchmarkWaitsOfOneTask opens all waits of tasks that have many, and closes them.
func BenchmarkWaitsOfOneTask(b *testing.B) {
	growth.Benchmark(b, 1000, func(n int) func() {
		return func() {
			t, s := blockedFleet(n, maxTaskWaits)
			for id := range n {
				r := s.wait(0, int64(id), 0, false, at(1), at(3))
				binary.BigEndian.PutUint32(r.Task.ID.Trace[:], uint32(id/maxTaskWaits)+1)
				t.Apply(r, at(3))
			}
			require.Zero(b, t.waits)
		}
	})
}

// A heartbeat changes what is known of its process. It copies no wait and no task.
func TestAHeartbeatCopiesNothing(t *testing.T) {
	const waits = 3000
	table, s := blockedFleet(waits, 1000)
	copies := make(map[*Task]bool)
	for _, task := range table.Tasks(nil) {
		copies[task] = true
	}
	require.Len(t, copies, 3)
	table.Apply(s.beatOf(waits, at(5)), at(5))
	for _, task := range table.Tasks(nil) {
		require.True(t, copies[task], "the task is the same record as before")
		require.Len(t, task.Waits, 1000)
		for _, w := range task.Waits {
			require.Equal(t, at(5), w.Confirmed())
			require.Equal(t, at(2), w.Last)
		}
		require.Equal(t, at(5), task.Seen())
	}
	// A heartbeat that lists another revision confirms nothing any more.
	r := s.beatOf(waits, at(10))
	for i := range r.Heartbeat.Revisions {
		r.Heartbeat.Revisions[i] = int64(i % 2)
	}
	table.Apply(r, at(10))
	for _, task := range table.Tasks(nil) {
		for _, w := range task.Waits {
			want := at(10)
			if w.ID%2 == 1 {
				want = at(2)
			}
			require.Equal(t, want, w.Confirmed(), "wait %d", w.ID)
		}
	}
}

// One task cannot have more waits than are kept of one. Those beyond are counted, and
// there is room again when others have ended.
func TestWaitsOfOneTaskAreBounded(t *testing.T) {
	table, s := blockedFleet(maxTaskWaits+7, maxTaskWaits+7)
	require.Len(t, table.Tasks(nil)[0].Waits, maxTaskWaits)
	require.EqualValues(t, 7, table.Counters().WaitsOfTask)
	task := table.Tasks(nil)[0].ID
	say := func(id int64, open bool) {
		r := s.wait(0, id, 0, open, at(1), at(3))
		r.Task.ID = task
		table.Apply(r, at(3))
	}
	say(5000, true)
	require.EqualValues(t, 8, table.Counters().WaitsOfTask)
	say(3, false)
	say(5000, true)
	require.EqualValues(t, 8, table.Counters().WaitsOfTask)
	require.Len(t, table.Task(task).Waits, maxTaskWaits)
	require.EqualValues(t, 5000, table.Task(task).Waits[maxTaskWaits-1].ID)
	table.check(t)
}

// A record that was handed out keeps the waits that it had, whatever is opened later.
func TestOlderVersionsOfATaskKeepTheirWaits(t *testing.T) {
	s := newSpeaker("a")
	table, _ := newLogged(roomy)
	var versions [][]*Wait
	var want [][]int64
	var open []int64
	note := func() {
		versions, want = append(versions, table.Task(taskID(1)).Waits), append(want, append([]int64(nil), open...))
	}
	for id := int64(1); id <= 40; id++ {
		table.Apply(s.wait(1, id, 0, true, at(1), at(2)), at(2))
		open = append(open, id)
		note()
		if id%4 == 0 {
			table.Apply(s.wait(1, id-2, 0, false, at(1), at(3)), at(3))
			open = append(open[:len(open)-3:len(open)-3], id-1, id)
			note()
		}
	}
	for i, waits := range versions {
		var ids []int64
		for _, w := range waits {
			ids = append(ids, w.ID)
		}
		require.Equal(t, want[i], ids, "version %d", i)
	}
}
