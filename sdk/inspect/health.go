package inspect

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// HealthOption changes what a health handler looks at.
type HealthOption interface{ applyHealth(*healthConfig) }

type healthConfig struct{ deadlock bool }

type healthOptionFunc func(*healthConfig)

func (f healthOptionFunc) applyHealth(c *healthConfig) { f(c) }

// NotReadyOnDeadlock makes [Inspector.ReadyHandler] fail while a certain deadlock
// stands in this process. A suspected deadlock is a warning in the answer. Consider
// what your platform does with a process that is not ready: taking it out of rotation
// keeps the evidence, restarting it destroys the evidence.
func NotReadyOnDeadlock() HealthOption {
	return healthOptionFunc(func(c *healthConfig) { c.deadlock = true })
}

// health is the answer of a health handler.
type health struct {
	Status string        `json:"status"` // ok or failed
	Checks []healthCheck `json:"checks"`
}

type healthCheck struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // ok, warning or failed
	Message string `json:"message,omitempty"`
}

func (h *health) write(w http.ResponseWriter) {
	h.Status = "ok"
	code := http.StatusOK
	for _, c := range h.Checks {
		if c.Status == "failed" {
			h.Status, code = "failed", http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(h) // the client has gone
}

// ReadyHandler answers 200 while the service can accept work, and 503 when it cannot,
// with a reason for each check in JSON. It fails when live tasks fill max_tasks and,
// with [NotReadyOnDeadlock], while a certain deadlock stands. More than 90 % of a limit
// is a warning in the answer.
func (ins *Inspector) ReadyHandler(opts ...HealthOption) http.Handler {
	var c healthConfig
	for _, o := range opts {
		o.applyHealth(&c)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := health{Checks: []healthCheck{ins.taskLimit()}}
		if c.deadlock {
			h.Checks = append(h.Checks, ins.deadlockCheck())
		}
		h.write(w)
	})
}

func (ins *Inspector) taskLimit() healthCheck {
	m := ins.MemoryStats()
	c := healthCheck{Name: "task_limit", Status: "ok"}
	switch {
	case ins.running() && m.TaskCount >= m.MaxTasks:
		c.Status, c.Message = "failed", fmt.Sprintf("%d live tasks, the limit is %d", m.TaskCount, m.MaxTasks)
	case m.crowded():
		c.Status, c.Message = "warning", fmt.Sprintf("more than 90 %% of a limit: %d of %d tasks, %d of %d events",
			m.TaskCount, m.MaxTasks, m.EventCount, m.MaxEvents)
	}
	return c
}

func (ins *Inspector) deadlockCheck() healthCheck {
	c := healthCheck{Name: "deadlock", Status: "ok"}
	for _, d := range Deadlocks() {
		if d.Confidence == taskspan.Certain {
			c.Status, c.Message = "failed", d.String()
			break
		}
		c.Status, c.Message = "warning", d.String()
	}
	return c
}

// LiveHandler answers 200 while the reporter makes progress, which proves that
// goroutines are scheduled and the SDK is not stuck itself, and 503 when it has made
// none for ten seconds. A deadlock of tasks is not its business.
func (ins *Inspector) LiveHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		check := healthCheck{Name: "reporter", Status: "ok"}
		if ins.running() && ins.config.reports {
			if late := ins.reporter.late(); late > stalled {
				check.Status, check.Message = "failed", fmt.Sprintf("no progress for %v", late.Round(time.Second))
			}
		}
		h := health{Checks: []healthCheck{check}}
		h.write(w)
	})
}

const stalled = 10 * time.Second
