//go:build !amd64 && !arm64

package goid

const arch = false

func get(uintptr) uint64 { return 0 }

// GetWithPC knows nothing on this architecture.
func GetWithPC() (id uint64, pc uintptr) { return 0, 0 }

// Frames knows nothing on this architecture.
func Frames(*uintptr, int) int { return 0 }

// Take makes o unknown, as the running goroutine is.
func Take(o *Owner) (id uint64, pc uintptr) {
	TakeFor(o, 0, 0)
	return 0, 0
}

// TakeFor makes a goroutine the owner, at a place.
func TakeFor(o *Owner, id uint64, pc uintptr) {
	o.place.Store(uint64(pc))
	o.word.Store(id<<generationBits | (o.word.Load()+1)&generationMask)
}

// Leave leaves o without an owner, and returns which it had.
func Leave(o *Owner) (owner, id uint64) {
	w := o.word.Load()
	o.word.Store(w & generationMask)
	return w >> generationBits, 0
}
