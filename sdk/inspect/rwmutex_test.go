//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lockWorld checks what a reader-writer lock promises.
type lockWorld struct{ readers, writers atomic.Int32 }

func (w *lockWorld) read(t *testing.T) {
	w.readers.Add(1)
	if w.writers.Load() != 0 {
		t.Error("a reader beside a writer")
	}
	w.readers.Add(-1)
}

func (w *lockWorld) write(t *testing.T) {
	if w.writers.Add(1) != 1 {
		t.Error("two writers")
	}
	if w.readers.Load() != 0 {
		t.Error("a writer beside a reader")
	}
	w.writers.Add(-1)
}

// Random operations of all kinds, in all mixtures of readers and writers.
func TestRWMutexExcludes(t *testing.T) {
	for _, writes := range []int{1, 10, 50, 1000} { // of 1000
		t.Run(fmt.Sprintf("writes=%d", writes), func(t *testing.T) {
			t.Parallel()
			var (
				m     RWMutex
				world lockWorld
				all   sync.WaitGroup
			)
			for i := range 16 {
				all.Go(func() {
					r := rand.New(rand.NewPCG(uint64(i), uint64(writes)))
					for range 3000 {
						rwmutexOperation(t, r, &m, &world, r.IntN(1000) < writes)
					}
				})
			}
			all.Wait()
			if !m.TryLock() {
				t.Fatal("the lock is not free in the end")
			}
			m.Unlock()
			var left holderSet
			addReaders(&left, readerKey(m.key.Load()))
			m.more.Load().holders(&left)
			if len(left.list) > 0 || m.untracked.Load() != 0 {
				t.Errorf("readers are left behind: %+v and %d untracked", left.list, m.untracked.Load())
			}
		})
	}
}

func rwmutexOperation(t *testing.T, r *rand.Rand, m *RWMutex, world *lockWorld, write bool) {
	how := r.IntN(10)
	ctx, cancel := context.Background(), func() {}
	if how == 1 {
		ctx, cancel = context.WithCancel(ctx)
		go cancel()
	}
	defer cancel()
	switch {
	case write && how == 0:
		if m.TryLock() {
			world.write(t)
			m.Unlock()
		}
	case write && how == 1:
		if m.LockContext(ctx) == nil {
			world.write(t)
			m.Unlock()
		}
	case write:
		m.Lock()
		world.write(t)
		m.Unlock()
	case how == 0:
		if m.TryRLock() {
			world.read(t)
			m.RUnlock()
		}
	case how == 1:
		if m.RLockContext(ctx) == nil {
			world.read(t)
			m.RUnlock()
		}
	case how == 2:
		// Released by another goroutine.
		m.RLock()
		world.read(t)
		done := make(chan struct{})
		go func() { m.RUnlock(); close(done) }()
		<-done
	default:
		m.RLock()
		world.read(t)
		m.RUnlock()
	}
}

// More readers than slots, and readers of many locks at once, are counted all the
// same.
func TestRWMutexHasRoomForAllReaders(t *testing.T) {
	var m RWMutex
	const n = readerBuckets * bucketSlots * 2
	var in, out sync.WaitGroup
	in.Add(n)
	release := make(chan struct{})
	for range n {
		out.Go(func() {
			m.RLock()
			in.Done()
			<-release
			m.RUnlock()
		})
	}
	in.Wait()
	if m.TryLock() {
		t.Error("locked for writing beside readers")
	}
	close(release)
	out.Wait()
	m.Lock()
	m.Unlock()
}

