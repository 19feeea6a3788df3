package stacks

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func all(dump string) (list []Goroutine) {
	Each([]byte(dump), func(uint64) bool { return true }, func(g Goroutine) bool {
		list = append(list, g)
		return true
	})
	return list
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		line string
		want Goroutine // 0: no goroutine
	}{
		{"goroutine 1 [running]:", Goroutine{ID: 1, State: "running"}},
		{"goroutine 23 [chan receive (nil chan)]:", Goroutine{ID: 23, State: "chan receive (nil chan)"}},
		{"goroutine 3 [select, 5 minutes]:", Goroutine{ID: 3, State: "select", Parked: 5 * time.Minute}},
		{"goroutine 4 [IO wait, 61 minutes, locked to thread]:", Goroutine{ID: 4, State: "IO wait", Parked: 61 * time.Minute}},
		{"goroutine 5 [syscall, locked to thread]:", Goroutine{ID: 5, State: "syscall"}},
		{"goroutine 6 gp=0xc000002380 m=0 mp=0x55d [sync.Mutex.Lock]:", Goroutine{ID: 6, State: "sync.Mutex.Lock"}},
		{"goroutine 7 [chan receive (durable), synctest bubble 2]:", Goroutine{ID: 7, State: "chan receive (durable)"}},
		{`goroutine 8 [sleep] {"async_inspect.task": "x"}:`, Goroutine{ID: 8, State: "sleep"}},
		{"goroutine 18446744073709551615 [idle]:", Goroutine{ID: 1<<64 - 1, State: "idle"}},
		{"goroutine 18446744073709551616 [idle]:", Goroutine{}},
		{"goroutine 0 [idle]:", Goroutine{}},
		{"goroutine x [idle]:", Goroutine{}},
		{"goroutine 9 [idle", Goroutine{}},
		{"goroutine 9", Goroutine{}},
		{"panic: no goroutine 9 [idle]", Goroutine{}},
		{"", Goroutine{}},
	} {
		got, _, ok := header([]byte(c.line + "\n"))
		if ok != (c.want.ID != 0) || ok && (got.ID != c.want.ID || got.State != c.want.State || got.Parked != c.want.Parked) {
			t.Errorf("%q is %+v (%v), want %+v", c.line, got, ok, c.want)
		}
	}
}

func TestFrames(t *testing.T) {
	const dump = `goroutine 12 [select]:
net/http.(*persistConn).roundTrip(0xc0001, {0x1, 0x2}, ...)
	/go/src/net/http/transport.go:2700 +0x9f
main.fetch.func1(...)
	C:/src/my app/main.go:41
main.Map[...]({0x1, 0x2})
	/src/main.go:52 +0x2b
created by main.main in goroutine 1
	/src/main.go:10 +0x1

goroutine 13 [running]:
	goroutine running on other thread; stack unavailable
created by main.main in goroutine 1
	/src/main.go:11 +0x1

goroutine 14 [chan send]:
main.deep(0x1)
	/src/deep.go:3 +0x5
...52 frames elided...
main.main()
	/src/main.go:12 +0x7

goroutine 15 [IO wait]:
main.last()
	/src/la`
	want := []Goroutine{
		{ID: 12, Frames: []Frame{
			{"net/http.(*persistConn).roundTrip", "/go/src/net/http/transport.go", 2700},
			{"main.fetch.func1", "C:/src/my app/main.go", 41},
			{"main.Map[...]", "/src/main.go", 52},
		}},
		{ID: 13, CutShort: true},
		{ID: 14, Frames: []Frame{{"main.deep", "/src/deep.go", 3}}, CutShort: true},
		{ID: 15, CutShort: true},
	}
	got := all(dump)
	if len(got) != len(want) {
		t.Fatalf("%d goroutines, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g.ID != w.ID || !slices.Equal(g.Frames, w.Frames) || g.CutShort != w.CutShort {
			t.Errorf("goroutine %d: %+v, want %+v", w.ID, g, w)
		}
	}
	n := 0
	Each([]byte(dump), func(id uint64) bool { return id == 14 }, func(g Goroutine) bool {
		if n++; (g.Frames != nil) != (g.ID == 14) {
			t.Errorf("goroutine %d has frames %v", g.ID, g.Frames)
		}
		return g.ID != 14
	})
	if n != 3 {
		t.Errorf("%d goroutines before the one after which to stop, and with it", n)
	}
}

