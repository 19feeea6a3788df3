//lint:file-ignore U1000 The converted kernels use this.

package main

import (
	"context"
	"errors"
	"iter"
	"sync"
	"unsafe"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// What a kernel does with channels, once it is converted altogether.
//
// A kernel's channel is only a key to an inspect.Chan, so that its types stay as they
// are. A channel without one is somebody else's, such as that of a context or a timer.

var channels sync.Map // *inspect.Chan[T] by the address of the channel

// channel takes the place of make.
func channel[T any](size int) chan T {
	key := make(chan T)
	channels.Store(pointer(&key), inspect.NewChan[T]("", size))
	return key
}

// pointer returns what a variable of a channel type, with or without a direction, points to.
func pointer[C any](c *C) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(c)) }

// of returns the channel of a key. A nil key is a nil channel of the kernel's.
func of[T any](key unsafe.Pointer) (c *inspect.Chan[T], ours bool) {
	if key == nil {
		return nil, true
	}
	found, ours := channels.Load(key)
	if ours {
		c = found.(*inspect.Chan[T])
	}
	return c, ours
}

func receive[T any](key <-chan T) T {
	inspect.Helper()
	v, _ := receiveOpen(key)
	return v
}

func receiveOpen[T any](key <-chan T) (v T, open bool) {
	inspect.Helper()
	var err error
	if c, ours := of[T](pointer(&key)); ours {
		v, err = c.Receive(context.Background())
	} else {
		v, err = inspect.Receive(context.Background(), key)
	}
	return v, err == nil
}

func all[T any](key <-chan T) iter.Seq[T] {
	return func(yield func(T) bool) {
		inspect.Helper()
		for {
			v, open := receiveOpen(key)
			if !open || !yield(v) {
				return
			}
		}
	}
}

// send returns a function, so that the value's type is that of the channel.
func send[T any](key chan<- T) func(T) {
	return func(v T) {
		inspect.Helper()
		if c, ours := of[T](pointer(&key)); ours {
			_ = c.Send(context.Background(), v)
		} else {
			_ = inspect.SendTo(context.Background(), key, v)
		}
	}
}

func closing[T any](key chan<- T) {
	c, _ := of[T](pointer(&key))
	c.Close()
}

// sends declares that the running goroutine sends on a channel, or closes it, until
// the function is called that it returns.
func sends[T any](key chan T) (closeEnd func()) {
	c, _ := of[T](pointer(&key))
	return c.Sender(context.Background()).Close
}

// receives is the same for the other end.
func receives[T any](key chan T) (closeEnd func()) {
	c, _ := of[T](pointer(&key))
	return c.Receiver(context.Background()).Close
}

// operation is what a select statement chooses.
type operation interface {
	option() inspect.Case
	chosen(err error)
}

type reception[T any] struct {
	key   <-chan T
	value T
	open  bool
}

func receiving[T any](key <-chan T) *reception[T] { return &reception[T]{key: key} }

func (r *reception[T]) option() inspect.Case {
	if c, ours := of[T](pointer(&r.key)); ours {
		return inspect.ReceiveCase(c, &r.value)
	}
	return inspect.RawCase(r.key, &r.value)
}

func (r *reception[T]) chosen(err error) { r.open = !errors.Is(err, inspect.ErrClosed) }

type transmission[T any] struct {
	key   chan<- T
	value T
}

func sending[T any](key chan<- T) func(T) operation {
	return func(v T) operation { return transmission[T]{key, v} }
}

func (s transmission[T]) option() inspect.Case {
	if c, ours := of[T](pointer(&s.key)); ours {
		return inspect.SendCase(c, s.value)
	}
	return inspect.RawSendCase(s.key, s.value)
}

func (transmission[T]) chosen(error) {}

// fallback is the default of a select statement.
type fallback struct{}

func otherwise() operation            { return fallback{} }
func (fallback) option() inspect.Case { return inspect.DefaultCase() }
func (fallback) chosen(error)         {}

// choose carries out one of the operations and returns its index.
func choose(operations ...operation) int {
	inspect.Helper()
	cases := make([]inspect.Case, 0, len(operations))
	for _, o := range operations {
		cases = append(cases, o.option())
	}
	i, err := inspect.Select(context.Background(), cases...)
	operations[i].chosen(err)
	return i
}
