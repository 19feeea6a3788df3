package inspect

import (
	"context"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Receive receives from a plain channel, as [Chan.Receive] does, and shows the running
// goroutine as waiting for it: where and for how long. Any goroutine may send on the
// channel, so such a wait is never proof of a deadlock.
func Receive[T any](ctx context.Context, c <-chan T) (v T, err error) {
	if err := doneFirst(ctx); err != nil {
		return v, err
	}
	select {
	case v, open := <-c:
		return v, closedUnless(open)
	default:
	}
	return waitToReceive(ctx, c, newRawChannel[T](unsafe.Pointer(&c), taskspan.WaitChannelReceive))
}

// SendTo sends v on a plain channel, as [Chan.Send] does, and shows the running goroutine
// as waiting for it; see [Receive].
func SendTo[T any](ctx context.Context, c chan<- T, v T) error {
	if err := doneFirst(ctx); err != nil {
		return err
	}
	select {
	case c <- v:
		return nil
	default:
	}
	return waitToSend(ctx, c, v, newRawChannel[T](unsafe.Pointer(&c), taskspan.WaitChannelSend))
}

// rawChannel is what of a plain channel a wait on it knows: not the channel, so whoever
// keeps a rawChannel does not keep the channel.
type rawChannel struct {
	address uintptr       // 0: a nil channel
	use     taskspan.Kind // how the goroutine uses it
	of      reflect.Type  // its elements
	place   uintptr       // where it waits
}

// newRawChannel describes the channel in a variable.
func newRawChannel[T any](variable unsafe.Pointer, use taskspan.Kind) *rawChannel {
	return &rawChannel{address: *(*uintptr)(variable), use: use, of: reflect.TypeFor[T]()}
}

func (r *rawChannel) identify(_ taskspan.Kind, place uintptr) { r.place = place }

func (r *rawChannel) name() resourceName {
	if r.address == 0 {
		return nilChannel
	}
	return r
}

// identity is made of the channel's address, which no other channel has while the wait is
// open, and of what the wait is called: its kind, the type and the function that waits.
func (r *rawChannel) identity() (id, name string) {
	return fmt.Sprintf("c%x", r.address), inFunction(string(r.use)+" of "+r.of.String(), r.place)
}

func (*rawChannel) holders(*waitView, *holderSet) {}

// The operations of a plain channel in a Select. A channel in an interface is a pointer.
type (
	rawReceive[T any] <-chan T
	rawSend[T any]    chan<- T
)

func (c rawReceive[T]) use(context.Context)               {}
func (c rawReceive[T]) waiting(int32)                     {}
func (c rawReceive[T]) try(v any) (bool, error)           { return tryReceive((<-chan T)(c), v) }
func (c rawReceive[T]) reflect(any) reflect.SelectCase    { return receiving((<-chan T)(c)) }
func (c rawReceive[T]) isNil() bool                       { return c == nil }
func (c rawReceive[T]) identify(taskspan.Kind, uintptr)   {} // see choice.name
func (c rawReceive[T]) holders(_ *waitView, _ *holderSet) {}

func (c rawReceive[T]) name() resourceName {
	return newRawChannel[T](unsafe.Pointer(&c), taskspan.WaitChannelReceive)
}

func (c rawReceive[T]) complete(v any, got reflect.Value, open bool) error {
	return received[T](v, got, open)
}

func (c rawSend[T]) use(context.Context)                     {}
func (c rawSend[T]) waiting(int32)                           {}
func (c rawSend[T]) try(v any) (bool, error)                 { return trySend((chan<- T)(c), v) }
func (c rawSend[T]) reflect(v any) reflect.SelectCase        { return sending((chan<- T)(c), v) }
func (c rawSend[T]) complete(any, reflect.Value, bool) error { return nil }
func (c rawSend[T]) isNil() bool                             { return c == nil }
func (c rawSend[T]) identify(taskspan.Kind, uintptr)         {} // see choice.name
func (c rawSend[T]) holders(_ *waitView, _ *holderSet)       {}

func (c rawSend[T]) name() resourceName {
	return newRawChannel[T](unsafe.Pointer(&c), taskspan.WaitChannelSend)
}
