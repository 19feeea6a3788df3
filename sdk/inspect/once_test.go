package inspect_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

type oncePackage struct {
	once   func() interface{ Do(func()) }
	fn     func(func()) func()
	value  func(func() int) func() int
	values func(func() (int, string)) func() (int, string)
}

var oncePackages = map[string]oncePackage{
	"sync":    {func() interface{ Do(func()) } { return new(sync.Once) }, sync.OnceFunc, sync.OnceValue[int], sync.OnceValues[int, string]},
	"inspect": {func() interface{ Do(func()) } { return new(inspect.Once) }, inspect.OnceFunc, inspect.OnceValue[int], inspect.OnceValues[int, string]},
}

// exits reports how f ends: what it panics with, "exit", or "".
func exits(f func()) (how string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		how = "exit"
		defer func() {
			if r := recover(); r != nil {
				how = fmt.Sprint("panic ", r)
			}
		}()
		f()
		how = ""
	}()
	<-done
	return how
}

// Each case is run with both packages, and the right answer stands beside it.
func TestOnceIsThatOfSync(t *testing.T) {
	for _, one := range []struct {
		name string
		do   func(p oncePackage, ran *int) []string
		ran  int
		want []string
	}{
		{"Do twice", func(p oncePackage, ran *int) []string {
			o := p.once()
			return []string{exits(func() { o.Do(func() { *ran++ }) }), exits(func() { o.Do(func() { *ran += 10 }) })}
		}, 1, []string{"", ""}},
		{"Do that panics has been done", func(p oncePackage, ran *int) []string {
			o := p.once()
			do := func() { o.Do(func() { *ran++; panic("no database") }) }
			return []string{exits(do), exits(do)}
		}, 1, []string{"panic no database", ""}},
		{"Do that exits has been done", func(p oncePackage, ran *int) []string {
			o := p.once()
			do := func() { o.Do(func() { *ran++; runtime.Goexit() }) }
			return []string{exits(do), exits(do)}
		}, 1, []string{"exit", ""}},
		{"Do of nil", func(p oncePackage, _ *int) []string {
			o := p.once()
			return []string{exits(func() { o.Do(nil) }), exits(func() { o.Do(nil) })}
		}, 0, []string{"panic runtime error: invalid memory address or nil pointer dereference", ""}},
		{"Do of another one within", func(p oncePackage, ran *int) []string {
			a, b := p.once(), p.once()
			return []string{exits(func() { a.Do(func() { b.Do(func() { *ran += 2 }) }) })}
		}, 2, []string{""}},
		{"OnceFunc", func(p oncePackage, ran *int) []string {
			f := p.fn(func() { *ran++ })
			return []string{exits(f), exits(f), exits(f)}
		}, 1, []string{"", "", ""}},
		{"OnceFunc that panics does so again", func(p oncePackage, ran *int) []string {
			f := p.fn(func() { *ran++; panic("no database") })
			return []string{exits(f), exits(f)}
		}, 1, []string{"panic no database", "panic no database"}},
		{"OnceFunc of nil", func(p oncePackage, _ *int) []string {
			f := p.fn(nil)
			return []string{exits(f), exits(f)}
		}, 0, slices.Repeat([]string{"panic runtime error: invalid memory address or nil pointer dereference"}, 2)},
		{"OnceValue", func(p oncePackage, ran *int) (all []string) {
			f := p.value(func() int { *ran++; return 42 })
			for range 2 {
				all = append(all, exits(func() { panic(f()) }))
			}
			return all
		}, 1, []string{"panic 42", "panic 42"}},
		{"OnceValue that panics does so again", func(p oncePackage, ran *int) []string {
			f := p.value(func() int { *ran++; panic("no price") })
			return []string{exits(func() { f() }), exits(func() { f() })}
		}, 1, []string{"panic no price", "panic no price"}},
		{"OnceValues", func(p oncePackage, ran *int) (all []string) {
			f := p.values(func() (int, string) { *ran++; return 7, "seven" })
			for range 2 {
				n, s := f()
				all = append(all, fmt.Sprint(n, s))
			}
			return all
		}, 1, []string{"7seven", "7seven"}},
		{"OnceValues that panics does so again", func(p oncePackage, ran *int) []string {
			f := p.values(func() (int, string) { *ran++; panic("no pair") })
			return []string{exits(func() { f() }), exits(func() { f() })}
		}, 1, []string{"panic no pair", "panic no pair"}},
	} {
		for name, p := range oncePackages {
			ran := 0
			if got := one.do(p, &ran); !slices.Equal(got, one.want) || ran != one.ran {
				t.Errorf("%s, %s: %q after %d runs, want %q and %d", one.name, name, got, ran, one.want, one.ran)
			}
		}
	}
}

// Nobody returns from Do before the function has.
func TestOnceWaitsForTheFunction(t *testing.T) {
	for name, p := range oncePackages {
		o := p.once()
		var returned atomic.Int32
		release, runs := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			o.Do(func() { close(runs); <-release })
		})
		<-runs
		for range 3 {
			all.Go(func() {
				o.Do(func() { t.Error("run twice") })
				returned.Add(1)
			})
		}
		for range 100 {
			runtime.Gosched()
		}
		if n := returned.Load(); n != 0 {
			t.Errorf("%s: %d have returned before the function has", name, n)
		}
		close(release)
		all.Wait()
	}
}

// A Once that was used outside of a bubble of synctest works within, and the other
// way round.
func TestOnceAndSynctest(t *testing.T) {
	var o inspect.Once
	f := inspect.OnceValue(func() int { return 3 })
	synctest.Test(t, func(t *testing.T) {
		o.Do(func() {})
		if f() != 3 {
			t.Error("another value")
		}
	})
	o.Do(func() { t.Error("run twice") })
	if f() != 3 {
		t.Error("another value")
	}
}

func BenchmarkOnce(b *testing.B) {
	for name, p := range oncePackages {
		b.Run(name+"/Do", func(b *testing.B) {
			o := p.once()
			for b.Loop() {
				o.Do(func() {})
			}
		})
		b.Run(name+"/OnceValue", func(b *testing.B) {
			f := p.value(func() int { return 1 })
			for b.Loop() {
				f()
			}
		})
	}
}
