package inspect

import (
	"context"
	"errors"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Flight makes concurrent calls for one key into one, as x/sync/singleflight
// does: the first caller, the leader, does the work, and the others wait for it and
// share its result. The zero value is ready.
type Flight[V any] struct {
	named
	mu    sync.Mutex
	calls map[string]*flightCall[V]
}

type flightCall[V any] struct {
	*named
	leader uint64
	done   chan struct{}
	v      V
	err    error
}

// errLeaderLeft is what the others get if the leader's goroutine ends inside fn.
var errLeaderLeft = errors.New("inspect: the goroutine that did the work has exited")

// SetName names the flight. It has no effect if it has a name already.
func (f *Flight[V]) SetName(name string) { f.setName(name) }

// Do calls fn and returns its result, unless another Do for the same key is under
// way: then it waits for that one, or until ctx is done. shared reports whether the
// result is somebody else's. A panic of fn goes on in the leader; the others get an
// error that names it.
func (f *Flight[V]) Do(ctx context.Context, key string, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	f.mu.Lock()
	if c, ok := f.calls[key]; ok {
		f.mu.Unlock()
		v, err = c.wait(ctx)
		return v, err, true
	}
	c := &flightCall[V]{named: &f.named, leader: holderOf(ctx), done: make(chan struct{}), err: errLeaderLeft}
	if f.calls == nil {
		f.calls = make(map[string]*flightCall[V])
	}
	f.calls[key] = c
	f.mu.Unlock()

	defer func() {
		r := recover()
		if r != nil {
			c.err = &panicError{value: r}
		}
		f.mu.Lock()
		delete(f.calls, key)
		f.mu.Unlock()
		close(c.done)
		if r != nil {
			panic(r)
		}
	}()
	c.v, c.err = fn(ctx)
	return c.v, c.err, false
}

func (c *flightCall[V]) wait(ctx context.Context) (V, error) {
	w := beginWait(ctx, taskspan.WaitSingleflight, c)
	defer endWait(w)
	select {
	case <-c.done:
		return c.v, c.err
	case <-ctx.Done():
		var zero V
		return zero, ctx.Err()
	}
}

// holders is the leader. It leads this call until it is done, so one generation is
// enough.
func (c *flightCall[V]) holders(_ *waitView, s *holderSet) {
	select {
	case <-c.done:
		return
	default:
	}
	if c.leader != 0 {
		s.add(holder{goroutine: c.leader, generation: 1})
		s.complete = true
	}
}
