// Package inspecttest lets tests fail with an answer instead of a timeout.
//
// [AssertNoDeadlock] watches while a test runs: when goroutines wait for each other
// on the primitives of package inspect and can never proceed, it ends the test and
// says which tasks, on what, at which lines. [AssertNoLeakedTasks] fails a test that
// leaves tasks open. Neither needs a collector, nor that the program calls
// [inspect.Start]: if no Inspector runs they start one that sends nothing, for the
// length of the test.
//
// Tests that run in parallel share the process: a deadlock or a leak of one shows in
// all that watch at the time.
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

// WithGrace sets how long tasks may take to end after the test, and how long a test
// in which a deadlock was found may take to end by itself. The default is a second.
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

// AssertNoLeakedTasks fails the test if, when it has ended and the grace is over,
// tasks are open that were not when it was called. The message has each with its
// place and what it waits for.
func AssertNoLeakedTasks(t testing.TB, opts ...Option) {
	t.Helper()
	c := newConfig(opts)
	ins := running(t)
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

// AssertNoDeadlock watches for deadlocks until the test has ended. If it finds one,
// the test fails, with a message that tells the tasks, what each waits for and since
// when, who holds it, and the lines of both. A test that hangs in the deadlock itself
// cannot end: then the process is ended, after the grace, by a panic with the same
// message, long before the timeout of go test.
func AssertNoDeadlock(t testing.TB, opts ...Option) {
	t.Helper()
	c := newConfig(opts)
	running(t)
	var (
		found   string
		watcher sync.WaitGroup
		over    = make(chan struct{})
	)
	watcher.Go(func() {
		found = watch(over)
		if found == "" {
			return
		}
		select {
		case <-over:
		case <-time.After(c.grace):
			c.crash("inspecttest: " + t.Name() + " hangs in a " + found)
		}
	})
	t.Cleanup(func() {
		t.Helper()
		close(over)
		watcher.Wait()
		if found != "" {
			t.Errorf("a %s", found)
		}
	})
}

// watch returns what it finds, or nothing when the test is over.
func watch(over <-chan struct{}) string {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return ""
		case <-ticker.C:
		}
		if found := inspect.Deadlocks(); len(found) > 0 {
			var all []string
			for _, d := range found {
				all = append(all, d.String())
			}
			return strings.Join(all, "\nand a ")
		}
	}
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
