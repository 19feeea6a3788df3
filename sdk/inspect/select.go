package inspect

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Case is one of the operations among which [Select] chooses. [ReceiveCase] and
// [SendCase] make one of a Chan, [Receiver.Case] and [Sender.Case] of a declared end,
// [RawCase] and [RawSendCase] of a plain channel. [DefaultCase] is the zero Case.
type Case struct {
	op    channelOp
	value any  // the *T of the operation: what to send, or where to put what is received
	end   *end // through which the channel is used, or nil
}

// channelOp is a send to or a receive from a channel of any type. It is a pointer or a
// channel, so that a Case of it allocates nothing.
type channelOp interface {
	identified // a waitable
	// use notes that the running goroutine may carry out the operation.
	use(ctx context.Context)
	// try carries it out if that is possible without blocking.
	try(value any) (done bool, err error)
	reflect(value any) reflect.SelectCase
	// waiting is called with 1 before the goroutine blocks on the operation among others,
	// and with -1 after that.
	waiting(n int32)
	// complete takes what a receive has got.
	complete(value any, got reflect.Value, open bool) error
	isNil() bool
}

// ReceiveCase receives from c into v, which may be nil.
func ReceiveCase[T any](c *Chan[T], v *T) Case {
	return Case{op: (*receiveSide[T])(c), value: v}
}

// SendCase sends v on c.
func SendCase[T any](c *Chan[T], v T) Case {
	return Case{op: (*sendSide[T])(c), value: &v}
}

// RawCase receives from a plain channel into v, which may be nil. Any goroutine may
// send on a plain channel, so a Select with such a case is never proof of a deadlock.
func RawCase[T any](c <-chan T, v *T) Case {
	return Case{op: rawReceive[T](c), value: v}
}

// RawSendCase sends v on a plain channel; see [RawCase].
func RawSendCase[T any](c chan<- T, v T) Case {
	return Case{op: rawSend[T](c), value: &v}
}

// DefaultCase is chosen if no other case is ready at once. There may be one in a Select.
func DefaultCase() Case { return Case{} }

// Select waits until one of the cases can proceed and carries it out, as the select
// statement does. It returns the index of the case. The error is [ErrClosed] for a
// receive from a closed channel. A done ctx is one more case: Select then returns -1
// and the context's error.
//
// If several cases are ready, one of them is chosen at random, each with the same
// probability. A case with a nil channel is never ready. Select panics if there is more
// than one DefaultCase.
//
// A Select with a ready case allocates nothing, except for values to send. One that
// blocks uses reflection and costs about a microsecond.
func Select(ctx context.Context, cases ...Case) (int, error) {
	fallback := -1
	for i := range cases {
		switch c := &cases[i]; {
		case c.op == nil && fallback >= 0:
			panic("inspect: Select with more than one DefaultCase")
		case c.op == nil:
			fallback = i
		case c.end != nil:
			c.end.used()
		default:
			c.op.use(ctx)
		}
	}
	done := ctx.Err()
	choices := len(cases)
	if done != nil {
		choices++ // the last one is the context
	}
	var memory [8]int
	for _, i := range shuffled(memory[:0], choices) {
		switch {
		case i == len(cases):
			return -1, done
		case i == fallback:
		default:
			if ready, err := cases[i].op.try(cases[i].value); ready {
				return i, err
			}
		}
	}
	if fallback >= 0 {
		return fallback, nil
	}
	return block(ctx, slices.Clone(cases))
}

// shuffled returns the numbers below n in random order, each order with the same
// probability (R. Durstenfeld, Algorithm 235, CACM 1964; the numbers below k are taken
// from one random word by multiplication, as D. Lemire describes, and its remainder is
// used again: the error is below 2^-40 for eight).
func shuffled(order []int, n int) []int {
	var random uint64
	for i := range n {
		if i%8 == 0 {
			random = rand.Uint64()
		}
		j, rest := bits.Mul64(random, uint64(i+1))
		random = rest
		order = append(order, i)
		order[i], order[j] = order[j], i
	}
	return order
}

