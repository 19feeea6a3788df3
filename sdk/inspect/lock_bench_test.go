//go:build !noinspect

package inspect

import (
	"sync"
	"testing"
)

// Beside the locks of package sync, in one run. bench/ has go-deadlock beside both.

func benchmarkAlone(b *testing.B, lock, unlock func()) {
	b.ReportAllocs()
	for b.Loop() {
		lock()
		unlock()
	}
}

// benchmarkShared lets 8 goroutines use one lock.
func benchmarkShared(b *testing.B, lock, unlock func()) {
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			lock()
			unlock()
		}
	})
}

func BenchmarkLock(b *testing.B) {
	b.Run("sync", func(b *testing.B) { var m sync.Mutex; benchmarkAlone(b, m.Lock, m.Unlock) })
	b.Run("inspect", func(b *testing.B) { var m Mutex; benchmarkAlone(b, m.Lock, m.Unlock) })
}

func BenchmarkLockShared(b *testing.B) {
	inspectors.Add(1)
	defer inspectors.Add(-1)
	b.Run("sync", func(b *testing.B) { var m sync.Mutex; benchmarkShared(b, m.Lock, m.Unlock) })
	b.Run("inspect", func(b *testing.B) { var m Mutex; benchmarkShared(b, m.Lock, m.Unlock) })
}

func BenchmarkRLock(b *testing.B) {
	b.Run("sync", func(b *testing.B) { var m sync.RWMutex; benchmarkAlone(b, m.RLock, m.RUnlock) })
	b.Run("inspect", func(b *testing.B) { var m RWMutex; benchmarkAlone(b, m.RLock, m.RUnlock) })
}

func BenchmarkRLockShared(b *testing.B) {
	b.Run("sync", func(b *testing.B) { var m sync.RWMutex; benchmarkShared(b, m.RLock, m.RUnlock) })
	b.Run("inspect", func(b *testing.B) { var m RWMutex; benchmarkShared(b, m.RLock, m.RUnlock) })
}

func BenchmarkWriteLock(b *testing.B) {
	b.Run("sync", func(b *testing.B) { var m sync.RWMutex; benchmarkAlone(b, m.Lock, m.Unlock) })
	b.Run("inspect", func(b *testing.B) { var m RWMutex; benchmarkAlone(b, m.Lock, m.Unlock) })
}
