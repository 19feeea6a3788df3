package inspect

import (
	"context"
	"reflect"
	"strings"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Case is one of the operations among which [Select] chooses: [ReceiveCase],
// [SendCase] or [DefaultCase].
type Case struct{ op selectable }

// selectable is a channel operation of any type.
type selectable interface {
	try() (done bool, err error)
	reflect() reflect.SelectCase
	// complete takes what a receive has got.
	complete(v reflect.Value, open bool) error
	identified // a waitable
}

// ReceiveCase receives from c into v, which may be nil.
func ReceiveCase[T any](c *Chan[T], v *T) Case { return Case{&receiveOp[T]{c, v}} }

// SendCase sends v on c.
func SendCase[T any](c *Chan[T], v T) Case { return Case{&sendOp[T]{c, v}} }

// DefaultCase is chosen if no other case is ready at once.
func DefaultCase() Case { return Case{} }

// Select waits until one of the cases can go on and carries it out, as the select
// statement does. It returns the index of the case. The error is [ErrClosed] for a
// receive from a closed channel; if ctx is done first it is the context's error,
// and the index is -1.
//
// Cases that are ready are tried in their order, and only if none is, does Select
// wait, for all of them alike. Waiting uses reflection and costs about a
// microsecond.
func Select(ctx context.Context, cases ...Case) (int, error) {
	fallback := -1
	for i, c := range cases {
		if c.op == nil {
			fallback = i
			continue
		}
		if done, err := c.op.try(); done {
			return i, err
		}
	}
	if fallback >= 0 {
		return fallback, nil
	}
	choices := make([]reflect.SelectCase, 0, len(cases)+1)
	for _, c := range cases {
		choices = append(choices, c.op.reflect())
	}
	choices = append(choices, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())})
	w := beginWait(ctx, taskspan.WaitSelect, choice(cases))
	defer endWait(w)
	i, v, open := reflect.Select(choices)
	if i == len(cases) {
		return -1, ctx.Err()
	}
	return i, cases[i].op.complete(v, open)
}

// choice is what a Select waits for.
type choice []Case

func (c choice) identify(kind taskspan.Kind, place uintptr) {
	for _, one := range c {
		one.op.identify(kind, place)
	}
}

func (c choice) name() resourceName {
	names := make(choiceName, len(c))
	for i, one := range c {
		names[i] = one.op.name()
	}
	return names
}

// choiceName is the names of all cases.
type choiceName []resourceName

func (c choiceName) identity() (id, name string) {
	ids, names := make([]string, 0, len(c)), make([]string, 0, len(c))
	for _, one := range c {
		id, name := one.identity()
		ids, names = append(ids, id), append(names, name)
	}
	return strings.Join(ids, "|"), strings.Join(names, " | ")
}

// holders are those of all cases: any one of them will do. They are complete if
// those of every case are.
func (c choice) holders(w *waitView, s *holderSet) {
	complete := len(c) > 0
	for _, one := range c {
		s.complete = false
		one.op.(heldBy).holders(w, s)
		complete = complete && s.complete
	}
	s.need, s.complete = 1, complete
}

type receiveOp[T any] struct {
	c *Chan[T]
	v *T
}

func (o *receiveOp[T]) try() (bool, error) {
	o.c.receivers.bypassed()
	select {
	case v, open := <-o.c.c:
		return true, o.set(v, open)
	default:
		return false, nil
	}
}

func (o *receiveOp[T]) set(v T, open bool) error {
	if open && o.v != nil {
		*o.v = v
	}
	return closedUnless(open)
}

func (o *receiveOp[T]) reflect() reflect.SelectCase {
	return reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(o.c.c)}
}

func (o *receiveOp[T]) complete(v reflect.Value, open bool) error {
	if !open {
		return ErrClosed
	}
	if o.v != nil {
		reflect.ValueOf(o.v).Elem().Set(v)
	}
	return nil
}

func (o *receiveOp[T]) identify(k taskspan.Kind, place uintptr) { o.c.identify(k, place) }
func (o *receiveOp[T]) name() resourceName                      { return o.c.name() }
func (o *receiveOp[T]) holders(_ *waitView, s *holderSet)       { o.c.senders.holders(s) }

type sendOp[T any] struct {
	c *Chan[T]
	v T
}

func (o *sendOp[T]) try() (bool, error) {
	o.c.senders.bypassed()
	select {
	case o.c.c <- o.v:
		return true, nil
	default:
		return false, nil
	}
}

func (o *sendOp[T]) reflect() reflect.SelectCase {
	// A copy: while the goroutine waits the runtime reaches the value, and from inside of
	// o it would reach the channel. See openWait.
	v := new(T)
	*v = o.v
	return reflect.SelectCase{Dir: reflect.SelectSend, Chan: reflect.ValueOf(o.c.c), Send: reflect.ValueOf(v).Elem()}
}

func (o *sendOp[T]) complete(reflect.Value, bool) error      { return nil }
func (o *sendOp[T]) identify(k taskspan.Kind, place uintptr) { o.c.identify(k, place) }
func (o *sendOp[T]) name() resourceName                      { return o.c.name() }
func (o *sendOp[T]) holders(_ *waitView, s *holderSet)       { o.c.receivers.holders(s) }
