//go:build !noinspect

package inspect

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// An RWMutex is a [sync.RWMutex] that knows who holds it, readers too, and who waits
// for it. The zero value is unlocked. As with sync.RWMutex a writer that waits keeps
// new readers out, so a goroutine that takes the read lock twice can deadlock around
// a writer, and it must not be copied after first use.
//
// Readers make themselves known in a table instead of counting themselves in the
// lock: an RLock and RUnlock alone cost a few nanoseconds more than those of
// sync.RWMutex, and on several cores at once they cost less, because readers do not
// share a cache line. The price is paid by a writer that comes after many readers:
// it looks through the table, about a microsecond.
//
// (The method is that of D. Dice and A. Kogan, "BRAVO: Biased Locking for
// Reader-Writer Locks", USENIX ATC 2019, with a writer that is woken instead of
// polling, and slots that say who reads.)
type RWMutex struct {
	// rw is held by the writer, and by readers while passing is off.
	rw    sync.RWMutex
	owner goid.Owner // the writer

	// passing lets readers pass rw by. It is turned on by a reader that holds rw, and
	// off by a writer that wants it.
	passing atomic.Bool
	// passed says that readers may have: a writer that gets rw looks for them. It is
	// turned on before passing, and off by a writer that holds rw, has turned passing
	// off and has then seen nobody in the table.
	passed atomic.Bool
	key    atomic.Uint64 // of the readers in the table; 0 until there is one
	// quiet is how many readers still have to come until passing is turned on again.
	// It is only about right: readers do not wait for each other to count.
	quiet atomic.Int64

	// more are readers that found no slot, nil until there is one. They hold rw.
	more atomic.Pointer[moreReaders]
	// untracked readers hold rw, and who they are is not known.
	untracked atomic.Int64
	// misnamed says that since the last writer a slot may name a goroutine whose read
	// lock another one has released.
	misnamed atomic.Bool

	// Writers that cannot have the lock at once queue. The first of them is pending: it
	// shuts the gate to new readers, and tries again whenever somebody leaves.
	queue   sync.Mutex
	pending goid.Owner
	gate    atomic.Pointer[gate]
	named
}

// gate keeps new readers out while a writer is pending.
type gate struct {
	opened chan struct{} // closed when the writer has the lock, or has given up
	left   chan struct{} // wakes the writer; room for one, so that nobody waits to send
}

// readersPerWriter is how many readers have to come after a writer before readers
// pass rw by again: enough that what the next writer pays for looking through the
// table is little for each of them.
const readersPerWriter = 256

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
//
//go:noinline
func (m *RWMutex) RLock() {
	g, place := goid.GetWithPC()
	m.noteTaking(g, true, place)
	if !m.pass(g, place) {
		if m.gate.Load() != nil || !m.rw.TryRLock() {
			_ = m.waitToRead(context.Background())
		}
		m.enter(g, place)
	}
	m.noteHeld(g, true, place)
}

// TryRLock tries to lock m for reading and reports whether it succeeded.
//
//go:noinline
func (m *RWMutex) TryRLock() bool {
	g, place := goid.GetWithPC()
	if !m.pass(g, place) {
		if m.gate.Load() != nil || !m.rw.TryRLock() {
			return false
		}
		m.enter(g, place)
	}
	m.noteHeld(g, true, place)
	return true
}

// RLockContext locks m for reading for the task of ctx, unless ctx is done first;
// see [Mutex.LockContext].
//
//go:noinline
func (m *RWMutex) RLockContext(ctx context.Context) error {
	g, place := goid.GetWithPC()
	if g == 0 {
		g = holderOf(ctx)
	}
	m.noteTaking(g, true, place)
	if !m.pass(g, place) {
		if m.gate.Load() != nil || !m.rw.TryRLock() {
			if err := m.waitToRead(ctx); err != nil {
				return err
			}
		}
		m.enter(g, place)
	}
	m.noteHeld(g, true, place)
	return nil
}

// waitToRead takes rw for reading. It waits for at most one pending writer: the next
// one finds this reader in front of it.
//
//go:noinline
func (m *RWMutex) waitToRead(ctx context.Context) error {
	w := beginWait(ctx, taskspan.WaitRWMutexRead, (*readSide)(m))
	defer endWait(w)
	done := ctx.Done()
	if gate := m.gate.Load(); gate != nil {
		select {
		case <-gate.opened:
		case <-done:
			return ctx.Err()
		}
	}
	if done == nil {
		m.rw.RLock()
		return nil
	}
	return lockOrDone(ctx, (*counter)(m))
}

// pass takes the read lock past rw.
//
// The order makes it safe: a reader takes its slot and then looks whether passing is
// still on; a writer turns passing off and then looks at the slots. Atomics are
// sequentially consistent, so one of the two sees the other.
func (m *RWMutex) pass(goroutine uint64, place uintptr) bool {
	if !m.passing.Load() || goroutine == 0 {
		return false
	}
	key := readerKey(m.key.Load())
	slot, ok := bucketOf(goroutine).enter(key)
	return ok && m.confirm(slot, key, goroutine, place)
}

