//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// keptNames are the names of the points that are kept, oldest first.
func keptNames(t *Task) (names []string) {
	for _, p := range t.points.Load().list() {
		names = append(names, p.name)
	}
	return names
}

// pointNames are p1, p2 and so on.
func pointNames(from, upTo int) (names []string) {
	for i := from; i <= upTo; i++ {
		names = append(names, fmt.Sprint("p", i))
	}
	return names
}

func mark(t *Task, from, upTo int) {
	for _, name := range pointNames(from, upTo) {
		t.Point(name)
	}
}

// Each point is kept or counted as a drop, with the limit that it met.
func TestEveryPointIsKeptOrCountedAsDropped(t *testing.T) {
	drops := func(ins *Inspector) map[string]int64 {
		got := make(map[string]int64)
		for _, reason := range []dropReason{dropMaxEvents, dropTaskEvents, dropUnlistedEvents, dropSpanEvents} {
			if n := ins.drops[reason].Load(); n > 0 {
				got[reason.String()] = n
			}
		}
		return got
	}
	check := func(t *testing.T, ins *Inspector, task *Task, kept []string, want map[string]int64, in, sum int64) {
		t.Helper()
		if got := keptNames(task); !slices.Equal(got, kept) {
			t.Errorf("kept %v, want %v", got, kept)
		}
		if got := drops(ins); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("dropped %v, want %v", got, want)
		}
		if got := ins.keptPoints.Load(); got != in {
			t.Errorf("%d points are kept in all, want %d", got, in)
		}
		if got := ins.events.Load(); got != sum {
			t.Errorf("%d points are counted, want %d", got, sum)
		}
	}
	t.Run("within both limits", func(t *testing.T) {
		ins, _ := newSeen(t, WithMaxTaskEvents(7), WithMaxEvents(20), WithSamplingRate(0))
		_, task := ins.Begin(t.Context(), "work")
		mark(task, 1, 7)
		check(t, ins, task, pointNames(1, 7), map[string]int64{}, 7, 7)
		task.End(nil)
		check(t, ins, task, nil, map[string]int64{}, 0, 7)
	})
	t.Run("more of one task", func(t *testing.T) {
		ins, _ := newSeen(t, WithMaxTaskEvents(7), WithMaxEvents(20), WithSamplingRate(0))
		_, task := ins.Begin(t.Context(), "work")
		mark(task, 1, 11)
		check(t, ins, task, pointNames(5, 11), map[string]int64{"max_task_events": 4}, 7, 11)
		task.End(nil)
		check(t, ins, task, nil, map[string]int64{"max_task_events": 4}, 0, 11)
	})
	t.Run("more of all tasks", func(t *testing.T) {
		ins, _ := newSeen(t, WithMaxTaskEvents(7), WithMaxEvents(5), WithSamplingRate(0))
		_, first := ins.Begin(t.Context(), "work")
		mark(first, 1, 2)
		_, second := ins.Begin(t.Context(), "work")
		mark(second, 3, 5)
		mark(first, 6, 8) // replaces its own
		check(t, ins, first, pointNames(7, 8), map[string]int64{"max_events": 3}, 5, 8)
		_, third := ins.Begin(t.Context(), "work")
		mark(third, 9, 9) // has none to replace
		check(t, ins, third, nil, map[string]int64{"max_events": 4}, 5, 9)
		mark(first, 10, 10)
		second.End(nil)
		mark(first, 11, 13) // there is room again
		check(t, ins, first, []string{"p8", "p10", "p11", "p12", "p13"}, map[string]int64{"max_events": 5}, 5, 13)
		mark(third, 14, 14)
		first.End(nil)
		mark(third, 15, 15)
		check(t, ins, third, []string{"p15"}, map[string]int64{"max_events": 6}, 1, 15)
		third.End(nil)
		check(t, ins, third, nil, map[string]int64{"max_events": 6}, 0, 15)
	})
	t.Run("of a task that is not listed", func(t *testing.T) {
		ins, _ := newSeen(t, WithMaxTasks(1), WithSamplingRate(0))
		_, listed := ins.Begin(t.Context(), "work")
		_, task := ins.Begin(t.Context(), "work")
		mark(task, 1, 3)
		check(t, ins, task, nil, map[string]int64{"unlisted_events": 3}, 0, 3)
		task.End(nil)
		mark(listed, 4, 5)
		check(t, ins, listed, pointNames(4, 5), map[string]int64{"unlisted_events": 3}, 2, 5)
		listed.End(nil)
	})
	t.Run("more than a span holds", func(t *testing.T) {
		clearEnv(t)
		t.Setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "6")
		ins, exporter := newSeenAs(t)
		_, task := ins.Begin(t.Context(), "work")
		mark(task, 1, 10)
		task.End(nil)
		check(t, ins, task, nil, map[string]int64{"span_events": 4}, 0, 10)
		if s := exported(t, ins, exporter)[0]; s.DroppedEvents != 4 || len(s.Events) != 6 {
			t.Errorf("the span has %d events and says that it dropped %d", len(s.Events), s.DroppedEvents)
		}
	})
	t.Run("by default", func(t *testing.T) {
		ins, exporter := newSeen(t)
		_, task := ins.Begin(t.Context(), "work")
		mark(task, 1, 130)
		check(t, ins, task, pointNames(3, 130), map[string]int64{"max_task_events": 2}, 128, 130)
		task.End(nil)
		if s := exported(t, ins, exporter)[0]; s.DroppedEvents != 2 || len(s.Events) != 128 {
			t.Errorf("the span has %d events and says that it dropped %d", len(s.Events), s.DroppedEvents)
		}
	})
}

func spawnOne(ctx context.Context, ins *Inspector, done chan struct{}) *Handle {
	return ins.Go(ctx, "spawned", func(context.Context) error { <-done; return nil })
}

// With backtraces a task says by which calls it was started, on its span and in reports.
func TestATaskCarriesTheStackOfItsStart(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			ins, exporter := newSeen(t, WithBacktraces(on))
			done := make(chan struct{})
			h := spawnOne(t.Context(), ins, done)
			r := newReporter(ins, nil, ins.resource, reporterConfig{longTask: time.Second})
			report := r.longTask(h.task)
			close(done)
			if err := h.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, begun := ins.Begin(t.Context(), "begun")
			begun.End(nil)
			for _, s := range exported(t, ins, exporter) {
				stack := attributeOf(s, taskspan.CodeStacktrace).AsString()
				caller := map[string]string{"spawned": "inspect.spawnOne\n", "begun": ""}[s.Name]
				starts := strings.HasPrefix(stack, attributeOf(s, taskspan.CodeFunctionName).AsString()+"\n")
				if on != (stack != "") || on && (!starts || !strings.Contains(stack, caller) || !strings.Contains(stack, "inspect.TestATaskCarriesTheStackOfItsStart")) {
					t.Errorf("%s has the stack\n%s", s.Name, stack)
				}
				if s.Name == "spawned" && report.Stack != stack {
					t.Errorf("its report has the stack\n%s", report.Stack)
				}
				set := attribute.NewSet(s.Attributes...)
				if _, ok := set.Value(taskspan.CodeStacktrace); ok != on {
					t.Errorf("%s has the attribute: %v", s.Name, ok)
				}
			}
		})
	}
}
