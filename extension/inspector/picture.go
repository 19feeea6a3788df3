package inspector

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	// maxTasksRead and maxEdgesRead bound one picture. A task_state gives the stuck
	// tasks first, so what is left out is the least interesting.
	maxTasksRead = 50_000
	maxEdgesRead = 50_000
)

// picture is what all components together know of tasks, waits and deadlocks at one
// time. It is immutable.
type picture struct {
	at       time.Time
	tasks    []view.Task
	total    int // tasks, also those past maxTasksRead
	byID     map[report.TaskID]*view.Task
	known    map[report.TaskID]*fleet.Task // from detectors; for tasks that no task_state knows
	edges    []waitEdge
	waits    int // open ones, also those without an edge
	waiters  map[report.TaskID][]int
	holders  map[waitID][]int // into edges
	standing []*deadlock.Deadlock
	past     []*deadlock.Deadlock
	in       map[report.TaskID]membership
	victims  map[report.TaskID]struct{} // stuck behind any that stands, and part of none
}

// waitID names a wait in the fleet.
type waitID struct {
	task report.TaskID
	id   int64
}

// waitEdge says that a task waits for another one.
type waitEdge struct {
	waiter, holder report.TaskID
	wait           *fleet.Wait
	ahead          time.Duration // of the waiter's clock
	role           role
}

func (e *waitEdge) since() time.Time { return e.wait.Since.Add(-e.ahead) }

// membership says which standing deadlock a task is part of.
type membership struct {
	deadlock *deadlock.Deadlock
	index    int // of its members
}

func (m membership) inCycle() bool { return m.index < m.deadlock.Cycle }

// role is what a task or an edge has to do with deadlocks.
type role string

const (
	roleCycle  role = "cycle"
	roleCore   role = "core"
	roleVictim role = "victim"
	roleNone   role = "none"
)

// readPicture asks every component once.
func (r *registry) readPicture(now time.Time) *picture {
	p := &picture{
		at: now, byID: make(map[report.TaskID]*view.Task), known: make(map[report.TaskID]*fleet.Task),
		waiters: make(map[report.TaskID][]int), holders: make(map[waitID][]int),
		in: make(map[report.TaskID]membership), victims: make(map[report.TaskID]struct{}),
	}
	p.readTasks(r.taskStates.list())
	p.readDeadlocks(r.detectors.list())
	p.indexEdges()
	for i := range p.edges {
		p.edges[i].role = p.roleOfEdge(&p.edges[i])
	}
	return p
}

func (p *picture) readTasks(sources []*source[view.Reader]) {
	for _, src := range sources {
		tasks, total := src.reader.Tasks(view.TaskQuery{Limit: maxTasksRead})
		p.total += total
		if p.tasks == nil {
			p.tasks = tasks
		} else {
			p.tasks = append(p.tasks, tasks...)
		}
	}
	// A task that several instances know is taken from the first; one that lives in
	// the eyes of any lives.
	kept := p.tasks[:0]
	seen := make(map[report.TaskID]int, len(p.tasks))
	for _, t := range p.tasks {
		if i, again := seen[t.ID]; again {
			if t.Live() && !kept[i].Live() {
				kept[i] = t
			}
			p.total--
			continue
		}
		seen[t.ID] = len(kept)
		kept = append(kept, t)
	}
	p.tasks = kept
	for i := range p.tasks {
		t := &p.tasks[i]
		p.byID[t.ID] = t
		for _, w := range t.Waits {
			p.waits++
			for j := range w.Holders {
				if len(p.edges) < maxEdgesRead {
					p.edges = append(p.edges, waitEdge{waiter: t.ID, holder: w.Holders[j].Task, wait: w, ahead: t.ClockAhead})
				}
			}
		}
	}
}

