//go:build !noinspect

package inspect

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// stepClock lets a test set the wall clock.
func stepClock(t *testing.T) *atomic.Int64 {
	t.Helper()
	skew := new(atomic.Int64)
	before := readClocks
	readClocks = func() (nanos, int64) {
		m := now()
		return m, processStart.UnixNano() + int64(m) + skew.Load()
	}
	clockStep.Store(0)
	t.Cleanup(func() {
		readClocks = before
		clockStep.Store(0)
	})
	return skew
}

func TestSmallDifferencesOfTheClocksAreNotFollowed(t *testing.T) {
	skew := stepClock(t)
	for _, test := range []struct{ to, want time.Duration }{
		{999 * time.Millisecond, 0},
		{-999 * time.Millisecond, 0},
		{time.Second, time.Second},
		{1999 * time.Millisecond, time.Second},
		{3 * time.Millisecond, time.Second}, // 997 ms from what is followed
		{-7 * time.Millisecond, -7 * time.Millisecond},
		{-3 * time.Hour, -3 * time.Hour},
		{0, 0},
	} {
		skew.Store(int64(test.to))
		if got := time.Duration(followWallClock()); got != test.want {
			t.Errorf("at a difference of %v it follows by %v, want %v", test.to, got, test.want)
		}
	}
}

// Times without a monotonic reading are times of the wall clock as it is now.
func TestDeadlinesOfBothClocks(t *testing.T) {
	skew := stepClock(t)
	monotonic := time.Now().Add(time.Hour)
	wall := monotonic.Round(0)
	at := nanosOf(monotonic)
	if got := nanosOf(wall); got.sub(at).Abs() > time.Millisecond {
		t.Errorf("without a step they differ by %v", got.sub(at))
	}
	skew.Store(int64(2 * time.Hour))
	followWallClock()
	if got := nanosOf(monotonic); got != at {
		t.Errorf("the deadline of a timer moves by %v", got.sub(at))
	}
	if got := nanosOf(wall); (got.sub(at) + 2*time.Hour).Abs() > time.Millisecond {
		t.Errorf("the deadline by the wall clock is %v later, want two hours earlier", got.sub(at))
	}
}

// After a suspend (the wall clock is ahead) or when the clock is set (either way), all
// that is reported has the time of the wall clock, and what was known is told anew.
func TestReportsFollowTheWallClock(t *testing.T) {
	for _, step := range []time.Duration{
		8 * time.Hour, 25 * time.Hour, 1500 * time.Millisecond, -time.Hour, -25 * time.Hour, -2 * time.Second,
	} {
		t.Run(step.String(), func(t *testing.T) {
			skew := stepClock(t)
			r := newReporterRig(t)
			r.reporter.step = 0
			m := NewMutex("clock lock")
			_, holder := r.ins.Begin(context.Background(), "clock holder")
			m.Lock()
			var ended sync.WaitGroup
			begun := make(chan *Task)
			deadline := time.Now().Add(50 * time.Hour)
			ctx, cancel := context.WithDeadline(context.Background(), deadline)
			defer cancel()
			ended.Go(func() {
				ctx, task := r.ins.Begin(ctx, "clock waiter")
				defer task.End(nil)
				begun <- task
				if m.LockContext(ctx) == nil {
					m.Unlock()
				}
			})
			waiter := <-begun
			lockHolders(t, waiter.goroutine.Load())

			check := func(s *tracepb.Span, start, step time.Duration) {
				t.Helper()
				at := time.Now().Add(step)
				end := time.Unix(0, int64(s.EndTimeUnixNano))
				if d := at.Sub(end); d < -2*time.Second || d > 20*time.Second { // the rig is ahead by what it let pass
					t.Errorf("%s was observed at %v, want %v", s.Name, end, at)
				}
				begin := time.Unix(0, int64(s.StartTimeUnixNano))
				if want := processStart.Add(start + step); begin.Sub(want).Abs() > time.Microsecond {
					t.Errorf("%s begins at %v, want %v", s.Name, begin, want)
				}
				if d := reported(s, taskspan.WaitDeadline).GetIntValue(); d != 0 {
					// By the monotonic clock: that of the wall is slewed by some microseconds all the time.
					want := processStart.Add(deadline.Sub(processStart) + step).UnixNano()
					if time.Duration(d-want).Abs() > time.Microsecond {
						t.Errorf("the deadline is off by %v", time.Duration(d-want))
					}
				}
			}
			s := r.oneAfter(1500 * time.Millisecond)
			v, _ := waitOf(waiter.goroutine.Load())
			check(s, time.Duration(v.start), 0)
			revision := reported(s, taskspan.WaitRevision).GetIntValue()

			skew.Store(int64(step))
			r.followClock()
			s = r.oneAfter(10 * time.Millisecond) // long before it would be repeated
			check(s, time.Duration(v.start), step)
			if got := reported(s, taskspan.TaskStart).GetIntValue(); got != waiter.start.unix() {
				t.Errorf("its task starts at %v, want %v", got, waiter.start.unix())
			}
			if got := reported(s, taskspan.WaitRevision).GetIntValue(); got != revision+1 {
				t.Errorf("the revision is %d, want another than %d: what was known is by another clock", got, revision)
			}
			h := r.heartbeat(false)
			if len(h.Revisions) != 1 || h.Revisions[0] != revision+1 {
				t.Errorf("the heartbeat lists the revisions %v", h.Revisions)
			}
			if at := time.Now().Add(step).UnixNano(); h.Observed > at || h.Observed < at-int64(20*time.Second) {
				t.Errorf("the heartbeat is from %v", time.Unix(0, h.Observed))
			}
			for _, info := range r.ins.Tasks() {
				if info.Name != "clock waiter" {
					continue
				}
				age := time.Duration(now() - waiter.start)
				if shown := time.Now().Add(step).Sub(info.Start); (shown - age).Abs() > time.Second {
					t.Errorf("the task is shown as %v old, it is %v", shown, age)
				}
				if !info.Wait.Deadline.IsZero() && info.Wait.Deadline.Sub(deadline.Add(step)).Abs() > time.Second {
					t.Errorf("its deadline is shown as %v", info.Wait.Deadline)
				}
			}

			// A step with nothing new is told once, and the end of a wait that had no time to
			// be told again is by the new clock, too.
			r.followClock()
			r.nothingAfter(10*time.Millisecond, "it has been told with the new clock")
			skew.Store(0)
			r.followClock()
			m.Unlock()
			ended.Wait()
			spans := r.after(10 * time.Millisecond)
			if len(spans) != 2 {
				t.Fatalf("%d reports, want the end of the wait and that of its task", len(spans))
			}
			check(spans[0], time.Duration(v.start), 0)
			check(spans[1], time.Duration(waiter.start), 0)
			holder.End(nil)
		})
	}
}

