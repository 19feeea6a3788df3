package inspect

import (
	"context"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Semaphore lets holders of a total weight of at most its size go on at the same
// time. Waiters are served in the order in which they came: a large request is not
// overtaken by small ones behind it.
//
// It knows who holds how much, as long as each goroutine releases what it has
// acquired. Once one has released more than that, its waits are no longer proof of
// a deadlock.
type Semaphore struct {
	named
	size int64

	mu    sync.Mutex // guards all below
	free  int64
	holds map[uint64]semaphoreHold // by goroutine
	// handedOver: somebody released what another goroutine had acquired. From then
	// on holds may name the wrong ones, so they prove nothing.
	handedOver  bool
	tickets     uint64 // numbers acquisitions and waiters
	front, back *semaphoreWaiter
}

type semaphoreHold struct {
	weight     int64
	generation uint64
}

type semaphoreWaiter struct {
	prev, next *semaphoreWaiter
	n          int64
	goroutine  uint64
	ticket     uint64
	ready      chan struct{} // closed when it has got its weight
}

// NewSemaphore returns a semaphore of the given size. The name may be empty; the
// semaphore is then called after the function that first had to wait for it.
func NewSemaphore(name string, size int64) *Semaphore {
	s := &Semaphore{size: size, free: size, holds: make(map[uint64]semaphoreHold)}
	if name != "" {
		s.setName(name)
	}
	return s
}

// Acquire takes a weight of n, and waits for it if necessary. If ctx is done first
// it returns the context's error and has taken nothing. More than the size is never
// to be had: such a call waits until ctx is done.
func (s *Semaphore) Acquire(ctx context.Context, n int64) error {
	g := holderOf(ctx)
	s.mu.Lock()
	if s.front == nil && n <= s.free {
		s.take(g, n)
		s.mu.Unlock()
		return nil
	}
	me := &semaphoreWaiter{n: n, goroutine: g, ready: make(chan struct{})}
	if n <= s.size {
		s.enqueue(me)
	}
	s.mu.Unlock()

	w := beginWait(ctx, taskspan.WaitSemaphore, s)
	defer endWait(w)
	select {
	case <-me.ready:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-me.ready:
		// It was ready at the same time. Giving it back is what the caller expects
		// after an error.
		s.release(g, n)
	default:
		if n <= s.size {
			s.dequeue(me)
			s.serve() // those behind it may fit
		}
	}
	return ctx.Err()
}

// TryAcquire takes a weight of n if it is free and nobody waits, and reports
// whether it has.
func (s *Semaphore) TryAcquire(n int64) bool {
	g := goid.Get()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.front != nil || n > s.free {
		return false
	}
	s.take(g, n)
	return true
}

// Release gives a weight of n back. It panics if more is released than was taken.
func (s *Semaphore) Release(n int64) {
	g := goid.Get()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(g, n)
}

func (s *Semaphore) take(goroutine uint64, n int64) {
	s.free -= n
	s.tickets++
	h := s.holds[goroutine]
	s.holds[goroutine] = semaphoreHold{weight: h.weight + n, generation: s.tickets}
}

func (s *Semaphore) release(goroutine uint64, n int64) {
	if s.free+n > s.size {
		panic("inspect: semaphore released more than held")
	}
	s.free += n
	switch h := s.holds[goroutine]; {
	case h.weight > n:
		s.tickets++
		s.holds[goroutine] = semaphoreHold{weight: h.weight - n, generation: s.tickets}
	case h.weight == n:
		delete(s.holds, goroutine)
	default:
		// Taken by one goroutine and released by another: who holds the rest is
		// not known any more.
		s.handedOver = true
		delete(s.holds, goroutine)
		if s.free == s.size {
			clear(s.holds)
		}
	}
	s.serve()
}

// serve gives to the first waiters what they wait for.
func (s *Semaphore) serve() {
	for s.front != nil && s.front.n <= s.free {
		next := s.front
		s.dequeue(next)
		s.take(next.goroutine, next.n)
		close(next.ready)
	}
}

func (s *Semaphore) enqueue(w *semaphoreWaiter) {
	s.tickets++
	w.ticket = s.tickets
	w.prev = s.back
	if s.back == nil {
		s.front = w
	} else {
		s.back.next = w
	}
	s.back = w
}

func (s *Semaphore) dequeue(w *semaphoreWaiter) {
	if w.prev == nil {
		s.front = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		s.back = w.prev
	} else {
		w.next.prev = w.prev
	}
}

// holders of the first waiter are those who hold, of whom enough must let go; of
// any other it is the waiter before it, for nobody overtakes.
func (s *Semaphore) holders(w *waitView, set *holderSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	me := s.front
	for me != nil && me.goroutine != w.goroutine {
		me = me.next
	}
	if me == nil {
		return // served just now, or more than there will ever be
	}
	set.complete = !s.handedOver
	if me.prev != nil {
		set.add(holder{goroutine: me.prev.goroutine, generation: me.prev.ticket})
		return
	}
	set.need = me.n - s.free
	for g, h := range s.holds {
		set.add(holder{goroutine: g, generation: h.generation, weight: h.weight})
	}
}
