//go:build !amd64 && !arm64

package goid

const arch = false

func get(uintptr) uint64 { return 0 }

// GetWithPC knows nothing on this architecture.
func GetWithPC() (id uint64, pc uintptr) { return 0, 0 }

// Frames knows nothing on this architecture.
func Frames(*uintptr, int) int { return 0 }
