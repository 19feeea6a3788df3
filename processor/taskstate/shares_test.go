package taskstate

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// saying is a heartbeat's news of started and live tasks.
func saying(started, running, blocked int64) fleet.Delta {
	return fleet.Delta{NameCounts: report.NameCounts{Counts: report.Counts{Started: started}, Running: running, Blocked: blocked}}
}

// namesOf returns how many names of tasks each service has, "other" not counted.
func namesOf(s *statistics) map[string]int {
	names := make(map[string]int)
	for _, series := range s.series() {
		if series.name != taskspan.OtherNames {
			names[series.service]++
		}
	}
	return names
}

// find returns the counts of a series; zero: there is none.
func (s *statistics) find(service, name string) taskTotals {
	for _, series := range s.series() {
		if series.service == service && series.name == name {
			return series
		}
	}
	return taskTotals{}
}

// A service that fills the table alone keeps all names, until others come. Then they
// have their share, and the newest names of the loudest go. Nobody loses a name that is
// within its share.
func TestEachServiceHasItsShareOfNames(t *testing.T) {
	s := newStatistics(12, 12)
	for i := range 40 {
		s.advance("wordy", fmt.Sprint("name ", i), saying(3, 1, 0))
	}
	require.Equal(t, map[string]int{"wordy": 12}, namesOf(s))
	require.EqualValues(t, 28*3, s.find("wordy", taskspan.OtherNames).started)

	for i := range 9 {
		s.advance("quiet", fmt.Sprint("task ", i), saying(int64(5+i), 0, 2))
	}
	require.Equal(t, map[string]int{"wordy": 6, "quiet": 6}, namesOf(s))
	for i := range 6 {
		require.EqualValues(t, 3, s.find("wordy", fmt.Sprint("name ", i)).started, "its oldest names are kept")
		require.EqualValues(t, 5+i, s.find("quiet", fmt.Sprint("task ", i)).started)
	}
	require.EqualValues(t, 6, s.names.cut.Load())
	require.EqualValues(t, 28+3, s.names.merged.Load())

	// What is live under a name that is cut is live under other, and ends there. What it
	// had started stays out of other, where increase() would count it again.
	other := s.find("wordy", taskspan.OtherNames)
	require.EqualValues(t, 28*3, other.started)
	require.EqualValues(t, 28+6, other.running)
	s.advance("wordy", "name 11", saying(7, -1, 0))
	other = s.find("wordy", taskspan.OtherNames)
	require.EqualValues(t, 28*3+7, other.started)
	require.EqualValues(t, 28+6-1, other.running)

	// A third and a fourth service, of which one needs less than its share.
	s.advance("third", "one", saying(1, 0, 0))
	for i := range 9 {
		s.advance("fourth", fmt.Sprint("task ", i), saying(1, 0, 0))
	}
	require.Equal(t, map[string]int{"wordy": 4, "quiet": 4, "third": 1, "fourth": 3}, namesOf(s))
	require.EqualValues(t, 12, s.names.used.Load())
}

// Resources have shares as names do; what is open goes on under other.
func TestEachServiceHasItsShareOfResources(t *testing.T) {
	s := newStatistics(9, 4)
	wait := func(kind fleet.EventKind, service, resource string) {
		w := &fleet.Wait{Wait: report.Wait{Kind: taskspan.WaitMutex, ResourceName: resource, Since: time.Unix(100, 0)}}
		s.stuck(fleet.Event{Kind: kind, Process: report.Process{Service: service}, Wait: w, At: time.Unix(107, 0)})
	}
	for i := range 6 {
		wait(fleet.WaitOpened, "wordy", fmt.Sprint("lock ", i))
	}
	for i := range 3 {
		wait(fleet.WaitOpened, "quiet", fmt.Sprint("lock ", i))
	}
	open := make(map[string]int64)
	for _, w := range s.snapshot(nil).Waits {
		open[w.Service+" "+w.Resource] = w.Open
	}
	require.Equal(t, map[string]int64{
		"wordy lock 0": 1, "wordy lock 1": 1, "wordy other": 2 + 2, "quiet lock 0": 1, "quiet lock 1": 1, "quiet other": 1,
	}, open)
	require.EqualValues(t, 2, s.resources.cut.Load())
	require.EqualValues(t, 2+1, s.resources.merged.Load())
	require.EqualValues(t, 4, s.resources.used.Load())
	for i := range 6 {
		wait(fleet.WaitClosed, "wordy", fmt.Sprint("lock ", i))
	}
	for _, w := range s.snapshot(nil).Waits {
		if w.Service == "wordy" {
			require.Zero(t, w.Open, w.Resource)
		}
	}
}

