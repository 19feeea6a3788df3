package inspect

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// ends are the goroutines that have declared one side of a channel.
type ends struct {
	declared atomic.Bool // somebody has
	broken   atomic.Bool // and a goroutine without an open end has used the side all the same

	mu   sync.RWMutex // guards all below; a leaf
	open map[*end]struct{}
	by   map[uint64]int // how many of open each goroutine has
	last uint64         // generation
}

// end is one goroutine's.
type end struct {
	of         *ends // nil: of a nil Chan
	goroutine  uint64
	generation uint64
	closed     atomic.Bool
}

func (e *ends) declare(ctx context.Context) *end {
	n := &end{of: e, goroutine: holderOf(ctx)}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	n.generation = e.last
	if e.open == nil {
		e.open, e.by = make(map[*end]struct{}), make(map[uint64]int)
	}
	e.open[n] = struct{}{}
	e.by[n.goroutine]++
	e.declared.Store(true)
	return n
}

// use notes that the running goroutine uses the side, not through an end. If it has an
// open one that is the same; if it has none, others than the declared goroutines use the
// side.
func (e *ends) use(ctx context.Context) {
	if e.declared.Load() && !e.broken.Load() {
		e.usedBy(holderOf(ctx))
	}
}

func (e *ends) usedBy(goroutine uint64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if goroutine == 0 || e.by[goroutine] == 0 {
		e.broken.Store(true)
	}
}

// used notes a use through the end. Only the goroutine that opened it may, until it closes
// it.
func (n *end) used() {
	if n.of == nil {
		return
	}
	if g := goid.Get(); g != 0 && (g != n.goroutine || n.closed.Load()) && !n.of.broken.Load() {
		n.of.usedBy(g)
	}
}

func (n *end) close() {
	if n.of == nil || n.closed.Swap(true) {
		return
	}
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	delete(n.of.open, n)
	if n.of.by[n.goroutine]--; n.of.by[n.goroutine] == 0 {
		delete(n.of.by, n.goroutine)
	}
}

// holders are the goroutines with an open end: any one of them will do.
func (e *ends) holders(s *holderSet) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for n := range e.open {
		s.add(holder{goroutine: n.goroutine, generation: n.generation})
	}
	s.need = 1
	s.complete = len(e.open) > 0 && !e.broken.Load()
}

// A Sender is a goroutine's declared end of a channel, to send. Only the goroutine that
// opened it may use it: a use by another goroutine counts as a use without a declared
// end.
type Sender[T any] struct {
	c   *Chan[T]
	end *end
}

// Sender declares that the running goroutine sends on c until it closes the Sender; see
// [Chan].
func (c *Chan[T]) Sender(ctx context.Context) *Sender[T] {
	if c == nil {
		return &Sender[T]{end: new(end)}
	}
	return &Sender[T]{c: c, end: c.senders.declare(ctx)}
}

// Send is [Chan.Send].
func (s *Sender[T]) Send(ctx context.Context, v T) error {
	s.end.used()
	return s.c.send(ctx, v)
}

// TrySend is [Chan.TrySend].
func (s *Sender[T]) TrySend(v T) bool {
	s.end.used()
	return s.c.trySend(v)
}

// Case is [SendCase] through this end.
func (s *Sender[T]) Case(v T) Case {
	return Case{op: (*sendSide[T])(s.c), value: &v, end: s.end}
}

// Close declares that the goroutine will not send again. The channel stays open.
func (s *Sender[T]) Close() { s.end.close() }

// A Receiver is a goroutine's declared end of a channel, to receive. Only the goroutine that
// opened it may use it: a use by another goroutine counts as a use without a declared
// end.
type Receiver[T any] struct {
	c   *Chan[T]
	end *end
}

// Receiver declares that the running goroutine receives from c until it closes the
// Receiver; see [Chan].
func (c *Chan[T]) Receiver(ctx context.Context) *Receiver[T] {
	if c == nil {
		return &Receiver[T]{end: new(end)}
	}
	return &Receiver[T]{c: c, end: c.receivers.declare(ctx)}
}

// Receive is [Chan.Receive].
func (r *Receiver[T]) Receive(ctx context.Context) (T, error) {
	r.end.used()
	return r.c.receive(ctx)
}

// TryReceive is [Chan.TryReceive].
func (r *Receiver[T]) TryReceive() (v T, ok bool) {
	r.end.used()
	return r.c.tryReceive()
}

// All is [Chan.All].
func (r *Receiver[T]) All(ctx context.Context) iter.Seq[T] {
	return all(ctx, func(ctx context.Context) (T, error) { return r.Receive(ctx) })
}

// Case is [ReceiveCase] through this end: v may be nil.
func (r *Receiver[T]) Case(v *T) Case {
	return Case{op: (*receiveSide[T])(r.c), value: v, end: r.end}
}

// Close declares that the goroutine will not receive again. The channel stays open.
func (r *Receiver[T]) Close() { r.end.close() }
