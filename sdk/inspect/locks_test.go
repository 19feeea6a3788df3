//go:build !noinspect

package inspect

import (
	"runtime"
	"slices"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// watched makes waits enter the table for the length of a test, as a running
// Inspector does.
func watched(t *testing.T) {
	t.Helper()
	inspectors.Add(1)
	t.Cleanup(func() { inspectors.Add(-1) })
}

func goidOfTest() uint64 { return goid.Get() }

// lockHolders waits until a goroutine waits for somebody and returns for whom.
func lockHolders(t *testing.T, goroutine uint64) holderSet {
	t.Helper()
	for {
		if w, ok := waitOf(goroutine); ok {
			var s holderSet
			w.holders(&s)
			if len(s.list) > 0 {
				return s
			}
		}
		runtime.Gosched()
	}
}

func sameGoroutines(s holderSet, want []uint64) bool {
	var got []uint64
	for _, h := range s.list {
		got = append(got, h.goroutine)
	}
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}