// confirm takes the second look of a reader that has taken a slot. If passing is off by
// then it gives the slot back.
func (m *RWMutex) confirm(slot readerSlot, key readerKey, goroutine uint64, place uintptr) bool {
	if m.passing.Load() {
		slot.acquire(goroutine, place)
		return true
	}
	if slot.key().CompareAndSwap(uint64(key), 0) {
		m.left() // a writer may have seen this one
	} else {
		m.leaveForAnother(key) // who has taken this slot for its own
	}
	return false
}

// left wakes the pending writer, if there is one, after somebody has left: a reader, a
// writer, and whoever has only tried, for all of them can have been in its way.
//
// No wake-up is lost: a writer shuts the gate and then looks whether it can have the
// lock; whoever it still sees there leaves later, and finds the gate.
func (m *RWMutex) left() {
	if g := m.gate.Load(); g != nil {
		select {
		case g.left <- struct{}{}:
		default: // it has been woken and will look again
		}
	}
}

// enter notes a reader that holds rw.
func (m *RWMutex) enter(goroutine uint64, place uintptr) {
	key := m.readerKey()
	if goroutine == 0 {
		m.untracked.Add(1)
		return
	}
	slot, ok := bucketOf(goroutine).enter(key.counted())
	if !ok {
		m.enterMore(goroutine, place)
		return
	}
	slot.acquire(goroutine, place)
	// While we hold rw there is no writer, so passing may be turned on.
	if quiet := m.quiet.Load(); quiet > 0 {
		m.quiet.Store(quiet - 1)
	} else if !m.passing.Load() {
		m.passed.Store(true)
		m.passing.Store(true)
	}
}

// enterMore notes a reader that holds rw and finds no slot.
//
//go:noinline
func (m *RWMutex) enterMore(goroutine uint64, place uintptr) {
	more := m.more.Load()
	if more == nil {
		m.more.CompareAndSwap(nil, new(moreReaders))
		more = m.more.Load()
	}
	if !more.enter(goroutine, place) {
		m.untracked.Add(1)
		countDropped(dropReaders)
	}
}

// readerKey returns the key of the lock, made by the first reader.
func (m *RWMutex) readerKey() readerKey {
	if k := m.key.Load(); k != 0 {
		return readerKey(k)
	}
	m.key.CompareAndSwap(0, uint64(newReaderKey()))
	return readerKey(m.key.Load())
}

// RUnlock undoes one RLock. As with sync.RWMutex it is a fatal error if m is not
// locked for reading.
func (m *RWMutex) RUnlock() {
	g, key := goid.Get(), readerKey(m.key.Load())
	if key == 0 {
		m.rw.RUnlock() // never locked for reading: a fatal error
		return
	}
	m.noteRead(g)
	left, place := bucketOf(g).leave(key, g)
	if left == 0 {
		var ok bool
		if place, ok = m.more.Load().leave(g); !ok {
			m.leaveForAnother(key)
			return
		}
		left = key.counted()
	}
	if !m.isOwn(readHold, place) {
		m.released(readHold, g, g, place)
	}
	if left == key.counted() {
		m.rw.RUnlock()
	}
	m.left()
}

// leaveForAnother releases a read lock that the goroutine is not known for: one that is
// not tracked, or one that another goroutine has taken. It takes what it finds, and
// whoever misses that comes here too: there are always as many known and untracked
// readers as read locks.
func (m *RWMutex) leaveForAnother(key readerKey) {
	m.misnamed.Store(true)
	for range leaveAttempts {
		if m.leaveAny(key) {
			m.left()
			return
		}
		runtime.Gosched()
	}
	m.rw.RUnlock() // says that m is not locked for reading
}

// leaveAny releases somebody's read lock, if it finds one.
func (m *RWMutex) leaveAny(key readerKey) bool {
	if m.leaveUntracked() {
		m.rw.RUnlock()
		return true
	}
	left, place := leaveAny(key)
	if left == 0 {
		var ok bool
		if place, ok = m.more.Load().leaveAny(); !ok {
			return false
		}
		left = key.counted()
	}
	m.handOver(place)
	if left == key.counted() {
		m.rw.RUnlock()
	}
	return true
}

// leaveAttempts is how often a slot is looked for that must be there: others who take
// and leave slots can hide it from one look.
const leaveAttempts = 100

