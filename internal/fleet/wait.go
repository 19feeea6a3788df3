package fleet

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// maxClosed bounds the tombstones of the waits of one process. Beyond it the
// next whole heartbeat does their work.
const maxClosed = 4096

// wait merges a wait report: newer revision wins, closed wins.
func (t *Table) wait(p *process, r *report.Report, now time.Time) {
	task := t.mergeTask(p, r, now)
	old, known := p.waits[r.Wait.ID]
	if !r.Wait.Open {
		if p.closed.add(r.Wait.ID, now.Add(MissedHeartbeats*p.interval), maxClosed) {
			t.counters.TombstonesEarly++
		}
		if known {
			t.closeWait(p, old, ByReport, r.Observed)
		}
		return
	}
	if task == nil || p.closed.has(r.Wait.ID) {
		return
	}
	rev, listed := p.beat.revision(r.Wait.ID)
	if !known {
		if !listed && p.beat.newer(r.Sequence, r.Observed) {
			return // that heartbeat has closed it
		}
		if len(task.Waits) >= maxTaskWaits {
			t.counters.WaitsOfTask++
			return
		}
		if !t.room(p) {
			return
		}
		w := &Wait{
			Wait: *r.Wait, Task: r.Task.ID, Process: p.id, Sequence: r.Sequence,
			First: r.Observed, Last: r.Observed, listed: new(atomic.Int64),
		}
		t.cutEdges(w, 0)
		w.confirm(p.beat, rev, listed)
		t.putWait(p, w)
		t.emit(Event{Kind: WaitOpened, Process: p.id, Task: t.tasks[w.Task], Wait: w, At: r.Observed})
		return
	}
	if r.Wait.Revision < old.Revision {
		return
	}
	w := *old
	if r.Wait.Revision > old.Revision {
		w = Wait{
			Task: old.Task, Process: p.id, First: r.Observed, Last: r.Observed, Sequence: r.Sequence, Wait: *r.Wait,
			listed: new(atomic.Int64),
		}
	} else if r.Sequence > old.Sequence {
		w.Wait, w.Sequence = *r.Wait, r.Sequence
	}
	t.cutEdges(&w, len(old.Holders))
	w.First = earlier(w.First, r.Observed)
	w.Last = later(w.Last, r.Observed)
	w.confirm(p.beat, rev, listed)
	t.putWait(p, &w)
	kind := WaitsConfirmed
	if w.Revision > old.Revision {
		kind = WaitRevised
	}
	t.emit(Event{Kind: kind, Process: p.id, Task: t.tasks[w.Task], Wait: &w, At: r.Observed})
}

// cutEdges takes the holders off a wait if there is no room for them. Without them
// it counts as able to end, which can hide a deadlock and no more.
func (t *Table) cutEdges(w *Wait, before int) {
	n := len(w.Holders)
	if n-before <= t.EdgeRoom() {
		return
	}
	w.Holders, w.Complete = nil, false
	t.counters.EdgesRefused += int64(n)
}

// confirm makes the newest heartbeat's word count if it is about this revision.
func (w *Wait) confirm(b *beat, rev int64, listed bool) {
	at := int64(0)
	if listed && rev == w.Revision {
		at = b.observed.UnixNano()
	}
	w.listed.Store(at)
}

// putWait makes a new or changed wait known, and its task with it.
func (t *Table) putWait(p *process, w *Wait) {
	if before, known := p.waits[w.ID]; known {
		t.edges -= len(before.Holders)
	} else {
		t.waits++
	}
	t.edges += len(w.Holders)
	p.waits[w.ID] = w
	t.byWaits.setTo(p, len(p.waits))
	old := t.tasks[w.Task]
	task := *old
	at, found := slices.BinarySearchFunc(old.Waits, w.ID, byWaitID)
	switch {
	case found:
		task.Waits = slices.Clone(old.Waits)
		task.Waits[at] = w
	case at == len(old.Waits):
		// Older versions of the task share the array, but end before the new place. Only
		// the newest version is ever appended to.
		task.Waits = append(old.Waits, w)
	default:
		task.Waits = slices.Insert(slices.Clone(old.Waits), at, w)
	}
	t.change(p, old, &task, w.Last)
}

// closeWait ends an open wait. Its task, if it has not ended, goes on.
func (t *Table) closeWait(p *process, w *Wait, reason Reason, at time.Time) {
	delete(p.waits, w.ID)
	t.waits--
	t.byWaits.setTo(p, len(p.waits))
	t.edges -= len(w.Holders)
	if old := t.tasks[w.Task]; old != nil {
		task := *old
		task.Waits = slices.DeleteFunc(slices.Clone(old.Waits), func(o *Wait) bool { return o.ID == w.ID })
		if len(task.Waits) == 0 {
			task.found = ""
		}
		t.change(p, old, &task, at)
	}
	t.emit(Event{Kind: WaitClosed, Process: p.id, Task: t.tasks[w.Task], Wait: w, Reason: reason, At: at})
}

func byWaitID(w *Wait, id int64) int { return cmp.Compare(w.ID, id) }
