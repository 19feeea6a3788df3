// Package turn lets many callers share one run of something that a single goroutine
// does: everyone who asks before a run begins waits for the end of that run.
package turn

import (
	"context"
	"errors"
	"sync"
)

// ErrStopped is what Wait returns if the goroutine that takes turns has stopped.
var ErrStopped = errors.New("stopped")

// A Bell is where callers ask. The goroutine that does the work receives from Rung and
// then takes the turn.
type Bell struct {
	rung    chan struct{}   // capacity 1
	stopped <-chan struct{} // closed when nobody takes turns any more

	mu   sync.Mutex
	next *Turn // nil: nobody has asked since the last Take
}

// NewBell returns a Bell of a goroutine that closes stopped at its end.
func NewBell(stopped <-chan struct{}) *Bell {
	return &Bell{rung: make(chan struct{}, 1), stopped: stopped}
}

// Rung is sent to when somebody has asked.
func (b *Bell) Rung() <-chan struct{} { return b.rung }

// Ask asks for a run that begins after this call, and waits for its end. It returns
// the error of the run, that of ctx if it is done first, or ErrStopped.
func (b *Bell) Ask(ctx context.Context) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &Turn{done: make(chan struct{})}
	}
	t := b.next
	b.mu.Unlock()
	select {
	case b.rung <- struct{}{}:
	default:
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	case <-b.stopped:
	}
	select {
	case <-t.done: // it was the last thing done
		return t.err
	default:
		return ErrStopped
	}
}

// Take returns the turn of everyone who has asked until now, or nil. The caller does
// the work and then calls End.
func (b *Bell) Take() *Turn {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.next
	b.next = nil
	return t
}

// A Turn is one run that somebody has asked for. A nil *Turn is one that nobody has.
type Turn struct {
	done chan struct{}
	err  error // written before done is closed
}

// End ends the turn with the outcome of the run.
func (t *Turn) End(err error) {
	if t != nil {
		t.err = err
		close(t.done)
	}
}