func (m *RWMutex) leaveUntracked() bool {
	for {
		n := m.untracked.Load()
		if n == 0 {
			return false
		}
		if m.untracked.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// Lock locks m for writing.
//
//go:noinline
func (m *RWMutex) Lock() {
	g, place := goid.GetWithPC()
	m.noteTaking(g, false, place)
	if m.gate.Load() != nil || !m.tryLock() {
		_ = m.waitToWrite(context.Background(), g, place)
	}
	m.own(g, place)
}

// TryLock tries to lock m for writing and reports whether it succeeded.
//
//go:noinline
func (m *RWMutex) TryLock() bool {
	g, place := goid.GetWithPC()
	if !m.tryLock() {
		m.left()
		return false
	}
	m.own(g, place)
	return true
}

// LockContext locks m for writing for the task of ctx, unless ctx is done first.
//
//go:noinline
func (m *RWMutex) LockContext(ctx context.Context) error {
	g, place := goid.GetWithPC()
	if g == 0 {
		g = holderOf(ctx)
	}
	m.noteTaking(g, false, place)
	if m.gate.Load() != nil || !m.tryLock() {
		if err := m.waitToWrite(ctx, g, place); err != nil {
			return err
		}
	}
	m.own(g, place)
	return nil
}

// tryLock takes rw for writing if no reader is there, neither in rw nor in the table.
// Who fails and is not the pending writer calls left.
func (m *RWMutex) tryLock() bool {
	if !m.rw.TryLock() {
		return false
	}
	if m.passed.Load() {
		// Readers have passed by, and more do until passing is off.
		m.stopPassing()
		if anyReader(readerKey(m.key.Load())) {
			m.rw.Unlock()
			return false
		}
		m.passed.Store(false)
	}
	if m.misnamed.Load() {
		m.misnamed.Store(false) // there is no reader
	}
	return true
}

func (m *RWMutex) stopPassing() {
	m.quiet.Store(readersPerWriter)
	m.passing.Store(false)
}

// waitToWrite takes the lock for writing when all who are in front of this writer
// have left.
//
//go:noinline
func (m *RWMutex) waitToWrite(ctx context.Context, goroutine uint64, place uintptr) error {
	w := beginWait(ctx, taskspan.WaitRWMutexWrite, (*writeSide)(m))
	defer endWait(w)
	m.left() // this one has tried
	done := ctx.Done()
	if done == nil {
		m.queue.Lock()
	} else if err := lockOrDone(ctx, &m.queue); err != nil {
		return err
	}
	defer m.queue.Unlock()
	goid.TakeFor(&m.pending, goroutine, place)
	defer goid.Leave(&m.pending)
	shut := &gate{opened: make(chan struct{}), left: make(chan struct{}, 1)}
	m.gate.Store(shut)
	defer func() {
		m.gate.Store(nil)
		close(shut.opened)
	}()
	m.stopPassing()
	for !m.tryLock() {
		select {
		case <-shut.left:
		case <-done:
			return ctx.Err()
		}
	}
	return nil
}

// Unlock unlocks m for writing. As with sync.RWMutex it is a fatal error if m is not
// locked for writing.
func (m *RWMutex) Unlock() {
	place := m.owner.Place()
	holder, g := goid.Leave(&m.owner)
	m.noteReleased(holder)
	if holder != g || !m.isOwn(writeHold, place) {
		m.released(writeHold, holder, g, place)
	}
	m.rw.Unlock()
	m.left()
}

// RLocker returns a [sync.Locker] whose methods are RLock and RUnlock.
func (m *RWMutex) RLocker() sync.Locker { return (*rlocker)(m) }

type rlocker RWMutex

func (r *rlocker) Lock()   { (*RWMutex)(r).RLock() }
func (r *rlocker) Unlock() { (*RWMutex)(r).RUnlock() }

// counter is rw as readers wait for it.
type counter RWMutex

func (c *counter) Lock() { c.rw.RLock() }
func (c *counter) Unlock() {
	c.rw.RUnlock()
	(*RWMutex)(c).left()
}

func (m *RWMutex) own(goroutine uint64, place uintptr) {
	goid.TakeFor(&m.owner, goroutine, place)
	m.noteHeld(goroutine, false, place)
}

// readSide and writeSide are what readers and writers wait for.
type (
	readSide  RWMutex
	writeSide RWMutex
)

func (s *readSide) identify(kind taskspan.Kind, place uintptr)  { s.named.identify(kind, place) }
func (s *writeSide) identify(kind taskspan.Kind, place uintptr) { s.named.identify(kind, place) }
func (s *readSide) name() resourceName                          { return s.named.name() }
func (s *writeSide) name() resourceName                         { return s.named.name() }

// holders of the read lock are the writer, or the pending one, who keeps readers out.
func (s *readSide) holders(_ *waitView, set *holderSet) {
	if addOwner(set, &s.owner); len(set.list) == 0 {
		addOwner(set, &s.pending)
		return
	}
	s.judge(set, writeHold, nil)
}

// holders of the write lock are the writer; or, for others than the pending one,
// that one; or all readers.
func (s *writeSide) holders(w *waitView, set *holderSet) {
	if addOwner(set, &s.owner); len(set.list) > 0 {
		s.judge(set, writeHold, nil)
		return
	}
	switch first, generation, place := s.pending.Load(); first {
	case 0:
		return // about to queue
	case w.goroutine:
	default:
		set.add(holder{goroutine: first, generation: generation, place: place})
		set.complete = true
		return
	}
	key := readerKey(s.key.Load())
	if key == 0 {
		return
	}
	addReaders(set, key)
	s.more.Load().holders(set)
	// All readers have to leave, so one that is known and cannot is enough, whoever else
	// reads.
	set.complete = len(set.list) > 0 && !s.misnamed.Load()
	s.judge(set, readHold, nil)
}
