package inspector

import (
	"encoding/json"
	"math"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

type processAnswer struct {
	Service                  string           `json:"service"`
	Instance                 string           `json:"instance"`
	StartedAt                instant          `json:"started_at"`
	Status                   string           `json:"status"`
	FirstHeardAt             instant          `json:"first_heard_at"`
	LastHeardAt              instant          `json:"last_heard_at"`
	HeartbeatIntervalSeconds float64          `json:"heartbeat_interval_seconds"`
	ClockAheadSeconds        float64          `json:"clock_ahead_seconds"`
	Running                  int64            `json:"running"`
	Blocked                  int64            `json:"blocked"`
	LiveTasks                int              `json:"live_tasks"`
	OpenWaits                int              `json:"open_waits"`
	StartedTotal             int64            `json:"started_total"`
	CompletedTotal           int64            `json:"completed_total"`
	FailedTotal              int64            `json:"failed_total"`
	CancelledTotal           int64            `json:"cancelled_total"`
	LostTotal                int64            `json:"lost_total"`
	EventsTotal              int64            `json:"events_total"`
	Dropped                  map[string]int64 `json:"dropped"`
	OverheadRatio            float64          `json:"overhead_ratio"`
	SamplingRate             float64          `json:"sampling_rate"`
	Memory                   json.RawMessage  `json:"memory"`
	LostSpansTotal           int64            `json:"lost_spans_total"`
	DuplicatesTotal          int64            `json:"duplicates_total"`
}

func processOf(p *view.Process) processAnswer {
	a := processAnswer{
		Service: p.Service, Instance: p.Instance, StartedAt: instant(time.Unix(0, p.Epoch).Add(-p.Ahead)), Status: p.Status.String(),
		FirstHeardAt: instant(p.FirstHeard), LastHeardAt: instant(p.LastHeard), HeartbeatIntervalSeconds: p.Interval.Seconds(),
		ClockAheadSeconds: seconds(p.Ahead), Running: p.Running, Blocked: p.Blocked, LiveTasks: p.LiveTasks, OpenWaits: p.OpenWaits,
		StartedTotal: p.Counts.Started, CompletedTotal: p.Counts.Completed, FailedTotal: p.Counts.Failed, CancelledTotal: p.Counts.Cancelled,
		LostTotal: p.LostTasks, EventsTotal: p.Events, Dropped: p.Dropped, OverheadRatio: finite(p.Overhead), SamplingRate: finite(p.Rate),
		LostSpansTotal: p.LostSpans, DuplicatesTotal: p.Duplicates,
	}
	if a.Dropped == nil {
		a.Dropped = map[string]int64{}
	}
	// It is whatever the process has sent.
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(p.Memory), &object) == nil && object != nil {
		a.Memory, _ = json.Marshal(object)
	}
	return a
}

// finite is for numbers that a process may have sent and JSON cannot write.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

type processList struct {
	AsOf       instant         `json:"as_of"`
	Processes  []processAnswer `json:"processes"`
	Total      int             `json:"total"`
	NextCursor *string         `json:"next_cursor"`
}

func (x *inspector) listProcesses(q *query) (any, error) {
	n := x.numbers.get()
	service, gone := q.text("service"), q.boolean("gone")
	paging := q.paging(n.at)
	if err := q.done(); err != nil {
		return nil, err
	}
	var all []*view.Process
	for i := range n.processes {
		p := &n.processes[i]
		if (p.Status == fleet.Reporting || gone != nil && *gone) && (service == "" || p.Service == service) {
			all = append(all, p)
		}
	}
	page, next := paged(paging, all, func(p **view.Process, _ time.Time) rowKey {
		// The order is that of service, instance and start.
		return rowKey{Text: rawText((*p).Service + "\x00" + (*p).Instance), ID: sortable((*p).Epoch)}
	})
	list := processList{AsOf: instant(n.at), Processes: make([]processAnswer, 0, len(page)), Total: len(all), NextCursor: next}
	for _, p := range page {
		list.Processes = append(list.Processes, processOf(p))
	}
	return list, nil
}

// sortable writes a number so that texts are in the order of the numbers.
func sortable(n int64) rawText {
	u := uint64(n) ^ 1<<63
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(u >> (56 - 8*i))
	}
	return rawText(b)
}
