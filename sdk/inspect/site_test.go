//go:build !noinspect

package inspect

import (
	"context"
	"runtime"
	"slices"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// waits stands for beginWait: what is looked for is who calls it.
func waits() *site { return siteHere() }

func TestASiteIsTheStackOfWhoWaits(t *testing.T) {
	want := make([]uintptr, stackDepth)
	var got *site
	got, want = siteHere(), want[:runtime.Callers(1, want)]
	if lines(got.stack)[0] != lines(want)[0] || !slices.Equal(got.stack[1:], want[1:]) {
		t.Errorf("%v, runtime.Callers says\n%v", lines(got.stack), lines(want))
	}
	if got.place != got.stack[0] {
		t.Errorf("it waits at %v", placeOf(got.place))
	}
}

func lines(stack []uintptr) (lines []string) {
	for _, pc := range stack {
		p := placeOf(pc)
		lines = append(lines, p.function, p.file, string(rune('0'+p.line%10)))
	}
	return lines
}

func TestEachWayToAWaitIsASite(t *testing.T) {
	var first [2]*site
	for turn := range 3 {
		here, there := waits(), waits() // one line, two calls
		if turn > 0 && (here != first[0] || there != first[1]) {
			t.Error("the same call is another site the next time")
		}
		if here == there {
			t.Error("two calls are one site")
		}
		first = [2]*site{here, there}
	}
	if inlined(1) == inlined(2) {
		t.Error("two callers of one inlined function are one site")
	}
}

func inlined(way int) *site {
	if way == 1 {
		return one()
	}
	return one()
}

func one() *site { return waits() }

// A full table costs time, and no site is taken for another.
func TestSitesAreBounded(t *testing.T) {
	defer sites.clear()
	for i := range sites {
		sites[i].Store(&site{count: 1, frames: [stackDepth]uintptr{uintptr(i)}})
	}
	var first *site
	for turn := range 2 {
		at := waits()
		if turn == 0 {
			first = at
		} else if at != first {
			t.Error("it is unwound again the next time")
		}
		if name := placeOf(at.callers[0]).function; name != "github.com/asyncinspect/asyncinspect/sdk/inspect.TestSitesAreBounded" {
			t.Errorf("it waits in %s", name)
		}
	}
}

// Sites whose slots are taken are found in the next ones, and the sites there, with as
// many frames, are not taken for them.
func TestASiteBesideOthers(t *testing.T) {
	defer sites.clear()
	for others := range uint64(siteProbes) {
		sites.clear()
		var found [2]*site
		for turn := range found {
			found[turn] = waits()
			if turn > 0 {
				continue
			}
			slot := hashFrames(found[0].frames[:found[0].count])
			sites.clear()
			for i := range others {
				other := &site{count: found[0].count, frames: found[0].frames}
				other.frames[0]++
				sites[(slot+i)%maxSites].Store(other)
			}
			sites[(slot+others)%maxSites].Store(found[0])
		}
		if found[1] != found[0] {
			t.Errorf("behind %d others it is another site", others)
		}
	}
}

// A wait that is over at once: what the SDK does before and after.
func BenchmarkWait(b *testing.B) {
	for _, mode := range []Mode{Development, Production} {
		b.Run(mode.String(), func(b *testing.B) {
			ctx, task := benchInspector(b, 0, WithMode(mode), WithSamplingRate(0)).Begin(b.Context(), "task")
			defer task.End(nil)
			b.ReportAllocs()
			for b.Loop() {
				_ = Wait(ctx, taskspan.WaitIO, "database", func(context.Context) error { return nil })
			}
		})
	}
}

// The deeper the stack, the more return addresses there are to read and compare.
func BenchmarkWaitDeep(b *testing.B) {
	ctx, task := benchInspector(b, 0).Begin(b.Context(), "task")
	defer task.End(nil)
	b.ReportAllocs()
	deeper(stackDepth, func() {
		for b.Loop() {
			_ = Wait(ctx, taskspan.WaitIO, "database", func(context.Context) error { return nil })
		}
	})
}

//go:noinline
func deeper(n int, fn func()) {
	if n == 0 {
		fn()
		return
	}
	deeper(n-1, fn)
}
