package inspect

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// ErrClosed is returned by a receive from a closed and empty channel.
var ErrClosed = errors.New("inspect: channel closed")

// A Chan is a channel that records which goroutines wait on it. Make one with
// [NewChan]. A nil *Chan and the zero Chan behave like a nil channel: sends and
// receives block until their context is done, and Close panics.
//
// A channel has no owner, so a wait on it alone is never proof of a deadlock. Declared
// ends change that: once a goroutine has opened a [Sender], only goroutines with an
// open Sender are expected to send or to close the channel, and a receive waits for one
// of those. The same applies to a [Receiver] and sends. A goroutine with an open end
// may also use the Chan itself. Any other goroutine may use it, too, but waits on that
// side then permanently prove nothing. Waits for ends of a kind (the channel's name or,
// without one, the place that opened the end) are proof only once an end of that kind
// has been used by the goroutine that opened it, and never by another one.
//
// If the context is done and the channel is ready, one of the two is chosen at random,
// as in a select statement.
type Chan[T any] struct {
	named
	c         chan T
	senders   ends
	receivers ends
	traffic   traffic
}

// NewChan returns a channel with room for capacity values. The name may be empty;
// the channel is then called after the function that first had to wait for it.
func NewChan[T any](name string, capacity int) *Chan[T] {
	c := &Chan[T]{c: make(chan T, capacity)}
	if name != "" {
		c.setName(name)
	}
	return c
}

// Send sends v. It blocks until there is room or a receiver for v, or until ctx is done,
// and then returns the context's error. Sending on a closed channel panics.
func (c *Chan[T]) Send(ctx context.Context, v T) error {
	(*sendSide[T])(c).use(ctx)
	return c.send(ctx, v)
}

func (c *Chan[T]) send(ctx context.Context, v T) error {
	if err := doneFirst(ctx); err != nil {
		return err
	}
	select {
	case c.plain() <- v:
		c.traffic.sent.Add(1)
		return nil
	default:
	}
	(*sendSide[T])(c).waiting(1)
	err := waitToSend(ctx, c.plain(), v, (*sendSide[T])(c))
	(*sendSide[T])(c).waited(err == nil)
	return err
}

func waitToSend[T any, W waitable](ctx context.Context, c chan<- T, v T, on W) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := beginWait(ctx, taskspan.WaitChannelSend, on)
	defer endWait(w)
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Receive receives a value. It blocks until there is one, or until ctx is done, and then
// returns the context's error. From a closed channel it returns the values that are left
// in it, and then [ErrClosed].
func (c *Chan[T]) Receive(ctx context.Context) (T, error) {
	(*receiveSide[T])(c).use(ctx)
	return c.receive(ctx)
}

func (c *Chan[T]) receive(ctx context.Context) (v T, err error) {
	if err := doneFirst(ctx); err != nil {
		return v, err
	}
	select {
	case v, open := <-c.plain():
		c.traffic.got(open)
		return v, closedUnless(open)
	default:
	}
	(*receiveSide[T])(c).waiting(1)
	v, err = waitToReceive(ctx, c.plain(), (*receiveSide[T])(c))
	(*receiveSide[T])(c).waited(err == nil)
	return v, err
}

func waitToReceive[T any, W waitable](ctx context.Context, c <-chan T, on W) (v T, err error) {
	if err := ctx.Err(); err != nil {
		return v, err
	}
	w := beginWait(ctx, taskspan.WaitChannelReceive, on)
	defer endWait(w)
	select {
	case v, open := <-c:
		return v, closedUnless(open)
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// doneFirst decides whether a context that is done comes before a channel that may be
// ready: in half of the cases, as in a select statement of both.
func doneFirst(ctx context.Context) error {
	if err := ctx.Err(); err != nil && rand.Uint32()&1 == 0 {
		return err
	}
	return nil
}

func closedUnless(open bool) error {
	if open {
		return nil
	}
	return ErrClosed
}

// TrySend sends v if that is possible without blocking, and reports whether it has.
func (c *Chan[T]) TrySend(v T) bool {
	(*sendSide[T])(c).use(context.Background())
	return c.trySend(v)
}

func (c *Chan[T]) trySend(v T) bool {
	select {
	case c.plain() <- v:
		c.traffic.sent.Add(1)
		return true
	default:
		return false
	}
}

// TryReceive receives a value if there is one; ok reports whether there was.
func (c *Chan[T]) TryReceive() (v T, ok bool) {
	(*receiveSide[T])(c).use(context.Background())
	return c.tryReceive()
}

func (c *Chan[T]) tryReceive() (v T, ok bool) {
	select {
	case v, ok = <-c.plain():
		c.traffic.got(ok)
		return v, ok
	default:
		return v, false
	}
}

// All ranges over the values that are received until the channel is closed or ctx
// is done.
func (c *Chan[T]) All(ctx context.Context) iter.Seq[T] {
	return all(ctx, func(ctx context.Context) (T, error) { return c.Receive(ctx) })
}

// all calls receive until it fails. That is no method value: where the compiler inlines
// one, the line of the loop is lost, which is the place of the wait.
func all[T any](ctx context.Context, receive func(context.Context) (T, error)) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			v, err := receive(ctx)
			if err != nil || !yield(v) {
				return
			}
		}
	}
}

