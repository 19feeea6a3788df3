//go:build !linux

package inspect

import "time"

// threadCPU measures the time that passes, which is more than the CPU time where the
// goroutine waits for the network.
func threadCPU() (stop func() time.Duration) {
	start := now()
	return func() time.Duration { return now().sub(start) }
}
