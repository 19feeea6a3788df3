//go:build noinspect

package inspect

import (
	"context"
	"sync"
	"time"
)

// With the build tag noinspect the locks are those of package sync in size and speed.

// A Mutex is a [sync.Mutex].
type Mutex struct{ mu sync.Mutex }

// NewMutex returns a mutex; the name has no effect.
func NewMutex(string) *Mutex { return new(Mutex) }

// SetName has no effect.
func (m *Mutex) SetName(string) {}

// Lock locks m.
func (m *Mutex) Lock() { m.mu.Lock() }

// TryLock tries to lock m and reports whether it succeeded.
func (m *Mutex) TryLock() bool { return m.mu.TryLock() }

// Unlock unlocks m.
func (m *Mutex) Unlock() { m.mu.Unlock() }

// LockContext locks m, unless ctx is done first.
func (m *Mutex) LockContext(ctx context.Context) error {
	if m.mu.TryLock() {
		return nil
	}
	return lockOrDone(ctx, &m.mu)
}

// An RWMutex is a [sync.RWMutex].
type RWMutex struct{ mu sync.RWMutex }

// NewRWMutex returns a mutex; the name has no effect.
func NewRWMutex(string) *RWMutex { return new(RWMutex) }

// SetName has no effect.
func (m *RWMutex) SetName(string) {}

// RLock locks m for reading.
func (m *RWMutex) RLock() { m.mu.RLock() }

// TryRLock tries to lock m for reading and reports whether it succeeded.
func (m *RWMutex) TryRLock() bool { return m.mu.TryRLock() }

// RUnlock undoes one RLock.
func (m *RWMutex) RUnlock() { m.mu.RUnlock() }

// Lock locks m for writing.
func (m *RWMutex) Lock() { m.mu.Lock() }

// TryLock tries to lock m for writing and reports whether it succeeded.
func (m *RWMutex) TryLock() bool { return m.mu.TryLock() }

// Unlock unlocks m for writing.
func (m *RWMutex) Unlock() { m.mu.Unlock() }

// RLocker returns a [sync.Locker] whose methods are RLock and RUnlock.
func (m *RWMutex) RLocker() sync.Locker { return m.mu.RLocker() }

// LockContext locks m for writing, unless ctx is done first. It polls: a sync.RWMutex
// cannot withdraw a waiting writer, which would keep readers out after it has given up.
func (m *RWMutex) LockContext(ctx context.Context) error {
	pause := 10 * time.Microsecond
	for !m.mu.TryLock() {
		select {
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Millisecond)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// RLockContext locks m for reading, unless ctx is done first.
func (m *RWMutex) RLockContext(ctx context.Context) error {
	if m.mu.TryRLock() {
		return nil
	}
	return lockOrDone(ctx, m.mu.RLocker())
}

// A Once is a [sync.Once].
type Once struct{ once sync.Once }

// NewOnce returns a Once; the name has no effect.
func NewOnce(string) *Once { return new(Once) }

// SetName has no effect.
func (o *Once) SetName(string) {}

// Do calls f if it is the first Do of o.
func (o *Once) Do(f func()) { o.once.Do(f) }
