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
	"testing/synctest"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
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

// noCrash fails the test if the process would be ended.
func noCrash(t *testing.T) Option {
	return optionFunc(func(c *config) {
		c.crash = func(message string) { t.Errorf("the process would end with:\n%s", message) }
	})
}

// until waits for something that must come soon.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s there is still no %s", what)
		}
	}
}

// fresh is a name of which the process knows nothing yet.
func fresh(name string) string { return fmt.Sprint(name, " ", time.Now().UnixNano()) }

// A pool whose parent acquires and whose workers release looks like a deadlock while it
// is full, for longer than any grace.
func TestACorrectPoolIsLeftAlone(t *testing.T) {
	name := fresh("fan-out")
	for range 2 { // a process that knows nothing of it, and one that does
		r := &recorder{TB: t}
		AssertNoDeadlock(r, WithGrace(time.Millisecond), noCrash(t))
		sem, finish := inspect.NewSemaphore(name, 2), make(chan struct{})
		h := inspect.Go(context.Background(), "parent", func(ctx context.Context) error {
			var workers sync.WaitGroup
			for range 4 {
				if err := sem.Acquire(ctx, 1); err != nil {
					return err
				}
				workers.Go(func() { defer sem.Release(1); <-finish })
			}
			workers.Wait()
			return nil
		})
		until(t, "wait for a permit", func() bool {
			return len(stuck(inspect.Tasks(), time.Time{}, 5*poll)) > 0 // seen some times by the watcher
		})
		for range 4 {
			finish <- struct{}{}
		}
		if err := h.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		if message := r.end(); message != "" {
			t.Errorf("the pool is correct, but: %s", message)
		}
	}
}

// A deadlock that somebody breaks up within the grace is none.
func TestADeadlockThatEndsInTimeIsNone(t *testing.T) {
	r := &recorder{TB: t}
	ctx, cancel := context.WithCancel(context.Background())
	AssertNoDeadlock(r, WithGrace(time.Minute), noCrash(t))
	ended := abba(ctx)
	until(t, "deadlock", func() bool { return len(inspect.Deadlocks()) > 0 })
	time.AfterFunc(5*poll, cancel) // the test is over by then
	if message := r.end(); message != "" {
		t.Errorf("it ended, but: %s", message)
	}
	ended.Wait()
}

// A suspected deadlock that a test leaves behind fails it.
func TestASuspectedDeadlockThatIsLeftBehindIsTold(t *testing.T) {
	r := &recorder{TB: t}
	AssertNoDeadlock(r, WithGrace(time.Millisecond), noCrash(t))
	ctx, cancel := context.WithCancel(context.Background())
	m := inspect.NewMutex(fresh("taken for the first time"))
	h := inspect.Go(ctx, "forgetful", func(ctx context.Context) error {
		m.Lock()
		return m.LockContext(ctx)
	})
	until(t, "deadlock", func() bool { return len(inspect.Deadlocks()) > 0 })
	message := r.end()
	for _, want := range []string{"suspected deadlock of 1", `"forgetful"`, "taken for the first time", "if only the goroutine that took"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message does not say %q:\n%s", want, message)
		}
	}
	cancel()
	<-h.Done()
	m.Unlock()
}

func TestALongWaitIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	waiting := func(name string, fn func(context.Context) error) *inspect.Handle {
		h := inspect.Go(ctx, name, fn)
		until(t, "wait of "+name, func() bool {
			for _, task := range inspect.Tasks() {
				if task.Name == name && task.Wait != nil {
					return true
				}
			}
			return false
		})
		return h
	}
	receive := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { _, err := inspect.NewChan[int](name, 0).Receive(ctx); return err }
	}
	outer := &recorder{TB: t}
	AssertNoLeakedTasks(outer) // keeps an Inspector for all of the test
	early := waiting("early", receive("before"))
	for _, c := range []struct {
		name   string
		atMost time.Duration
		wait   func(context.Context) error
		says   []string // nothing: it is well
	}{
		{"a wait for a channel", time.Millisecond, receive("never sent"), []string{
			"longer than 1ms", `"a wait for a channel"`, `channel.receive "never sent"`, "inspecttest_test.go:",
		}},
		{"a wait that is not long yet", time.Hour, receive("soon"), nil},
		{"a sleep", time.Millisecond, func(ctx context.Context) error { return inspect.Sleep(ctx, time.Hour) }, nil},
		{"a wait with a deadline", time.Millisecond, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return receive("in an hour")(ctx)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{TB: t}
			AssertNotStuck(r, c.atMost, WithGrace(time.Hour), noCrash(t))
			waiting(c.name, c.wait)
			time.Sleep(3 * poll) // longer than what is allowed, and the watcher has looked
			message := r.end()
			if len(c.says) == 0 && message != "" {
				t.Errorf("all is well, but: %s", message)
			}
			for _, want := range c.says {
				if !strings.Contains(message, want) {
					t.Errorf("the message does not say %q:\n%s", want, message)
				}
			}
			if strings.Contains(message, `"early"`) {
				t.Errorf("one that waited before is told: %s", message)
			}
		})
	}
	cancel()
	<-early.Done()
	if message := outer.end(); message != "" {
		t.Error(message)
	}
}

