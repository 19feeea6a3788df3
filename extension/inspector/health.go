package inspector

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

const (
	statusOK      = "ok"
	statusWarning = "warning"
	statusFailed  = "failed"
)

// healthAnswer is the answer of /livez and /readyz.
type healthAnswer struct {
	Status string        `json:"status"`
	Checks []healthCheck `json:"checks"`
}

type healthCheck struct {
	Name      string `json:"name"`
	Component string `json:"component,omitempty"`
	Status    string `json:"status"`
	Message   string `json:"message,omitempty"`
}

func (h *healthAnswer) add(c healthCheck) {
	h.Checks = append(h.Checks, c)
	if c.Status == statusFailed || c.Status == statusWarning && h.Status == statusOK {
		h.Status = c.Status
	}
}

func (h *healthAnswer) write(w http.ResponseWriter) {
	code := http.StatusOK
	if h.Status == statusFailed {
		code = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(h) // the client has gone
}

// full says how much of a table is too much.
func full(t view.Table) string {
	switch {
	case t.Limit == 0: // it has none of its own
		return statusOK
	case t.Size >= t.Limit:
		return statusFailed
	case t.NearlyFull():
		return statusWarning
	}
	return statusOK
}

// keepsTheLast are tables that are full in the ordinary course of things, because
// they keep the newest of what is over.
var keepsTheLast = map[componentKind][]string{
	isTaskState: {"tasks", "events", "gone_processes", "gone_names"},
	isDetector:  {"past_deadlocks", "unproven", "gone_processes", "gone_names"},
	isSampler:   {"kept_decisions", "dropped_decisions"},
}

// readiness says whether new tasks find room, and which limits are near. Finished
// tasks make room, so only live ones count.
func (x *inspector) readiness(n *numbers) healthAnswer {
	h := healthAnswer{Status: statusOK, Checks: []healthCheck{}}
	for _, c := range n.tables {
		crowded := []string{}
		for _, t := range c.tables {
			status := full(t)
			if c.kind == isTaskState && t.Name == "live_tasks" {
				check := healthCheck{Name: "task_limit", Component: c.component, Status: status}
				if status != statusOK {
					check.Message = fmt.Sprintf("%d live tasks, the limit is %d (max_tasks); past it new ones are refused", t.Size, t.Limit)
				}
				h.add(check)
				continue
			}
			if status != statusOK && !slices.Contains(keepsTheLast[c.kind], t.Name) {
				crowded = append(crowded, fmt.Sprintf("%s %d of %d", t.Name, t.Size, t.Limit))
			}
		}
		check := healthCheck{Name: "tables", Component: c.component, Status: statusOK}
		if len(crowded) > 0 {
			check.Status, check.Message = statusWarning, "more than 90 % of a limit: "+strings.Join(crowded, ", ")
		}
		h.add(check)
	}
	for i := range n.components {
		h.add(n.admission(&n.components[i]))
	}
	for _, check := range n.coverage() {
		h.add(check)
	}
	h.add(x.deadlockCheck(n))
	return h
}

// refusedFor is for how long a component counts as refusing its input after a process
// found no room there: a process that is refused comes again with its next heartbeat.
const refusedFor = 30 * time.Second

// admission says whether processes find room in a component.
func (n *numbers) admission(c *componentCoverage) healthCheck {
	check := healthCheck{Name: "admission", Component: c.component, Status: statusOK}
	if ago := n.at.Sub(c.TurnedAway); !c.TurnedAway.IsZero() && ago < refusedFor {
		check.Status = statusFailed
		check.Message = fmt.Sprintf("reports of a process were refused %.0f s ago, because max_processes is reached; its tasks and deadlocks are not seen", max(ago, 0).Seconds())
	}
	return check
}

func (x *inspector) deadlockCheck(n *numbers) healthCheck {
	c := healthCheck{Name: "deadlock", Status: statusOK}
	if len(n.standing) == 0 {
		return c
	}
	first := n.standing[0]
	for _, dl := range n.standing {
		if dl.Confidence != deadlock.Suspected {
			first = dl
			break
		}
	}
	c.Status, c.Message = statusWarning, first.Headline()
	if more := len(n.standing) - 1; more > 0 {
		c.Message += fmt.Sprintf(", and %d more", more)
	}
	if x.cfg.NotReadyOnDeadlock && first.Confidence != deadlock.Suspected {
		c.Status = statusFailed
	}
	return c
}

func (x *inspector) serveReadyz(w http.ResponseWriter, _ *http.Request) {
	h := x.readiness(x.numbers.get())
	h.write(w)
}

// serveLivez proves that the inspector goes round and that every component answers
// it: each round asks all of them. It reads nothing itself, so that it answers also
// when one of them does not.
func (x *inspector) serveLivez(w http.ResponseWriter, _ *http.Request) {
	h := healthAnswer{Status: statusOK}
	check := healthCheck{Name: "progress", Status: statusOK}
	if late := time.Since(time.Unix(0, x.progress.Load())); late > x.stalled() {
		check.Status = statusFailed
		check.Message = fmt.Sprintf("a component has not answered for %v", late.Round(time.Second))
	}
	h.add(check)
	h.write(w)
}

// stalled is how long a round may take.
func (x *inspector) stalled() time.Duration { return max(10*time.Second, 3*x.cfg.History.Interval) }
