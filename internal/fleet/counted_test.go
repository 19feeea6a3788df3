package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Whether the first heartbeat is counted, or only what later ones add to it.
func TestWhoHasBeenCountedBefore(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		acknowledged *bool
		since        time.Time // zero: the first table of all
		sequence     int64
		started      float64 // seconds after epoch, by the process's clock
		observed     float64 // by the same clock; it is received at 100
		counted      bool    // from its start
	}{
		"an earlier heartbeat was acknowledged, and the table is the first": {&yes, time.Time{}, 7, 20, 99, false},
		"an earlier heartbeat was acknowledged to somebody else":            {&yes, at(10), 7, 20, 99, false},
		"none was acknowledged, of an old process":                          {&no, at(50), 7, 20, 99, true},
		"it does not say, and the table is the first":                       {nil, time.Time{}, 7, 20, 99, true},
		"it does not say, and is older than the table":                      {nil, at(50), 7, 20, 99, false},
		"it does not say, and is as old as the table":                       {nil, at(50), 7, 50, 99, true},
		"it does not say, and is younger than the table":                    {nil, at(50), 7, 51, 99, true},
		"its first report of all, of an old process":                        {nil, at(50), 1, 20, 99, true},
		"its second report of all, of an old process":                       {nil, at(50), 2, 20, 99, false},
		"an old process whose clock is ahead":                               {nil, at(50), 7, 1020, 1100, false},
		"a young process whose clock is ahead":                              {nil, at(50), 7, 1060, 1100, true},
		"a process whose clock was set back since it began":                 {nil, at(50), 7, 1060, 98, false},
		"an old heartbeat of an old process, which waited in a queue":       {nil, at(50), 7, 20, 30, false},
	} {
		t.Run(name, func(t *testing.T) {
			table, log := newLogged(roomy)
			if !c.since.IsZero() {
				table.CountSince(c.since)
			}
			s := &speaker{process: report.Process{Service: "orders", Instance: "a", Epoch: at(c.started).UnixNano()}, sequence: c.sequence - 1}
			counts := func(started, completed, running int64) report.NameCounts {
				return report.NameCounts{
					Counts: report.Counts{Started: started, Completed: completed, Failed: 3, Cancelled: 2}, Running: running, Blocked: 4,
					Durations: report.Durations{Seconds: float64(completed) / 2, Buckets: [taskspan.DurationBuckets]int64{3: completed}},
				}
			}
			first := s.counting(s.beat(at(c.observed)), "order", counts(40, 20, 11))
			first.Heartbeat.Acknowledged = c.acknowledged
			first.Heartbeat.Events, first.Heartbeat.Dropped = 70, map[string]int64{"max_tasks": 8}
			require.Equal(t, report.Used, table.Apply(first, at(100)))
			want := Delta{NameCounts: report.NameCounts{Running: 11, Blocked: 4}}
			if c.counted {
				want = Delta{NameCounts: counts(40, 20, 11)}
			}
			require.Equal(t, map[string]Delta{"orders/order": want}, log.totals, "the series exists, also at 0")

			// From then on all are counted alike, and a name that is new is new.
			second := s.counting(s.beat(at(c.observed+5)), "order", counts(46, 25, 12))
			second.Heartbeat.ByName["ship"] = report.NameCounts{Counts: report.Counts{Started: 9}, Running: 9}
			second.Heartbeat.Events, second.Heartbeat.Dropped = 75, map[string]int64{"max_tasks": 9, "stuck_waits": 6}
			require.Equal(t, report.Used, table.Apply(second, at(105)))
			want.Started += 6
			want.Completed += 5
			want.Running++
			want.Durations.Seconds += 2.5
			want.Durations.Buckets[3] += 5
			require.Equal(t, want, log.totals["orders/order"])
			require.EqualValues(t, 9, log.totals["orders/ship"].Started)
			activity := Activity{Dropped: make(map[string]int64)}
			for _, e := range log.of(ActivityAdvanced) {
				activity.Events += e.Activity.Events
				for reason, n := range e.Activity.Dropped {
					activity.Dropped[reason] += n
				}
			}
			wantActivity := Activity{Events: 5, Dropped: map[string]int64{"max_tasks": 1, "stuck_waits": 6}}
			taken := int64(1)
			if c.counted {
				wantActivity = Activity{Events: 75, Dropped: map[string]int64{"max_tasks": 9, "stuck_waits": 6}}
				taken = 0
			}
			require.Equal(t, wantActivity, activity)
			require.Equal(t, taken, table.Counters().TakenOver)

			// What was open is lost with the process, whoever has counted its start.
			table.Advance(at(105 + 100))
			require.EqualValues(t, 46-25-3-2, log.totals["orders/order"].Lost)
			require.Zero(t, log.totals["orders/order"].Running)
		})
	}
}

// The heartbeats of a process that moves to another table and dies there add up over both
// to what it has done, but for what it did between the last heartbeat here and the first there.
func TestTwoTablesCountAProcessOnce(t *testing.T) {
	first, here := newLogged(roomy)
	second, there := newLogged(roomy)
	s := newSpeaker("a")
	beat := func(seconds float64, started int64, acknowledged bool) *report.Report {
		r := s.counting(s.beat(at(seconds)), "order", report.NameCounts{Counts: report.Counts{Started: started, Completed: started}})
		r.Heartbeat.Acknowledged = &acknowledged
		return r
	}
	first.Apply(beat(0, 3, false), at(0))
	last := beat(5, 17, true)
	first.Apply(last, at(5))
	// The SDK repeats the last acknowledged heartbeat when it has had to connect again.
	second.Apply(last, at(9))
	second.Apply(beat(10, 29, true), at(10))
	require.EqualValues(t, 17, here.totals["orders/order"].Started)
	require.EqualValues(t, 29-17, there.totals["orders/order"].Started)
	// The repetition changes nothing where it was counted.
	first.Apply(last, at(11))
	require.EqualValues(t, 17, here.totals["orders/order"].Started)
}