// What the runtime of today writes is understood: all goroutines, and the same frames
// as runtime.Callers gives.
func TestTheRuntime(t *testing.T) {
	var (
		stop   = make(chan struct{})
		wg     sync.WaitGroup
		places = make(chan Frame)
	)
	const goroutines = 20
	for range goroutines {
		wg.Go(func() {
			var pcs [1]uintptr
			runtime.Callers(1, pcs[:])
			f, _ := runtime.CallersFrames(pcs[:]).Next()
			places <- Frame{f.Function, f.File, f.Line}
			<-stop
		})
	}
	var place Frame
	for range goroutines {
		place = <-places
	}
	found := 0
	deadline := time.Now().Add(10 * time.Second)
	for found != goroutines {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d goroutines are seen to wait below %+v", found, goroutines, place)
		}
		buf := make([]byte, 1<<20)
		found = 0
		list := all(string(buf[:runtime.Stack(buf, true)]))
		if n := runtime.NumGoroutine(); len(list) < goroutines || len(list) > n+10 {
			t.Fatalf("%d goroutines are seen, there are %d", len(list), n)
		}
		for _, g := range list {
			for _, f := range g.Frames {
				if g.State == "chan receive" && f.Function == place.Function && f.File == place.File && f.Line == place.Line+3 && !g.CutShort {
					found++
				}
			}
		}
	}
	close(stop)
	wg.Wait()
}

func FuzzEach(f *testing.F) {
	buf := make([]byte, 1<<16)
	f.Add(buf[:runtime.Stack(buf, true)])
	f.Add([]byte("goroutine 1 [select, 9 minutes]:\nf(0x1)\n\tx.go:1 +0x2\n\n\n\ngoroutine 2 [x]"))
	f.Fuzz(func(t *testing.T, dump []byte) {
		total := 0
		Each(dump, func(id uint64) bool { return id%2 == 0 }, func(g Goroutine) bool {
			if g.ID == 0 || strings.Contains(g.State, "\n") || len(g.Frames) > MaxFrames || g.ID%2 == 1 && g.Frames != nil || g.Parked < 0 {
				t.Errorf("%+v", g)
			}
			total++
			return true
		})
		if most := bytes.Count(dump, []byte("goroutine ")); total > most {
			t.Errorf("%d goroutines in a text that has the word %d times", total, most)
		}
	})
}

func BenchmarkEach(b *testing.B) {
	for _, n := range []int{100, 1000} {
		var dump bytes.Buffer
		for i := range n {
			fmt.Fprintf(&dump, "goroutine %d [select]:\n", i+1)
			for j := range 10 {
				fmt.Fprintf(&dump, "main.f%d(0x1)\n\t/src/main.go:%d +0x1\n", j, j+1)
			}
			dump.WriteByte('\n')
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Each(dump.Bytes(), func(id uint64) bool { return id == 7 }, func(Goroutine) bool { return true })
			}
		})
	}
}

// Of a deep stack the innermost frames are read, as many as there may be.
func TestFramesAreBounded(t *testing.T) {
	for _, n := range []int{1, MaxFrames - 1, MaxFrames, MaxFrames + 1, 3 * MaxFrames} {
		var dump strings.Builder
		dump.WriteString("goroutine 7 [select]:\n")
		for i := range n {
			fmt.Fprintf(&dump, "main.f%d()\n\t/src/main.go:%d +0x1d\n", i, i+1)
		}
		dump.WriteString("created by main.main in goroutine 1\n\t/src/main.go:3 +0x1d\n")
		Each([]byte(dump.String()), func(uint64) bool { return true }, func(g Goroutine) bool {
			if len(g.Frames) != min(n, MaxFrames) || g.CutShort != (n > MaxFrames) {
				t.Errorf("%d frames: %d are read, cut short %t", n, len(g.Frames), g.CutShort)
			}
			for i, f := range g.Frames {
				if f.Line != i+1 || f.Function != fmt.Sprint("main.f", i) {
					t.Fatalf("frame %d is %+v", i, f)
				}
			}
			return true
		})
	}
}
