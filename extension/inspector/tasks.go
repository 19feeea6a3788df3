package inspector

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

type taskAnswer struct {
	taskID
	Service          string         `json:"service"`
	Instance         string         `json:"instance"`
	ProcessStartedAt instant        `json:"process_started_at"`
	Name             string         `json:"name"`
	State            taskspan.State `json:"state"`
	Live             bool           `json:"live"`
	Reason           string         `json:"reason"`
	StartedAt        instant        `json:"started_at"`
	StateSince       instant        `json:"state_since"`
	EndedAt          instant        `json:"ended_at"`
	LastSeenAt       instant        `json:"last_seen_at"`
	AgeSeconds       float64        `json:"age_seconds"`
	InStateSeconds   float64        `json:"in_state_seconds"`
	BlockedSeconds   float64        `json:"blocked_seconds"`
	ThreadID         int64          `json:"thread_id"`
	Place            *placeAnswer   `json:"place"`
	WaitingFor       *waitSummary   `json:"waiting_for"`
	OpenWaits        int            `json:"open_waits"`
	DeadlockID       *string        `json:"deadlock_id"`
	// Confidence is of that deadlock.
	Confidence *taskspan.Confidence `json:"deadlock_confidence"`
	TraceURL   string               `json:"trace_url"`
}

type taskID struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

func idOf(id report.TaskID) taskID {
	return taskID{hex.EncodeToString(id.Trace[:]), hex.EncodeToString(id.Span[:])}
}

// taskTimes are the times of a task in our clock.
type taskTimes struct {
	start, stateSince, end, lastSeen time.Time
	age, inState, blocked            time.Duration
}

func timesOf(t *view.Task, now time.Time) taskTimes {
	own := func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return at.Add(-t.ClockAhead)
	}
	x := taskTimes{start: own(t.Start), stateSince: own(t.StateSince), end: own(t.End), lastSeen: own(t.LastSeen), blocked: t.Blocked}
	if !t.Live() {
		x.age = max(0, x.end.Sub(x.start))
		return x
	}
	x.age, x.inState = max(0, now.Sub(x.start)), max(0, now.Sub(x.stateSince))
	if w := longest(t.Waits); w != nil {
		x.blocked += max(0, now.Sub(own(w.Since)))
	}
	return x
}

func (x *inspector) taskAnswer(p *picture, t *view.Task, now time.Time, stack bool) taskAnswer {
	times := timesOf(t, now)
	a := taskAnswer{
		taskID: idOf(t.ID), Service: t.Service, Instance: t.Instance, Name: t.Name, State: p.stateOf(t), Live: t.Live(), Reason: t.Reason,
		StartedAt: instant(times.start), StateSince: instant(times.stateSince), EndedAt: instant(times.end), LastSeenAt: instant(times.lastSeen),
		AgeSeconds: times.age.Seconds(), InStateSeconds: times.inState.Seconds(), BlockedSeconds: seconds(times.blocked),
		ThreadID: t.Thread, Place: placeOf(t.Place, stack), OpenWaits: len(t.Waits),
	}
	if t.Epoch != 0 {
		a.ProcessStartedAt = instant(time.Unix(0, t.Epoch))
	}
	if w := longest(t.Waits); w != nil {
		a.WaitingFor = p.summarize(t.ID, w, t.ClockAhead)
	}
	if dl := p.in[t.ID].deadlock; dl != nil && t.Live() {
		id := dl.ID.String()
		a.DeadlockID = &id
	}
	if c := p.deadlockOf(t); c != "" {
		a.Confidence = &c
	}
	a.TraceURL = traceURL(x.cfg.TraceURL, a.TraceID, a.SpanID)
	return a
}

type taskList struct {
	AsOf       instant      `json:"as_of"`
	Tasks      []taskAnswer `json:"tasks"`
	Total      int          `json:"total"`
	NextCursor *string      `json:"next_cursor"`
}

