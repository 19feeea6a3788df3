package taskstate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// sampled is a span with a sampling threshold.
type sampled struct {
	name    string
	state   string // "": of a plain application
	failed  bool
	took    time.Duration
	blocked time.Duration
	th      string
	wait    taskspan.Kind // "": a task
}

// spansOf are spans of one process; its epoch is 0 for a plain application.
func spansOf(service, instance string, epoch int64, trace byte, spans ...sampled) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(taskspan.ServiceName, service)
	rs.Resource().Attributes().PutStr(taskspan.ServiceInstanceID, instance)
	if epoch != 0 {
		rs.Resource().Attributes().PutInt(taskspan.ProcessEpoch, epoch)
	}
	scope := rs.ScopeSpans().AppendEmpty()
	end := time.Now()
	for i, c := range spans {
		s := scope.Spans().AppendEmpty()
		s.SetTraceID([16]byte{trace, byte(i)})
		s.SetSpanID([8]byte{trace, byte(i), 1})
		s.SetName(c.name)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(end.Add(-c.took)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
		s.TraceState().FromRaw("ot=th:" + c.th)
		if c.failed {
			s.Status().SetCode(ptrace.StatusCodeError)
		}
		if c.state != "" {
			s.Attributes().PutStr(taskspan.TaskState, c.state)
		}
		if c.blocked > 0 {
			s.Attributes().PutInt(taskspan.TaskBlockedNS, c.blocked.Nanoseconds())
		}
		if c.wait != "" {
			s.SetParentSpanID([8]byte{trace, 9})
			s.SetName(taskspan.WaitSpanPrefix + string(c.wait) + " " + c.name)
			s.Attributes().PutStr(taskspan.WaitKind, string(c.wait))
			s.Attributes().PutStr(taskspan.WaitResourceName, c.name)
		}
	}
	return td
}

// Two services, three processes of which one starts twice, and two pipelines. Every span
// counts for those that it stands for, and every process once.
func TestTheNumbersOfAFleet(t *testing.T) {
	const in2, in4, in8, in16 = "8", "c", "e", "f"
	p, _ := started(t, defaultConfig())
	other, _ := started(t, defaultConfig())
	consume := func(p *taskState, td ptrace.Traces) {
		t.Helper()
		require.NoError(t, p.ConsumeTraces(context.Background(), td))
	}
	first := time.Now().UnixNano()
	second := first + int64(time.Minute)
	consume(p, heartbeat("shop", "1", first, 1, 11, 7))
	consume(p, heartbeat("shop", "2", first+1, 1, 23, 19))
	consume(p, spansOf("shop", "1", first, 1,
		sampled{name: "order", state: "completed", took: 2 * time.Second, blocked: 1500 * time.Millisecond, th: in4},
		sampled{name: "stock", wait: taskspan.WaitMutex, took: 500 * time.Millisecond, th: in2},
	))
	consume(p, spansOf("shop", "2", first+1, 2,
		sampled{name: "order", state: "failed", took: 50 * time.Millisecond, blocked: 250 * time.Millisecond, th: in16},
		sampled{name: "stock", wait: taskspan.WaitMutex, took: 3 * time.Second, th: in8},
	))
	consume(p, spansOf("web", "", 0, 3,
		sampled{name: "GET /", took: 300 * time.Millisecond, th: in4},
		sampled{name: "GET /", took: 300 * time.Millisecond, th: in2},
		sampled{name: "GET /", failed: true, took: 7 * time.Second, th: in8},
		sampled{name: "pool", wait: taskspan.WaitSemaphore, took: 40 * time.Millisecond, th: in16},
	))
	consume(p, heartbeat("shop", "1", second, 1, 5, 3)) // it starts again: 4 tasks are lost
	consume(p, heartbeat("shop", "1", first, 2, 13, 8)) // its last words: 2 more had started, and 1 of the lost had ended
	consume(other, heartbeat("shop", "3", first+2, 1, 101, 97))
	consume(other, spansOf("shop", "3", first+2, 4, sampled{name: "order", state: "completed", took: time.Second, blocked: time.Second, th: in2}))

	type row struct {
		started, completed, failed, lost float64
		running                          int64
		durations, seconds, blockedIn    float64
	}
	rows := func(p *taskState) map[string]row {
		got := make(map[string]row)
		for _, s := range p.Statistics().Tasks {
			got[s.Service+" "+s.Name] = row{
				s.Started, s.Ended[taskspan.Completed], s.Ended[taskspan.Failed], s.Ended[taskspan.Lost], s.Running,
				s.Durations.Count, s.Durations.Sum, s.BlockedIn,
			}
		}
		return got
	}
	require.Equal(t, map[string]row{
		"shop order": {
			started: 13 + 5 + 23, completed: 7 + 3 + 19, lost: 4 + 2, running: 2 + 4,
			durations: 4 + 16, seconds: 4*2 + 16*0.05, blockedIn: 4*1.5 + 16*0.25,
		},
		"web GET /": {started: 4 + 2 + 8, completed: 4 + 2, failed: 8, durations: 14, seconds: 6*0.3 + 8*7},
	}, rows(p))
	require.Equal(t, map[string]row{
		"shop order": {started: 101, completed: 97, running: 4, durations: 2, seconds: 2, blockedIn: 2},
	}, rows(other))

	type wait struct{ count, seconds float64 }
	waits := make(map[string]wait)
	for _, w := range p.Statistics().Waits {
		waits[w.Service+" "+string(w.Kind)+" "+w.Resource] = wait{w.Sampled.Count, w.Sampled.Sum}
		require.Zero(t, w.Stuck.Count)
	}
	require.Equal(t, map[string]wait{
		"shop mutex stock": {2 + 8, 2*0.5 + 8*3}, "web semaphore pool": {16, 16 * 0.04},
	}, waits)

	s := p.Summary()
	require.Equal(t, map[fleet.Status]int{fleet.Reporting: 2, fleet.Replaced: 1}, s.Processes)
	require.Equal(t, s.Started, s.Ended[taskspan.Completed]+s.Ended[taskspan.Failed]+s.Ended[taskspan.Lost]+float64(s.Live[taskspan.Running]))
	byEpoch := make(map[int64][2]int64)
	processes, _ := p.Processes(view.ProcessQuery{Gone: true})
	for i := range processes {
		byEpoch[processes[i].Epoch] = [2]int64{processes[i].Counts.Started, processes[i].LostTasks}
	}
	require.Equal(t, map[int64][2]int64{first: {13, 6}, second: {5, 0}, first + 1: {23, 0}}, byEpoch)
	for _, x := range []*taskState{p, other} {
		require.NoError(t, x.Shutdown(context.Background()))
	}
}

