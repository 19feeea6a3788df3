package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// An older start of an instance that goes on talking is another process with the same id,
// and news once. One that shuts down beside its successor, or whose words come late, is not.
func TestAnOlderStartThatGoesOnTalking(t *testing.T) {
	const interval = 5 // seconds; the lease is 17.5
	for _, c := range []struct {
		name    string
		ahead   float64   // of the clock of the older process
		sent    []float64 // after the newer one began at 100: heartbeats of the older one
		delay   float64   // until they arrive
		counted int64
		news    int
	}{
		{"two replicas", 0, []float64{5, 10, 15, 20, 25, 30}, 0, 3, 1},
		{"many heartbeats", 0, []float64{20, 25, 30, 35, 40, 45, 50}, 0, 7, 1},
		{"a clock that is an hour ahead", 3600, []float64{5, 10, 15, 20, 25, 30}, 0, 3, 1},
		{"it shuts down", 0, []float64{3, 8, 13, 17}, 0, 0, 0},
		{"one heartbeat more", 0, []float64{5, 18}, 0, 1, 0},
		{"its words come late", 0, []float64{-40, -30, -20, -10, -5, -4, -3, -2, -1}, 200, 0, 0},
		{"its words come late, from a clock that is ahead", 3600, []float64{-40, -30, -20, -10, -5, -4, -3}, 200, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := NewTable(Limits{Processes: 5, Tasks: 5, Waits: 5}, func(Event) {})
			older, newer := newSpeaker("a"), newSpeaker("a")
			newer.process.Epoch = at(100).UnixNano()
			other := newSpeaker("b")
			ahead := time.Duration(c.ahead * float64(time.Second))
			older.process.Epoch += int64(ahead)
			if ahead > 0 {
				newer.process.Epoch += int64(ahead) // both are of one machine, else the epochs say nothing
			}
			for s := 0.; s < 100; s += interval {
				table.Apply(older.beat(at(s).Add(ahead)), at(s))
			}
			var news []report.Process
			say := func(r *report.Report, now time.Time) {
				require.Equal(t, report.Used, table.Apply(r, now))
				news = append(news, table.TakeOlder()...)
			}
			say(newer.beat(at(100).Add(ahead)), at(100))
			for _, s := range c.sent {
				now := at(100 + s + c.delay)
				say(older.beat(at(100+s).Add(ahead)), now)
				say(newer.beat(now.Add(ahead)), now)
				say(other.beat(now), now)
			}
			require.Equal(t, c.counted, table.Counters().OlderStart)
			require.Len(t, news, c.news)
			if c.news > 0 {
				require.Equal(t, older.process, news[0])
			}
		})
	}
}
