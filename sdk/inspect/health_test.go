//go:build !noinspect

package inspect

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answerOf asks a health handler.
func answerOf(t *testing.T, h http.Handler) (code int, answer health) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%q of type %s: %v", w.Body, w.Header().Get("Content-Type"), err)
	}
	return w.Code, answer
}

func TestTheWorstCheckDecides(t *testing.T) {
	for checks, want := range map[string]int{"": 200, "ok": 200, "warning": 200, "failed": 503, "failed ok": 503, "warning failed warning": 503, "ok warning": 200} {
		var h health
		for _, status := range strings.Fields(checks) {
			h.Checks = append(h.Checks, healthCheck{Name: "x", Status: status})
		}
		w := httptest.NewRecorder()
		h.write(w)
		if status := map[int]string{200: "ok", 503: "failed"}[want]; w.Code != want || h.Status != status {
			t.Errorf("%s: %d %s, want %d %s", checks, w.Code, h.Status, want, status)
		}
	}
}

// Ready is a process that has room for tasks. Both sides of each limit, and back.
func TestReadyWhileThereIsRoom(t *testing.T) {
	ins := quietInspector(t)
	ins.maxTasks, ins.maxEvents = 20, 300
	defer ins.live.Store(0)
	for _, c := range []struct {
		tasks, events int64
		code          int
		status, says  string
	}{
		{17, 269, 200, "ok", ""},
		{18, 270, 200, "ok", ""},
		{19, 7, 200, "warning", "more than 90 % of a limit: 19 of 20 tasks, 7 of 300 events"},
		{5, 271, 200, "warning", "more than 90 % of a limit: 5 of 20 tasks, 271 of 300 events"},
		{20, 8, 503, "failed", "20 live tasks, the limit is 20"},
		{21, 8, 503, "failed", "21 live tasks, the limit is 20"},
		{3, 8, 200, "ok", ""},
	} {
		ins.live.Store(c.tasks)
		ins.keptPoints.Store(c.events)
		code, answer := answerOf(t, ins.ReadyHandler())
		if want := (healthCheck{"task_limit", c.status, c.says}); code != c.code || len(answer.Checks) != 1 || answer.Checks[0] != want {
			t.Errorf("%d tasks, %d events: %d %+v, want %d %+v", c.tasks, c.events, code, answer, c.code, want)
		}
	}
	ins.keptPoints.Store(0)
}

// An Inspector that makes no tasks has no limit to reach.
func TestReadyWithoutTasks(t *testing.T) {
	clearEnv(t)
	stopped := quietInspector(t)
	t.Setenv("ASYNC_INSPECT_ENABLED", "false")
	off, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stopped.maxTasks = 3
	stopped.live.Store(3)
	if code, answer := answerOf(t, stopped.ReadyHandler()); code != http.StatusServiceUnavailable {
		t.Errorf("full: %d %+v", code, answer)
	}
	_ = stopped.Shutdown(context.Background())
	for name, ins := range map[string]*Inspector{"off": off, "stopped": stopped, "none": nil} {
		if code, answer := answerOf(t, ins.ReadyHandler()); code != http.StatusOK {
			t.Errorf("%s: %d %+v", name, code, answer)
		}
	}
	stopped.live.Store(0)
}

// A deadlock fails the check of who wants to know, if it is certain, and is a warning if
// it is suspected.
func TestReadyDuringADeadlock(t *testing.T) {
	ins := quietInspector(t)
	plain, asked := ins.ReadyHandler(), ins.ReadyHandler(NotReadyOnDeadlock())
	for _, used := range []bool{false, true} {
		m := stage{used: used}.mutex()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Lock()
			_ = m.LockContext(ctx) // its own
			m.Unlock()
		}()
		waitFor(t, "a goroutine to wait for itself", func() bool { return len(Deadlocks()) > 0 })
		want, status := http.StatusOK, "warning"
		if used {
			want, status = http.StatusServiceUnavailable, "failed"
		}
		code, answer := answerOf(t, asked)
		if code != want || len(answer.Checks) != 2 || answer.Checks[1].Name != "deadlock" || answer.Checks[1].Status != status || answer.Checks[1].Message == "" {
			t.Errorf("used before: %t: %d %+v, want %d and %s", used, code, answer, want, status)
		}
		if code, answer = answerOf(t, plain); code != http.StatusOK || len(answer.Checks) != 1 {
			t.Errorf("who has not asked for deadlocks gets %d %+v", code, answer)
		}
		cancel()
		<-done
		if code, answer = answerOf(t, asked); code != http.StatusOK || answer.Checks[1].Status != "ok" {
			t.Errorf("afterwards %d %+v", code, answer)
		}
	}
}

// Alive is a process whose reporter goes on.
func TestLiveWhileTheReporterGoesOn(t *testing.T) {
	rig := newReporterRig(t)
	for _, c := range []struct {
		late    time.Duration
		reports bool
		code    int
	}{{9 * time.Second, true, 200}, {13 * time.Second, true, 503}, {13 * time.Second, false, 200}, {0, true, 200}} {
		ins := &Inspector{reporter: rig.reporter, config: &config{reports: c.reports}}
		rig.lastScan.Store(int64(now() - nanos(c.late)))
		code, answer := answerOf(t, ins.LiveHandler())
		if says := c.code == 503; code != c.code || answer.Checks[0].Name != "reporter" || strings.HasPrefix(answer.Checks[0].Message, "no progress for 13") != says {
			t.Errorf("%v late, reports %t: %d %+v, want %d", c.late, c.reports, code, answer, c.code)
		}
	}
}
