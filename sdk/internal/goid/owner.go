package goid

import "sync/atomic"

// An Owner says which goroutine has something, which acquisition that is, and where it
// was made: one goroutine writes it and any goroutine reads it. The zero value names
// nobody. An Owner must not be copied.
//
// The goroutine and the acquisition are one word: the goroutine's id in the upper 40
// bits (0: nobody), the low bits of a generation that rises with each acquisition in
// the lower 24. So a reader never pairs the goroutine of one acquisition with the
// generation of another. The same word seen twice means that there was no other
// acquisition in between, as long as fewer than 2^24 fit between the two looks.
//
// The owner writes it after acquiring and before releasing; in the moments around that
// it names nobody, which a reader takes for "not known" and never for an owner. The
// place is written before the word that it belongs to, and after the word named nobody.
// So a place that is read between two readings of the same word, with a goroutine in
// it, is the place of that acquisition.
//
// A lock writes its Owner twice for each Lock and Unlock. A store of sync/atomic would
// double the price of that pair on amd64, because it is sequentially consistent: it
// waits until all earlier stores are visible. What an Owner needs is a release store,
// after which whoever sees the new value also sees what the writer did before, and for
// which Go has no name. So the stores are in assembly, as those of sync/atomic are, and
// no compiler moves, merges or tears them: a MOVQ on amd64, where every store has that
// order, and an STLR on arm64. Other architectures use sync/atomic. There is no other
// way to write an Owner, its loads are those of sync/atomic, and the code is the same
// under the race detector.
type Owner struct{ word, place atomic.Uint64 }

const (
	generationBits = 24
	generationMask = 1<<generationBits - 1

	// Mask is what an Owner keeps of a goroutine's id.
	Mask = 1<<(64-generationBits) - 1
)

// Load returns the owner's goroutine, 0 if there is none or it is not known, the
// generation of its acquisition, and its place.
func (o *Owner) Load() (id, generation uint64, pc uintptr) {
	w := o.word.Load()
	pc = uintptr(o.place.Load())
	if o.word.Load() != w {
		return 0, 0, 0 // it changes just now
	}
	return w >> generationBits, w & generationMask, pc
}

// Place returns where the acquisition was made. It is for the owner; others read it
// with Load.
func (o *Owner) Place() uintptr { return uintptr(o.place.Load()) }
