//go:build !noinspect

package inspect

import (
	"runtime"
	"slices"
	"testing"
	"time"

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
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if w, ok := waitOf(goroutine); ok {
			var s holderSet
			w.holders(&s)
			if len(s.list) > 0 {
				return s
			}
		}
	}
	t.Fatalf("goroutine %d does not wait for anybody after 30 s", goroutine)
	return holderSet{}
}

// within waits for a channel to be closed.
func within(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s has not come in 30 s", what)
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

// deadlockOf waits until a deadlock is found that a goroutine is in.
func deadlockOf(t *testing.T, goroutine uint64) Deadlock {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		for _, d := range Deadlocks() {
			if slices.ContainsFunc(d.Cycle, func(i TaskInfo) bool { return i.Goroutine == goroutine }) {
				return d
			}
		}
	}
	t.Fatalf("no deadlock of goroutine %d is found in 30 s", goroutine)
	return Deadlock{}
}
