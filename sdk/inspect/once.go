//go:build !noinspect

package inspect

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Once is a [sync.Once] that records which goroutine runs its function and which
// goroutines wait for it. The zero value is ready to use. A Once must not be copied
// after first use.
//
// A function that calls Do of its own Once waits for itself, as with sync.Once, and is
// reported as a deadlock.
type Once struct {
	done  atomic.Bool // f has returned
	mu    sync.Mutex  // held by whoever runs f
	owner goid.Owner  // the same
	named
}

// NewOnce returns a Once with a name; see [NewMutex].
func NewOnce(name string) *Once {
	o := new(Once)
	o.setName(name)
	return o
}

// SetName names a Once that is a field. It has no effect if it has a name already.
func (o *Once) SetName(name string) { o.setName(name) }

// Do calls f if it is the first Do of o. Any other Do returns when f has returned, and
// blocks until then. If f panics it counts as having returned, as with sync.Once.
//
// After that a Do costs what one of sync.Once costs.
func (o *Once) Do(f func()) {
	if !o.done.Load() {
		o.doFirst(f)
	}
}

//go:noinline
func (o *Once) doFirst(f func()) {
	if !o.mu.TryLock() {
		o.wait()
	}
	defer o.mu.Unlock()
	if o.done.Load() {
		return
	}
	goid.TakeFor(&o.owner, goid.Get(), placeHere())
	defer func() {
		o.done.Store(true)
		goid.Leave(&o.owner)
	}()
	f()
}

func (o *Once) wait() {
	w := beginWait(context.Background(), taskspan.WaitOnce, o)
	o.mu.Lock()
	endWait(w)
}

// holders is the goroutine that runs the function. Nothing but its return, or a panic,
// ends the wait.
func (o *Once) holders(_ *waitView, s *holderSet) { addOwner(s, &o.owner) }
