//go:build !noinspect

package inspect

import "sync/atomic"

// ownerWord says in one machine word which goroutine holds a lock, and which
// acquisition this is: the goroutine's id in the upper 40 bits (0: nobody), the
// low bits of a generation that rises with each acquisition in the lower 24.
//
// Being one word it is read whole, so that a reader never pairs the holder of
// one acquisition with the generation of another. The same word seen twice
// means that the lock was never let go in between, as long as fewer than 2^24
// acquisitions fit between the two looks, which are at most one scan interval
// apart. The owner writes it only while it holds the lock, after acquiring and
// before releasing; in the moments around that it says "nobody", which a reader
// takes for "not known" and never for a holder.
type ownerWord struct{ v uint64 }

const (
	generationBits = 24
	generationMask = 1<<generationBits - 1
	goroutineMask  = 1<<(64-generationBits) - 1
)

// acquire is called by the goroutine that has just taken the lock.
func (w *ownerWord) acquire(goroutine uint64) {
	storeRelaxed(&w.v, goroutine<<generationBits|(loadRelaxed(&w.v)+1)&generationMask)
}

// release is called by the holder, before it lets the lock go, so that the next
// owner's word is never overwritten. It returns who held the lock.
func (w *ownerWord) release() (goroutine uint64) {
	v := loadRelaxed(&w.v)
	storeRelaxed(&w.v, v&generationMask)
	return v >> generationBits
}

// load returns the holder, 0 if there is none or it is not known, and the
// generation of its acquisition.
func (w *ownerWord) load() (goroutine, generation uint64) {
	v := atomic.LoadUint64(&w.v)
	return v >> generationBits, v & generationMask
}
