//go:build !noinspect

package inspect

import (
	"runtime"
	"testing"
	"time"
)

func TestProcessCPURises(t *testing.T) {
	before := processCPU()
	if before == 0 {
		t.Skipf("not known on %s", runtime.GOOS)
	}
	stop := threadCPU()
	for i := 0; processCPU() == before; i++ {
		allocationSink = make([]byte, i%1024)
	}
	if stop() < 0 {
		t.Error("a thread's CPU time falls")
	}
}

// Only what a thread uses between the two calls is measured.
func TestThreadCPUBeginsAtZero(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	whole := threadCPU()
	for busy := processCPU(); processCPU()-busy < 5*time.Millisecond && busy > 0; {
		allocationSink = make([]byte, 1024)
	}
	part := threadCPU()
	if p, w := part(), whole(); p > w || w == 0 && processCPU() > 0 {
		t.Errorf("a part of the time is %v, all of it %v", p, w)
	}
}