func TestALongTaskFollowsTheWallClock(t *testing.T) {
	skew := stepClock(t)
	r := newReporterRig(t)
	r.reporter.step = 0
	_, task := r.ins.Begin(context.Background(), "clock import")
	s := r.oneAfter(31 * time.Second)
	first := int64(s.StartTimeUnixNano)
	skew.Store(int64(9 * time.Hour))
	r.followClock()
	s = r.oneAfter(10 * time.Millisecond)
	if moved := time.Duration(int64(s.StartTimeUnixNano) - first); moved != 9*time.Hour {
		t.Errorf("its start moves by %v", moved)
	}
	if got := reported(s, taskspan.TaskStart).GetIntValue(); got != task.start.unix() {
		t.Errorf("the start is %d, want %d", got, task.start.unix())
	}
	r.nothingAfter(10*time.Millisecond, "it has been told")
	task.End(nil)
	if s := r.oneAfter(time.Second); int64(s.StartTimeUnixNano) != task.start.unix() {
		t.Error("its end has the start of the old clock")
	}
}

// A reporter that runs looks at the clock in each round, so its heartbeats, and spans
// of waits, have the right time, and a suspend is not taken for a reporter that is stuck.
func TestARunningReporterFollowsTheWallClock(t *testing.T) {
	clearEnv(t)
	skew := stepClock(t)
	client := new(shakyClient)
	ins, err := New(t.Context(), WithReportClient(client), WithSpanExporter(discardingExporter{}))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	for _, step := range []time.Duration{0, 8 * time.Hour, -3 * time.Hour} {
		skew.Store(int64(step))
		if err := ins.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
		beats := client.heartbeats()
		at := time.Unix(0, int64(beats[len(beats)-1].EndTimeUnixNano))
		if d := time.Now().Add(step).Sub(at); d < 0 || d > 10*time.Second {
			t.Errorf("after a step of %v a heartbeat is %v off", step, d)
		}
		if late := ins.reporter.late(); late < 0 || late > 10*time.Second {
			t.Errorf("after a step of %v the reporter is late by %v", step, late)
		}
		if res, err := NewResource(t.Context()); err != nil {
			t.Error(err)
		} else if epoch, _ := res.Set().Value(taskspan.ProcessEpoch); time.Since(time.Unix(0, epoch.AsInt64()).Add(-step)).Abs() > 10*time.Second {
			t.Errorf("after a step of %v a start is said to be at %v", step, time.Unix(0, epoch.AsInt64()))
		}
	}
}
