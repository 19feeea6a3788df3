package inspect

import (
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// The readers of all RWMutexes are in one table of the process, found by their
// goroutine, so that readers on different cores write to different cache lines: a
// goroutine that reads takes a slot in the bucket of its id, and writes which lock
// it reads. A writer that wants to know the readers of its lock looks through all
// keys, one cache line of each bucket, 16 kB.
const (
	readerBuckets = 256
	bucketSlots   = 5
)

var readers [readerBuckets]readerBucket

// readerBucket is two cache lines; the first has the keys of all slots. A slot is a
// read lock that a goroutine has.
type readerBucket struct {
	// keys are the locks, and whether their readers have passed the lock's counter by;
	// 0 is a free slot. Whoever makes it 0 has released that read lock.
	keys [bucketSlots]atomic.Uint64
	// holders are who, and where each took it. They are written after the key was taken
	// and cleared before it is given back, so in between they name nobody.
	holders [bucketSlots]goid.Owner
	_       [128 - bucketSlots*(8+unsafe.Sizeof(goid.Owner{}))]byte
}

// readerSlot is one slot of a bucket; nil in the bucket: none.
type readerSlot struct {
	*readerBucket
	i int
}

func (s readerSlot) key() *atomic.Uint64 { return &s.keys[s.i] }

func (s readerSlot) acquire(goroutine uint64, place uintptr) {
	goid.TakeFor(&s.holders[s.i], goroutine, place)
}

// readerKey names a lock in the table. Readers that hold the lock's own counter,
// too, have a key of their own, for they release it.
type readerKey uint64

var lastReaderKey atomic.Uint64

func newReaderKey() readerKey          { return readerKey(lastReaderKey.Add(1) << 1) }
func (k readerKey) counted() readerKey { return k | 1 }

// leavingKey is the key of a slot that is being given back by another goroutine than
// took it. The next one to take the slot must not find that one's name there.
const leavingKey = math.MaxUint64

func bucketOf(goroutine uint64) *readerBucket { return &readers[goroutine%readerBuckets] }

// enter takes a slot for a goroutine, or none if its bucket is full.
func (b *readerBucket) enter(k readerKey) (s readerSlot, ok bool) {
	for i := range b.keys {
		key := &b.keys[i]
		if key.Load() == 0 && key.CompareAndSwap(0, uint64(k)) {
			return readerSlot{b, i}, true
		}
	}
	return readerSlot{}, false
}

// leave gives back a slot that a goroutine has for a lock, and says with which key it
// was taken, 0 if it has none, and where.
func (b *readerBucket) leave(k readerKey, goroutine uint64) (left readerKey, place uintptr) {
	for i := range b.keys {
		key := readerKey(b.keys[i].Load())
		if key|1 != k|1 {
			continue
		}
		g, _, place := b.holders[i].Load()
		if g != goroutine {
			continue
		}
		goid.Leave(&b.holders[i])
		if b.keys[i].CompareAndSwap(uint64(key), 0) {
			return key, place
		}
	}
	return 0, 0
}

// leaveAny gives back somebody's slot for a lock, and says with which key it was
// taken, 0 if it has seen none, and where.
func leaveAny(k readerKey) (left readerKey, place uintptr) {
	for i := range readers {
		keys := &readers[i].keys
		for j := range keys {
			key := readerKey(keys[j].Load())
			if key|1 == k|1 && keys[j].CompareAndSwap(uint64(key), leavingKey) {
				place = readers[i].holders[j].Place()
				goid.Leave(&readers[i].holders[j])
				keys[j].Store(0)
				return key, place
			}
		}
	}
	return 0, 0
}

// anyReader reports whether a slot has exactly this key.
func anyReader(k readerKey) bool {
	for i := range readers {
		for j := range readers[i].keys {
			if readerKey(readers[i].keys[j].Load()) == k {
				return true
			}
		}
	}
	return false
}

// addReaders adds the readers of a lock that are known by now.
func addReaders(s *holderSet, k readerKey) {
	for i := range readers {
		b := &readers[i]
		for j := range b.keys {
			key := b.keys[j].Load()
			if readerKey(key)|1 != k|1 {
				continue
			}
			g, generation, place := b.holders[j].Load()
			if g != 0 && b.keys[j].Load() == key {
				s.add(holder{goroutine: g, generation: generation, place: place})
			}
		}
	}
}
