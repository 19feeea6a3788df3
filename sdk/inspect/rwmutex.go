package inspect

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// An RWMutex is a [sync.RWMutex] that knows who holds it, readers too, and who waits
// for it. The zero value is unlocked. As with sync.RWMutex a writer that waits keeps
// new readers out, so a goroutine that takes the read lock twice can deadlock around
// a writer; it must not be copied after first use.
type RWMutex struct {
	rw    sync.RWMutex
	owner ownerWord // the writer
	taken uint64    // the place of its Lock

	// Writers that have to wait queue here, so that the one that keeps the readers
	// out is known.
	queue   sync.Mutex
	pending ownerWord

	// readers are the goroutines that read, each in a slot of its own; those that
	// found none are counted.
	readers    [readerSlots]readerSlot
	uncounted  atomic.Int32
	handedOver atomic.Bool // a read lock was released by another goroutine
	named
}

const readerSlots = 8

type readerSlot struct{ word uint64 }

// NewRWMutex returns a mutex with a name; see [NewMutex].
func NewRWMutex(name string) *RWMutex {
	m := new(RWMutex)
	m.setName(name)
	return m
}

// SetName names a mutex that is a field. It has no effect if the mutex has a name
// already.
func (m *RWMutex) SetName(name string) { m.setName(name) }

// RLock locks m for reading.
func (m *RWMutex) RLock() {
	if !m.rw.TryRLock() {
		w := beginWait(nil, taskspan.WaitRWMutexRead, (*readSide)(m))
		m.rw.RLock()
		endWait(w)
	}
	m.enter(goid.Get())
}

// TryRLock tries to lock m for reading and reports whether it succeeded.
func (m *RWMutex) TryRLock() bool {
	if !m.rw.TryRLock() {
		return false
	}
	m.enter(goid.Get())
	return true
}

// RLockContext locks m for reading for the task of ctx, unless ctx is done first;
// see [Mutex.LockContext].
func (m *RWMutex) RLockContext(ctx context.Context) error {
	if !m.rw.TryRLock() {
		w := beginWait(ctx, taskspan.WaitRWMutexRead, (*readSide)(m))
		err := lockOrDone(ctx, m.rw.RLocker())
		endWait(w)
		if err != nil {
			return err
		}
	}
	m.enter(holderOf(ctx))
	return nil
}

// RUnlock undoes one RLock.
func (m *RWMutex) RUnlock() {
	m.leave(goid.Get())
	m.rw.RUnlock()
}

// Lock locks m for writing.
//
//go:noinline
func (m *RWMutex) Lock() {
	if !m.rw.TryLock() {
		w := beginWait(nil, taskspan.WaitRWMutexWrite, (*writeSide)(m))
		m.queue.Lock()
		m.pending.acquire(goid.Get())
		m.rw.Lock()
		m.pending.release()
		m.queue.Unlock()
		endWait(w)
	}
	m.own(goid.GetWithPC())
}

// TryLock tries to lock m for writing and reports whether it succeeded.
//
//go:noinline
func (m *RWMutex) TryLock() bool {
	if !m.rw.TryLock() {
		return false
	}
	m.own(goid.GetWithPC())
	return true
}

// LockContext locks m for writing for the task of ctx, unless ctx is done first; see
// [Mutex.LockContext]. While it waits it keeps new readers out, also for a moment
// after it has given up.
//
//go:noinline
func (m *RWMutex) LockContext(ctx context.Context) error {
	if !m.rw.TryLock() {
		w := beginWait(ctx, taskspan.WaitRWMutexWrite, (*writeSide)(m))
		err := lockOrDone(ctx, pendingWriter{m, holderOf(ctx)})
		endWait(w)
		if err != nil {
			return err
		}
	}
	g, place := goid.GetWithPC()
	if g == 0 {
		g = holderOf(ctx)
	}
	m.own(g, place)
	return nil
}

// pendingWriter locks for writing on behalf of a goroutine.
type pendingWriter struct {
	m         *RWMutex
	goroutine uint64
}

func (p pendingWriter) Lock() {
	p.m.queue.Lock()
	p.m.pending.acquire(p.goroutine)
	p.m.rw.Lock()
	p.m.pending.release()
	p.m.queue.Unlock()
}

func (p pendingWriter) Unlock() { p.m.rw.Unlock() }

// Unlock unlocks m for writing.
func (m *RWMutex) Unlock() {
	m.owner.release()
	m.rw.Unlock()
}

// RLocker returns a [sync.Locker] whose methods are RLock and RUnlock.
func (m *RWMutex) RLocker() sync.Locker { return (*rlocker)(m) }

type rlocker RWMutex

func (r *rlocker) Lock()   { (*RWMutex)(r).RLock() }
func (r *rlocker) Unlock() { (*RWMutex)(r).RUnlock() }

func (m *RWMutex) own(goroutine uint64, place uintptr) {
	storeRelaxed(&m.taken, uint64(place))
	m.owner.acquire(goroutine)
}

// enter notes a reader, which has the lock.
func (m *RWMutex) enter(goroutine uint64) {
	for i := range uint64(readerSlots) {
		slot := &m.readers[(goroutine+i)%readerSlots].word
		v := atomic.LoadUint64(slot)
		if v>>generationBits == 0 && goroutine != 0 &&
			atomic.CompareAndSwapUint64(slot, v, goroutine<<generationBits|(v+1)&generationMask) {
			return
		}
	}
	m.uncounted.Add(1)
}

// leave forgets a reader, which still has the lock.
func (m *RWMutex) leave(goroutine uint64) {
	for i := range uint64(readerSlots) {
		slot := &m.readers[(goroutine+i)%readerSlots].word
		if v := atomic.LoadUint64(slot); v>>generationBits == goroutine && goroutine != 0 {
			storeRelaxed(slot, v&generationMask)
			return
		}
	}
	if m.uncounted.Add(-1) >= 0 {
		return
	}
	// Not this goroutine's, and nobody's who was not counted: it releases what
	// another has taken, whose slot stays taken.
	m.uncounted.Add(1)
	m.handedOver.Store(true)
}

// readSide and writeSide are what readers and writers wait for.
type (
	readSide  RWMutex
	writeSide RWMutex
)

func (s *readSide) identify(kind taskspan.Kind, stack []uintptr)  { s.named.identify(kind, stack) }
func (s *writeSide) identify(kind taskspan.Kind, stack []uintptr) { s.named.identify(kind, stack) }
func (s *readSide) identity() (id, name string)                   { return s.named.identity() }
func (s *writeSide) identity() (id, name string)                  { return s.named.identity() }

// holders of the read lock are the writer, or the one that waits and keeps readers
// out.
func (s *readSide) holders(_ *waitView, set *holderSet) {
	if addOwner(set, &s.owner, &s.taken); len(set.list) == 0 {
		addOwner(set, &s.pending, new(uint64))
	}
}

// holders of the write lock are the writer; or, for others than the first that
// waits, that one; or all readers.
func (s *writeSide) holders(w *waitView, set *holderSet) {
	if addOwner(set, &s.owner, &s.taken); len(set.list) > 0 {
		return
	}
	switch g, generation := s.pending.load(); g {
	case 0:
		return // about to queue
	case w.goroutine:
	default:
		set.add(holder{goroutine: g, generation: generation})
		set.complete = true
		return
	}
	for i := range s.readers {
		if v := atomic.LoadUint64(&s.readers[i].word); v>>generationBits != 0 {
			set.add(holder{goroutine: v >> generationBits, generation: v & generationMask})
		}
	}
	set.complete = len(set.list) > 0 && s.uncounted.Load() == 0 && !s.handedOver.Load()
}
