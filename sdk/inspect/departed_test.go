//go:build !noinspect

package inspect

import (
	"context"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// linkSays reads an attribute of the only link of a report.
func linkSays(t *testing.T, s *tracepb.Span, key string) *commonpb.AnyValue {
	t.Helper()
	if len(s.Links) != 1 {
		t.Fatalf("%d links", len(s.Links))
	}
	for _, kv := range s.Links[0].Attributes {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

// onAGoroutineThatLives takes a lock on a goroutine that lives until stop is closed.
func onAGoroutineThatLives(take func(), m *Mutex, stop chan struct{}) {
	taken := make(chan struct{})
	go func() { take(); close(taken); <-stop; m.Unlock() }()
	<-taken
}

// A lock whose holder has ended is told as that: at once if the goroutine ended with its
// task, and else after a look when the wait is old. A holder that lives is not.
func TestAHolderThatHasEnded(t *testing.T) {
	t.Cleanup(useHeldLocks()) // as in the modes that look at the orders of locks
	for _, c := range []struct {
		name      string
		hold      func(r *reporterRig, m *Mutex, stop chan struct{})
		now, late bool // said in the first report, and after ten seconds
		lives     bool // the goroutine that holds it
		task      string
	}{
		{"a task with its own goroutine", func(r *reporterRig, m *Mutex, stop chan struct{}) {
			h := r.ins.Go(context.Background(), "forgetful", func(context.Context) error { m.Lock(); return nil })
			if err := h.Wait(context.Background()); err != nil {
				panic(err)
			}
		}, true, true, false, "forgetful"},
		{"a goroutine without a task", func(_ *reporterRig, m *Mutex, stop chan struct{}) {
			var done sync.WaitGroup
			done.Go(m.Lock)
			done.Wait()
		}, false, true, false, ""},
		{"a task on a goroutine that lives on", func(r *reporterRig, m *Mutex, stop chan struct{}) {
			onAGoroutineThatLives(func() {
				_, task := r.ins.Begin(context.Background(), "careless")
				m.Lock()
				task.End(nil)
			}, m, stop)
		}, true, true, true, "careless"},
		{"a task that ended in another one", func(r *reporterRig, m *Mutex, stop chan struct{}) {
			onAGoroutineThatLives(func() {
				ctx, _ := r.ins.Begin(context.Background(), "outer")
				_, task := r.ins.Begin(ctx, "inner")
				m.Lock()
				task.End(nil)
			}, m, stop)
		}, false, false, true, "outer"},
		{"a goroutine that had the lock before its task", func(r *reporterRig, m *Mutex, stop chan struct{}) {
			onAGoroutineThatLives(func() {
				m.Lock()
				_, task := r.ins.Begin(context.Background(), "guest")
				task.End(nil)
			}, m, stop)
		}, false, false, true, ""},
		{"a goroutine that takes the lock again after its task", func(r *reporterRig, m *Mutex, stop chan struct{}) {
			onAGoroutineThatLives(func() {
				_, task := r.ins.Begin(context.Background(), "late")
				m.Lock()
				task.End(nil)
				m.Unlock()
				m.Lock()
			}, m, stop)
		}, false, false, true, ""},
		{"a goroutine that lives", func(_ *reporterRig, m *Mutex, stop chan struct{}) {
			onAGoroutineThatLives(m.Lock, m, stop)
		}, false, false, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			freshLooks(t)
			r := newReporterRig(t)
			m := NewMutex(t.Name())
			stop := make(chan struct{})
			c.hold(r, m, stop)
			var ended sync.WaitGroup
			r.blockedOn(m, "waiter", &ended)
			s := r.oneAfter(2 * time.Second)
			if got := linkSays(t, s, taskspan.HoldEnded).GetBoolValue(); got != c.now {
				t.Errorf("at once: ended %v, want %v", got, c.now)
			}
			if got := linkSays(t, s, taskspan.HoldTaskName).GetStringValue(); got != c.task {
				t.Errorf("its task is called %q, want %q", got, c.task)
			}
			listed := func(want bool) {
				t.Helper()
				view := openWaits(now(), nil)
				if len(view) != 1 {
					t.Fatalf("%d wait, want 1", len(view))
				}
				h := view[0].info().Holders
				if len(h) != 1 || h[0].Ended != want || h[0].Task != c.task || (h[0].SpanID != "") != (c.task != "") {
					t.Errorf("listed are the holders %+v, want ended %v and the task %q", h, want, c.task)
				}
			}
			listed(c.now)
			for range 8 { // the change has to stand for a while before it is told
				for _, again := range r.after(2 * time.Second) {
					s = again
				}
			}
			if got := linkSays(t, s, taskspan.HoldEnded).GetBoolValue(); got != c.late {
				t.Errorf("after ten seconds: ended %v, want %v", got, c.late)
			}
			listed(c.late)
			if close(stop); !c.lives {
				m.Unlock()
			}
			ended.Wait()
			for _, closing := range r.after(time.Second) {
				if reported(closing, taskspan.WaitOpen).GetBoolValue() {
					t.Errorf("still open: %v", closing)
				}
			}
		})
	}
}

// A running holder has a name from the start.
func TestARunningHolderHasAName(t *testing.T) {
	r := newReporterRig(t)
	m := NewMutex(t.Name())
	_, holder := r.ins.Begin(context.Background(), "stocktaking")
	m.Lock()
	var ended sync.WaitGroup
	r.blockedOn(m, "reserve", &ended)
	s := r.oneAfter(2 * time.Second)
	if got := linkSays(t, s, taskspan.HoldTaskName).GetStringValue(); got != "stocktaking" || linkSays(t, s, taskspan.HoldEnded).GetBoolValue() {
		t.Errorf("the holder is called %q, ended: %v", got, linkSays(t, s, taskspan.HoldEnded).GetBoolValue())
	}
	m.Unlock()
	ended.Wait()
	holder.End(nil)
}

func TestDepartedGoroutinesAreBounded(t *testing.T) {
	d := departedGoroutines{known: make(map[uint64]lastTask)}
	for g := range uint64(maxDeparted + 2) {
		d.add(g+1, lastTask{name: "x"})
		d.add(g+1, lastTask{name: "again"})
	}
	if _, known := d.of(2); known || len(d.known) != maxDeparted || len(d.order) != maxDeparted {
		t.Errorf("%d are known, in order %d; the second is: %v", len(d.known), len(d.order), known)
	}
	if last, known := d.of(3); !known || last.name != "x" {
		t.Errorf("the third is %+v (%v)", last, known)
	}
}
