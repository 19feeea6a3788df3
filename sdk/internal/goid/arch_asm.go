//go:build amd64 || arm64

package goid

const arch = true

// get reads the word at offset of the running goroutine's descriptor.
func get(offset uintptr) uint64

// GetWithPC returns the id of the running goroutine and the address to which
// the function that calls GetWithPC will return: the place of the call. That
// function must not be inlined. Both are 0 if they are not known.
func GetWithPC() (id uint64, pc uintptr)
