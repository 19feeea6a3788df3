package taskstate

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/internal/words"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxTaskEvents bounds the history of one task.
const maxTaskEvents = 64

// history is what happened to a live task.
type history struct {
	events  []view.Event
	cut     int
	blocked time.Duration // in reported waits that have ended
}

// liveTasks is the fleet with the histories of its tasks. What it learns flows on
// into the statistics and the ended tasks; their locks are taken under mu, never
// the other way round.
type liveTasks struct {
	stats *statistics
	ended *endedTasks

	mu        sync.Mutex // guards all below
	table     *fleet.Table
	histories map[report.TaskID]*history
	lost      []*fleet.Task // to be closed by a span
	lostCut   int64         // that found no room in lost
	maxLost   int
	now       time.Time // of the call in progress
	waitEvent bool      // the report in progress opened, revised or closed a wait, or found or ended a task

	generation atomic.Int64 // +1 with every event: whether anything changed
}

func newLiveTasks(cfg *Config, stats *statistics, ended *endedTasks) *liveTasks {
	l := &liveTasks{
		stats: stats, ended: ended, maxLost: cfg.MaxTasks,
		histories: make(map[report.TaskID]*history),
	}
	l.table = fleet.NewTable(fleet.Limits{Processes: cfg.MaxProcesses, Tasks: cfg.MaxTasks, Waits: cfg.MaxTasks}, l.on)
	return l
}

// countSince says since when the totals count: what a process did before, somebody else
// may have counted.
func (l *liveTasks) countSince(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.CountSince(since)
}

// apply merges a report; mu is held. news says that it changed what is known of a wait
// or a task, and did not only repeat it.
func (l *liveTasks) apply(r *report.Report, now time.Time) (news bool, drop report.Drop) {
	l.now, l.waitEvent = now, false
	drop = l.table.Apply(r, now)
	return l.waitEvent, drop
}

// endSpans ends the tasks whose spans came. Those that were live have been
// recorded with their history and lose their stats, so that they are not recorded
// again.
func (l *liveTasks) endSpans(tasks []taskSpan, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
	for i := range tasks {
		t := &tasks[i]
		if !t.reported {
			continue
		}
		if h := l.histories[t.id]; h != nil {
			if t.events != nil {
				for _, e := range t.events.kept {
					l.ended.note(h, e)
				}
			}
			h.blocked = max(h.blocked, t.blocked)
			t.stats = nil
		}
		l.table.EndTask(t.id, endStates[t.state], time.Unix(0, t.end).UTC(), now)
	}
}

// advance does what time does.
func (l *liveTasks) advance(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
	l.table.Advance(now)
}

// services returns the services that have a process.
func (l *liveTasks) services() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.table.Services()
}

// takeLost returns the tasks that were lost since the last call.
func (l *liveTasks) takeLost() []*fleet.Task {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.lost
	l.lost = nil
	return lost
}

// on is told every change by the table; mu is held.
func (l *liveTasks) on(e fleet.Event) {
	if e.Kind == fleet.WaitsConfirmed {
		return // they are as they were
	}
	l.generation.Add(1)
	switch e.Kind {
	case fleet.ProcessFound, fleet.ProcessEnded:
		l.stats.process(e)
	case fleet.CountsAdvanced:
		l.stats.advance(e.Process.Service, e.Name, e.Delta)
	case fleet.ActivityAdvanced:
		l.stats.activity(e.Process.Service, e.Activity)
	case fleet.TaskFound:
		l.waitEvent = true
		l.histories[e.Task.ID] = &history{}
		l.ended.setLive(len(l.histories))
		l.note(e.Task.ID, view.Event{At: e.Task.Start, Name: string(taskspan.Running)})
	case fleet.TaskChanged:
		detail := ""
		if e.State != taskspan.Running {
			detail = waitText(e.Task.Waits[0])
		}
		l.note(e.Task.ID, view.Event{At: e.At, Name: string(e.State), Detail: detail})
	case fleet.TaskEnded:
		l.waitEvent = true
		l.taskEnded(e)
	case fleet.WaitOpened:
		l.waitEvent = true
		l.stats.stuck(e)
	case fleet.WaitRevised:
		l.waitEvent = true
		l.note(e.Wait.Task, view.Event{At: e.At, Name: "holders changed", Detail: waitText(e.Wait)})
	case fleet.WaitClosed:
		l.waitEvent = true
		l.stats.stuck(e)
		if h := l.histories[e.Wait.Task]; h != nil {
			h.blocked += max(0, e.At.Sub(e.Wait.Since))
		}
		l.note(e.Wait.Task, view.Event{
			At: e.At, Name: "wait ended",
			Detail: fmt.Sprintf("%s after %s (%s)", waitText(e.Wait), words.Age(e.At.Sub(e.Wait.Since)), e.Reason),
		})
	}
}

func (l *liveTasks) note(id report.TaskID, e view.Event) {
	if h := l.histories[id]; h != nil {
		l.ended.note(h, e)
	}
}

func (l *liveTasks) taskEnded(e fleet.Event) {
	l.note(e.Task.ID, view.Event{At: e.At, Name: string(e.State), Detail: e.Reason.String()})
	h := l.histories[e.Task.ID]
	delete(l.histories, e.Task.ID)
	l.ended.setLive(len(l.histories))
	if e.Reason == fleet.ByEviction {
		l.ended.forget(h) // it has not ended
		return
	}
	l.ended.addReported(e, l.stats.of(e.Process.Service, e.Task.Name), h, l.now)
	if e.State != taskspan.Lost {
		return
	}
	if len(l.lost) >= l.maxLost {
		l.lostCut++
		return
	}
	l.lost = append(l.lost, e.Task)
}

func waitText(w *fleet.Wait) string {
	return string(w.Kind) + " " + w.ResourceName
}
