package inspect

import (
	"sync"
	"sync/atomic"
)

// Readers that find no slot in the table of readers are kept with their lock: a bucket
// has few slots, and who holds a read lock for long, such as a stream that reads its
// configuration, may fill it for others. They hold the lock's own counter, so a writer
// that takes the lock need not know them; only who waits for them is told.

// maxMoreReaders bounds the goroutines of the process that are kept this way, at less
// than 100 bytes each. One more is counted as dropped, and its lock's waits prove
// nothing until it has left.
const maxMoreReaders = 1 << 20

const (
	moreReaderShards = 16
	moreReaderBytes  = 80 // about what one takes in its map
	smallMap         = 8  // a map that has had no more is kept when it is empty
)

// moreReaderCount is how many goroutines are kept, over all locks.
var moreReaderCount atomic.Int64

// moreReaderLimit is maxMoreReaders, except in tests.
var moreReaderLimit atomic.Int64

func init() { moreReaderLimit.Store(maxMoreReaders) }

// moreReaders are the readers of one lock for which there was no slot.
type moreReaders [moreReaderShards]moreReaderShard

type moreReaderShard struct {
	mu   sync.Mutex // guards all below; a leaf
	of   map[uint64]moreReader
	most int    // goroutines that the map has had at a time
	last uint64 // generation
}

// moreReader is a goroutine that holds the lock count times.
type moreReader struct {
	count      int
	generation uint64
	place      uintptr // of the newest hold
}

func (r *moreReaders) shardOf(goroutine uint64) *moreReaderShard {
	return &r[goroutine%moreReaderShards]
}

// enter notes a hold, or returns false if there is no room.
func (r *moreReaders) enter(goroutine uint64, place uintptr) bool {
	s := r.shardOf(goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	one, is := s.of[goroutine]
	if !is {
		if moreReaderCount.Add(1) > moreReaderLimit.Load() {
			moreReaderCount.Add(-1)
			return false
		}
		if s.of == nil {
			s.of = make(map[uint64]moreReader)
		}
		s.last++
		one.generation = s.last
	}
	one.count++
	one.place = place
	s.of[goroutine] = one
	s.most = max(s.most, len(s.of))
	return true
}

// leave forgets one hold of a goroutine. It returns where it was taken, and whether
// there was one.
func (r *moreReaders) leave(goroutine uint64) (place uintptr, ok bool) {
	if r == nil {
		return 0, false
	}
	s := r.shardOf(goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.of[goroutine]
	if !ok {
		return 0, false
	}
	if one.count--; one.count > 0 {
		s.of[goroutine] = one
		return one.place, true
	}
	delete(s.of, goroutine)
	moreReaderCount.Add(-1)
	if len(s.of) == 0 && s.most > smallMap {
		s.of, s.most = nil, 0 // a map does not shrink
	}
	return one.place, true
}

// leaveAny forgets one hold of any goroutine.
func (r *moreReaders) leaveAny() (place uintptr, ok bool) {
	if r == nil {
		return 0, false
	}
	for i := range r {
		if g, ok := r.someone(i); ok {
			if place, ok = r.leave(g); ok {
				return place, true
			}
		}
	}
	return 0, false
}

func (r *moreReaders) someone(shard int) (goroutine uint64, ok bool) {
	s := &r[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.of {
		return g, true
	}
	return 0, false
}

// holders adds all of them.
func (r *moreReaders) holders(set *holderSet) {
	if r == nil {
		return
	}
	for i := range r {
		s := &r[i]
		s.mu.Lock()
		for g, one := range s.of {
			set.add(holder{goroutine: g, generation: one.generation, place: one.place})
		}
		s.mu.Unlock()
	}
}
