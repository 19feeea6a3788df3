package deadlock

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/words"
)

// leftBehind is the index of the tasks that wait for what somebody has taken who has
// ended, by what they wait for. It is bounded by the open waits.
type leftBehind map[leftResource]*ordered[waiterOf, struct{}]

// leftResource names a resource of a process.
type leftResource struct {
	process  report.Process
	resource string
}

type waiterOf struct {
	task report.TaskID
	wait int64
}

// abandoned reports whether a holder of what a wait is for has ended without releasing it.
func abandoned(w *fleet.Wait) bool {
	return !shared(w) && slices.ContainsFunc(w.Holders, func(h report.Holder) bool { return h.Ended })
}

// set brings the index up to date with a wait. It returns the task that stands for the
// resource from now on, if that is another one than before.
func (l leftBehind) set(w *fleet.Wait, open bool) (next report.TaskID, changed bool) {
	key, me := leftResource{w.Process, w.ResourceID}, waiterOf{w.Task, w.ID}
	all := l[key]
	in := open && abandoned(w)
	switch {
	case all != nil:
	case !in:
		return next, false
	default:
		all = new(ordered[waiterOf, struct{}])
		l[key] = all
	}
	before, _ := all.first()
	if in {
		all.put(me, struct{}{})
	} else {
		all.remove(me)
	}
	first, any := all.first()
	if !any {
		delete(l, key)
	}
	return first.task, any && first != before
}

// first is the task that was first to wait for what w is for.
func (l leftBehind) first(w *fleet.Wait) report.TaskID {
	if all := l[leftResource{w.Process, w.ResourceID}]; all != nil {
		if first, any := all.first(); any {
			return first.task
		}
	}
	return w.Task
}

// leaver is the holder of a wait that has ended, or nil.
func leaver(w *fleet.Wait) *report.Holder {
	for i := range w.Holders {
		if w.Holders[i].Ended && !shared(w) {
			return &w.Holders[i]
		}
	}
	return nil
}

// left says what became of a holder that has ended: it goes on after "taken at ...".
func left(h *report.Holder) string {
	if h.TaskName == "" {
		return "by a goroutine that has ended"
	}
	return "by task " + quote([]string{words.OneLine(h.TaskName)})[0] + ", which has ended"
}
