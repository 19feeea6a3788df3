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
}

func (dl *Deadlock) guesses() (g guesses) {
	for _, t := range dl.Core {
		for _, w := range dl.Waits[t.ID] {
			switch {
			case !w.Inferred:
			case w.Kind == taskspan.WaitRemote:
				g.calls = true
			default:
				if name := resource(w); !slices.Contains(g.locks, name) {
					g.locks = append(g.locks, name)
				}
			}
		}
	}
	slices.Sort(g.locks)
	return g
}

// condition says what has to be so for a suspected deadlock to be one: it goes on after
// "if".
func (dl *Deadlock) condition() string {
	if dl.Kind == Abandoned {
		return "no other goroutine releases it"
	}
	g := dl.guesses()
	var all []string
	if n := len(g.locks); n > 0 {
		names := g.locks[:min(n, maxNamed)]
		if n > maxNamed {
			names = append(slices.Clone(names), "others")
		}
		released := " is released only by the goroutine that took it"
		if n > 1 {
			released = " are released only by the goroutines that took them"
		}
		all = append(all, enumerate(names)+released)
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
		all = append(all, "No lock of that name, or taken at that line, has been released yet. Another goroutine may be about to release "+
			"this one, as workers release the permits that their parent acquired. The wait then ends, and such waits are not reported again.")
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