// readDeadlocks adds what detectors know: deadlocks, and edges whose holders are in
// no report of the waiter because they say so themselves.
func (p *picture) readDeadlocks(sources []*source[view.DeadlockReader]) {
	type edgeKey struct {
		wait   waitID
		holder report.TaskID
	}
	have := make(map[edgeKey]bool, len(p.edges))
	for i := range p.edges {
		e := &p.edges[i]
		have[edgeKey{waitID{e.waiter, e.wait.ID}, e.holder}] = true
	}
	seen := make(map[deadlock.ID]bool)
	for _, src := range sources {
		edges, waits := src.reader.Graph(maxEdgesRead)
		p.waits = max(p.waits, waits)
		for _, e := range edges {
			p.learn(e.Waiter)
			p.learn(e.Known)
			key := edgeKey{waitID{e.Waiter.ID, e.Wait.ID}, e.Holder}
			if !have[key] && len(p.edges) < 2*maxEdgesRead {
				have[key] = true
				p.edges = append(p.edges, waitEdge{waiter: e.Waiter.ID, holder: e.Holder, wait: e.Wait, ahead: e.Waiter.Ahead})
			}
		}
		maps.Copy(p.victims, src.reader.Victims())
		standing, past := src.reader.Deadlocks()
		for _, dl := range standing {
			if !seen[dl.ID] {
				seen[dl.ID] = true
				p.standing = append(p.standing, dl)
			}
		}
		for _, dl := range past {
			if !seen[dl.ID] {
				seen[dl.ID] = true
				p.past = append(p.past, dl)
			}
		}
	}
	slices.SortStableFunc(p.standing, func(a, b *deadlock.Deadlock) int { return a.Since.Compare(b.Since) })
	slices.SortStableFunc(p.past, func(a, b *deadlock.Deadlock) int { return b.Ended.Compare(a.Ended) })
	for _, dl := range p.standing {
		for i, t := range dl.Members() {
			p.learn(t)
			p.in[t.ID] = membership{dl, i}
		}
	}
}

func (p *picture) learn(t *fleet.Task) {
	if t != nil {
		p.known[t.ID] = t
	}
}

func (p *picture) indexEdges() {
	for i := range p.edges {
		e := &p.edges[i]
		p.waiters[e.holder] = append(p.waiters[e.holder], i)
		id := waitID{e.waiter, e.wait.ID}
		p.holders[id] = append(p.holders[id], i)
	}
}

func compareIDs(a, b report.TaskID) int {
	return cmp.Or(slices.Compare(a.Trace[:], b.Trace[:]), slices.Compare(a.Span[:], b.Span[:]))
}

func (p *picture) isVictim(id report.TaskID) bool {
	_, is := p.victims[id]
	return is
}

func (p *picture) roleOf(id report.TaskID) role {
	switch m := p.in[id]; {
	case m.deadlock == nil && p.isVictim(id):
		return roleVictim
	case m.deadlock == nil:
		return roleNone
	case m.inCycle():
		return roleCycle
	}
	return roleCore
}

func (p *picture) roleOfEdge(e *waitEdge) role {
	from, to := p.in[e.waiter], p.in[e.holder]
	switch {
	case from.deadlock == nil:
		if p.isVictim(e.waiter) && (p.isVictim(e.holder) || to.deadlock != nil) {
			return roleVictim
		}
		return roleNone
	case from.deadlock != to.deadlock:
		return roleNone
	case from.inCycle() && to.index == (from.index+1)%from.deadlock.Cycle:
		return roleCycle
	}
	return roleCore
}

// task is what is known of a task, and whether anything is.
func (p *picture) task(id report.TaskID) (service, name string, state taskspan.State, ok bool) {
	if t := p.byID[id]; t != nil {
		return t.Service, t.Name, p.stateOf(t), true
	}
	if t := p.known[id]; t != nil {
		return t.Process.Service, t.Name, p.liveState(id, t.Live()), true
	}
	return "", "", "", false
}

// stateOf is the state of a task.
func (p *picture) stateOf(t *view.Task) taskspan.State {
	if !t.Live() {
		return t.State
	}
	return p.liveState(t.ID, t.State)
}

// liveState is the state of a live task. A detector here knows before a task_state that
// the task is deadlocked, whose spans may go elsewhere.
func (p *picture) liveState(id report.TaskID, said taskspan.State) taskspan.State {
	if dl := p.in[id].deadlock; dl != nil {
		return dl.TaskState()
	}
	return said
}

// deadlockOf is how sure the detectors are that a task is in a deadlock; "" if no detector
// says so.
func (p *picture) deadlockOf(t *view.Task) taskspan.Confidence {
	switch dl := p.in[t.ID].deadlock; {
	case !t.Live():
		return ""
	case dl != nil:
		return dl.Confidence
	}
	return t.Deadlock
}

// contains reports whether a text has one in it, whatever the case of the letters.
// The second is in lower case.
func contains(text, lower string) bool { return strings.Contains(strings.ToLower(text), lower) }
