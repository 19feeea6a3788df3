//go:build !noinspect

package inspect

import (
	"runtime"
	"testing"
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
