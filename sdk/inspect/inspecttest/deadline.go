package inspecttest

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// watched are the tests with an assertion that have not ended. Shortly before the
// deadline of go test, which ends the process, they are listed with all that waits.
var watched = deadlineWatch{tests: make(map[string]int), out: os.Stderr}

type deadlineWatch struct {
	mu    sync.Mutex
	tests map[string]int // by name, the assertions that watch it
	timer *time.Timer    // nil: no test is watched, or none has a deadline
	out   io.Writer
}

const (
	leastMargin = 200 * time.Millisecond
	mostMargin  = 5 * time.Second
)

// margin is how long before its deadline a test is listed that has so much time left.
func margin(left time.Duration) time.Duration {
	return min(max(left/20, leastMargin), mostMargin)
}

// watch lists the test if it has not ended shortly before its deadline.
func (w *deadlineWatch) watch(t testing.TB) {
	t.Helper()
	has, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return
	}
	deadline, ok := has.Deadline()
	if !ok {
		return
	}
	name := t.Name()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tests[name]++
	if left := time.Until(deadline); w.timer == nil && left > leastMargin {
		// All tests of a process have one deadline.
		early := margin(left)
		w.timer = time.AfterFunc(left-early, func() { w.tell(early) })
	}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.tests[name]--; w.tests[name] == 0 {
			delete(w.tests, name)
		}
		if len(w.tests) == 0 && w.timer != nil {
			w.timer.Stop()
			w.timer = nil
		}
	})
}

// tell writes what has not ended. It fails nothing: a test may still end in time.
func (w *deadlineWatch) tell(early time.Duration) {
	w.mu.Lock()
	names := slices.Sorted(maps.Keys(w.tests))
	out := w.out
	w.mu.Unlock()
	if len(names) == 0 {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "inspecttest: %s not ended, and go test ends the process in %v.", haveOrHas(names), early.Round(100*time.Millisecond))
	for _, d := range inspect.Deadlocks() {
		fmt.Fprintf(&b, "\nThere is a %s", d)
	}
	if tasks := inspect.Tasks(); len(tasks) > 0 {
		fmt.Fprintf(&b, "\nThese tasks and waiting goroutines are open:%s", describe(tasks))
	} else {
		b.WriteString("\nNo task is open, and nothing waits on a primitive of package inspect.")
	}
	b.WriteByte('\n')
	_, _ = io.WriteString(out, b.String())
}

func haveOrHas(names []string) string {
	if len(names) == 1 {
		return names[0] + " has"
	}
	return strings.Join(names, ", ") + " have"
}
