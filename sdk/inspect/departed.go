package inspect

import (
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

const (
	// fateAfter is how long a wait has lasted when it is first looked whether the
	// goroutines that hold what it is for still live.
	fateAfter = 10 * time.Second
	// fateSeldom is how often that is looked at in the end.
	fateSeldom = 10 * time.Minute
	// maxDeparted bounds the ended goroutines that are known.
	maxDeparted = 4096
)

// departed are goroutines that have ended and still are named as holders: nobody is
// left to release what they took, unless somebody else does. Ids of goroutines are not
// used twice, so what is known stays so.
var departed = departedGoroutines{known: make(map[uint64]lastTask)}

type departedGoroutines struct {
	mu    sync.Mutex // guards all below; a leaf
	known map[uint64]lastTask
	order []uint64 // oldest first
}

// lastTask is the task that a goroutine ran last; zero if that is not known.
type lastTask struct {
	node wire.Node
	name string
}

// recentlyLeft is how many goroutines each shard remembers that ended with their tasks:
// if one of them has left a lock behind, that is told with the next scan.
const recentlyLeft = 8

type leftTask struct {
	goroutine uint64
	task      lastTask
}

// hasLeft reports whether a goroutine is known to have ended, and what it ran last.
func hasLeft(goroutine uint64) (lastTask, bool) {
	if last, ended := departed.of(goroutine); ended {
		return last, true
	}
	s := shardOf(goroutine)
	s.mu.Lock()
	var found *leftTask
	for i := range s.left {
		if l := s.left[i]; l.goroutine == goroutine {
			found = &l
		}
	}
	s.mu.Unlock()
	if found == nil {
		return lastTask{}, false
	}
	departed.add(goroutine, found.task) // the shard will forget it
	return found.task, true
}

// leftBy reports whether a goroutine that holds what w is for, and does not wait itself,
// will not release it: it has ended, or the task has that took it. It returns that task.
func (w *waitView) leftBy(goroutine uint64) (last lastTask, ended bool) {
	if last, ended = hasLeft(goroutine); !ended {
		last, ended = leftByTask(w, goroutine)
	}
	return last, ended
}

// leftByTask returns the task that took what w is for and has ended without releasing
// it, on a goroutine that lives on. It is known while the orders of locks are.
func leftByTask(w *waitView, goroutine uint64) (lastTask, bool) {
	t := holding.Load()
	if t == nil {
		return lastTask{}, false
	}
	r, isLock := w.on.name().(*lockName)
	if !isLock || r == nil {
		return lastTask{}, false
	}
	return t.leaver(goroutine, r)
}

func (d *departedGoroutines) add(goroutine uint64, last lastTask) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.known[goroutine]; again {
		return
	}
	if len(d.order) >= maxDeparted {
		delete(d.known, d.order[0])
		d.order = append(d.order[:0], d.order[1:]...)
	}
	d.known[goroutine] = last
	d.order = append(d.order, goroutine)
}

// of returns what a goroutine ran last, and whether it has ended.
func (d *departedGoroutines) of(goroutine uint64) (last lastTask, ended bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, ended = d.known[goroutine]
	return last, ended
}
