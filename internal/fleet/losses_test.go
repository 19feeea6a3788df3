package fleet

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// A steady loss shows where a collector that takes turns with others, or that gets what
// a sampler has left, hears a process; outages and single losses do not count.
func TestWhichLossesAreSteady(t *testing.T) {
	one := func(int) int { return 1 }
	for _, c := range []struct {
		name    string
		beats   int
		reports func(beat int) int  // that go with a heartbeat, with itself
		arrives func(beat int) bool // whether they do
		missing float64
	}{
		{"all arrive", 50, one, func(int) bool { return true }, 0},
		{"two collectors take turns", 40, one, func(i int) bool { return i%2 == 0 }, 0.5},
		{"three take turns", 60, one, func(i int) bool { return i%3 == 1 }, 2. / 3},
		{"of three, one is another collector", 60, one, func(i int) bool { return i%3 != 1 }, 1. / 3},
		{"a sampler keeps one in twenty", 200, one, func(i int) bool { return i%20 == 0 }, 0.95},
		{"turns, with many reports", 40, func(i int) int { return 11 }, func(i int) bool { return i%2 == 0 }, 0.5},
		{"an outage", 80, one, func(i int) bool { return i < 20 || i > 60 }, 0},
		{"three outages", 90, one, func(i int) bool { return i%30 > 4 }, 0},
		{"one in seven is lost", 70, one, func(i int) bool { return i%7 != 0 }, 0},
		{"turns of which too little is known", 12, one, func(i int) bool { return i%2 == 0 }, 0},
		{"turns of which just enough is known", 16, one, func(i int) bool { return i%2 == 0 }, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := NewTable(Limits{Processes: 5, Tasks: 5, Waits: 5}, func(Event) {})
			s := newSpeaker("a")
			var leaks []Process
			for i := range c.beats {
				observed := at(float64(5 * i))
				var said []*report.Report
				for range c.reports(i) - 1 {
					said = append(said, s.task(1, "running", observed))
				}
				said = append(said, s.beat(observed))
				if c.arrives(i) {
					for _, r := range said {
						require.Equal(t, report.Used, table.Apply(r, observed))
					}
				}
				table.Advance(observed)
				leaks = append(leaks, table.TakeLeaks()...)
			}
			missing := table.Processes(nil)[0].Missing
			require.InDelta(t, c.missing, missing, 0.03)
			if c.missing == 0 {
				require.Empty(t, leaks)
				return
			}
			require.Len(t, leaks, 1, "it is news once")
			require.Equal(t, s.process, leaks[0].Process)
			require.Positive(t, leaks[0].Missing)
		})
	}
}

// Connections that are chosen at random lose as much as those that take turns.
func TestRandomTurnsAreASteadyLoss(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		table := NewTable(Limits{Processes: 5, Tasks: 5, Waits: 5}, func(Event) {})
		s, leaks := newSpeaker("a"), 0
		for i := range 120 {
			r := s.beat(at(float64(5 * i)))
			if random.IntN(2) == 0 {
				table.Apply(r, r.Observed)
			}
			leaks += len(table.TakeLeaks())
		}
		require.Positive(t, leaks, "seed %d", seed)
	}
}

// When all reports arrive again the loss is over, and a new one is news again.
func TestASteadyLossEnds(t *testing.T) {
	table := NewTable(Limits{Processes: 5, Tasks: 5, Waits: 5}, func(Event) {})
	s, i := newSpeaker("a"), 0
	beats := func(n int, arrives func(int) bool) (leaks int) {
		for range n {
			r := s.beat(at(float64(5 * i)))
			if arrives(i) {
				table.Apply(r, r.Observed)
			}
			i++
			leaks += len(table.TakeLeaks())
		}
		return leaks
	}
	half := func(i int) bool { return i%2 == 0 }
	all := func(int) bool { return true }
	require.Equal(t, 1, beats(40, half))
	require.Equal(t, 0, beats(30, all))
	require.Zero(t, table.Processes(nil)[0].Missing)
	require.Equal(t, 1, beats(40, half))
	require.InDelta(t, 0.5, table.Processes(nil)[0].Missing, 0.01)
}

func TestHeardSaysWhenAndForHowLong(t *testing.T) {
	table := NewTable(Limits{Processes: 5, Tasks: 5, Waits: 5}, func(Event) {})
	s := newSpeaker("a")
	last, lease := table.Heard(s.process)
	require.True(t, last.IsZero())
	require.Zero(t, lease)
	r := s.beat(at(3))
	r.Heartbeat.Interval = 4 * time.Second
	table.Apply(r, at(5))
	last, lease = table.Heard(s.process)
	require.Equal(t, at(5), last)
	require.Equal(t, 14*time.Second, lease)
	table.Advance(at(60)) // it is lost, and known
	last, _ = table.Heard(s.process)
	require.Equal(t, at(5), last)
}

// What a heartbeat lists and no report has told is untold: after a start of the collector,
// and when a report of a newer revision was lost.
func TestWaitsThatWereNotTold(t *testing.T) {
	table := NewTable(Limits{Processes: 5, Tasks: 9, Waits: 9}, func(Event) {})
	s := newSpeaker("a")
	untold := func() int { return table.Processes(nil)[0].Untold }
	apply := func(r *report.Report) { require.Equal(t, report.Used, table.Apply(r, r.Observed)) }
	apply(s.wait(1, 11, 1, true, at(1), at(2)))
	require.Zero(t, untold(), "there is no heartbeat yet")
	apply(s.beat(at(3), 11, 1, 12, 1, 13, 4))
	require.Equal(t, 2, untold())
	apply(s.wait(2, 12, 1, true, at(1), at(4)))
	require.Equal(t, 1, untold())
	apply(s.wait(3, 13, 3, true, at(1), at(4)))
	require.Equal(t, 1, untold(), "it has another holder by now")
	apply(s.wait(3, 13, 4, true, at(1), at(5)))
	require.Zero(t, untold())
	apply(s.wait(2, 12, 1, false, at(1), at(6)))
	require.Zero(t, untold(), "it has ended since the heartbeat")
	apply(s.beat(at(8), 11, 1, 13, 4, 14, 1, 15, 1))
	require.Equal(t, 2, untold())
	apply(s.beat(at(13), 11, 1, 13, 4))
	require.Zero(t, untold())
}