func TestRWMutexHolders(t *testing.T) {
	watched(t)
	t.Run("a writer waits for all readers", func(t *testing.T) {
		var m RWMutex
		release := make(chan struct{})
		var readers []uint64
		var out sync.WaitGroup
		for range 3 {
			reader := make(chan uint64)
			out.Go(func() {
				m.RLock()
				reader <- goidOfTest()
				<-release
				m.RUnlock()
			})
			readers = append(readers, <-reader)
		}
		writer := make(chan uint64)
		out.Go(func() {
			writer <- goidOfTest()
			m.Lock()
			m.Unlock()
		})
		set := lockHolders(t, <-writer)
		if !set.complete || set.need != 0 || !sameGoroutines(set, readers) {
			t.Errorf("holders are %+v, want the readers %v", set, readers)
		}
		for _, h := range set.list {
			if at := placeOf(h.place); !strings.HasSuffix(at.file, "rwmutex_test.go") {
				t.Errorf("a read lock was taken at %+v, want a line of this test", at)
			}
		}
		close(release)
		out.Wait()
	})
	t.Run("a reader waits for the writer", func(t *testing.T) {
		var m RWMutex
		m.Lock()
		reader := make(chan uint64)
		var out sync.WaitGroup
		out.Go(func() {
			reader <- goidOfTest()
			m.RLock()
			m.RUnlock()
		})
		set := lockHolders(t, <-reader)
		if !set.complete || !sameGoroutines(set, []uint64{goidOfTest()}) || placeOf(set.list[0].place).function == "" {
			t.Errorf("holders are %+v, want this goroutine and its place", set)
		}
		m.Unlock()
		out.Wait()
	})
	t.Run("a read lock taken twice around a writer waits for the writer", func(t *testing.T) {
		var m RWMutex
		ctx, cancel := context.WithCancel(context.Background())
		var out sync.WaitGroup
		locked, reader, writer := make(chan struct{}), make(chan uint64), make(chan uint64)
		again := make(chan struct{})
		out.Go(func() {
			m.RLock()
			defer m.RUnlock()
			close(locked)
			<-again
			reader <- goidOfTest()
			if m.RLockContext(ctx) == nil {
				t.Error("read lock taken past a pending writer")
				m.RUnlock()
			}
		})
		<-locked
		out.Go(func() {
			writer <- goidOfTest()
			m.Lock()
			m.Unlock()
		})
		w := <-writer
		lockHolders(t, w) // it waits
		close(again)
		r := <-reader
		if set := lockHolders(t, r); !set.complete || !sameGoroutines(set, []uint64{w}) {
			t.Errorf("the reader's holders are %+v, want the writer %d", set, w)
		}
		if set := lockHolders(t, w); !set.complete || !sameGoroutines(set, []uint64{r}) {
			t.Errorf("the writer's holders are %+v, want the reader %d", set, r)
		}
		cancel()
		out.Wait()
	})
	t.Run("a second writer waits for the first", func(t *testing.T) {
		var m RWMutex
		m.RLock()
		var out sync.WaitGroup
		first, second := make(chan uint64), make(chan uint64)
		for _, c := range []chan uint64{first, second} {
			out.Go(func() {
				c <- goidOfTest()
				m.Lock()
				m.Unlock()
			})
			if c == first {
				lockHolders(t, <-first)
			}
		}
		g := <-second
		// It waits for whichever is ahead of it, and that is not the reader.
		set := lockHolders(t, g)
		if !set.complete || sameGoroutines(set, []uint64{goidOfTest()}) || len(set.list) != 1 {
			t.Errorf("holders are %+v, want the first writer", set)
		}
		m.RUnlock()
		out.Wait()
	})
	t.Run("who released another's read lock makes holders incomplete", func(t *testing.T) {
		var m RWMutex
		m.RLock()
		m.RLock()
		done := make(chan struct{})
		go func() { m.RUnlock(); close(done) }()
		<-done
		writer := make(chan uint64)
		var out sync.WaitGroup
		out.Go(func() {
			writer <- goidOfTest()
			m.Lock()
			m.Unlock()
		})
		if set := lockHolders(t, <-writer); set.complete {
			t.Errorf("holders are complete after a hand-over: %+v", set)
		}
		m.RUnlock()
		out.Wait()
	})
}

func TestRWMutexGivesUp(t *testing.T) {
	var m RWMutex
	m.RLock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := m.LockContext(ctx); err == nil {
		t.Fatal("locked for writing beside a reader")
	}
	m.RLock() // the writer has gone, so readers come in
	m.RUnlock()
	m.RUnlock()
	m.Lock()
	if err := m.RLockContext(ctx); err == nil {
		t.Fatal("locked for reading beside a writer")
	}
	m.Unlock()
	m.Lock()
	m.Unlock()
}
