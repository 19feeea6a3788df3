// Package inspecttest lets tests fail with an answer instead of a timeout.
//
// [AssertNoDeadlock] watches a running test. When goroutines deadlock on the primitives
// of package inspect, it ends the test and reports the tasks, what they wait for, and
// the lines. [AssertNotStuck] fails a test in which a wait takes too long, deadlock or
// not. [AssertNoLeakedTasks] fails a test that leaves tasks open. If the test has not
// ended shortly before the timeout of go test, each of them lists the open tasks and
// their waits.
//
// None of them needs a collector or a call of [inspect.Start]: if no Inspector runs,
// they start one that sends nothing for the duration of the test.
//
// Parallel tests share the process: a deadlock, a long wait or a leak in one test fails
// all tests that watch at the time.
package inspecttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Option changes an assertion.
type Option interface{ apply(*config) }

type config struct {
	grace time.Duration
	crash func(string)
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithGrace sets the grace period: how long tasks may take to end after the test, how
// long a certain deadlock must stand before it counts, and how long after its limit a
// wait may still end before a hanging test is ended. The default is a second. After the
// test, a suspected deadlock may stand ten times as long.
func WithGrace(d time.Duration) Option { return optionFunc(func(c *config) { c.grace = d }) }

func newConfig(opts []Option) *config {
	c := &config{grace: time.Second, crash: func(message string) { panic(message) }}
	for _, o := range opts {
		o.apply(c)
	}
	return c
}

// poll is how often is looked. Nothing depends on it but how soon is known.
const poll = 20 * time.Millisecond

// AssertNoLeakedTasks fails the test if tasks that began after the call are still open
// when the test has ended and the grace period is over. The message lists each task
// with its place and what it waits for.
func AssertNoLeakedTasks(t testing.TB, opts ...Option) {
	t.Helper()
	c := newConfig(opts)
	ins := running(t)
	watched.watch(t)
	before := make(map[string]bool)
	for _, task := range ins.Tasks() {
		before[task.SpanID] = true
	}
	t.Cleanup(func() {
		t.Helper()
		leaked, settled := leakedTasks(ins, before)
		for deadline := time.Now().Add(c.grace); !settled && time.Now().Before(deadline); {
			time.Sleep(poll)
			leaked, settled = leakedTasks(ins, before)
		}
		if len(leaked) > 0 {
			t.Errorf("%d tasks are still open %v after the test:%s", len(leaked), c.grace, describe(leaked))
		}
	})
}

// leakedTasks returns the open tasks that are not among those before. It is settled if
// there are none, and none that has been started and does not run yet.
func leakedTasks(ins *inspect.Inspector, before map[string]bool) (leaked []inspect.TaskInfo, settled bool) {
	open := ins.MemoryStats().TaskCount
	for _, task := range ins.Tasks() {
		if task.SpanID == "" {
			continue // a goroutine without a task
		}
		open--
		if !before[task.SpanID] {
			leaked = append(leaked, task)
		}
	}
	return leaked, len(leaked) == 0 && open <= 0
}

// suspicion is how many times the grace a suspected deadlock may stand after the test:
// in it, somebody may be about to release what another goroutine has taken.
const suspicion = 10

// AssertNoDeadlock watches for deadlocks until the test has ended. It fails the test if
// one stands longer than the grace period. The message lists the tasks, what each waits
// for and since when, the holder, and the lines of both.
//
// A test that hangs in a certain deadlock cannot end. After the grace period,
// AssertNoDeadlock therefore ends the process by a panic with the same message, long
// before the timeout of go test. A suspected deadlock (see
// [inspect.Deadlock.Confidence]) never ends a test, because a correct test of a pool
// can look like one. It fails a test that has ended and left the deadlock behind;
// otherwise it is listed shortly before the timeout. To make the deadlock of a lock
// certain, take and release the lock once before.
func AssertNoDeadlock(t testing.TB, opts ...Option) {
	t.Helper()
	c := newConfig(opts)
	running(t)
	watched.watch(t)
	var (
		seen    standing
		watcher sync.WaitGroup
		over    = make(chan struct{})
	)
	watcher.Go(func() {
		for pollUntil(over) {
			if certain, _ := seen.look(inspect.Deadlocks(), time.Now(), c.grace); len(certain) > 0 {
				c.crash("inspecttest: " + t.Name() + " hangs in a " + stories(certain))
				return
			}
		}
	})
	t.Cleanup(func() {
		t.Helper()
		close(over)
		watcher.Wait()
		if left := seen.settle(c.grace); len(left) > 0 {
			t.Errorf("a %s", stories(left))
		}
	})
}

// pollUntil waits for a moment, and returns false when the test is over.
func pollUntil(over <-chan struct{}) bool {
	select {
	case <-over:
		return false
	case <-time.After(poll):
		return true
	}
}

func stories(found []inspect.Deadlock) string {
	all := make([]string, 0, len(found))
	for _, d := range found {
		all = append(all, d.String())
	}
	return strings.Join(all, "\nand a ")
}

// AssertNotStuck fails the test if a wait on a primitive of package inspect that begins
// after the call and before the end of the test takes longer than atMost. The message
// lists the waiter, what it waits for, since when, the line, and the holder. Waits that
// end by themselves, such as a sleep or a wait with a deadline, do not count.
//
// If such a wait still stands after the grace period and the test has not ended,
// AssertNotStuck ends the process by a panic with the same message. Choose atMost so
// that no correct run exceeds it, even on a slow machine. A goroutine that correctly
// waits longer for work needs a context with a deadline.
func AssertNotStuck(t testing.TB, atMost time.Duration, opts ...Option) {
	t.Helper()
	c := newConfig(opts)
	ins := running(t)
	watched.watch(t)
	var (
		began   = time.Now()
		found   = make(map[string]string) // by wait, what it is
		told    []string
		watcher sync.WaitGroup
		over    = make(chan struct{})
	)
	look := func() (hangs bool) {
		for _, task := range stuck(ins.Tasks(), began, atMost) {
			key := waitKey(task)
			if _, known := found[key]; !known && len(found) < maxStuck {
				found[key] = describe([]inspect.TaskInfo{task})
				told = append(told, found[key])
			}
			hangs = hangs || time.Since(task.Wait.Since) > atMost+c.grace
		}
		return hangs
	}
	message := func() string {
		return fmt.Sprintf("waits for longer than %v:%s", atMost, strings.Join(told, ""))
	}
	watcher.Go(func() {
		for pollUntil(over) {
			if look() {
				c.crash("inspecttest: " + t.Name() + " hangs; " + message())
				return
			}
		}
	})
	t.Cleanup(func() {
		t.Helper()
		close(over)
		watcher.Wait()
		if look(); len(told) > 0 {
			t.Errorf("%s", message())
		}
	})
}

// maxStuck bounds the waits that a message lists.
const maxStuck = 50

// stuck returns those that have waited for longer than atMost, since a time, for
// something that does not end by itself.
func stuck(tasks []inspect.TaskInfo, since time.Time, atMost time.Duration) []inspect.TaskInfo {
	var long []inspect.TaskInfo
	for _, t := range tasks {
		if w := t.Wait; w != nil && w.Deadline == nil && w.Kind != taskspan.WaitSleep &&
			!w.Since.Before(since) && time.Since(w.Since) > atMost {
			long = append(long, t)
		}
	}
	return long
}

// running returns the default Inspector, and starts one for the test if there is none.
func running(t testing.TB) *inspect.Inspector {
	t.Helper()
	if ins := inspect.Default(); ins != nil {
		return ins
	}
	ins, err := inspect.Start(context.Background(), inspect.WithReports(false), inspect.WithoutExport(),
		inspect.WithSamplingRate(0), inspect.WithServiceName("test"))
	if err != nil {
		t.Fatalf("start async-inspect for the test: %v", err)
	}
	t.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
	return ins
}

func describe(tasks []inspect.TaskInfo) string {
	var b strings.Builder
	for _, task := range tasks {
		fmt.Fprintf(&b, "\n  %q, %s since %v, begun at %s", task.Name, task.State,
			time.Since(task.Start).Round(time.Millisecond), task.Begun)
		if task.State == taskspan.Blocked && task.Wait != nil {
			fmt.Fprintf(&b, "\n    waits for %s %q at %s", task.Wait.Kind, task.Wait.Resource, task.Wait.Place)
			for _, h := range task.Wait.Holders {
				who := fmt.Sprintf("goroutine %d", h.Goroutine)
				if h.Task != "" {
					who = fmt.Sprintf("%q", h.Task)
				}
				fmt.Fprintf(&b, "\n    held by %s", who)
				if h.Place.Function != "" {
					fmt.Fprintf(&b, " since %s", h.Place)
				}
			}
		}
	}
	return b.String()
}
