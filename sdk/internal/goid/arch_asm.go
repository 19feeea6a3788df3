//go:build amd64 || arm64

package goid

const arch = true

// get reads the word at offset of the running goroutine's descriptor.
func get(offset uintptr) uint64

// GetWithPC returns the id of the running goroutine and the address to which
// the function that calls GetWithPC will return: the place of the call. That
// function must not be inlined. Both are 0 if they are not known.
func GetWithPC() (id uint64, pc uintptr)

// Frames writes the addresses to which the function that calls Frames will return, and
// those that called it, one for each real frame, and returns how many they are: at most
// n, for which there is room at into, or 0 if they are not known. They are not what
// [runtime.Callers] gives, which knows of functions that are inlined; but frames that
// are the same are the same callers.
//
//go:noescape
func Frames(into *uintptr, n int) int

// Take makes the running goroutine the owner, at the place of the call as [GetWithPC]
// finds it, and returns both. The function that calls Take must not be inlined.
//
//go:noescape
func Take(o *Owner) (id uint64, pc uintptr)

// TakeFor makes a goroutine the owner, at a place.
//
//go:noescape
func TakeFor(o *Owner, id uint64, pc uintptr)

// Leave leaves o without an owner. It returns which it had, and the running goroutine,
// as [Get] does: usually the same.
//
//go:noescape
func Leave(o *Owner) (owner, id uint64)
