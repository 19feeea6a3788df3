package inspector

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

func readyz(t *testing.T, x *inspector) (int, healthAnswer) {
	t.Helper()
	w := x.get("/readyz")
	var h healthAnswer
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &h))
	return w.Code, h
}

func TestReadinessGoesByLiveTasks(t *testing.T) {
	x := unstarted(t, testConfig())
	core, logs := observer.New(zap.InfoLevel)
	x.logger = zap.New(core)
	state := new(fakeState)
	x.RegisterTaskState("task_state", state)
	fill := func(live, names int) {
		state.summary.Tables = []view.Table{
			{Name: "tasks", Size: 100, Limit: 100}, {Name: "events", Size: 100, Limit: 100}, // full of what is over: no harm
			{Name: "live_tasks", Size: live, Limit: 100}, {Name: "task_names", Size: names, Limit: 100},
		}
	}
	for _, test := range []struct {
		live, names, code int
		status            string
	}{
		{0, 0, http.StatusOK, statusOK},
		{90, 90, http.StatusOK, statusOK},
		{91, 0, http.StatusOK, statusWarning},
		{0, 91, http.StatusOK, statusWarning},
		{0, 100, http.StatusOK, statusWarning},
		{100, 0, http.StatusServiceUnavailable, statusFailed},
		{99, 0, http.StatusOK, statusWarning},
	} {
		fill(test.live, test.names)
		code, h := readyz(t, x)
		require.Equal(t, test.code, code, "%+v", test)
		require.Equal(t, test.status, h.Status, "%+v", test)
		for _, c := range h.Checks {
			require.Equal(t, c.Status != statusOK, c.Message != "", "%+v", c)
		}
		x.sayReadiness(x.numbers.get())
		x.sayReadiness(x.numbers.get())
	}
	require.Equal(t, []string{"Not ready any more.", "Ready again."}, []string{logs.All()[0].Message, logs.All()[1].Message})
	require.Equal(t, 2, logs.Len(), "each is said once")
}

func TestADeadlockIsOnlyAFailureIfAsked(t *testing.T) {
	for _, asked := range []bool{false, true} {
		cfg := testConfig()
		cfg.NotReadyOnDeadlock = asked
		x := unstarted(t, cfg)
		deadlocked(t, x)
		code, h := readyz(t, x)
		require.Equal(t, asked, code == http.StatusServiceUnavailable)
		last := h.Checks[len(h.Checks)-1]
		require.Equal(t, "deadlock", last.Name)
		require.Equal(t, "2 tasks of shop wait for each other and can never proceed", last.Message)
		require.Equal(t, http.StatusOK, x.getLivez(), "it is no matter of life")
	}
}

// What is only suspected makes nothing unready, and what is certain is told first.
func TestASuspectedDeadlockIsAWarning(t *testing.T) {
	for _, c := range []struct {
		name     string
		standing []deadlock.Confidence
		code     int
		status   string
		says     string
	}{
		{"a suspected one", []deadlock.Confidence{deadlock.Suspected}, http.StatusOK, statusWarning, "2 tasks of shop may be waiting for each other: a deadlock if "},
		{
			"a certain one beside it",
			[]deadlock.Confidence{deadlock.Suspected, deadlock.Certain},
			http.StatusServiceUnavailable, statusFailed,
			"2 tasks of shop wait for each other and can never proceed, and 1 more",
		},
		{"one that ends by itself", []deadlock.Confidence{deadlock.Transient}, http.StatusServiceUnavailable, statusFailed, "2 tasks of shop wait for each other until "},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.NotReadyOnDeadlock = true
			x := unstarted(t, cfg)
			state, detector := numbersOfAFleet()
			one := *detector.standing[0]
			detector.standing = nil
			for i, sure := range c.standing {
				dl := one
				dl.ID, dl.Confidence, dl.Services = deadlock.ID{byte(i + 1)}, sure, []string{"shop"}
				detector.standing = append(detector.standing, &dl)
			}
			x.RegisterTaskState("task_state", state)
			x.RegisterDeadlockDetector("deadlock_detector", detector)
			code, h := readyz(t, x)
			require.Equal(t, c.code, code)
			last := h.Checks[len(h.Checks)-1]
			require.Equal(t, "deadlock", last.Name)
			require.Equal(t, c.status, last.Status)
			require.Contains(t, last.Message, c.says)
		})
	}
}

// /readyz fails while one of the components finds no room for a process, and is ready
// again half a minute after the last one that it turned away.
func TestReadinessWhileProcessesAreTurnedAway(t *testing.T) {
	for _, c := range []struct {
		name            string
		state, detector time.Duration // how long ago; 0: never
		failed          []string
	}{
		{"never", 0, 0, nil},
		{"task_state", refusedFor - 2*time.Second, refusedFor + time.Second, []string{"task_state/a"}},
		{"detector", refusedFor + time.Second, time.Second, []string{"deadlock_detector/b"}},
		{"both", 2 * time.Second, 3 * time.Second, []string{"task_state/a", "deadlock_detector/b"}},
		{"not any more", refusedFor + time.Second, refusedFor + 2*time.Second, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := unstarted(t, testConfig())
			state, detector := numbersOfAFleet()
			before := func(ago time.Duration) time.Time {
				if ago == 0 {
					return time.Time{}
				}
				return time.Now().Add(-ago)
			}
			state.coverage.TurnedAway, detector.coverage.TurnedAway = before(c.state), before(c.detector)
			x.RegisterTaskState("task_state/a", state)
			x.RegisterDeadlockDetector("deadlock_detector/b", detector)
			code, h := readyz(t, x)
			want := http.StatusOK
			if len(c.failed) > 0 {
				want = http.StatusServiceUnavailable
			}
			require.Equal(t, want, code)
			var failed, checked []string
			for _, check := range h.Checks {
				if check.Name != "admission" {
					continue
				}
				checked = append(checked, check.Component)
				if check.Status == statusFailed {
					failed = append(failed, check.Component)
					require.Contains(t, check.Message, "max_processes")
				}
			}
			require.ElementsMatch(t, c.failed, failed)
			require.ElementsMatch(t, []string{"task_state/a", "deadlock_detector/b"}, checked)
		})
	}
}

func (x *inspector) getLivez() int {
	x.progress.Store(time.Now().UnixNano())
	return x.get("/livez").Code
}

// /livez fails when a component does not answer, and answers itself even then.
func TestLivenessProvesProgress(t *testing.T) {
	x := unstarted(t, testConfig())
	require.Equal(t, http.StatusOK, x.getLivez())
	x.progress.Store(time.Now().Add(-x.stalled() - time.Second).UnixNano())
	x.numbers.mu.Lock() // a component holds up a reading for ever
	x.picture.mu.Lock()
	defer x.picture.mu.Unlock()
	defer x.numbers.mu.Unlock()
	w := x.getUnforgotten("/livez")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "has not answered for")
}
