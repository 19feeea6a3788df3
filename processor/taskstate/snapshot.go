package taskstate

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Summary implements view.Reader.
func (p *taskState) Summary() view.Summary {
	s := view.Summary{
		Live: p.liveByState(), Ended: make(map[taskspan.State]float64, len(endStates)),
		Processes: make(map[fleet.Status]int), Tables: p.tables(),
		Reports: p.intake.Reports(), Dropped: p.intake.Dropped(),
	}
	sum := p.totals()
	s.Started = sum.started
	for i, state := range endStates {
		s.Ended[state] = sum.ended[i]
	}
	processes := p.fleetProcesses()
	for i := range processes {
		s.Processes[processes[i].Status]++
	}
	_, s.Fleet = p.fleetTasks()
	return s
}

// Coverage implements view.Reader.
func (p *taskState) Coverage() view.Coverage {
	return view.Coverage{
		Since: p.since, Reports: p.intake.Total(), Elsewhere: !p.cfg.ExpectReports,
		TurnedAway: p.intake.TurnedAway(), Unreported: p.gaps.Unreported(),
	}
}

// fleetTasks copies the pointers to the live tasks under the fleet's lock.
func (p *taskState) fleetTasks() ([]*fleet.Task, fleet.Counters) {
	p.live.mu.Lock()
	defer p.live.mu.Unlock()
	return p.live.table.Tasks(nil), p.live.table.Counters()
}

func (p *taskState) fleetProcesses() []fleet.Process {
	p.live.mu.Lock()
	defer p.live.mu.Unlock()
	return p.live.table.Processes(nil)
}

func (p *taskState) totals() totals {
	var sum totals
	for _, s := range p.stats.series() {
		sum.add(s.totals)
	}
	return sum
}

// liveByService counts live tasks: those that run or are blocked as heartbeats say, those
// that are deadlocked as a detector does.
func liveByService(series []taskTotals, tasks []*fleet.Task) map[string]fleet.Live {
	sums := make(map[string]totals)
	for _, s := range series {
		sum := sums[s.service]
		sum.add(s.totals)
		sums[s.service] = sum
	}
	deadlocked, doubtful := make(map[string]int64), make(map[string]int64)
	for _, t := range tasks {
		switch t.Deadlock() {
		case "":
			continue
		case taskspan.Certain:
			deadlocked[t.Process.Service]++
		default:
			doubtful[t.Process.Service]++
		}
		if _, ok := sums[t.Process.Service]; !ok {
			sums[t.Process.Service] = totals{} // it has sent no heartbeat
		}
	}
	live := make(map[string]fleet.Live, len(sums))
	for service, sum := range sums {
		live[service] = fleet.LiveOf(sum.running, sum.blocked, deadlocked[service], doubtful[service])
	}
	return live
}

// liveByState sums them.
func (p *taskState) liveByState() map[taskspan.State]int64 {
	tasks, _ := p.fleetTasks()
	var sum fleet.Live
	for _, l := range liveByService(p.stats.series(), tasks) {
		sum.Add(l)
	}
	return map[taskspan.State]int64{
		taskspan.Running: sum.Running, taskspan.Blocked: sum.Blocked, taskspan.Deadlocked: sum.Deadlocked,
	}
}

// Processes implements view.Reader.
func (p *taskState) Processes(q view.ProcessQuery) ([]view.Process, int) {
	all := p.fleetProcesses()
	all = slices.DeleteFunc(all, func(x view.Process) bool {
		return x.Status != fleet.Reporting && !q.Gone || q.Service != "" && x.Service != q.Service
	})
	slices.SortFunc(all, func(a, b view.Process) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Instance, b.Instance), cmp.Compare(a.Epoch, b.Epoch))
	})
	return page(all, q.Offset, q.Limit), len(all)
}

// Tasks implements view.Reader. Live tasks are immutable, so only pointers are
// copied under the lock; of the ended ones only those on the page.
func (p *taskState) Tasks(q view.TaskQuery) ([]view.Task, int) {
	live, _ := p.fleetTasks()
	live = slices.DeleteFunc(live, func(t *fleet.Task) bool {
		return !matches(q, t.Process.Service, t.Name, t.Live(), t.ID)
	})
	slices.SortFunc(live, stuckLongestFirst)
	var out []view.Task
	for _, t := range page(live, q.Offset, q.Limit) {
		out = append(out, liveView(t))
	}
	room := 0 // 0: no limit
	if q.Limit > 0 {
		if room = q.Limit - len(out); room == 0 {
			room = -1
		}
	}
	if q.Live {
		return out, len(live)
	}
	ended, matching := p.ended.page(q, max(0, q.Offset-len(live)), room)
	return append(out, ended...), len(live) + matching
}

