package inspect

import (
	"runtime"
	"syscall"
	"time"
)

// processCPU is the CPU time of the process so far.
func processCPU() time.Duration { return cpuOf(syscall.RUSAGE_SELF) }

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

func cpuOf(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
