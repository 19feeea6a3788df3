//go:build !noinspect

package inspect

import "sync/atomic"

// The readers of all RWMutexes are in one table of the process, found by their
// goroutine, so that readers on different cores write to different cache lines: a
// goroutine that reads takes a slot in the bucket of its id, and writes which lock
// it reads. A writer that wants to know the readers of its lock looks through all
// slots, 16 kB.
const (
	readerBuckets = 256
	bucketSlots   = 4
)

var readers [readerBuckets]readerBucket

// readerBucket is a cache line.
type readerBucket [bucketSlots]readerSlot

// readerSlot is one read lock that a goroutine has.
type readerSlot struct {
	// key is the lock, and whether its reader has passed the lock's counter by; 0 is
	// a free slot. Whoever makes it 0 has released that read lock.
	key atomic.Uint64
	// reader is who. It is written after key was taken and cleared before it is
	// given back, so in between it names nobody.
	reader ownerWord
}

// readerKey names a lock in the table. Readers that hold the lock's own counter,
// too, have a key of their own, for they release it.
type readerKey uint64

var lastReaderKey atomic.Uint64

func newReaderKey() readerKey          { return readerKey(lastReaderKey.Add(1) << 1) }
func (k readerKey) counted() readerKey { return k | 1 }

func bucketOf(goroutine uint64) *readerBucket { return &readers[goroutine%readerBuckets] }

// enter takes a slot for a goroutine, or returns nil if its bucket is full.
func (b *readerBucket) enter(k readerKey) *readerSlot {
	for i := range b {
		s := &b[i]
		if s.key.Load() == 0 && s.key.CompareAndSwap(0, uint64(k)) {
			return s
		}
	}
	return nil
}

// leave gives back a slot that a goroutine has for a lock, and says with which key it
// was taken; 0 if it has none.
func (b *readerBucket) leave(k readerKey, goroutine uint64) readerKey {
	for i := range b {
		s := &b[i]
		key := readerKey(s.key.Load())
		if key|1 != k|1 {
			continue
		}
		if g, _ := s.reader.load(); g != goroutine {
			continue
		}
		s.reader.release()
		if s.key.CompareAndSwap(uint64(key), 0) {
			return key
		}
	}
	return 0
}

// leaveAny gives back somebody's slot for a lock, and says with which key it was
// taken; 0 if it has seen none.
func leaveAny(k readerKey) readerKey {
	for i := range readers {
		for j := range readers[i] {
			s := &readers[i][j]
			if key := readerKey(s.key.Load()); key|1 == k|1 && s.key.CompareAndSwap(uint64(key), 0) {
				return key
			}
		}
	}
	return 0
}

// anyReader reports whether a slot has exactly this key.
func anyReader(k readerKey) bool {
	for i := range readers {
		for j := range readers[i] {
			if readerKey(readers[i][j].key.Load()) == k {
				return true
			}
		}
	}
	return false
}

// addReaders adds the readers of a lock, and reports whether all are known.
func addReaders(s *holderSet, k readerKey) (all bool) {
	all = true
	for i := range readers {
		for j := range readers[i] {
			slot := &readers[i][j]
			if readerKey(slot.key.Load())|1 != k|1 {
				continue
			}
			g, generation := slot.reader.load()
			if g == 0 {
				all = false
				continue
			}
			s.add(holder{goroutine: g, generation: generation})
		}
	}
	return all
}