// A test that hangs in a wait that is no deadlock is ended when its time is up.
func TestATestThatIsStuckIsEnded(t *testing.T) {
	r := &recorder{TB: t}
	ctx, cancel := context.WithCancel(context.Background())
	crashed := make(chan string, 1)
	AssertNotStuck(r, time.Millisecond, WithGrace(time.Millisecond), optionFunc(func(c *config) {
		c.crash = func(message string) { crashed <- message }
	}))
	h := inspect.Go(ctx, "consumer", func(ctx context.Context) error {
		_, err := inspect.NewChan[int]("orders", 0).Receive(ctx)
		return err
	})
	select {
	case message := <-crashed:
		for _, want := range []string{"TestOfSomebody hangs", `"consumer"`, `channel.receive "orders"`} {
			if !strings.Contains(message, want) {
				t.Errorf("the process would end with:\n%s", message)
			}
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing has happened in 30 s")
	}
	cancel()
	<-h.Done()
	r.end()
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

// A test that waits on a channel for ever says who and where before go test ends it.
func TestWhoIsStuckIsListedBeforeTheDeadline(t *testing.T) {
	if os.Getenv("INSPECTTEST_WAIT") != "" {
		AssertNoLeakedTasks(t)
		_, _ = inspect.NewChan[int]("never sent", 0).Receive(context.Background())
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^"+t.Name()+"$", "-test.timeout=2s")
	cmd.Env = append(os.Environ(), "INSPECTTEST_WAIT=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("it did not fail")
	}
	list, _, timedOut := strings.Cut(string(out), "panic: test timed out")
	for _, want := range []string{t.Name() + " has not ended", `channel.receive "never sent"`, "inspecttest_test.go:"} {
		if !timedOut || !strings.Contains(list, want) {
			t.Errorf("before the end there is no %q in:\n%s", want, out)
		}
	}
}

func TestMargins(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		10 * time.Minute: 5 * time.Second, 100 * time.Second: 5 * time.Second, 80 * time.Second: 4 * time.Second,
		6 * time.Second: 300 * time.Millisecond, 3 * time.Second: 200 * time.Millisecond,
	} {
		if got := margin(left); got != want {
			t.Errorf("with %v left it is %v, want %v", left, got, want)
		}
	}
}

// A test that ends in time is not listed, nor is one whose deadline is too near.
func TestTestsThatEndAreNotListed(t *testing.T) {
	for _, c := range []struct {
		name string
		left time.Duration
		ends bool
		want string
	}{
		{"one that ends", 300 * time.Millisecond, true, ""},
		{"one that does not", 300 * time.Millisecond, false, "TestOfSomebody has not ended, and go test ends the process in 200ms."},
		{"one with no time left", 100 * time.Millisecond, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				w := deadlineWatch{tests: make(map[string]int), out: &out}
				r := &dueRecorder{recorder{TB: t}, time.Now().Add(c.left)}
				w.watch(r)
				w.watch(r) // two assertions of one test
				if c.ends {
					r.end()
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if got := out.String(); c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Count(got, "has not ended") > 1 {
					t.Errorf("it says %q, want %q", got, c.want)
				}
				if !c.ends {
					r.end()
				}
				if len(w.tests) != 0 || w.timer != nil {
					t.Errorf("left behind are %v and %v", w.tests, w.timer)
				}
			})
		})
	}
}

// dueRecorder has a deadline, as a *testing.T has.
type dueRecorder struct {
	recorder
	due time.Time
}

func (r *dueRecorder) Deadline() (time.Time, bool) { return r.due, true }

