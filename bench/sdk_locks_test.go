package bench

import (
	"sync"
	"testing"

	deadlock "github.com/sasha-s/go-deadlock"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// The SDK's locks beside those of package sync and of go-deadlock, which looks for
// deadlocks in the order of locks and by a timeout. ns/op is one lock and unlock.

func alone(b *testing.B, lock, unlock func()) {
	b.ReportAllocs()
	for b.Loop() {
		lock()
		unlock()
	}
}

// shared lets 8 goroutines, on 2 cores, use one lock.
func shared(b *testing.B, lock, unlock func()) {
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			lock()
			unlock()
		}
	})
}

func BenchmarkMutex(b *testing.B) {
	for name, run := range map[string]func(*testing.B, func(), func()){"alone": alone, "shared": shared} {
		b.Run(name+"/sync", func(b *testing.B) { var m sync.Mutex; run(b, m.Lock, m.Unlock) })
		b.Run(name+"/inspect", func(b *testing.B) { var m inspect.Mutex; run(b, m.Lock, m.Unlock) })
		b.Run(name+"/go-deadlock", func(b *testing.B) { var m deadlock.Mutex; run(b, m.Lock, m.Unlock) })
	}
}

func BenchmarkRWMutexRead(b *testing.B) {
	for name, run := range map[string]func(*testing.B, func(), func()){"alone": alone, "shared": shared} {
		b.Run(name+"/sync", func(b *testing.B) { var m sync.RWMutex; run(b, m.RLock, m.RUnlock) })
		b.Run(name+"/inspect", func(b *testing.B) { var m inspect.RWMutex; run(b, m.RLock, m.RUnlock) })
		b.Run(name+"/go-deadlock", func(b *testing.B) { var m deadlock.RWMutex; run(b, m.RLock, m.RUnlock) })
	}
}