// block waits for the cases and the context.
func block(ctx context.Context, cases []Case) (int, error) {
	choices := make([]reflect.SelectCase, 0, len(cases)+1)
	for _, c := range cases {
		choices = append(choices, c.op.reflect(c.value))
	}
	choices = append(choices, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())})
	for _, c := range cases {
		c.op.waiting(1)
	}
	w := beginWait(ctx, taskspan.WaitSelect, &choice{cases: cases})
	defer endWait(w)
	i, v, open := reflect.Select(choices)
	err := ctx.Err()
	if i == len(cases) {
		i = -1
	} else {
		err = cases[i].op.complete(cases[i].value, v, open)
	}
	for _, c := range cases {
		c.op.waiting(-1)
	}
	return i, err
}

// choice is what a Select waits for.
type choice struct {
	cases []Case
	place uintptr // where it waits
}

func (c *choice) identify(kind taskspan.Kind, place uintptr) {
	c.place = place
	for _, one := range c.cases {
		one.op.identify(kind, place)
	}
}

// name has the names of all cases that can ever be ready.
func (c *choice) name() resourceName {
	names := make(choiceName, 0, len(c.cases))
	for _, one := range c.cases {
		if one.op.isNil() {
			continue
		}
		name := one.op.name()
		if raw, ok := name.(*rawChannel); ok {
			raw.place = c.place // a plain channel has nothing to keep it in
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nilChannel
	}
	return names
}

type choiceName []resourceName

func (c choiceName) identity() (id, name string) {
	ids, names := make([]string, 0, len(c)), make([]string, 0, len(c))
	for _, one := range c {
		id, name := one.identity()
		ids, names = append(ids, id), append(names, name)
	}
	return strings.Join(ids, "|"), strings.Join(names, " | ")
}

// holders are those of all cases: any one of them will do. They are complete if those of
// every case are; a case with a nil channel has none and needs none.
func (c *choice) holders(w *waitView, s *holderSet) {
	complete, waits := true, false
	for _, one := range c.cases {
		if one.op.isNil() {
			continue
		}
		waits = true
		s.complete = false
		one.op.(heldBy).holders(w, s)
		complete = complete && s.complete
	}
	s.need, s.complete = 1, complete && waits
}

// The operations of a Chan.

func (c *receiveSide[T]) try(v any) (bool, error) {
	done, err := tryReceive((*Chan[T])(c).plain(), v)
	if done {
		c.traffic.got(err == nil)
	}
	return done, err
}

func (c *receiveSide[T]) reflect(any) reflect.SelectCase {
	return receiving((*Chan[T])(c).plain())
}

func (c *receiveSide[T]) complete(v any, got reflect.Value, open bool) error {
	c.traffic.got(open)
	return received[T](v, got, open)
}

func (c *receiveSide[T]) isNil() bool { return (*Chan[T])(c).plain() == nil }

func (c *sendSide[T]) try(v any) (bool, error) {
	done, err := trySend((*Chan[T])(c).plain(), v)
	if done {
		c.traffic.sent.Add(1)
	}
	return done, err
}

func (c *sendSide[T]) reflect(v any) reflect.SelectCase {
	return sending((*Chan[T])(c).plain(), v)
}

func (c *sendSide[T]) complete(any, reflect.Value, bool) error {
	c.traffic.sent.Add(1)
	return nil
}

func (c *sendSide[T]) isNil() bool { return (*Chan[T])(c).plain() == nil }

// What they have in common with those of a plain channel. The value of a Case is a *T.

func tryReceive[T any](c <-chan T, v any) (bool, error) {
	select {
	case got, open := <-c:
		if into := v.(*T); open && into != nil {
			*into = got
		}
		return true, closedUnless(open)
	default:
		return false, nil
	}
}

func receiving[T any](c <-chan T) reflect.SelectCase {
	return reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)}
}

func received[T any](v any, got reflect.Value, open bool) error {
	if into := v.(*T); open && into != nil {
		reflect.ValueOf(into).Elem().Set(got)
	}
	return closedUnless(open)
}

func trySend[T any](c chan<- T, v any) (bool, error) {
	select {
	case c <- *v.(*T):
		return true, nil
	default:
		return false, nil
	}
}

// sending hands the value to the runtime, which reaches it while the goroutine waits. It is
// by itself, so the runtime does not reach the channel from it; see openWait.
func sending[T any](c chan<- T, v any) reflect.SelectCase {
	return reflect.SelectCase{Dir: reflect.SelectSend, Chan: reflect.ValueOf(c), Send: reflect.ValueOf(v).Elem()}
}