// Close closes the channel, as the built-in function does.
func (c *Chan[T]) Close() {
	(*sendSide[T])(c).use(context.Background())
	if c != nil {
		c.traffic.closed.Store(true) // before those who receive are woken
	}
	close(c.plain())
}

// Len returns the number of values in the channel.
func (c *Chan[T]) Len() int { return len(c.plain()) }

// Cap returns the channel's capacity.
func (c *Chan[T]) Cap() int { return cap(c.plain()) }

// plain returns the channel itself, nil for a nil Chan.
func (c *Chan[T]) plain() chan T {
	if c == nil {
		return nil
	}
	return c.c
}

// sendSide and receiveSide are what a goroutine waits for that sends or receives:
// somebody at the other side. Both may be nil.
type (
	sendSide[T any]    Chan[T]
	receiveSide[T any] Chan[T]
)

// use notes that the running goroutine uses the side past a declared end.
func (c *sendSide[T]) use(ctx context.Context) {
	if c != nil {
		c.senders.use(ctx)
	}
}

func (c *receiveSide[T]) use(ctx context.Context) {
	if c != nil {
		c.receivers.use(ctx)
	}
}

func (c *sendSide[T]) identify(kind taskspan.Kind, place uintptr) {
	(*Chan[T])(c).identify(kind, place)
}

func (c *receiveSide[T]) identify(kind taskspan.Kind, place uintptr) {
	(*Chan[T])(c).identify(kind, place)
}

func (c *Chan[T]) identify(kind taskspan.Kind, place uintptr) {
	if c != nil {
		c.named.identify(kind, place)
	}
}

func (c *sendSide[T]) name() resourceName    { return (*Chan[T])(c).name() }
func (c *receiveSide[T]) name() resourceName { return (*Chan[T])(c).name() }

func (c *Chan[T]) name() resourceName {
	if c == nil {
		return nilChannel
	}
	return c.named.name()
}

// nilChannel is what everybody waits for who sends to or receives from a nil channel.
var nilChannel = &thing{id: "nil channel", called: "nil channel"}

func (c *sendSide[T]) holders(_ *waitView, s *holderSet) {
	if c != nil {
		c.receivers.holders(s)
		s.complete = s.complete && c.traffic.full(cap(c.c))
	}
}

func (c *receiveSide[T]) holders(_ *waitView, s *holderSet) {
	if c != nil {
		c.senders.holders(s)
		s.complete = s.complete && c.traffic.empty()
	}
}

// waiting notes that a goroutine begins to wait; waited, that it does not any more,
// and whether it has sent or received a value. The side may be nil.
func (c *sendSide[T]) waiting(n int32) {
	if c != nil {
		c.traffic.sending.Add(n)
	}
}

func (c *sendSide[T]) waited(done bool) {
	if c == nil {
		return
	}
	if done {
		c.traffic.sent.Add(1)
	}
	c.traffic.sending.Add(-1)
}

func (c *receiveSide[T]) waiting(n int32) {
	if c != nil {
		c.traffic.receiving.Add(n)
	}
}

func (c *receiveSide[T]) waited(done bool) {
	if c == nil {
		return
	}
	c.traffic.got(done)
	c.traffic.receiving.Add(-1)
}
