//go:build !noinspect

package inspect

import (
	"context"
	"strings"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A function that runs its own Once again waits for itself, for certain, the first
// time that it happens.
func TestAOnceWithinItselfIsADeadlock(t *testing.T) {
	watched(t)
	forgetHolds(t)
	a := newActor(t)
	o := NewOnce(unique("configuration"))
	inner, locked := make(chan struct{}), make(chan struct{})
	a.starts(func() {
		o.Do(func() {
			o.Do(func() { t.Error("run within itself") })
			close(inner)
			<-locked
		})
	})
	set := a.blocked()
	if !set.complete || set.inferred || set.need != 0 || !sameGoroutines(set, []uint64{a.id}) {
		t.Errorf("the holders are %+v, want itself", set)
	}
	d := deadlockOf(t, a.id)
	if d.Size != 1 || d.Confidence != taskspan.Certain || d.Cycle[0].Wait.Kind != taskspan.WaitOnce {
		t.Errorf("found %+v", d)
	}
	if strings.Count(d.String(), "oncewait_test.go:") < 2 {
		t.Errorf("the story lacks a place: %v", d)
	}
	// Break it up: let the inner Do find that the function has returned.
	o.done.Store(true)
	o.mu.Unlock()
	within(t, inner, "the inner Do")
	o.mu.Lock()
	close(locked)
	a.does(func() {})
}

// A function that wants what somebody holds who waits for its end.
func TestAOnceAndALockAreADeadlock(t *testing.T) {
	watched(t)
	runner, other := newActor(t), newActor(t)
	m := stage{used: true}.mutex()
	ctx, cancel := context.WithCancel(t.Context())
	held, runs := make(chan struct{}), make(chan struct{})
	price := OnceValue(func() int {
		close(runs)
		<-held
		if m.LockContext(ctx) == nil {
			m.Unlock()
		}
		return 5
	})
	runner.starts(func() { price() })
	within(t, runs, "the function")
	other.starts(func() {
		m.Lock()
		defer m.Unlock()
		close(held)
		if price() != 5 {
			t.Error("another price")
		}
	})
	d := deadlockOf(t, runner.id)
	if d.Size != 2 || d.Confidence != taskspan.Certain {
		t.Errorf("found %v", d)
	}
	set := other.blocked()
	if len(set.list) != 1 || set.list[0].goroutine != runner.id || !strings.HasSuffix(placeOf(set.list[0].place).file, "oncewait_test.go") {
		t.Errorf("the holders are %+v, want who runs the function, and a place of this test", set.list)
	}
	cancel()
	runner.does(func() {})
	other.does(func() {})
	if d := Deadlocks(); len(d) > 0 {
		t.Errorf("it is over, but: %v", d)
	}
}
