package deadlock

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/words"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Suggestion says how such a deadlock is avoided. It goes by what the tasks of the
// cycle wait for.
func (dl *Deadlock) Suggestion() string {
	kinds := make(map[taskspan.Kind]bool)
	var names, semaphores []string
	for i := range dl.told() {
		w := dl.toNext(i)
		kinds[w.Kind] = true
		if name := words.OneLine(w.ResourceName); !slices.Contains(names, name) {
			names = append(names, name)
			if w.Kind == taskspan.WaitSemaphore {
				semaphores = append(semaphores, name)
			}
		}
	}
	slices.Sort(names)
	only := func(allowed ...taskspan.Kind) bool {
		for k := range kinds {
			if !slices.Contains(allowed, k) {
				return false
			}
		}
		return true
	}
	var advice string
	switch {
	case dl.Kind == Abandoned:
		advice = fmt.Sprintf("%s was taken and not released: look for a return, a panic or a runtime.Goexit between the two, and release it by a "+
			"deferred call, on the line after the one that takes it.", resource(dl.toNext(0)))
	case kinds[taskspan.WaitRemote]:
		advice = "Do not call another service while holding what its answer may need: let go of it before the call, or make the " +
			"call part of nothing that others wait for. A deadline on the call turns this into an error."
	case dl.Kind == Self && only(taskspan.WaitMutex, taskspan.WaitRWMutexWrite, taskspan.WaitRWMutexRead):
		advice = fmt.Sprintf("%q is taken by a task that has it already, and Go's locks cannot be taken twice. Let go of it before, or "+
			"call a function that expects the lock to be held.", names[0])
	case kinds[taskspan.WaitRWMutexRead] && kinds[taskspan.WaitRWMutexWrite] && len(names) == 1:
		advice = fmt.Sprintf("A task takes the read lock of %q twice, and a writer has come in between: Go keeps new readers out while a "+
			"writer waits. Take the read lock once, and pass on that it is held.", names[0])
	case only(taskspan.WaitMutex, taskspan.WaitRWMutexRead, taskspan.WaitRWMutexWrite, taskspan.WaitExternal) && len(names) > 1:
		advice = fmt.Sprintf("Take these locks in the same order everywhere, for example %s. Or hold one only after letting go of the "+
			"other.", inOrder(names))
	case kinds[taskspan.WaitSemaphore]:
		advice = fmt.Sprintf("Tasks hold permits of %s while they wait. Take all permits that a task needs in one Acquire, or let go of "+
			"those it has before it waits for anything else.", quoted(semaphores))
	case kinds[taskspan.WaitJoin]:
		advice = "A task waits for the end of another one while holding what that one needs. Let go of it before waiting."
	case kinds[taskspan.WaitSingleflight]:
		advice = "The function that a singleflight runs needs something that one of those who wait for its result holds."
	case dl.Kind == Self && only(taskspan.WaitOnce):
		advice = fmt.Sprintf("The function that %q runs once calls Do of the same Once and waits for its own end. Move that call out of the "+
			"function.", names[0])
	case kinds[taskspan.WaitOnce]:
		advice = "The function that a Once runs needs something that one of those who wait for its end holds. Let go of that before Do, " +
			"or run the function before anything else is taken."
	case only(taskspan.WaitChannelSend, taskspan.WaitChannelReceive, taskspan.WaitSelect):
		advice = "Each waits for the other to send or receive first. Let one side do both in a select, give a channel a buffer, or " +
			"close it when its last sender has ended."
	default:
		advice = fmt.Sprintf("Let go of one of %s before waiting for another.", quoted(names))
	}
	if dl.Confidence == Suspected {
		advice = "If it is a deadlock: " + strings.ToLower(advice[:1]) + advice[1:]
	}
	return advice + "\n" + dl.wayOut()
}

// wayOut says what can be done now.
func (dl *Deadlock) wayOut() string {
	switch {
	case dl.Confidence == Transient:
		return fmt.Sprintf("It ends at %s when %s.", dl.Ends.UTC().Format(time.TimeOnly), dl.whatEnds())
	case dl.Undeclared != "":
		return fmt.Sprintf("It ends by itself if external lock %q has a TTL or a lease. Declare that with inspect.WithTTL, or with "+
			"inspect.UntilReleased that only its release ends it.", words.OneLine(dl.Undeclared))
	case dl.Confidence == Suspected:
		return dl.suspicion()
	case dl.Cancellable:
		return "It ends only if a caller gives up; with a deadline in the context it would end as an error."
	}
	if slices.ContainsFunc(dl.told(), func(t *fleet.Task) bool { return blocking(dl.Waits[t.ID]) }) {
		return "Only a restart of the process ends it now; with LockContext and a deadline it would end as an error."
	}
	return "Only a restart of a process ends it now; with a deadline in the context it would end as an error."
}

// inOrder is the same for the same locks, so that the warning of a deadlock that may
// come and the report of the one that has come do not give opposite advice.
func inOrder(names []string) string {
	sorted := slices.Sorted(slices.Values(names))
	return strings.Join(quote(sorted[:min(len(sorted), 4)]), " before ")
}

func quoted(names []string) string {
	return strings.Join(quote(names[:min(len(names), 4)]), " and ")
}

func quote(names []string) []string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return q
}
