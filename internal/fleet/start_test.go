package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// A process that began while its clock was ahead is heard from when the clock has been set
// right, however far that was.
func TestAProcessWhoseClockWasSetRightSinceItBegan(t *testing.T) {
	for _, ahead := range []time.Duration{90 * time.Second, 23 * time.Hour, 24 * time.Hour, 25 * time.Hour, 400 * 24 * time.Hour} {
		for name, wrongFor := range map[string]int{"at once": 0, "after a heartbeat": 1, "after six": 6} {
			t.Run(ahead.String()+" "+name, func(t *testing.T) {
				table, _ := newLogged(roomy)
				s := newSpeaker("a")
				s.process.Epoch = at(-1).Add(ahead).UnixNano()
				for i := range wrongFor {
					receive(table, s.beat(at(5*float64(i)).Add(ahead)), at(5*float64(i)))
				}
				require.True(t, receive(table, s.wait(1, 1, 1, true, at(39), at(40)), at(40.5)))
				require.True(t, receive(table, s.beat(at(45), 1, 1), at(45)))
				require.Zero(t, table.Ahead(s.process))
				require.Equal(t, Reporting, table.Processes(nil)[0].Status)
				task := table.Task(taskID(1))
				require.NotNil(t, task)
				require.Len(t, task.Waits, 1)
				table.check(t)
			})
		}
	}
}

// Which of two starts of an instance is the later one. The first is heard from at 100 and
// the second at 200.
func TestWhichStartIsTheLaterOne(t *testing.T) {
	const day = 24 * 3600
	type said struct{ epoch, observed float64 }
	for _, c := range []struct {
		name          string
		first, second said
		replaced      bool // the first by the second
	}{
		{"a restart", said{7, 99}, said{150, 199}, true},
		{"a late word of an earlier start", said{90, 99}, said{20, 80}, false},
		{"a restart after a start with its clock ahead", said{day + 90, day + 99}, said{150, 199}, true},
		{"the same, set right since", said{day + 90, 99}, said{150, 199}, true},
		{"the same, within the time that it was ahead", said{110, 105}, said{150, 199}, true},
		{"a restart with its clock ahead", said{7, 99}, said{day + 150, day + 199}, true},
		{"both ahead", said{day + 7, day + 99}, said{day + 150, day + 199}, true},
		{"both ahead, the second by less", said{2*day + 90, 2*day + 99}, said{day + 150, day + 199}, true},
		{"a late word of an earlier start, before one ahead", said{day + 90, day + 99}, said{20, 199}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, _ := newLogged(roomy)
			first, second := newSpeaker("a"), newSpeaker("a")
			first.process.Epoch, second.process.Epoch = at(c.first.epoch).UnixNano(), at(c.second.epoch).UnixNano()
			table.Apply(first.beat(at(c.first.observed)), at(100))
			table.Apply(second.beat(at(c.second.observed)), at(200))
			got := make(map[report.Process]Status)
			for _, p := range table.Processes(nil) {
				got[p.Process] = p.Status
			}
			want := map[report.Process]Status{first.process: Reporting, second.process: Replaced}
			if c.replaced {
				want = map[report.Process]Status{first.process: Replaced, second.process: Reporting}
			}
			require.Equal(t, want, got)
			// And it stays so, whoever is heard from next.
			table.Apply(first.beat(at(c.first.observed+105)), at(205))
			table.Apply(second.beat(at(c.second.observed+6)), at(206))
			for _, p := range table.Processes(nil) {
				require.Equal(t, want[p.Process], p.Status)
			}
			table.check(t)
		})
	}
}

// The same after a restart of the collector, which knows when it has heard from both last.
func TestWhichRestoredStartIsTheLaterOne(t *testing.T) {
	const day = 24 * 3600
	type said struct{ epoch, heard float64 }
	for _, c := range []struct {
		name          string
		first, second said
		later         int
	}{
		{"a restart", said{7, 99}, said{150, 199}, 2},
		{"an earlier one that was heard from later", said{150, 160}, said{7, 199}, 1},
		{"a restart after a start with its clock ahead", said{day + 90, 99}, said{150, 199}, 2},
		{"a restart with its clock ahead", said{7, 99}, said{day + 150, 199}, 2},
		{"both ahead", said{2*day + 90, 99}, said{day + 150, 199}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := func(s said) report.Process {
				return report.Process{Service: "orders", Instance: "a", Epoch: at(s.epoch).UnixNano()}
			}
			table, _ := newLogged(roomy)
			table.Restore([]Record{
				{Process: id(c.first), Status: Lost, LastHeard: at(c.first.heard)},
				{Process: id(c.second), Status: Lost, LastHeard: at(c.second.heard)},
			}, at(300))
			want := id([]said{c.first, c.second}[c.later-1]).Epoch
			require.Equal(t, want, table.newest[instanceOf(id(c.first))].epoch)
		})
	}
}
