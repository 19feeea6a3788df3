package deadlock

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/words"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxTold bounds the tasks that a text tells of.
const maxTold = 16

// Headline says in a line what has happened.
func (dl *Deadlock) Headline() string {
	where := list(dl.Services)
	who := fmt.Sprintf("%d tasks of %s wait for each other", len(dl.Core), where)
	switch dl.Kind {
	case Abandoned:
		who = fmt.Sprintf("a task of %s waits for a lock whose holder has ended", where)
	case Self:
		who = fmt.Sprintf("a task of %s waits for itself", where)
	}
	switch {
	case dl.Confidence == Transient:
		return fmt.Sprintf("%s until %s, when %s", who, dl.Ends.UTC().Format(time.TimeOnly), dl.whatEnds())
	case dl.Confidence == Suspected && dl.Kind == Abandoned:
		return fmt.Sprintf("a task of %s may be waiting forever for %s, whose holder has ended: a deadlock if %s",
			where, resource(dl.toNext(0)), dl.condition())
	case dl.Confidence == Suspected && dl.Kind == Self:
		return fmt.Sprintf("a task of %s may be waiting for itself: a deadlock if %s", where, dl.condition())
	case dl.Confidence == Suspected:
		return fmt.Sprintf("%d tasks of %s may be waiting for each other: a deadlock if %s", len(dl.Core), where, dl.condition())
	case dl.Cancellable:
		return who + "; it ends only if a caller gives up"
	}
	return who + " and can never proceed"
}

// whatEnds says what happens at dl.Ends.
func (dl *Deadlock) whatEnds() string {
	if dl.EndsHold != "" {
		return fmt.Sprintf("the TTL of external lock %q expires", words.OneLine(dl.EndsHold))
	}
	return "a deadline expires"
}

// CycleText tells the cycle, a line for each edge.
func (dl *Deadlock) CycleText() string {
	var b strings.Builder
	for i, t := range dl.told() {
		if i > 0 {
			b.WriteByte('\n')
		}
		w := dl.toNext(i)
		fmt.Fprintf(&b, "%s waits for %s", dl.name(t), resource(w))
		if !w.Place.IsZero() {
			fmt.Fprintf(&b, " at %s", words.Place(w.Place))
			if callers := words.Callers(w.Callers); callers != "" {
				fmt.Fprintf(&b, " ← %s", callers)
			}
		}
		next := dl.next(i)
		if h := leaver(w); h != nil {
			fmt.Fprintf(&b, ", never unlocked: taken at %s %s", takenAt(h), left(h))
			continue
		}
		fmt.Fprintf(&b, ", %s %s", dl.holds(i), dl.name(next))
		if h := holderOf(w, next.ID); h != nil && !h.Place.IsZero() {
			fmt.Fprintf(&b, ", taken at %s", words.Place(h.Place))
		}
	}
	if more := dl.Cycle - len(dl.told()); more > 0 {
		fmt.Fprintf(&b, "\n... through %d more tasks, back to the first", more)
	}
	return b.String()
}

// Story tells a person at a terminal what waits for what, and what to do.
func (dl *Deadlock) Story(now time.Time) string {
	var b strings.Builder
	if dl.Confidence == Suspected {
		b.WriteString("SUSPECTED ")
	}
	fmt.Fprintf(&b, "DEADLOCK  %s", dl.Headline())
	fmt.Fprintf(&b, "\n          %s, since %s, %s", dl.Confidence, dl.Since.UTC().Format(time.TimeOnly), dl.victims())
	for i, t := range dl.told() {
		w := dl.toNext(i)
		fmt.Fprintf(&b, "\n\n  %s", dl.name(t))
		fmt.Fprintf(&b, "\n    waits for  %s", resource(w))
		if !w.Place.IsZero() {
			fmt.Fprintf(&b, "\n    at         %s", words.Place(w.Place))
		}
		if callers := words.Callers(w.Callers); callers != "" {
			fmt.Fprintf(&b, "\n    called by  %s", callers)
		}
		next := dl.next(i)
		if h := leaver(w); h != nil {
			fmt.Fprintf(&b, "\n    never unlocked: taken at %s %s\n    trace      %x", takenAt(h), left(h), t.ID.Trace)
			continue
		}
		who := dl.name(next)
		if next.ID == t.ID {
			who = "itself"
		}
		fmt.Fprintf(&b, "\n    %-10s %s", dl.label(i), who)
		if h := holderOf(w, next.ID); h != nil && !h.Place.IsZero() {
			fmt.Fprintf(&b, ", taken at %s", words.Place(h.Place))
		}
		if ends := endOfHold(next, w); !ends.IsZero() {
			fmt.Fprintf(&b, ", until %s", ends.UTC().Format(time.TimeOnly))
		}
		if others := len(w.Holders) - 1; others > 0 && !shared(w) {
			fmt.Fprintf(&b, ", and by %d more", others)
		}
		fmt.Fprintf(&b, "\n    trace      %x", t.ID.Trace)
	}
	if more := dl.Cycle - len(dl.told()); more > 0 {
		fmt.Fprintf(&b, "\n\n  ... through %d more tasks, back to the first", more)
	}
	switch more := len(dl.Core) - dl.Cycle; more {
	case 0:
	case 1:
		b.WriteString("\n\n  1 more task is part of the deadlock")
	default:
		fmt.Fprintf(&b, "\n\n  %d more tasks are part of the deadlock", more)
	}
	switch more := dl.Count - 1; {
	case more == 1:
		b.WriteString("\n\n  1 more deadlock like this one stands: the same processes wait at the same lines")
	case more > 1:
		fmt.Fprintf(&b, "\n\n  %s more deadlocks like this one stand: the same processes wait at the same lines", words.Number(int64(more)))
	}
	fmt.Fprintf(&b, "\n\n  what to do   %s", words.Wrap(dl.Suggestion(), "               "))
	return b.String()
}

