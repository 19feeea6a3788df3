package deadlock

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

var update = flag.Bool("update", false, "write the stories that are found instead of comparing them")

// A person acts on the words, so each of them is held against testdata/stories.txt: which
// lock, which task, how sure, until when, and what to do.
func TestStoriesWordForWord(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	b.process.Service = "billing"
	waits := func(s *speaker, n int, kind taskspan.Kind, resource string, change func(*report.Report), holders ...int) *report.Report {
		return s.stuck(n, float64(n)/10, 4, kind, resource, change, holders...)
	}
	ring := func(kinds ...taskspan.Kind) (all []*report.Report) {
		for i, k := range kinds {
			all = append(all, waits(a, i+1, k, fmt.Sprintf("%c", 'c'+i), nil, (i+1)%len(kinds)+1))
		}
		return all
	}
	forever := func(resource string) report.Hold { return report.Hold{Resource: resource, UntilReleased: true} }
	ahead := func(r *report.Report) *report.Report { // by 100 s
		r.Observed, r.Wait.Since = r.Observed.Add(100*time.Second), r.Wait.Since.Add(100*time.Second)
		return r
	}
	placed := func(line int) func(*report.Report) {
		return func(r *report.Report) {
			r.Task.Thread = int64(line + 1)
			r.Wait.Place = report.Place{Function: "main.waits", File: "/src/waits.go", Line: line}
			r.Wait.Callers = []report.Place{{Function: "main.calls", File: "/src/calls.go", Line: line + 2}}
			for i := range r.Wait.Holders {
				r.Wait.Holders[i].Place = report.Place{Function: "main.takes", File: "/src/takes.go", Line: line + 3 + i}
			}
		}
	}
	long := make([]taskspan.Kind, maxTold+2)
	for i := range long {
		long[i] = taskspan.WaitMutex
	}
	var services []*report.Report
	for i, name := range []string{"five", "four", "one", "three", "two"} {
		s := newSpeaker(name)
		s.process.Service = name
		services = append(services, s.wants(i+1, fmt.Sprint("ext:", (i+1)%5), holds(forever(fmt.Sprint("ext:", i)))))
	}
	var guessed []*report.Report
	for i, name := range []string{"u", "t", "u", "s", "r"} {
		guessed = append(guessed, waits(a, i+1, taskspan.WaitSemaphore, name, inferred, (i+1)%5+1))
	}

	var told strings.Builder
	for _, scene := range []struct {
		name    string
		reports []*report.Report
	}{
		{"a lock that is taken twice", []*report.Report{waits(a, 7, taskspan.WaitMutex, "z", placed(31), 7)}},
		{"a read lock under one's own write lock", []*report.Report{waits(a, 7, taskspan.WaitRWMutexRead, "z", nil, 7)}},
		{"a lock that is taken twice, as is guessed", []*report.Report{waits(a, 7, taskspan.WaitMutex, "z", inferred, 7)}},
		{"two locks in opposite order", []*report.Report{waits(a, 1, taskspan.WaitMutex, "y", placed(11), 2), waits(a, 2, taskspan.WaitMutex, "x", placed(41), 1)}},
		{"two locks of one name", []*report.Report{waits(a, 1, taskspan.WaitMutex, "x", inferred, 2), waits(a, 2, taskspan.WaitMutex, "x", inferred, 1)}},
		{"a caller may give up", []*report.Report{waits(a, 1, taskspan.WaitMutex, "y", cancellable, 2), waits(a, 2, taskspan.WaitMutex, "x", nil, 1)}},
		{"the other caller may give up, as is guessed", []*report.Report{waits(a, 1, taskspan.WaitMutex, "y", inferred, 2), waits(a, 2, taskspan.WaitMutex, "x", cancellable, 1)}},
		{"a reader behind a writer", []*report.Report{waits(a, 1, taskspan.WaitRWMutexRead, "r", nil, 2), waits(a, 2, taskspan.WaitRWMutexWrite, "r", nil, 1)}},
		{"a reader and a writer of two locks", []*report.Report{waits(a, 1, taskspan.WaitRWMutexRead, "r", nil, 2), waits(a, 2, taskspan.WaitRWMutexWrite, "q", nil, 1)}},
		{"permits and locks", ring(taskspan.WaitSemaphore, taskspan.WaitMutex, taskspan.WaitSemaphore)},
		{"channels", ring(taskspan.WaitChannelSend, taskspan.WaitChannelReceive, taskspan.WaitSelect)},
		{"joins", ring(taskspan.WaitJoin, taskspan.WaitMutex)},
		{"a flight", ring(taskspan.WaitSingleflight, taskspan.WaitMutex)},
		{"a once in itself", []*report.Report{waits(a, 7, taskspan.WaitOnce, "o", nil, 7)}},
		{"a once and a lock", ring(taskspan.WaitOnce, taskspan.WaitMutex)},
		{"a cond and a lock", ring(taskspan.WaitCond, taskspan.WaitMutex)},
		{"a long cycle", ring(long...)},
		{"five services", services},
		{"many guesses", guessed},
		{"one task beside the cycle, and one behind", []*report.Report{
			waits(a, 1, taskspan.WaitSemaphore, "s", nil, 2, 3), waits(a, 2, taskspan.WaitMutex, "m", nil, 1), waits(a, 3, taskspan.WaitMutex, "m", nil, 1),
			waits(a, 4, taskspan.WaitMutex, "other", nil, 3),
		}},
		{"two tasks beside the cycle, and two behind", []*report.Report{
			waits(a, 1, taskspan.WaitSemaphore, "s", placed(61), 2, 3, 5), waits(a, 2, taskspan.WaitMutex, "m", nil, 1), waits(a, 3, taskspan.WaitMutex, "m", nil, 1),
			waits(a, 5, taskspan.WaitMutex, "m", nil, 1), waits(a, 4, taskspan.WaitMutex, "other", nil, 3), waits(a, 6, taskspan.WaitMutex, "other", nil, 3),
		}},
		{"TTLs by another clock", []*report.Report{
			ahead(a.wants(1, "ext:y", holds(until("ext:z", 105.5), until("ext:x", 107)))), b.wants(2, "ext:x", holds(until("ext:y", 9), forever("ext:w"))),
		}},
		{"a deadline", []*report.Report{a.wants(1, "ext:y", holds(forever("ext:x")), deadline(8)), b.wants(2, "ext:x", holds(forever("ext:y")))}},
		{"until their release", []*report.Report{a.wants(1, "ext:y", holds(forever("ext:x"))), b.wants(2, "ext:x", holds(forever("ext:y")))}},
		{"nobody has said how the waits end", []*report.Report{
			a.wants(1, "ext:y", holds(forever("ext:x")), inferred), b.wants(2, "ext:x", holds(forever("ext:y")), inferred),
		}},
		{"nobody has said how anything ends", []*report.Report{
			a.wants(1, "ext:y", holds(report.Hold{Resource: "ext:x"}), inferred), b.wants(2, "ext:x", holds(forever("ext:y")), inferred),
		}},
		{"nobody has said how it ends", []*report.Report{a.wants(1, "ext:y", holds(report.Hold{Resource: "ext:x"})), b.wants(2, "ext:x", holds(forever("ext:y")), cancellable)}},
	} {
		d := New(roomy, skew)
		for _, r := range scene.reports {
			require.Equal(t, report.Used, d.Apply(r, at(4)))
		}
		found, _ := d.Evaluate(at(4))
		require.Len(t, found, 1, scene.name)
		fmt.Fprintf(&told, "## %s\n\n%s\n\n%s\n\n", scene.name, found[0].CycleText(), found[0].Story(at(4)))
	}
	file := filepath.Join("testdata", "stories.txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(told.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), told.String())
}
