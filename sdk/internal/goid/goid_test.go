package goid

import (
	"runtime"
	"sync"
	"testing"
)

func TestGetAgreesWithTheStackTrace(t *testing.T) {
	if !Supported() {
		t.Skipf("not supported on %s", runtime.GOARCH)
	}
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got, want := Get(), parse(); got != want || got == 0 {
				t.Errorf("Get() = %d, the stack trace says %d", got, want)
			}
			if got, _ := GetWithPC(); got != parse() {
				t.Errorf("GetWithPC() = %d, the stack trace says %d", got, parse())
			}
		})
	}
	wg.Wait()
}

func TestSupportedOnTheArchitecturesWeShip(t *testing.T) {
	if (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") && !Supported() {
		t.Errorf("not supported on %s with %s: the runtime has changed", runtime.GOARCH, runtime.Version())
	}
}

//go:noinline
func place() (pc, want uintptr) {
	_, pc = GetWithPC()
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	return pc, pcs[0]
}

func TestPlaceIsTheCallersCall(t *testing.T) {
	if !Supported() {
		t.Skipf("not supported on %s", runtime.GOARCH)
	}
	pc, want := place()
	if pc != want {
		t.Errorf("place is %#x, runtime.Callers says %#x", pc, want)
	}
}

func BenchmarkGet(b *testing.B) {
	for b.Loop() {
		Get()
	}
}

func BenchmarkGetWithPC(b *testing.B) {
	for b.Loop() {
		GetWithPC()
	}
}