// A deadlock counts when it has stood for the grace without a break, certain ones apart
// from suspected ones.
func TestHowLongADeadlockHasStood(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }
	deadlock := func(goroutine uint64, sure taskspan.Confidence) inspect.Deadlock {
		return inspect.Deadlock{Confidence: sure, Size: 1, Cycle: []inspect.TaskInfo{{
			Goroutine: goroutine, Wait: &inspect.WaitInfo{ResourceID: "r1", Since: at(0)},
		}}}
	}
	first, second, guess := deadlock(1, taskspan.Certain), deadlock(2, taskspan.Certain), deadlock(1, taskspan.Suspected)
	var s standing
	const grace = 100 * time.Millisecond
	for i, step := range []struct {
		ms                 int
		found              []inspect.Deadlock
		certain, suspected int
	}{
		{0, []inspect.Deadlock{first}, 0, 0},
		{99, []inspect.Deadlock{first, second}, 0, 0},
		{100, []inspect.Deadlock{first, second}, 1, 0},
		{198, []inspect.Deadlock{second, first}, 1, 0},
		{199, []inspect.Deadlock{first, second}, 2, 0},
		{250, []inspect.Deadlock{second}, 1, 0}, // a break
		{320, []inspect.Deadlock{first, second}, 1, 0},
		{420, []inspect.Deadlock{first, guess}, 1, 0},
		{520, []inspect.Deadlock{first, guess}, 1, 1},
		{521, nil, 0, 0},
		{900, []inspect.Deadlock{guess}, 0, 0},
		{1000, []inspect.Deadlock{guess}, 0, 1},
	} {
		certain, suspected := s.look(step.found, at(step.ms), grace)
		if len(certain) != step.certain || len(suspected) != step.suspected {
			t.Errorf("step %d, at %d ms: %d are certain and %d suspected, want %d and %d", i, step.ms, len(certain), len(suspected), step.certain, step.suspected)
		}
		for _, d := range suspected {
			if d.Confidence != taskspan.Suspected {
				t.Errorf("step %d: suspected is %v", i, d)
			}
		}
	}
}

// A suspected deadlock has ten times the grace to end after the test, and a certain one
// the grace.
func TestHowLongADeadlockMayStandAfterTheTest(t *testing.T) {
	for _, used := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{TB: t}
			AssertNoDeadlock(r, WithGrace(time.Second), optionFunc(func(c *config) { c.crash = func(string) {} }))
			ctx, cancel := context.WithCancel(t.Context())
			// No mutex: time stands still in a bubble while somebody waits for one.
			permits := inspect.NewSemaphore(fresh(fmt.Sprint("bubble ", used)), 2)
			if used {
				_ = permits.Acquire(ctx, 1)
				_ = permits.Acquire(ctx, 1)
				permits.Release(1)
				permits.Release(1)
			}
			h := inspect.Go(ctx, "forgetful", func(ctx context.Context) error {
				_ = permits.Acquire(ctx, 2)
				return permits.Acquire(ctx, 1)
			})
			synctest.Wait()
			began := time.Now()
			message := r.end()
			want := suspicion * time.Second
			if used {
				want = time.Second
			}
			if took := time.Since(began); took < want || took > want+2*poll || message == "" {
				t.Errorf("used before %t: told after %v, want %v: %q", used, took, want, message)
			}
			cancel()
			<-h.Done()
			permits.Release(2)
		})
	}
}

// What is stuck: each term of that alone.
func TestWhoIsStuck(t *testing.T) {
	now := time.Now()
	wait := func(change func(*inspect.WaitInfo)) *inspect.WaitInfo {
		w := &inspect.WaitInfo{Kind: taskspan.WaitMutex, Since: now.Add(-time.Hour)}
		change(w)
		return w
	}
	for name, one := range map[string]struct {
		wait *inspect.WaitInfo
		want int
	}{
		"nothing":         {nil, 0},
		"a long wait":     {wait(func(*inspect.WaitInfo) {}), 1},
		"a young one":     {wait(func(w *inspect.WaitInfo) { w.Since = now.Add(-29 * time.Minute) }), 0},
		"an old one":      {wait(func(w *inspect.WaitInfo) { w.Since = now.Add(-31 * time.Minute) }), 1},
		"as old as may":   {wait(func(w *inspect.WaitInfo) { w.Since = now.Add(-2 * time.Hour) }), 1},
		"from before":     {wait(func(w *inspect.WaitInfo) { w.Since = now.Add(-2*time.Hour - 1) }), 0},
		"with a deadline": {wait(func(w *inspect.WaitInfo) { w.Deadline = &now }), 0},
		"a sleep":         {wait(func(w *inspect.WaitInfo) { w.Kind = taskspan.WaitSleep }), 0},
	} {
		if got := stuck([]inspect.TaskInfo{{Name: name, Wait: one.wait}}, now.Add(-2*time.Hour), 30*time.Minute); len(got) != one.want {
			t.Errorf("%s: %d are stuck", name, len(got))
		}
	}
}
