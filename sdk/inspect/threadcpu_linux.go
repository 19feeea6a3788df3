package inspect

import (
	"runtime"
	"time"
)

// threadCPU measures the CPU time of the running goroutine until stop is called,
// by keeping it on its thread.
func threadCPU() (stop func() time.Duration) {
	const thread = 1 // RUSAGE_THREAD
	runtime.LockOSThread()
	start := cpuOf(thread)
	return func() time.Duration {
		d := cpuOf(thread) - start
		runtime.UnlockOSThread()
		return d
	}
}