// The names of a service go when it has had no process, and sent no span, for the
// retention, and not before; then others have the room.
func TestNamesOfServicesThatAreGoneExpire(t *testing.T) {
	s := newStatistics(3, 3)
	began := time.Date(2026, 11, 26, 17, 0, 0, 0, time.UTC)
	const retention = 5 * time.Minute
	s.advance("reports", "a", saying(2, 0, 0))
	s.advance("ended", "b", saying(3, 0, 0))
	s.add("plain", &batch{tasks: []taskSpan{{name: "c", weight: 5}}})
	reporting := map[string]bool{"reports": true, "ended": true}
	s.expire(began, retention, reporting)
	delete(reporting, "ended")
	s.expire(began.Add(retention), retention, reporting)
	require.Equal(t, map[string]int{"reports": 1, "ended": 1, "plain": 1}, namesOf(s), "not before")
	s.add("plain", &batch{tasks: []taskSpan{{name: "c", weight: 7}}})
	s.expire(began.Add(retention+time.Second), retention, reporting)
	require.Equal(t, map[string]int{"reports": 1, "plain": 1}, namesOf(s))
	require.EqualValues(t, 5+7, s.find("plain", "c").started)
	require.EqualValues(t, 2, s.names.used.Load())

	s.advance("new", "d", saying(11, 0, 0))
	require.EqualValues(t, 11, s.find("new", "d").started)
	require.Zero(t, s.names.merged.Load()+s.names.cut.Load())

	// It comes back, and its counts begin anew.
	s.expire(began.Add(2*retention+2*time.Second), retention, map[string]bool{"new": true})
	require.Equal(t, map[string]int{"new": 1}, namesOf(s))
	s.advance("ended", "b", saying(13, 0, 0))
	require.EqualValues(t, 13, s.find("ended", "b").started)
	require.EqualValues(t, 2, s.names.used.Load())
}

// Who counts while a service is removed counts nothing into the void.
func TestNothingIsCountedIntoARemovedService(t *testing.T) {
	s := newStatistics(3, 3)
	svc := s.service("shop") // found before it is removed
	for i := range 3 {
		s.expire(time.Unix(int64(100*i), 0), time.Second, nil)
	}
	require.True(t, svc.gone)
	s.advance("shop", "a", saying(17, 0, 0))
	require.EqualValues(t, 17, s.find("shop", "a").started)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 200 {
				s.advance("shop", fmt.Sprint(i), saying(1, 0, 0))
				s.expire(time.Unix(int64(1000*i), 0), time.Second, nil)
			}
		})
	}
	all.Wait()
	require.GreaterOrEqual(t, s.names.used.Load(), int64(0))
	require.LessOrEqual(t, s.names.used.Load(), int64(3))
}

// Of any first part of the series no service has more than its share.
func TestSeriesByShare(t *testing.T) {
	s := newStatistics(20, 20)
	for i := range 5 {
		s.advance("wordy", fmt.Sprint(9-i), saying(1, 0, 0))
	}
	s.advance("zoo", "b", saying(1, 0, 0))
	s.advance("zoo", "a", saying(1, 0, 0))
	s.advance("zoo", taskspan.OtherNames, saying(1, 0, 0))
	var got []string
	for _, series := range byShare(s.series()) {
		got = append(got, series.service+" "+series.name)
	}
	require.Equal(t, []string{"zoo other", "wordy 9", "zoo b", "wordy 8", "zoo a", "wordy 7", "wordy 6", "wordy 5"}, got)
}

// The warning names the service with most names, once for what it is about.
func TestAWarningNamesTheLoudestService(t *testing.T) {
	cfg := defaultConfig()
	cfg.MaxTaskNames = 5
	p, _ := started(t, cfg)
	core, log := observer.New(zapcore.WarnLevel)
	p.logger = zap.New(core)
	p.warnShares()
	for i := range 9 {
		require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf("wordy", fmt.Sprint("GET /user/", i), 1, nil)))
	}
	require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf("quiet", "a", 1, func(int, ptrace.Span) {})))
	p.warnShares()
	p.warnShares()
	entries := log.FilterMessageSnippet("Names found no room").All()
	require.Len(t, entries, 1)
	require.Equal(t, map[string]any{
		"service": "wordy", "names": int64(4), "limit": int64(5), "table": "task_names", "setting": "max_task_names",
	}, entries[0].ContextMap())
	require.NoError(t, p.Shutdown(context.Background()))
}
