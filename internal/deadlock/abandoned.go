package deadlock

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/words"
)

// leftBehind is the index of the tasks that wait for what somebody has taken who has
// ended, by what they wait for. It is bounded by the open waits.
type leftBehind map[leftResource][]waiterOf

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

// set brings the index up to date with a wait, and returns who waits for the same.
func (l leftBehind) set(w *fleet.Wait, open bool) []waiterOf {
	key, me := leftResource{w.Process, w.ResourceID}, waiterOf{w.Task, w.ID}
	all, in := l[key], open && abandoned(w)
	switch at := slices.Index(all, me); {
	case in && at < 0:
		all = append(all, me)
	case !in && at >= 0:
		all = slices.Delete(slices.Clone(all), at, at+1)
	default:
		return nil
	}
	if len(all) == 0 {
		delete(l, key)
		return nil
	}
	l[key] = all
	return all
}

// first is the task that was first to wait for what w is for.
func (l leftBehind) first(w *fleet.Wait) report.TaskID {
	if all := l[leftResource{w.Process, w.ResourceID}]; len(all) > 0 {
		return all[0].task
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
