package inspector

import (
	"cmp"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

const (
	maxRelated = 100 // tasks listed beside one: children, waiters, victims
	maxChain   = 32
)

type taskDetail struct {
	AsOf              instant        `json:"as_of"`
	Task              taskAnswer     `json:"task"`
	Parent            *taskRef       `json:"parent"`
	RemoteParent      *taskRef       `json:"remote_parent"`
	Children          []taskRef      `json:"children"`
	Holds             []string       `json:"holds"`
	HoldsEndAt        []instant      `json:"holds_end_at"`
	Waits             []waitAnswer   `json:"waits"`
	Waiters           []waiterAnswer `json:"waiters"`
	WaitersTotal      int            `json:"waiters_total"`
	Chain             []chainLink    `json:"chain"`
	ChainEnd          string         `json:"chain_end"`
	Events            []eventAnswer  `json:"events"`
	EventsCut         int            `json:"events_cut"`
	ClockAheadSeconds float64        `json:"clock_ahead_seconds"`
}

type waiterAnswer struct {
	Task          taskRef      `json:"task"`
	Kind          string       `json:"kind"`
	ResourceName  string       `json:"resource_name"`
	Since         instant      `json:"since"`
	WaitedSeconds float64      `json:"waited_seconds"`
	Place         *placeAnswer `json:"place"`
}

type chainLink struct {
	Task       taskRef      `json:"task"`
	WaitingFor *waitSummary `json:"waiting_for"`
	Place      *placeAnswer `json:"place"`
}

type eventAnswer struct {
	At     instant `json:"at"`
	Name   string  `json:"name"`
	Detail string  `json:"detail"`
}

func readTaskID(trace, span string) (id report.TaskID, err error) {
	if !readHex(id.Trace[:], trace) {
		return id, badParameter("trace", "must be 32 lower-case hexadecimal digits and not all 0, is %q", shortened(trace))
	}
	if !readHex(id.Span[:], span) {
		return id, badParameter("span", "must be 16 lower-case hexadecimal digits and not all 0, is %q", shortened(span))
	}
	return id, nil
}

// findTask asks the components themselves: only they know the events.
func (r *registry) findTask(id report.TaskID) (found view.Task, ok bool) {
	for _, src := range r.taskStates.list() {
		if t, is := src.reader.Task(id); is && (!ok || t.Live() && !found.Live()) {
			found, ok = t, true
		}
	}
	return found, ok
}

func (x *inspector) getTask(q *query, trace, span string) (any, error) {
	id, err := readTaskID(trace, span)
	if err == nil {
		err = q.done()
	}
	if err != nil {
		return nil, err
	}
	t, ok := x.findTask(id)
	if !ok {
		return nil, newProblem(404, "no task %s is known; it may have ended and been forgotten, or has not been reported yet", id)
	}
	p := x.picture.get()
	now := time.Now()
	d := taskDetail{
		AsOf: instant(now), Task: x.taskAnswer(p, &t, now, true), Children: []taskRef{}, Holds: []string{}, HoldsEndAt: []instant{},
		Waits: []waitAnswer{}, Waiters: []waiterAnswer{}, Events: []eventAnswer{}, EventsCut: t.EventsCut,
		ClockAheadSeconds: seconds(t.ClockAhead),
	}
	if t.ParentSpan != [8]byte{} {
		ref := p.ref(report.TaskID{Trace: t.ID.Trace, Span: t.ParentSpan})
		d.Parent = &ref
	}
	if !t.RemoteParent.IsZero() {
		ref := p.ref(t.RemoteParent)
		d.RemoteParent = &ref
	}
	for _, h := range t.Holds {
		ends := instant{}
		if !h.Ends.IsZero() {
			ends = instant(h.Ends.Add(-t.ClockAhead))
		}
		d.Holds, d.HoldsEndAt = append(d.Holds, h.Resource), append(d.HoldsEndAt, ends)
	}
	for _, w := range t.Waits {
		d.Waits = append(d.Waits, p.wait(w, t.ClockAhead, now))
	}
	for _, e := range t.Events {
		d.Events = append(d.Events, eventAnswer{instant(e.At.Add(-t.ClockAhead)), e.Name, e.Detail})
	}
	slices.SortStableFunc(d.Events, func(a, b eventAnswer) int { return time.Time(a.At).Compare(time.Time(b.At)) })
	d.Children = p.children(id)
	d.Waiters, d.WaitersTotal = p.waitersOf(id)
	d.Chain, d.ChainEnd = p.chain(id)
	return d, nil
}

func (p *picture) children(id report.TaskID) []taskRef {
	children := []taskRef{}
	for i := range p.tasks {
		if t := &p.tasks[i]; t.ID.Trace == id.Trace && t.ParentSpan == id.Span && len(children) < maxRelated {
			children = append(children, p.ref(t.ID))
		}
	}
	return children
}

// waitersOf lists those who wait for a task, the longest first.
func (p *picture) waitersOf(id report.TaskID) ([]waiterAnswer, int) {
	edges := slices.Clone(p.waiters[id])
	slices.SortFunc(edges, func(a, b int) int {
		return cmp.Or(p.edges[a].since().Compare(p.edges[b].since()), compareIDs(p.edges[a].waiter, p.edges[b].waiter))
	})
	waiters := []waiterAnswer{}
	for _, i := range edges[:min(len(edges), maxRelated)] {
		e := &p.edges[i]
		waiters = append(waiters, waiterAnswer{
			Task: p.ref(e.waiter), Kind: string(e.wait.Kind), ResourceName: e.wait.ResourceName, Since: instant(e.since()),
			WaitedSeconds: seconds(p.at.Sub(e.since())), Place: placeOf(e.wait.Place, false),
		})
	}
	return waiters, len(edges)
}

// chain follows the first holder of the longest wait, from a task to one that does
// not wait. In a cycle of a deadlock it goes along the cycle.
func (p *picture) chain(id report.TaskID) (links []chainLink, end string) {
	links = []chainLink{}
	seen := make(map[report.TaskID]bool)
	for {
		first := p.waiting(id)
		if first == nil {
			if len(links) == 0 {
				return links, "none"
			}
			links = append(links, chainLink{Task: p.ref(id)})
			return links, "running"
		}
		seen[id] = true
		links = append(links, *first)
		next, ok := p.nextHolder(id)
		switch {
		case !ok:
			return links, "unknown"
		case seen[next]:
			return links, "cycle"
		case len(links) >= maxChain:
			return links, "cut"
		}
		id = next
	}
}

// waiting tells of the longest wait of a task; nil if it does not wait.
func (p *picture) waiting(id report.TaskID) *chainLink {
	waits, ahead := p.waitsOf(id)
	w := longest(waits)
	if w == nil {
		return nil
	}
	return &chainLink{Task: p.ref(id), WaitingFor: p.summarize(id, w, ahead), Place: placeOf(w.Place, false)}
}

// waitsOf returns the open waits of a task, and how far its clock is ahead.
func (p *picture) waitsOf(id report.TaskID) ([]*fleet.Wait, time.Duration) {
	if t := p.byID[id]; t != nil {
		return t.Waits, t.ClockAhead
	}
	if t := p.known[id]; t != nil {
		return t.Waits, t.Ahead
	}
	return nil, 0
}

func (p *picture) nextHolder(id report.TaskID) (report.TaskID, bool) {
	if m := p.in[id]; m.deadlock != nil && m.inCycle() {
		return m.deadlock.Core[(m.index+1)%m.deadlock.Cycle].ID, true
	}
	waits, _ := p.waitsOf(id)
	if w := longest(waits); w != nil {
		if edges := p.holders[waitID{id, w.ID}]; len(edges) > 0 {
			return p.edges[edges[0]].holder, true
		}
	}
	return report.TaskID{}, false
}