func (dl *Deadlock) victims() string {
	stuck := "stuck"
	if dl.Confidence == Suspected {
		stuck = "waiting"
	}
	switch dl.Victims {
	case 0:
		return "no other task is " + stuck + " behind it"
	case 1:
		return "1 more task is " + stuck + " behind it"
	}
	return fmt.Sprintf("%s more tasks are %s behind it", words.Number(int64(dl.Victims)), stuck)
}

// told are the tasks of the cycle that a text has room for.
func (dl *Deadlock) told() []*fleet.Task { return dl.Core[:min(dl.Cycle, maxTold)] }

// next is the task of the cycle that the i-th waits for.
func (dl *Deadlock) next(i int) *fleet.Task { return dl.Core[(i+1)%dl.Cycle] }

// toNext is the wait of the i-th task of the cycle for the next one.
func (dl *Deadlock) toNext(i int) *fleet.Wait {
	waits, next := dl.Waits[dl.Core[i].ID], dl.next(i)
	for _, w := range waits {
		if dl.Kind == Abandoned && abandoned(w) || holderOf(w, next.ID) != nil || shared(w) && claimsResource(next, w.ResourceID) {
			return w
		}
	}
	return waits[0]
}

func takenAt(h *report.Holder) string {
	if h.Place.IsZero() {
		return "an unknown place"
	}
	return words.Place(h.Place)
}

func holderOf(w *fleet.Wait, id report.TaskID) *report.Holder {
	for i := range w.Holders {
		if w.Holders[i].Task == id {
			return &w.Holders[i]
		}
	}
	return nil
}

// endOfHold is when a task's hold of what w waits for ends by itself, by our clock; zero if
// it does not or that is not known.
func endOfHold(t *fleet.Task, w *fleet.Wait) time.Time {
	for _, h := range t.Holds {
		if h.Resource == w.ResourceID && !h.Ends.IsZero() {
			return h.Ends.Add(-t.Ahead)
		}
	}
	return time.Time{}
}

// name tells tasks of one name apart.
func (dl *Deadlock) name(t *fleet.Task) string {
	name := words.OneLine(t.Process.Service + ": " + t.Name)
	if t.Thread != 0 {
		name += fmt.Sprintf(" (goroutine %d)", t.Thread)
	}
	return name
}

func resource(w *fleet.Wait) string {
	name := words.OneLine(w.ResourceName)
	switch w.Kind {
	case taskspan.WaitRemote:
		return fmt.Sprintf("the answer to %q", name)
	case taskspan.WaitJoin:
		return fmt.Sprintf("the end of %q", name)
	case taskspan.WaitRWMutexRead:
		return fmt.Sprintf("read lock %q", name)
	case taskspan.WaitRWMutexWrite:
		return fmt.Sprintf("write lock %q", name)
	case taskspan.WaitExternal:
		return fmt.Sprintf("external lock %q", name)
	case taskspan.WaitOnce:
		return fmt.Sprintf("the first run of %q", name)
	}
	return fmt.Sprintf("%s %q", strings.ReplaceAll(string(w.Kind), ".", " "), name)
}

// holds says how who is waited for stands to what the i-th task of the cycle waits for.
func (dl *Deadlock) holds(i int) string {
	switch dl.toNext(i).Kind {
	case taskspan.WaitRemote:
		return "which is given by"
	case taskspan.WaitJoin, taskspan.WaitSingleflight, taskspan.WaitOnce:
		return "which is up to"
	case taskspan.WaitChannelSend, taskspan.WaitChannelReceive, taskspan.WaitSelect, taskspan.WaitCond:
		return "which only comes from"
	}
	if dl.queued(i) {
		return "behind the waiting writer"
	}
	return "which is held by"
}

func (dl *Deadlock) label(i int) string {
	switch dl.toNext(i).Kind {
	case taskspan.WaitRemote:
		return "answer by"
	case taskspan.WaitJoin, taskspan.WaitSingleflight, taskspan.WaitOnce, taskspan.WaitChannelSend, taskspan.WaitChannelReceive,
		taskspan.WaitSelect, taskspan.WaitCond:
		return "up to"
	}
	if dl.queued(i) {
		return "behind"
	}
	return "held by"
}

// queued reports whether the i-th task is a reader that a waiting writer keeps out.
func (dl *Deadlock) queued(i int) bool {
	w := dl.toNext(i)
	return w.Kind == taskspan.WaitRWMutexRead && slices.ContainsFunc(dl.Waits[dl.next(i).ID], func(o *fleet.Wait) bool {
		return o.Kind == taskspan.WaitRWMutexWrite && o.ResourceID == w.ResourceID
	})
}

// list writes names as people do.
func list(names []string) string {
	names = slices.Clone(names)
	for i, n := range names {
		names[i] = words.OneLine(n)
	}
	if n := len(names); n > 4 {
		return fmt.Sprintf("%s and %d more services", strings.Join(names[:3], ", "), n-3)
	}
	return enumerate(names)
}
