//go:build !noinspect

package inspect

import (
	"context"
	"slices"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// scripted is a resource that says what a test tells it to, in the first and the second
// reading of a scan.
type scripted struct {
	named
	readings int
	first    holderSet
	second   holderSet
	between  func() // called in the first reading
}

func (s *scripted) holders(_ *waitView, into *holderSet) {
	s.readings++
	of := s.second
	if s.readings%2 == 1 {
		of = s.first
		if s.between != nil {
			s.between()
		}
	}
	into.list = append(into.list, of.list...)
	into.need, into.complete, into.inferred = of.need, of.complete, of.inferred
}

// What changes between the two readings of a scan is not reported as if it had stood:
// each term changes alone, before a wait is known and after.
func TestBothReadingsHaveToAgree(t *testing.T) {
	type told struct {
		links              []string
		need               int64
		complete, inferred bool
	}
	all := told{[]string{"a", "b"}, 4, true, false}
	for _, test := range []struct {
		name   string
		change func(first, second *holderSet, c *Task)
		want   told
	}{
		{"nothing", func(_, _ *holderSet, _ *Task) {}, all},
		{"generation", func(_, s *holderSet, _ *Task) { s.list[0].generation++ }, told{[]string{"b"}, 4, false, false}},
		{"generation, in the first", func(f, _ *holderSet, _ *Task) { f.list[1].generation-- }, told{[]string{"a"}, 4, false, false}},
		{"weight", func(_, s *holderSet, _ *Task) { s.list[1].weight = 5 }, told{[]string{"a"}, 4, false, false}},
		{"who", func(_, s *holderSet, c *Task) { s.list[1].task = c }, told{[]string{"a"}, 4, false, false}},
		{"one has let go", func(_, s *holderSet, _ *Task) { s.list = s.list[1:] }, told{[]string{"b"}, 4, false, false}},
		{"one more", func(_, s *holderSet, c *Task) {
			s.list = append(s.list, holder{task: c, generation: 31, weight: 7})
		}, told{[]string{"a", "b"}, 4, false, false}},
		{"one more, in the first", func(f, _ *holderSet, c *Task) {
			f.list = append(f.list, holder{task: c, generation: 31, weight: 7})
		}, told{[]string{"a", "b"}, 4, false, false}},
		{"need rises", func(_, s *holderSet, _ *Task) { s.need = 5 }, told{[]string{"a", "b"}, 5, false, false}},
		{"need falls", func(_, s *holderSet, _ *Task) { s.need = 3 }, told{[]string{"a", "b"}, 4, false, false}},
		{"complete no more", func(_, s *holderSet, _ *Task) { s.complete = false }, told{[]string{"a", "b"}, 4, false, false}},
		{"complete only then", func(f, _ *holderSet, _ *Task) { f.complete = false }, told{[]string{"a", "b"}, 4, false, false}},
		{"a guess only then", func(_, s *holderSet, _ *Task) { s.inferred = true }, told{[]string{"a", "b"}, 4, true, true}},
		{"a guess no more", func(f, _ *holderSet, _ *Task) { f.inferred = true }, told{[]string{"a", "b"}, 4, true, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, on, tasks, end := newReadings(t)
			stable := func() (first, second holderSet) {
				set := func() holderSet {
					return holderSet{need: 4, complete: true, list: []holder{
						{task: tasks["a"], generation: 11, weight: 2}, {task: tasks["b"], generation: 23, weight: 3},
					}}
				}
				return set(), set()
			}
			check := func(s *tracepb.Span, want told) {
				t.Helper()
				got := told{
					need: reported(s, taskspan.WaitNeed).GetIntValue(), complete: reported(s, taskspan.WaitHoldersComplete).GetBoolValue(),
					inferred: reported(s, taskspan.WaitInferred).GetBoolValue(),
				}
				for _, l := range s.Links {
					for name, task := range tasks {
						if id := task.SpanContext().SpanID(); slices.Equal(l.SpanId, id[:]) {
							got.links = append(got.links, name)
						}
					}
				}
				slices.Sort(got.links)
				if !slices.Equal(got.links, want.links) || got.need != want.need || got.complete != want.complete || got.inferred != want.inferred {
					t.Errorf("reported is %+v, want %+v", got, want)
				}
			}

			// As the first that is known of the wait.
			on.first, on.second = stable()
			test.change(&on.first, &on.second, tasks["c"])
			check(r.oneAfter(1100*time.Millisecond), test.want)
			end()

			// And of a wait that is known: it is not prolonged, and comes back afterwards.
			r, on, tasks, end = newReadings(t)
			defer end()
			on.first, on.second = stable()
			check(r.oneAfter(1100*time.Millisecond), all)
			test.change(&on.first, &on.second, tasks["c"])
			r.nothingAfter(scanInterval, "it has not stayed so")
			want := int64(2)
			if test.name == "nothing" {
				want = 1
			}
			if h := r.heartbeat(false); len(h.Revisions) != 1 || h.Revisions[0] != want {
				t.Errorf("the heartbeat lists revisions %v, want %d", h.Revisions, want)
			}
			on.first, on.second = stable()
			r.nothingAfter(scanInterval, "it is as it was")
			if h := r.heartbeat(false); len(h.Revisions) != 1 || h.Revisions[0] != 1 {
				t.Errorf("afterwards the heartbeat lists revisions %v, want 1", h.Revisions)
			}
		})
	}
}

// newReadings is a rig with a goroutine that waits for a scripted resource until end is
// called, and tasks that can hold it.
func newReadings(t *testing.T) (r *reporterRig, on *scripted, tasks map[string]*Task, end func()) {
	t.Helper()
	r = newReporterRig(t)
	on = new(scripted)
	tasks = make(map[string]*Task)
	for _, name := range []string{"a", "b", "c"} {
		_, tasks[name] = r.ins.Begin(context.Background(), name)
		t.Cleanup(func() { tasks[name].End(nil) })
	}
	begun, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ctx, task := r.ins.Begin(context.Background(), "waiter")
		defer task.End(nil)
		w := beginWait(ctx, taskspan.WaitSemaphore, on)
		close(begun)
		<-stop
		endWait(w)
	}()
	<-begun
	r.at = now() // however long it took until the wait began
	stopped := false
	return r, on, tasks, func() {
		if !stopped {
			stopped = true
			close(stop)
			<-ended
		}
	}
}

// A wait that ends between the readings is not reported, and one that is known is closed.
func TestAWaitThatEndsBetweenTheReadings(t *testing.T) {
	for _, known := range []bool{false, true} {
		r, on, tasks, end := newReadings(t)
		set := holderSet{complete: true, list: []holder{{task: tasks["a"], generation: 7}}}
		on.first, on.second = set, set
		if known {
			r.oneAfter(1100 * time.Millisecond)
		}
		on.between = end
		spans := r.after(1100 * time.Millisecond)
		if !known {
			if len(spans) != 0 {
				t.Errorf("reported is %v", spans)
			}
			continue
		}
		if len(spans) != 2 || reported(spans[0], taskspan.WaitOpen).GetBoolValue() || reported(spans[0], taskspan.WaitID) == nil ||
			reported(spans[1], taskspan.TaskState).GetStringValue() != "completed" {
			t.Errorf("reported is %v, want the end of the wait and that of its task", spans)
		}
		if h := r.heartbeat(false); len(h.WaitIDs) != 0 {
			t.Errorf("the heartbeat lists %v", h.WaitIDs)
		}
	}
}