// taskFilter says which tasks are wanted.
type taskFilter struct {
	service, name, text string
	states              []taskspan.State
	live                *bool
	trace               [16]byte
	minAge              time.Duration
}

func readTaskFilter(q *query) taskFilter {
	return taskFilter{
		service: q.text("service"), name: q.text("name"), text: strings.ToLower(q.text("q")), states: q.states("state"),
		live: q.boolean("live"), trace: q.traceID("trace"), minAge: q.age("min_age"),
	}
}

func (f *taskFilter) matches(p *picture, t *view.Task, now time.Time) bool {
	switch {
	case f.service != "" && f.service != t.Service, f.name != "" && f.name != t.Name,
		len(f.states) > 0 && !slices.Contains(f.states, p.stateOf(t)),
		f.live != nil && *f.live != t.Live(), f.trace != [16]byte{} && f.trace != t.ID.Trace:
		return false
	}
	return timesOf(t, now).age >= f.minAge && (f.text == "" || hasText(t, f.text))
}

func hasText(t *view.Task, text string) bool {
	for _, field := range []string{t.Name, t.Service, t.Instance, t.Place.Function, t.Place.File} {
		if contains(field, text) {
			return true
		}
	}
	for _, w := range t.Waits {
		if contains(w.ResourceName, text) || contains(w.Place.Function, text) || contains(string(w.Kind), text) {
			return true
		}
	}
	return strings.Contains(t.ID.String(), text)
}

var taskSorts = []string{
	"stuck", "age", "-age", "blocked", "-blocked", "in_state", "-in_state", "started", "-started", "name", "-name", "service", "-service", "state", "-state",
}

// taskKey is the place of a task in an order, with ages as of a time.
func (p *picture) taskKey(sort string) func(t *view.Task, now time.Time) rowKey {
	sort = strings.TrimPrefix(sort, "-")
	return func(t *view.Task, now time.Time) rowKey {
		times := timesOf(t, now)
		key := rowKey{ID: rawText(t.ID.String())}
		switch sort {
		case "age":
			key.Number = int64(times.age)
		case "blocked":
			key.Number = int64(times.blocked)
		case "in_state":
			key.Number = int64(times.inState)
		case "started":
			key.Number = times.start.UnixNano()
		case "name":
			key.Text = rawText(t.Name)
		case "service":
			key.Text = rawText(t.Service)
		case "state":
			key.Number = int64(slices.Index(taskStates, p.stateOf(t)))
		default:
			switch {
			case !t.Live():
				key.Rank, key.Number = 2, -times.end.UnixNano()
			case len(t.Waits) == 0:
				key.Rank, key.Number = 1, times.start.UnixNano()
			default:
				// Since it has been stuck; that it is deadlocked it may only be since now.
				key.Number = longest(t.Waits).Since.Add(-t.ClockAhead).UnixNano()
			}
		}
		return key
	}
}

func (x *inspector) listTasks(q *query) (any, error) {
	p := x.picture.get()
	filter := readTaskFilter(q)
	sort := q.choice("sort", taskSorts...)
	paging := q.paging(p.at)
	paging.descending = strings.HasPrefix(sort, "-")
	format := q.choice("format", "json", "csv")
	if err := q.done(); err != nil {
		return nil, err
	}
	matching := make([]*view.Task, 0, len(p.tasks))
	for i := range p.tasks {
		if filter.matches(p, &p.tasks[i], paging.now) {
			matching = append(matching, &p.tasks[i])
		}
	}
	key := p.taskKey(sort)
	page, next := paged(paging, matching, func(t **view.Task, now time.Time) rowKey { return key(*t, now) })
	list := taskList{AsOf: instant(p.at), Tasks: make([]taskAnswer, 0, len(page)), Total: len(matching), NextCursor: next}
	for _, t := range page {
		list.Tasks = append(list.Tasks, x.taskAnswer(p, t, p.at, false))
	}
	if format == "csv" {
		return tasksCSV(list.Tasks), nil
	}
	return list, nil
}
