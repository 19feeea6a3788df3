package inspect

import (
	"context"
	"slices"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Semaphore lets holders of a total weight of at most its size go on at the same
// time. Waiters are served in the order in which they came: a large request is not
// overtaken by small ones behind it.
//
// It records how much each goroutine acquired and where. A goroutine other than the one
// that acquired a permit may release it, as when a parent acquires and its workers
// release. A wait for permits is proof of a deadlock only if all releases of such
// permits (those of the same name or, without one, acquired at the same place) were by
// the goroutines that acquired them, and there has been at least one. A goroutine that
// waits for more permits while it holds some is proof only if goroutines have held as
// many before and released all of them: otherwise its workers may be about to release
// them.
//
// The zero value has the size 0.
type Semaphore struct {
	named
	size int64

	mu    sync.Mutex // guards all below
	free  int64
	holds map[uint64]semaphoreHold // by goroutine
	// Invariant: the weights in holds add up to size-free until somebody has released
	// what another goroutine had acquired. From then on holds may name the wrong ones,
	// and the semaphore counts as handed over.
	tickets     uint64 // numbers acquisitions and waiters
	front, back *semaphoreWaiter
}

// semaphoreHold is what a goroutine has acquired and not released.
type semaphoreHold struct {
	weight     int64
	generation uint64
	held       int // acquisitions that are not released yet, as far as can be told
	most       int // the most of them at a time, since it had none
	// places are where, each once, the newest last; unplaced says that there were more.
	places   [4]uintptr
	placed   int
	unplaced bool
}

// place is where the newest permits were acquired.
func (h *semaphoreHold) place() uintptr {
	if h.placed == 0 {
		return 0
	}
	return h.places[h.placed-1]
}

func (h *semaphoreHold) add(n int64, place uintptr) {
	h.weight += n
	h.held++
	h.most = max(h.most, h.held)
	at := slices.Index(h.places[:h.placed], place)
	switch {
	case at >= 0: // becomes the newest
		copy(h.places[at:], h.places[at+1:h.placed])
		h.places[h.placed-1] = place
	case h.placed < len(h.places):
		h.places[h.placed] = place
		h.placed++
	default:
		copy(h.places[:], h.places[1:])
		h.places[h.placed-1] = place
		h.unplaced = true
	}
}

type semaphoreWaiter struct {
	prev, next *semaphoreWaiter
	n          int64
	goroutine  uint64
	place      uintptr
	ticket     uint64
	ready      chan struct{} // closed when it has got its weight
}

// NewSemaphore returns a semaphore of the given size. The name may be empty; the
// semaphore is then called after the function that first had to wait for it.
func NewSemaphore(name string, size int64) *Semaphore {
	s := &Semaphore{size: size, free: size}
	if name != "" {
		s.setName(name)
	}
	return s
}

// Acquire takes a weight of n, and waits for it if necessary. If ctx is done first, it
// returns the context's error and takes nothing. If n exceeds the size, Acquire blocks
// until ctx is done.
//
//go:noinline
func (s *Semaphore) Acquire(ctx context.Context, n int64) error {
	g, place := goid.GetWithPC()
	if g == 0 {
		g = holderOf(ctx)
	}
	s.mu.Lock()
	if s.front == nil && n <= s.free {
		s.take(g, n, place)
		s.mu.Unlock()
		return nil
	}
	me := &semaphoreWaiter{n: n, goroutine: g, place: place, ready: make(chan struct{})}
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
		// after an error. It says nothing about what the program does with permits.
		s.release(g, n, false)
	default:
		if n <= s.size {
			s.dequeue(me)
			s.serve() // those behind it may fit
		}
	}
	return ctx.Err()
}

// TryAcquire takes a weight of n if it is free and no goroutine waits, and reports
// whether it did.
//
//go:noinline
func (s *Semaphore) TryAcquire(n int64) bool {
	g, place := goid.GetWithPC()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.front != nil || n > s.free {
		return false
	}
	s.take(g, n, place)
	return true
}

// Release releases a weight of n. It panics if more is released than was taken.
func (s *Semaphore) Release(n int64) {
	g := goid.Get()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(g, n, true)
}

func (s *Semaphore) take(goroutine uint64, n int64, place uintptr) {
	if n == 0 {
		return // holds nothing
	}
	if s.holds == nil {
		s.holds = make(map[uint64]semaphoreHold)
	}
	s.free -= n
	s.tickets++
	h := s.holds[goroutine]
	h.add(n, place)
	h.generation = s.tickets
	s.holds[goroutine] = h
}

func (s *Semaphore) release(goroutine uint64, n int64, learn bool) {
	if s.free+n > s.size {
		panic("inspect: semaphore released more than held")
	}
	if n == 0 {
		return
	}
	s.free += n
	switch h := s.holds[goroutine]; {
	case h.weight > n:
		s.tickets++
		h.weight -= n
		h.held = max(1, h.held-1)
		h.generation = s.tickets
		s.holds[goroutine] = h
	case h.weight == n:
		delete(s.holds, goroutine)
		if learn {
			s.learnOwn(&h)
		}
	default:
		// Acquired by one goroutine and released by another: who holds the rest is
		// not known any more.
		s.learnHandedOver()
		delete(s.holds, goroutine)
		if s.free == s.size {
			clear(s.holds)
		}
	}
	s.serve()
}

// learnOwn learns from a goroutine that has released all that it had, unless holds
// may name the wrong ones.
func (s *Semaphore) learnOwn(h *semaphoreHold) {
	if r := s.res.Load(); h.unplaced || r != nil && r.handed.Load() {
		return
	}
	for _, place := range h.places[:h.placed] {
		s.ownRelease(permitHold, place, h.most)
	}
}

// learnHandedOver learns that permits of somebody's have been released by another
// goroutine. They may be anybody's.
func (s *Semaphore) learnHandedOver() {
	if r := s.res.Load(); r != nil && r.handed.Load() {
		return
	}
	s.handOver(0)
	for _, h := range s.holds {
		for _, place := range h.places[:h.placed] {
			s.handOver(place)
		}
	}
}

// serve gives to the first waiters what they wait for.
func (s *Semaphore) serve() {
	for s.front != nil && s.front.n <= s.free {
		next := s.front
		s.dequeue(next)
		s.take(next.goroutine, next.n, next.place)
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
	set.complete = true
	if me.prev != nil {
		set.add(holder{goroutine: me.prev.goroutine, generation: me.prev.ticket})
		return
	}
	set.need = me.n - s.free
	for g, h := range s.holds {
		set.add(holder{goroutine: g, generation: h.generation, weight: h.weight, place: h.place()})
	}
	s.judgePermits(me.goroutine, set)
}

// judgePermits marks the holders of permits by what is known of them. One who has had
// several acquisitions at a time proves something if that many have been released by
// who made them; one who waits for itself, if it has been one more.
func (s *Semaphore) judgePermits(waiter uint64, set *holderSet) {
	s.judge(set, permitHold, func(h *holder) int {
		held := s.holds[h.goroutine].held
		if h.goroutine == waiter {
			held++
		}
		return held
	})
	for _, h := range s.holds {
		set.inferred = set.inferred || h.unplaced
	}
}
