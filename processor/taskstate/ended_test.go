package taskstate

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ended(n int, state endState, events int) taskSpan {
	t := taskSpan{
		id: report.TaskID{Trace: [16]byte{byte(n), byte(n >> 8)}}, state: state,
		stats: &taskStatistics{service: "s", name: fmt.Sprint(n)},
	}
	if events > 0 {
		t.events = &spanEvents{kept: make([]view.Event, events)}
	}
	return t
}

// kept lists the names of the ended tasks, by interest and age.
func (e *endedTasks) kept() []string {
	var out []string
	for i := range e.lists {
		for rec := e.lists[i].next; rec != &e.lists[i]; rec = rec.next {
			out = append(out, rec.stats.name)
		}
	}
	return out
}

func TestTheLeastInterestingIsEvictedFirst(t *testing.T) {
	e := newEndedTasks(4, 100)
	add := func(n int, s endState) { e.addSpans([]taskSpan{ended(n, s, 0)}, start) }
	add(1, failed)
	add(2, completed)
	add(3, completed)
	add(4, cancelled)
	add(5, failed)
	require.Equal(t, []string{"3", "4", "1", "5"}, e.kept(), "the older completed one went")
	add(6, failed)
	add(7, failed)
	require.Equal(t, []string{"1", "5", "6", "7"}, e.kept())
	add(8, completed)
	require.Equal(t, []string{"1", "5", "6", "7"}, e.kept(), "a completed one pushes out no failed one")
	require.EqualValues(t, 1, e.dropped)
	e.setLive(3)
	require.Equal(t, []string{"7"}, e.kept(), "ended tasks give way to live ones")
	e.setLive(4)
	require.Empty(t, e.kept())
	add(9, lost)
	require.Empty(t, e.kept(), "live tasks fill the table")
}

func TestEndedTasksGoWhenTheirTimeIsUp(t *testing.T) {
	e := newEndedTasks(10, 100)
	for i := range 5 {
		e.addSpans([]taskSpan{ended(i, endState(i%3), 2)}, start.Add(time.Duration(i)*time.Minute))
	}
	e.expire(start.Add(5*time.Minute), 3*time.Minute)
	require.Equal(t, []string{"3", "4"}, e.kept())
	require.Equal(t, 4, e.events.kept)
	require.Zero(t, e.evicted, "that is no eviction")
}

// TestTheTablesStayWithinTheirLimits does random things and counts what is there.
func TestTheTablesStayWithinTheirLimits(t *testing.T) {
	for seed := range int64(30) {
		rnd := rand.New(rand.NewSource(seed))
		e := newEndedTasks(1+rnd.Intn(20), 1+rnd.Intn(100))
		live := map[int]*history{}
		now := start
		var added, gone int64
		for i := range 2000 {
			now = now.Add(time.Second)
			switch rnd.Intn(5) {
			case 0:
				if len(live) < e.limit {
					live[i] = &history{}
					e.setLive(len(live))
				}
			case 1:
				for n, h := range live {
					delete(live, n)
					e.setLive(len(live))
					state := taskspan.Completed
					if rnd.Intn(2) == 0 {
						state = taskspan.Lost
					}
					added++
					e.addReported(fleet.Event{Task: &fleet.Task{}, State: state}, &taskStatistics{name: fmt.Sprint(n)}, h, now)
					break
				}
			case 2:
				for _, h := range live {
					for range rnd.Intn(100) {
						e.note(h, view.Event{At: now})
					}
					break
				}
			case 3:
				before := e.size
				e.expire(now, 20*time.Second)
				gone += int64(before - e.size)
			default:
				added++
				e.addSpans([]taskSpan{ended(i, endState(rnd.Intn(4)), rnd.Intn(8))}, now)
			}
			events, size := 0, 0
			for _, h := range live {
				events += len(h.events)
				require.LessOrEqual(t, len(h.events), maxTaskEvents)
			}
			histories := 0
			for c := range e.lists {
				for rec := e.lists[c].next; rec != &e.lists[c]; rec = rec.next {
					events += len(rec.events)
					size++
					if len(rec.events) > 0 {
						histories++
					}
				}
				for rec := e.histories[c].newer; rec != &e.histories[c]; rec = rec.newer {
					histories--
				}
			}
			require.Zero(t, histories, "seed %d step %d: every history is linked, and nothing else", seed, i)
			require.Equal(t, size, e.size, "seed %d step %d", seed, i)
			require.Equal(t, events, e.events.kept, "seed %d step %d", seed, i)
			require.LessOrEqual(t, e.live+e.size, e.limit)
			require.LessOrEqual(t, e.events.kept, e.events.limit)
			require.Equal(t, added, int64(e.size)+gone+e.evicted+e.dropped, "seed %d step %d: nothing goes silently", seed, i)
		}
	}
}
