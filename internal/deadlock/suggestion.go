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
		advice = fmt.Sprintf("%s was taken and never released. Look for a return, a panic or a runtime.Goexit before its release. Release it with a "+
			"deferred call on the line after the one that takes it.", resource(dl.toNext(0)))
	case kinds[taskspan.WaitRemote]:
		advice = "Do not call another service while holding a resource that the call may need. Release the resource before the call, or make the " +
			"call outside of work that other tasks wait for. A deadline on the call turns the deadlock into an error."
	case dl.Kind == Self && only(taskspan.WaitMutex, taskspan.WaitRWMutexWrite, taskspan.WaitRWMutexRead):
		advice = fmt.Sprintf("A task takes %q although it already holds it, and Go's locks are not reentrant. Release it first, or "+
			"call a function that expects the lock to be held.", names[0])
	case kinds[taskspan.WaitRWMutexRead] && kinds[taskspan.WaitRWMutexWrite] && len(names) == 1:
		advice = fmt.Sprintf("A task takes the read lock of %q twice, and a writer arrived in between. Go blocks new readers while a "+
			"writer waits. Take the read lock once, and call functions that expect it to be held.", names[0])
	case only(taskspan.WaitMutex, taskspan.WaitRWMutexRead, taskspan.WaitRWMutexWrite, taskspan.WaitExternal) && len(names) > 1:
		advice = fmt.Sprintf("Take these locks in the same order everywhere, for example %s. Or release one before taking the "+
			"other.", inOrder(names))
	case kinds[taskspan.WaitSemaphore]:
		advice = fmt.Sprintf("Tasks hold permits of %s while they wait. Acquire all permits that a task needs in one call, or release "+
			"them before waiting for anything else.", quoted(semaphores))
	case kinds[taskspan.WaitJoin]:
		advice = "A task waits for another task to end while holding a resource that the other task needs. Release it before waiting."
	case kinds[taskspan.WaitSingleflight]:
		advice = "The function that a singleflight runs needs a resource that a task waiting for its result holds."
	case dl.Kind == Self && only(taskspan.WaitOnce):
		advice = fmt.Sprintf("The function that %q runs calls Do of the same Once, and so waits for itself. Move that call out of the "+
			"function.", names[0])
	case kinds[taskspan.WaitOnce]:
		advice = "The function that a Once runs needs a resource that a task waiting for the Once holds. Release the resource before Do, " +
			"or call Do before taking anything else."
	case only(taskspan.WaitChannelSend, taskspan.WaitChannelReceive, taskspan.WaitSelect):
		advice = "Each task waits for the other to send or receive first. Let one side do both in a select, give a channel a buffer, or " +
			"close the channel when its last sender ends."
	default:
		advice = fmt.Sprintf("Release one of %s before waiting for another.", quoted(names))
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
		return fmt.Sprintf("It ends by itself if external lock %q has a TTL or a lease. If so, declare it with inspect.WithTTL. If only "+
			"a release ends the lock, declare that with inspect.UntilReleased.", words.OneLine(dl.Undeclared))
	case dl.Confidence == Suspected:
		return dl.suspicion()
	case dl.Cancellable:
		return "It ends only if a caller gives up. A deadline in the context would turn it into an error."
	}
	if slices.ContainsFunc(dl.told(), func(t *fleet.Task) bool { return blocking(dl.Waits[t.ID]) }) {
		return "Only a restart of the process ends it now. LockContext with a deadline would turn it into an error."
	}
	return "Only a restart of a process ends it now. A deadline in the context would turn it into an error."
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
