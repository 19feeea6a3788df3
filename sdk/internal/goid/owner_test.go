package goid

import (
	"runtime"
	"sync"
	"testing"
)

//go:noinline
func take(o *Owner) (id uint64, pc, want uintptr) {
	id, pc = Take(o)
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	return id, pc, pcs[0]
}

func TestOwnerNamesTheGoroutineAndThePlace(t *testing.T) {
	if !Supported() {
		t.Skipf("not supported on %s", runtime.GOARCH)
	}
	var o Owner
	if id, generation, pc := o.Load(); id != 0 || generation != 0 || pc != 0 {
		t.Errorf("the zero value is %d %d %#x", id, generation, pc)
	}
	id, pc, want := take(&o)
	if id != Get() || pc != want {
		t.Errorf("Take returned %d %#x, want %d %#x", id, pc, Get(), want)
	}
	if got, generation, place := o.Load(); got != id || generation != 1 || place != pc || o.Place() != pc {
		t.Errorf("taken: %d %d %#x, want %d 1 %#x", got, generation, place, id, pc)
	}
	if owner, me := Leave(&o); owner != id || me != Get() {
		t.Errorf("Leave returned %d %d, want %d twice", owner, me, id)
	}
	if got, generation, _ := o.Load(); got != 0 || generation != 1 {
		t.Errorf("left: %d %d, want nobody and 1", got, generation)
	}
}

func TestOwnerOfAnotherGoroutine(t *testing.T) {
	var o Owner
	for _, one := range []struct {
		id, generation uint64
		pc             uintptr
	}{
		{1, 1, 7},
		{Mask, 2, uintptr((1<<48 - 3) & uint64(^uintptr(0)))}, // the largest id, and a place of 48 bits where it has so many
		{5, 3, 0},
	} {
		TakeFor(&o, one.id, one.pc)
		if id, generation, pc := o.Load(); id != one.id || generation != one.generation || pc != one.pc {
			t.Errorf("Load returned %d %d %#x, want %+v", id, generation, pc, one)
		}
		if owner, id := Leave(&o); owner != one.id || id != Get() {
			t.Errorf("Leave returned %d %d, want %d %d", owner, id, one.id, Get())
		}
	}
	// The generation wraps into itself and not into the goroutine.
	for range generationMask {
		TakeFor(&o, 9, 0)
	}
	if id, generation, _ := o.Load(); id != 9 || generation != 2 {
		t.Errorf("after 2^24 more: %d %d, want 9 2", id, generation)
	}
}

// Readers see only pairs that were written: each goroutine takes with a place of its
// own.
func TestOwnerIsReadWhole(t *testing.T) {
	var (
		o     Owner
		mu    sync.Mutex
		all   sync.WaitGroup
		place = func(id uint64) uintptr { return uintptr(id*8 + 3) }
		stop  = make(chan struct{})
	)
	for id := uint64(1); id <= 4; id++ {
		all.Go(func() {
			for range 20_000 {
				mu.Lock()
				TakeFor(&o, id, place(id))
				if owner, _ := Leave(&o); owner != id {
					t.Errorf("left by %d, owned by %d", id, owner)
				}
				mu.Unlock()
			}
		})
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if id, _, pc := o.Load(); id != 0 && pc != place(id) {
				t.Errorf("owner %d with the place of %d", id, (pc-3)/8)
				return
			}
		}
	})
	all.Wait()
	close(stop)
	reader.Wait()
}

func BenchmarkOwner(b *testing.B) {
	var o Owner
	for b.Loop() {
		Take(&o)
		Leave(&o)
	}
}

// Every bit of a goroutine's id and of a generation is kept.
func TestAllBitsOfAnOwner(t *testing.T) {
	for bit := range 64 {
		var o Owner
		o.word.Store(1 << bit)
		id, generation, _ := o.Load()
		if id<<generationBits|generation != 1<<bit || bit < generationBits && id != 0 {
			t.Errorf("bit %d: goroutine %x, generation %x", bit, id, generation)
		}
	}
}
