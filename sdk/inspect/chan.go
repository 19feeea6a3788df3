package inspect

import (
	"context"
	"errors"
	"iter"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// ErrClosed is returned by a receive from a closed and empty channel.
var ErrClosed = errors.New("inspect: channel closed")

// A Chan is a channel of which can be seen who waits on it. Make one with
// [NewChan].
//
// A channel belongs to nobody, so by itself a wait on it is never proof of a
// deadlock. Declared ends change that: once a goroutine has opened a [Sender], it
// is understood that only goroutines with an open Sender send, and a receive that
// waits, waits for one of those. The same holds for a [Receiver] and the other
// side. A send past the declared ends is allowed and breaks the understanding, for
// good.
type Chan[T any] struct {
	named
	c         chan T
	senders   ends
	receivers ends
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

// Send sends v, and waits until there is room or a receiver for it, or until ctx
// is done, and then returns the context's error. As with any channel, sending on a
// closed one panics.
func (c *Chan[T]) Send(ctx context.Context, v T) error {
	c.senders.bypassed()
	return c.send(ctx, v)
}

func (c *Chan[T]) send(ctx context.Context, v T) error {
	select {
	case c.c <- v:
		return nil
	default:
	}
	w := beginWait(ctx, taskspan.WaitChannelSend, (*sendSide[T])(c))
	defer endWait(w)
	select {
	case c.c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Receive receives a value, and waits for it until ctx is done, and then returns
// the context's error. From a closed channel it returns what is left in it, and
// then [ErrClosed].
func (c *Chan[T]) Receive(ctx context.Context) (T, error) {
	c.receivers.bypassed()
	return c.receive(ctx)
}

func (c *Chan[T]) receive(ctx context.Context) (T, error) {
	select {
	case v, open := <-c.c:
		return v, closedUnless(open)
	default:
	}
	w := beginWait(ctx, taskspan.WaitChannelReceive, (*receiveSide[T])(c))
	defer endWait(w)
	select {
	case v, open := <-c.c:
		return v, closedUnless(open)
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

func closedUnless(open bool) error {
	if open {
		return nil
	}
	return ErrClosed
}

// TrySend sends v if that is possible without waiting, and reports whether it was.
func (c *Chan[T]) TrySend(v T) bool {
	c.senders.bypassed()
	select {
	case c.c <- v:
		return true
	default:
		return false
	}
}

// TryReceive receives a value if there is one; ok reports whether there was.
func (c *Chan[T]) TryReceive() (v T, ok bool) {
	c.receivers.bypassed()
	select {
	case v, ok = <-c.c:
		return v, ok
	default:
		return v, false
	}
}

// All ranges over the values that are received until the channel is closed or ctx
// is done.
func (c *Chan[T]) All(ctx context.Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			v, err := c.Receive(ctx)
			if err != nil || !yield(v) {
				return
			}
		}
	}
}

// Close closes the channel, as the built-in does.
func (c *Chan[T]) Close() { close(c.c) }

// Len returns how many values are in the channel.
func (c *Chan[T]) Len() int { return len(c.c) }

// Cap returns how many have room in it.
func (c *Chan[T]) Cap() int { return cap(c.c) }

// sendSide and receiveSide are what one waits for on either side: somebody at the
// other one.
type (
	sendSide[T any]    Chan[T]
	receiveSide[T any] Chan[T]
)

func (c *sendSide[T]) identify(kind taskspan.Kind, place uintptr)    { c.named.identify(kind, place) }
func (c *sendSide[T]) name() resourceName                            { return c.named.name() }
func (c *sendSide[T]) holders(_ *waitView, s *holderSet)             { c.receivers.holders(s) }
func (c *receiveSide[T]) identify(kind taskspan.Kind, place uintptr) { c.named.identify(kind, place) }
func (c *receiveSide[T]) name() resourceName                         { return c.named.name() }
func (c *receiveSide[T]) holders(_ *waitView, s *holderSet)          { c.senders.holders(s) }