// What a task was blocked for is the sum of its reported waits, if its span does not come.
func TestATaskWithoutASpanWasBlockedInAllItsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := started(t, defaultConfig())
		process := report.Process{Service: "shop", Instance: "1", Epoch: time.Now().UnixNano()}
		began := time.Now()
		sequence := int64(0)
		say := func(id int64, open bool, since, observed time.Duration) {
			sequence++
			require.NoError(t, p.ConsumeTraces(context.Background(), reporttest.Traces(&report.Report{
				Process: process, Sequence: sequence, Observed: began.Add(observed),
				Task: &report.Task{ID: report.TaskID{Trace: [16]byte{1}, Span: [8]byte{2}}, Name: "order", State: taskspan.Blocked, Start: began},
				Wait: &report.Wait{
					ID: id, Revision: 1, Open: open, Kind: taskspan.WaitMutex, ResourceID: "stock", ResourceName: "stock", Since: began.Add(since), Complete: true,
				},
			})))
		}
		say(1, true, time.Second, 3*time.Second)
		say(1, false, time.Second, 5*time.Second) // 4 s
		say(2, true, 6*time.Second, 8*time.Second)
		say(2, false, 6*time.Second, 13*time.Second) // 7 s
		time.Sleep(time.Minute)
		tasks, n := p.Tasks(view.TaskQuery{})
		require.Equal(t, 1, n)
		require.Equal(t, "quiet", tasks[0].Reason)
		require.Equal(t, 11*time.Second, tasks[0].Blocked)
		stuck := p.Statistics().Waits[0].Stuck
		require.EqualValues(t, 2, stuck.Count)
		require.EqualValues(t, 11, stuck.Sum)
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

// A process that was replaced before this collector began reports after its next start: it
// is counted, what it has open is lost, and it is not one of those that report.
func TestAnOldStartThatIsHeardOfLaterIsOver(t *testing.T) {
	p, _ := started(t, defaultConfig())
	old := time.Now().UnixNano()
	next := old + int64(time.Minute)
	require.NoError(t, p.ConsumeTraces(context.Background(), heartbeat("shop", "1", next, 1, 5, 3)))
	require.NoError(t, p.ConsumeTraces(context.Background(), heartbeat("shop", "1", old, 1, 17, 6)))
	s := p.Summary()
	require.Equal(t, map[fleet.Status]int{fleet.Reporting: 1, fleet.Replaced: 1}, s.Processes)
	require.EqualValues(t, 22, s.Started)
	require.EqualValues(t, 9, s.Ended[taskspan.Completed])
	require.EqualValues(t, 11, s.Ended[taskspan.Lost])
	require.EqualValues(t, 2, s.Live[taskspan.Running])
	require.NoError(t, p.Shutdown(context.Background()))
}
