//go:build !noinspect

package inspect

import (
	"context"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A Mutex is a [sync.Mutex] that knows who holds it and who waits for it. The
// zero value is an unlocked mutex, and it is a [sync.Locker], so changing the
// type of a field is all that is needed to see it.
//
// An uncontended Lock and Unlock cost a few nanoseconds more than those of
// sync.Mutex and allocate nothing; fairness and starvation are those of
// sync.Mutex, which it contains. Only a Lock that has to wait looks at the
// clock and enters the table of waits. Like a sync.Mutex it may be unlocked by
// another goroutine than the one that locked it; it must not be copied after
// first use.
type Mutex struct {
	mu    sync.Mutex
	owner goid.Owner
	named
}

// NewMutex returns a mutex with a name, under which it appears in reports,
// spans and metrics. Names should be few: one for each field, not one for each
// instance. A mutex without a name is called after the function that first had
// to wait for it.
func NewMutex(name string) *Mutex {
	m := new(Mutex)
	m.setName(name)
	return m
}

// SetName names a mutex that is a field. It has no effect if the mutex has a
// name already.
func (m *Mutex) SetName(name string) { m.setName(name) }

// Lock locks m. If the lock is in use, the goroutine blocks until it is free,
// and shows as waiting. The task that waits is the innermost one of the
// goroutine, if it has one.
//
//go:noinline
func (m *Mutex) Lock() {
	if holding.Load() != nil {
		g, place := goid.GetWithPC()
		m.noteTaking(g, false, place)
	}
	if !m.mu.TryLock() {
		m.wait(context.Background())
	}
	g, place := goid.Take(&m.owner)
	m.noteHeld(g, false, place)
}

// TryLock tries to lock m and reports whether it succeeded.
//
//go:noinline
func (m *Mutex) TryLock() bool {
	if !m.mu.TryLock() {
		return false
	}
	g, place := goid.Take(&m.owner)
	m.noteHeld(g, false, place)
	return true
}

// LockContext locks m for the task of ctx. If ctx is done before the lock is
// free it returns the context's error and m is not locked.
//
// A contended LockContext with a context that can be cancelled costs a
// goroutine for as long as it waits, because a sync.Mutex cannot give up.
//
//go:noinline
func (m *Mutex) LockContext(ctx context.Context) error {
	if holding.Load() != nil {
		g, place := goid.GetWithPC()
		m.noteTaking(g, false, place)
	}
	if !m.mu.TryLock() {
		if err := m.waitContext(ctx); err != nil {
			return err
		}
	}
	g, place := goid.Take(&m.owner)
	m.noteHeld(g, false, place)
	return nil
}

// Unlock unlocks m. As with sync.Mutex it is a fatal error if m is not locked.
func (m *Mutex) Unlock() {
	place := m.owner.Place()
	holder, g := goid.Leave(&m.owner)
	m.noteReleased(holder)
	if holder != g || !m.isOwn(mutexHold, place) {
		m.released(mutexHold, holder, g, place)
	}
	m.mu.Unlock()
}

//go:noinline
func (m *Mutex) wait(ctx context.Context) {
	w := beginWait(ctx, taskspan.WaitMutex, m)
	m.mu.Lock()
	endWait(w)
}

func (m *Mutex) waitContext(ctx context.Context) error {
	if ctx.Done() == nil {
		m.wait(ctx)
		return nil
	}
	w := beginWait(ctx, taskspan.WaitMutex, m)
	defer endWait(w)
	return lockOrDone(ctx, &m.mu)
}

// holders is the owner of the lock.
func (m *Mutex) holders(_ *waitView, s *holderSet) {
	addOwner(s, &m.owner)
	m.judge(s, mutexHold, nil)
}

// addOwner adds the goroutine that an Owner names. If it names none the
// lock changes hands just now, and the set stays incomplete.
func addOwner(s *holderSet, owner *goid.Owner) {
	g, generation, place := owner.Load()
	if g == 0 {
		return
	}
	s.add(holder{goroutine: g, generation: generation, place: place})
	s.complete = true
}
