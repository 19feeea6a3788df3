package fleet

import (
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// At the limit a process below its fair share takes the place of a young entry of one
// above it. A process above its share gets nothing, so a noisy one never pushes out the
// others. Blocked tasks go before running ones: a running task is part of no deadlock,
// and is reported again while it runs.

// sampled is how many entries of a process are looked at to find a young one.
const sampled = 16

// room makes sure that p may open one more wait.
func (t *Table) room(p *process) bool {
	if t.waits < t.limits.Waits {
		return true
	}
	share := t.limits.Waits / max(1, t.reporting)
	victim := t.byWaits.largest()
	if victim == nil || victim == p || len(p.waits) >= share || len(victim.waits) <= share {
		t.counters.WaitsRefused++
		return false
	}
	t.counters.WaitsEvicted++
	w := victim.young()
	t.closeWait(victim, w, ByEviction, w.Last)
	return true
}

// young returns a wait of p that is younger than most: ids grow with time.
func (p *process) young() *Wait {
	var youngest *Wait
	looked := 0
	for _, w := range p.waits {
		if youngest == nil || w.ID > youngest.ID {
			youngest = w
		}
		if looked++; looked == sampled {
			break
		}
	}
	return youngest
}

// roomForTask makes sure that there may be one more live task of p, blocked or running.
func (t *Table) roomForTask(p *process, blocked bool) bool {
	if len(t.tasks) < t.limits.Tasks {
		return true
	}
	victim := t.taskVictim(p, blocked)
	if victim == nil {
		t.counters.TasksRefused++
		return false
	}
	t.counters.TasksEvicted++
	t.endTask(victim, taskspan.Running, ByEviction, victim.LastSeen)
	return true
}

// taskVictim returns the task whose place a new one of p takes, or nil.
func (t *Table) taskVictim(p *process, blocked bool) *Task {
	share := t.limits.Tasks / max(1, t.reporting)
	below := len(p.tasks) < share
	// Whose running tasks may go: those of the process with most of them, if it has more
	// than its share; for a blocked task of a process with less, in any case.
	if q := t.byRunning.largest(); q != nil && (below && blocked || (below || blocked) && len(q.tasks) > share) {
		return t.youngTask(q.running)
	}
	if blocked && len(p.running) > 0 {
		return t.youngTask(p.running)
	}
	if q := t.byTasks.largest(); blocked && below && len(q.tasks) > share {
		return t.youngTask(q.tasks)
	}
	return nil
}

// youngTask returns a task that is younger than most of some.
func (t *Table) youngTask(of map[report.TaskID]struct{}) *Task {
	var youngest *Task
	looked := 0
	for id := range of {
		if task := t.tasks[id]; youngest == nil || task.Start.After(youngest.Start) {
			youngest = task
		}
		if looked++; looked == sampled {
			break
		}
	}
	return youngest
}
