//go:build !noinspect

package inspect

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// readThing is a resource that counts how often it is asked for its holders.
type readThing struct {
	thing
	reads  atomic.Int64
	holder atomic.Uint64
}

func (r *readThing) name() resourceName { return &r.thing }

func (r *readThing) holders(_ *waitView, s *holderSet) {
	r.reads.Add(1)
	s.add(holder{goroutine: r.holder.Load(), generation: 3})
	s.complete = true
}

// A wait that has been the same for ten seconds is read for heartbeats and when it is to
// be told again, and not in each scan; whatever happens to it is told all the same.
func TestASteadyWaitRests(t *testing.T) {
	freshLooks(t) // a look that is refused is asked for again, and then the wait is read
	const never = nanos(1) << 62
	start := func(t *testing.T) (r *reporterRig, on *readThing, end func()) {
		r = newReporterRig(t)
		r.beatAt = never
		on = &readThing{thing: thing{id: "rest", called: "rest"}}
		on.holder.Store(goidOfTest())
		goOn, entered := make(chan struct{}), make(chan uint64)
		var all sync.WaitGroup
		all.Go(func() {
			ctx, task := r.ins.Begin(context.Background(), "rests")
			defer task.End(nil)
			w := beginWait(ctx, taskspan.WaitExternal, on)
			entered <- w.goroutine
			<-goOn
			endWait(w)
		})
		<-entered
		r.at = now() // however long it took until the wait began
		end = sync.OnceFunc(func() { close(goOn); all.Wait() })
		t.Cleanup(end)
		for range 62 { // from 1 s on it is told, at 1, 2, 4, 8, 16 s, and then every 30 s
			r.after(scanInterval)
		}
		return r, on, end
	}
	reads := func(r *reporterRig, on *readThing, d time.Duration) int64 {
		before := on.reads.Load()
		r.after(d)
		return on.reads.Load() - before
	}
	for _, tt := range []struct {
		name string
		do   func(r *reporterRig, on *readThing)
		d    time.Duration
		want int64 // two for each scan that reads
	}{
		{"it rests", func(*reporterRig, *readThing) {}, scanInterval, 0},
		{"a heartbeat is due", func(r *reporterRig, _ *readThing) { r.beatAt = r.at }, scanInterval, 2},
		{"it is to be told again", func(*reporterRig, *readThing) {}, 31 * time.Second, 2},
		{"it is to be told again now", func(r *reporterRig, _ *readThing) { theOnly(r.waits).tellAt = r.at + nanos(scanInterval) }, scanInterval, 2},
		{"it is to be told again soon", func(r *reporterRig, _ *readThing) { theOnly(r.waits).tellAt = r.at + nanos(scanInterval) + 1 }, scanInterval, 0},
		{"the clock has moved", func(r *reporterRig, _ *readThing) { theOnly(r.waits).moved = true }, scanInterval, 2},
		{"it is restless", func(r *reporterRig, _ *readThing) { theOnly(r.waits).restless = true }, scanInterval, 2},
		{"its holders differ", func(r *reporterRig, _ *readThing) { theOnly(r.waits).differs = true }, scanInterval, 2},
		{"it is a guess", func(r *reporterRig, _ *readThing) { theOnly(r.waits).looked = true }, scanInterval, 2},
		{"the fate of its holder is due soon", func(r *reporterRig, _ *readThing) { theOnly(r.waits).fateAt = r.at + 3*nanos(scanInterval) }, scanInterval, 2},
		{"the fate of its holder is due later", func(r *reporterRig, _ *readThing) { theOnly(r.waits).fateAt = r.at + 3*nanos(scanInterval) + 1 }, scanInterval, 0},
		{"it has changed ten seconds ago", func(r *reporterRig, _ *readThing) {
			theOnly(r.waits).steadySince = r.at + nanos(scanInterval) - nanos(restAfter)
		}, scanInterval, 0},
		{"it has changed just since", func(r *reporterRig, _ *readThing) {
			theOnly(r.waits).steadySince = r.at + nanos(scanInterval) - nanos(restAfter) + 1
		}, scanInterval, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, on, _ := start(t)
			theOnly(r.waits).fateAt = never // but for who says otherwise
			tt.do(r, on)
			if got := reads(r, on, tt.d); got != tt.want {
				t.Errorf("it was read %d times, want %d", got, tt.want)
			}
		})
	}
	t.Run("it rests again after the clock has moved", func(t *testing.T) {
		r, on, _ := start(t)
		told := theOnly(r.waits)
		told.moved, told.fateAt = true, never
		if n := reads(r, on, 31*time.Second); n != 2 || told.moved {
			t.Errorf("it was read %d times, moved is %t", n, told.moved)
		}
		if n := reads(r, on, scanInterval); n != 0 {
			t.Errorf("it was read %d times afterwards", n)
		}
	})
	t.Run("its end is told at once", func(t *testing.T) {
		r, on, end := start(t)
		end()
		before := on.reads.Load()
		told := false
		for _, s := range r.after(scanInterval) {
			open := reported(s, taskspan.WaitOpen)
			told = told || open != nil && !open.GetBoolValue()
		}
		if !told || on.reads.Load() != before || len(r.waits) != 0 {
			t.Errorf("told %t, read %d times, %d waits are left", told, on.reads.Load()-before, len(r.waits))
		}
	})
	t.Run("a heartbeat notices other holders", func(t *testing.T) {
		r, on, _ := start(t)
		other, release := make(chan uint64), make(chan struct{})
		go func() { other <- goidOfTest(); <-release }()
		defer close(release)
		on.holder.Store(<-other)
		r.nothingAfter(scanInterval, "it rests")
		if told := theOnly(r.waits); told.revision() != 1 {
			t.Errorf("its revision is %d before it was read", told.revision())
		}
		r.beatAt = r.at
		r.nothingAfter(scanInterval, "its holders have just changed")
		if told := theOnly(r.waits); told.revision() != 2 {
			t.Error("the heartbeat prolongs a holder that has let go")
		}
		r.beatAt = never
		for range 4 { // it is read until its new holders are told, and then for ten seconds
			r.after(scanInterval)
		}
		told := theOnly(r.waits)
		if told.tellAt, told.fateAt = never, never; told.last.Revision != 2 {
			t.Errorf("revision %d was told", told.last.Revision)
		}
		if n := reads(r, on, 8*time.Second); n != 2 {
			t.Errorf("it was read %d times after 9 s", n)
		}
		if n := reads(r, on, 2*time.Second); n != 0 {
			t.Errorf("it was read %d times after 11 s", n)
		}
	})
	t.Run("an external lock of its goroutine is told", func(t *testing.T) {
		r, on, _ := start(t)
		told := theOnly(r.waits)
		told.tellAt, told.fateAt = never, never
		hold := &externalHold{goroutine: told.last.Goroutine, id: "ext:rest"}
		externals.add(hold)
		defer externals.release(told.last.Goroutine, "ext:rest")
		if n := reads(r, on, scanInterval); n != 0 {
			t.Errorf("it was read %d times", n)
		}
		s := r.oneAfter(time.Second)
		if reported(s, taskspan.Holds) == nil {
			t.Errorf("without the lock: %v", s)
		}
	})
}

func theOnly(waits map[uint64]*toldWait) *toldWait {
	for _, told := range waits {
		return told
	}
	return nil
}
