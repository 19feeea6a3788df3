package inspect

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// ends are the goroutines that have declared one side of a channel.
type ends struct {
	declared atomic.Bool // somebody has
	broken   atomic.Bool // and somebody else has used the side all the same

	mu   sync.Mutex
	open map[*end]struct{}
	last uint64 // generation
}

// end is one goroutine's.
type end struct {
	of         *ends
	goroutine  uint64
	generation uint64
}

func (e *ends) declare(ctx context.Context) *end {
	n := &end{of: e, goroutine: holderOf(ctx)}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	n.generation = e.last
	if e.open == nil {
		e.open = make(map[*end]struct{})
	}
	e.open[n] = struct{}{}
	e.declared.Store(true)
	return n
}

// bypassed notes a use of the side that is not through a declared end.
func (e *ends) bypassed() {
	if e.declared.Load() && !e.broken.Load() {
		e.broken.Store(true)
	}
}

// used notes a use through the end. Only the goroutine that opened it may.
func (n *end) used() {
	if g := goid.Get(); g != n.goroutine && g != 0 {
		n.of.broken.Store(true)
	}
}

func (n *end) close() {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	delete(n.of.open, n)
}

// holders are the goroutines with an open end: any one of them will do.
func (e *ends) holders(s *holderSet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := range e.open {
		s.add(holder{goroutine: n.goroutine, generation: n.generation})
	}
	s.need = 1
	s.complete = len(e.open) > 0 && !e.broken.Load()
}

// A Sender is a goroutine's declared end of a channel, to send. It is used by the
// goroutine that has opened it.
type Sender[T any] struct {
	c   *Chan[T]
	end *end
}

// Sender declares that the running goroutine sends on c until it closes the Sender.
// See [Chan] for what that means.
func (c *Chan[T]) Sender(ctx context.Context) *Sender[T] {
	return &Sender[T]{c: c, end: c.senders.declare(ctx)}
}

// Send is [Chan.Send].
func (s *Sender[T]) Send(ctx context.Context, v T) error {
	s.end.used()
	return s.c.send(ctx, v)
}

// Close says that the goroutine will not send any more. The channel stays open.
func (s *Sender[T]) Close() { s.end.close() }

// A Receiver is a goroutine's declared end of a channel, to receive. It is used by
// the goroutine that has opened it.
type Receiver[T any] struct {
	c   *Chan[T]
	end *end
}

// Receiver declares that the running goroutine receives from c until it closes the
// Receiver. See [Chan] for what that means.
func (c *Chan[T]) Receiver(ctx context.Context) *Receiver[T] {
	return &Receiver[T]{c: c, end: c.receivers.declare(ctx)}
}

// Receive is [Chan.Receive].
func (r *Receiver[T]) Receive(ctx context.Context) (T, error) {
	r.end.used()
	return r.c.receive(ctx)
}

// Close says that the goroutine will not receive any more. The channel stays open.
func (r *Receiver[T]) Close() { r.end.close() }
