package deadlock

import (
	"slices"
	"strings"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/words"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxNamed bounds the resources that a condition names.
const maxNamed = 3

// guesses are what a suspected deadlock takes for granted.
type guesses struct {
	calls bool     // callers whose client span is open are blocked
	locks []string // no hold of these kinds has been released yet by who took it
	ends  []string // no end of these kinds has been used yet by who opened it
	joins []string // no task of these groups has ended yet by itself
	// externals are external locks of which a waiter has not said that only the release
	// ends its wait.
	externals []string
	permits   bool // one of locks is a semaphore
}

func (dl *Deadlock) guesses() (g guesses) {
	for _, t := range dl.Core {
		for _, w := range dl.Waits[t.ID] {
			switch {
			case !w.Inferred:
			case w.Kind == taskspan.WaitRemote:
				g.calls = true
			default:
				g.permits = g.permits || w.Kind == taskspan.WaitSemaphore
				names := g.of(w.Kind)
				if name := resource(w); !slices.Contains(*names, name) {
					*names = append(*names, name)
				}
			}
		}
	}
	for _, names := range [...][]string{g.locks, g.ends, g.joins, g.externals} {
		slices.Sort(names)
	}
	return g
}

// of returns the list that a wait of this kind belongs to.
func (g *guesses) of(kind taskspan.Kind) *[]string {
	switch kind {
	case taskspan.WaitChannelSend, taskspan.WaitChannelReceive, taskspan.WaitSelect:
		return &g.ends
	case taskspan.WaitJoin:
		return &g.joins
	case taskspan.WaitExternal:
		return &g.externals
	}
	return &g.locks
}

// condition says what has to be so for a suspected deadlock to be one: it goes on after
// "if".
func (dl *Deadlock) condition() string {
	if dl.Kind == Abandoned {
		return "no other goroutine releases it"
	}
	g := dl.guesses()
	if dl.Undeclared != "" {
		g.externals = nil // said below
	}
	var all []string
	for _, a := range []struct {
		names     []string
		one, many string
	}{
		{g.locks, " is released only by the goroutine that took it", " are released only by the goroutines that took them"},
		{g.ends, " has ends that only the goroutines use that opened them", " have ends that only the goroutines use that opened them"},
		{g.joins, " comes only from the task itself", " come only from the tasks themselves"},
		{g.externals, " is waited for without a timeout", " are waited for without a timeout"},
	} {
		switch n := len(a.names); {
		case n > maxNamed:
			all = append(all, enumerate(append(slices.Clone(a.names[:maxNamed]), "others"))+a.many)
		case n > 1:
			all = append(all, enumerate(a.names)+a.many)
		case n == 1:
			all = append(all, a.names[0]+a.one)
		}
	}
	if g.calls {
		all = append(all, "the callers are blocked until their calls return")
	}
	if dl.Undeclared != "" {
		all = append(all, "external lock "+quote([]string{words.OneLine(dl.Undeclared)})[0]+" has no TTL or lease")
	}
	if len(all) == 0 {
		return "its inferred waits are real"
	}
	return strings.Join(all, " and ")
}

// enumerate writes a list as people do.
func enumerate(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// suspicion says how a suspected deadlock could be none.
func (dl *Deadlock) suspicion() string {
	if dl.Kind == Abandoned {
		return "Go allows another goroutine to release the lock, which ends the wait. If the wait lasts longer than the work can take, only a restart of the process ends it."
	}
	g := dl.guesses()
	var all []string
	if len(g.locks) > 0 {
		known := "No lock of that name, or taken at that line, has been released yet. "
		if g.permits {
			known = "No lock of that name, or taken at that line, has been released yet. Or, of a semaphore, no goroutine has held as many " +
				"permits at a time and released all of them. "
		}
		all = append(all, known+"Another goroutine may be about to release "+
			"this one, as workers release the permits that their parent acquired. The wait then ends, and such waits are not reported again.")
	}
	if len(g.ends) > 0 {
		all = append(all, "No end of such a channel has been used yet by the goroutine that opened it. Another goroutine may be about to use "+
			"this one, as a producer that was given its Sender. The wait then ends, and such waits are not reported again.")
	}
	if len(g.joins) > 0 {
		all = append(all, "No task of such a group has ended yet. Another goroutine may be about to call Done for one.")
	}
	if g.calls {
		all = append(all, "A caller with an open client span may be doing other work, as with a stream. Use inspecthttp or inspect.RemoteWait "+
			"to declare the wait.")
	}
	if dl.Cancellable {
		all = append(all, "Otherwise it ends only if a caller gives up.")
	} else {
		all = append(all, "If it lasts longer than the work can take, only a restart of a process ends it.")
	}
	return strings.Join(all, " ")
}

// blocking reports whether a task waits for a lock that cannot be given up.
func blocking(waits []*fleet.Wait) bool {
	return slices.ContainsFunc(waits, func(w *fleet.Wait) bool {
		return w.Kind == taskspan.WaitMutex || w.Kind == taskspan.WaitRWMutexRead || w.Kind == taskspan.WaitRWMutexWrite
	})
}