// stuckLongestFirst sorts blocked tasks before the others, and the oldest first.
func stuckLongestFirst(a, b *fleet.Task) int {
	if stuck := len(a.Waits) > 0; stuck != (len(b.Waits) > 0) {
		if stuck {
			return -1
		}
		return 1
	}
	return cmp.Or(a.StateSince.Add(-a.Ahead).Compare(b.StateSince.Add(-b.Ahead)), bytes.Compare(a.ID.Trace[:], b.ID.Trace[:]), bytes.Compare(a.ID.Span[:], b.ID.Span[:]))
}

// Task implements view.Reader.
func (p *taskState) Task(id report.TaskID) (view.Task, bool) {
	p.live.mu.Lock()
	defer p.live.mu.Unlock()
	t := p.live.table.Task(id)
	if t == nil {
		return p.ended.find(id)
	}
	v := liveView(t)
	h := p.live.histories[id]
	v.Blocked, v.Events, v.EventsCut = h.blocked, slices.Clone(h.events), h.cut
	return v, true
}

// Statistics implements view.Reader.
func (p *taskState) Statistics() view.Statistics {
	tasks, _ := p.fleetTasks()
	return p.stats.snapshot(p.stats.longest(tasks, time.Now()))
}

func matches(q view.TaskQuery, service, name string, state taskspan.State, id report.TaskID) bool {
	return (q.Service == "" || q.Service == service) && (q.Name == "" || q.Name == name) &&
		(len(q.States) == 0 || slices.Contains(q.States, state)) &&
		(q.Trace == [16]byte{} || q.Trace == id.Trace)
}

func page[T any](all []T, offset, limit int) []T {
	offset = min(max(offset, 0), len(all))
	all = all[offset:]
	if limit > 0 && limit < len(all) {
		all = all[:limit]
	}
	return all
}

func liveView(t *fleet.Task) view.Task {
	place := t.Place
	if len(t.Waits) > 0 {
		place = t.Waits[0].Place
	}
	return view.Task{
		ID: t.ID, Service: t.Process.Service, Instance: t.Process.Instance, Epoch: t.Process.Epoch,
		Name: t.Name, State: t.Live(), Deadlock: t.Deadlock(), Start: t.Start, StateSince: t.StateSince, LastSeen: t.Seen(),
		ClockAhead: t.Ahead, ParentSpan: t.ParentSpan, RemoteParent: t.RemoteParent, Holds: t.Holds,
		Thread: t.Thread, Place: place, Waits: t.Waits,
	}
}

// page returns some of the ended tasks that match, the last recorded first, and
// how many match. A limit of 0 is none, and below 0 nothing is wanted.
func (e *endedTasks) page(q view.TaskQuery, offset, limit int) (out []view.Task, matching int) {
	if limit >= 0 {
		// Room is made before the lock is taken: spans wait for it.
		room := e.len()
		if limit > 0 {
			room = min(room, limit)
		}
		out = make([]view.Task, 0, room)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var at [interests]*endedTask
	for i := range e.lists {
		at[i] = e.lists[i].prev
	}
	for {
		newest := -1
		for i, rec := range at {
			if rec != &e.lists[i] && (newest < 0 || rec.newerThan(at[newest])) {
				newest = i
			}
		}
		if newest < 0 {
			return out, matching
		}
		rec := at[newest]
		at[newest] = rec.prev
		if !matches(q, rec.stats.service, rec.stats.name, rec.endedAs(), rec.id) {
			continue
		}
		if matching >= offset && (limit == 0 || len(out) < limit) {
			out = append(out, rec.view(false))
		}
		matching++
	}
}

func (e *endedTasks) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.size
}

func (e *endedTasks) find(id report.TaskID) (view.Task, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.lists {
		list := &e.lists[i]
		for rec := list.prev; rec != list; rec = rec.prev {
			if rec.id == id {
				return rec.view(true), true
			}
		}
	}
	return view.Task{}, false
}

func (rec *endedTask) newerThan(other *endedTask) bool {
	return cmp.Or(cmp.Compare(rec.added, other.added), cmp.Compare(rec.end, other.end)) > 0
}

func (rec *endedTask) view(events bool) view.Task {
	end := time.Unix(0, rec.end).UTC()
	v := view.Task{
		ID: rec.id, Service: rec.stats.service, Name: rec.stats.name, State: rec.endedAs(),
		Start: time.Unix(0, rec.start).UTC(), StateSince: end, End: end, LastSeen: end,
		ParentSpan: rec.parent, Blocked: rec.blocked, EventsCut: rec.cut,
	}
	if events {
		v.Events = slices.Clone(rec.events)
	}
	if r := rec.reported; r != nil {
		t := r.task
		v.Instance, v.Epoch, v.Reason, v.ClockAhead = t.Process.Instance, t.Process.Epoch, r.reason.String(), t.Ahead
		v.RemoteParent, v.Holds, v.Thread, v.Place = t.RemoteParent, t.Holds, t.Thread, t.Place
	}
	return v
}

// endedAs is the state it ended in. A task whose end nobody told was running
// when it was last heard of.
func (rec *endedTask) endedAs() taskspan.State {
	if rec.reported != nil {
		return rec.reported.state
	}
	return endStates[rec.state]
}
