//go:build !noinspect

package inspecttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// recorder is a test whose failures are looked at.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Name() string     { return "TestOfSomebody" }
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) end() string {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return strings.Join(r.errors, "\n")
}

func TestLeakedTasksAreNamed(t *testing.T) {
	r := &recorder{TB: t}
	AssertNoLeakedTasks(r, WithGrace(50*time.Millisecond))
	m := inspect.NewMutex("stock")
	m.Lock()
	ctx, cancel := context.WithCancel(context.Background())
	h := inspect.Go(ctx, "reserve", func(ctx context.Context) error {
		if err := m.LockContext(ctx); err != nil {
			return err
		}
		m.Unlock()
		return nil
	})
	_, done := inspect.Begin(ctx, "not leaked")
	done.End(nil)
	message := r.end()
	for _, want := range []string{"1 tasks", `"reserve"`, "blocked", "inspecttest_test.go:", `mutex "stock"`, "held by goroutine"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message does not say %q:\n%s", want, message)
		}
	}
	cancel()
	<-h.Done()
	m.Unlock()
}

func TestNothingLeaked(t *testing.T) {
	r := &recorder{TB: t}
	AssertNoLeakedTasks(r)
	inspect.Go(context.Background(), "quick", func(context.Context) error { return nil })
	if message := r.end(); message != "" {
		t.Errorf("nothing is leaked, but: %s", message)
	}
}

// abba locks a and b in opposite orders until ctx is done.
func abba(ctx context.Context) *sync.WaitGroup {
	a, b := inspect.NewMutex("north"), inspect.NewMutex("south")
	for _, m := range []*inspect.Mutex{a, b} { // so that it is known who releases them
		m.Lock()
		m.Unlock() //nolint:staticcheck // the pair is what is learned from
	}
	var both, ended sync.WaitGroup
	both.Add(2)
	for i, locks := range [][2]*inspect.Mutex{{a, b}, {b, a}} {
		h := inspect.Go(ctx, fmt.Sprint("clerk ", i), func(ctx context.Context) error {
			locks[0].Lock()
			defer locks[0].Unlock()
			both.Done()
			both.Wait()
			if err := locks[1].LockContext(ctx); err != nil {
				return err
			}
			locks[1].Unlock()
			return nil
		})
		ended.Go(func() { <-h.Done() })
	}
	return &ended
}

var story = []string{
	"deadlock of 2", `"clerk 0"`, `"clerk 1"`, `mutex "north"`, `mutex "south"`, "inspecttest_test.go:", "since inspecttest.abba",
}

func TestADeadlockIsTold(t *testing.T) {
	r := &recorder{TB: t}
	ctx, cancel := context.WithCancel(context.Background())
	crashed := make(chan string)
	AssertNoDeadlock(r, WithGrace(time.Millisecond), optionFunc(func(c *config) {
		c.crash = func(message string) { crashed <- message }
	}))
	ended := abba(ctx)
	if crash := <-crashed; !strings.Contains(crash, "TestOfSomebody hangs in a deadlock of 2") {
		t.Errorf("the process would end with:\n%s", crash)
	}
	message := r.end()
	for _, want := range story {
		if !strings.Contains(message, want) {
			t.Errorf("the message does not say %q:\n%s", want, message)
		}
	}
	cancel()
	ended.Wait()
}

func TestBusyLocksAreNoDeadlock(t *testing.T) {
	r := &recorder{TB: t}
	AssertNoDeadlock(r)
	var m inspect.Mutex
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 2000 {
				m.Lock()
				m.Unlock() //nolint:staticcheck // the lock is the work
			}
		})
	}
	workers.Wait()
	if message := r.end(); message != "" {
		t.Errorf("there is no deadlock, but: %s", message)
	}
}

// A test that really hangs ends with the story, in a process of its own.
func TestAHangingTestEnds(t *testing.T) {
	if os.Getenv("INSPECTTEST_HANG") != "" {
		AssertNoDeadlock(t, WithGrace(100*time.Millisecond))
		abba(context.Background()).Wait()
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestAHangingTestEnds$", "-test.timeout=50s")
	cmd.Env = append(os.Environ(), "INSPECTTEST_HANG=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("it did not fail")
	}
	for _, want := range append(story, "TestAHangingTestEnds hangs") {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output does not say %q", want)
		}
	}
	if strings.Contains(string(out), "test timed out") || t.Failed() {
		t.Errorf("it ended with:\n%s", out)
	}
}
