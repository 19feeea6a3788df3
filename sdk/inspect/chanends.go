package inspect

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// ends are the goroutines that have declared one side of a channel.
//
// An end proves something only as a lock does: once ends of its kind have been used by
// the goroutines that opened them, and never by another (see holdKind). To close an end
// is no use of it: a parent that has opened an end for a producer closes it itself if it
// cannot start the producer.
type ends struct {
	declared atomic.Bool // somebody has
	broken   atomic.Bool // and a goroutine without an open end has used the side all the same

	mu      sync.RWMutex // guards all below; held for no lock but that of holdKinds
	channel *named       // both are set once an end is declared
	side    side
	open    map[*end]struct{}
	by      map[uint64]*end // the newest of open of each goroutine
	last    uint64          // generation
}

// end is one goroutine's.
type end struct {
	of         *ends // nil: of a nil Chan
	goroutine  uint64
	generation uint64
	place      uintptr // where it was opened
	older      *end    // open end of the same goroutine; guarded by of.mu
	closed     atomic.Bool
	learned    atomic.Bool // its goroutine has used it
	handed     atomic.Bool // another one has
}

func (e *ends) declare(ctx context.Context, channel *named, s side, place uintptr) *end {
	n := &end{of: e, goroutine: holderOf(ctx), place: place}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.channel == nil {
		e.channel, e.side = channel, s
	}
	e.last++
	n.generation = e.last
	if e.open == nil {
		e.open, e.by = make(map[*end]struct{}), make(map[uint64]*end)
	}
	e.open[n] = struct{}{}
	n.older = e.by[n.goroutine]
	e.by[n.goroutine] = n
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
	mine := e.by[goroutine]
	if goroutine != 0 && mine != nil {
		for n := mine; n != nil; n = n.older {
			n.usedByOwner()
		}
		return
	}
	e.broken.Store(true)
	for n := range e.open {
		n.usedByAnother()
	}
}

// usedByOwner and usedByAnother learn from a use of the end.
func (n *end) usedByOwner() {
	if compiledIn && !n.learned.Load() {
		n.learned.Store(true)
		n.of.channel.ownRelease(n.of.side, n.place, 1)
	}
}

func (n *end) usedByAnother() {
	if compiledIn && !n.handed.Swap(true) {
		n.of.channel.kindHandedOver(n.of.side, n.place)
	}
}

// used notes a use through the end. Only the goroutine that opened it may, until it closes
// it.
func (n *end) used() {
	g := goid.Get()
	switch {
	case n.of == nil || g == 0:
		return
	case g == n.goroutine && !n.closed.Load():
		n.usedByOwner()
		return
	case g != n.goroutine:
		n.usedByAnother()
	}
	if !n.of.broken.Load() {
		n.of.usedBy(g)
	}
}

func (n *end) close() {
	if n.of == nil || n.closed.Swap(true) {
		return
	}
	if g := goid.Get(); g != 0 && g != n.goroutine {
		n.usedByAnother()
	}
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	delete(n.of.open, n)
	n.of.leave(n)
}

// leave takes an end from those of its goroutine.
func (e *ends) leave(n *end) {
	newest := e.by[n.goroutine]
	if newest != n {
		for newest.older != n {
			newest = newest.older
		}
		newest.older = n.older
		return
	}
	if n.older == nil {
		delete(e.by, n.goroutine)
	} else {
		e.by[n.goroutine] = n.older
	}
}

// holders are the goroutines with an open end: any one of them will do.
func (e *ends) holders(s *holderSet) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	before := len(s.list)
	for n := range e.open {
		s.add(holder{goroutine: n.goroutine, generation: n.generation, opened: n.place})
	}
	// In a Select there are those of other channels before them.
	mine := holderSet{list: s.list[before:], complete: len(e.open) > 0 && !e.broken.Load()}
	if mine.complete {
		e.channel.judge(&mine, e.side, nil)
	}
	s.need, s.complete, s.inferred = 1, mine.complete, s.inferred || mine.inferred
}

// A Sender is a goroutine's declared end of a channel, to send. Open it in the goroutine
// that sends. Another goroutine may use or close it, but then waits for the ends of that
// kind (the channel's name or, without one, the place that opened the end) permanently
// prove nothing.
type Sender[T any] struct {
	c   *Chan[T]
	end *end
}

// Sender declares that the running goroutine sends on c until it closes the Sender; see
// [Chan].
//
//go:noinline
func (c *Chan[T]) Sender(ctx context.Context) *Sender[T] {
	if c == nil {
		return &Sender[T]{end: new(end)}
	}
	_, place := goid.GetWithPC()
	return &Sender[T]{c: c, end: c.senders.declare(ctx, &c.named, senderEnd, place)}
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

// A Receiver is a goroutine's declared end of a channel, to receive. Open it in the
// goroutine that receives; see [Sender].
type Receiver[T any] struct {
	c   *Chan[T]
	end *end
}

// Receiver declares that the running goroutine receives from c until it closes the
// Receiver; see [Chan].
//
//go:noinline
func (c *Chan[T]) Receiver(ctx context.Context) *Receiver[T] {
	if c == nil {
		return &Receiver[T]{end: new(end)}
	}
	_, place := goid.GetWithPC()
	return &Receiver[T]{c: c, end: c.receivers.declare(ctx, &c.named, receiverEnd, place)}
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
