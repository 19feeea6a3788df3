//go:build !noinspect

package inspect

import (
	"context"
	"os"
	"strings"
	"testing"
)

// A goroutine may be started with a method of a primitive. Its place is the line that
// started it.
func TestPlacesOfGoroutinesThatAreOnePrimitive(t *testing.T) {
	watched(t)
	var (
		ctx, cancel = context.WithCancel(t.Context())
		m           = NewMutex("")
		rw          = new(RWMutex)
		sem         = NewSemaphore("", 3)
		once        = new(Once)
		c           = NewChan[int]("", 0)
		end         = make(chan struct{})
	)
	m.Lock()
	rw.Lock()
	_ = sem.Acquire(ctx, 3)
	began := make(chan struct{})
	go once.Do(func() { close(began); <-end })
	within(t, began, "the function of the Once")
	waits := map[string]string{ // kind to a part of the line
		"mutex": "m.LockContext", "rwmutex.read": "rw.RLockContext", "semaphore": "sem.Acquire", "once": "once.Do",
		"channel.receive": "c.Receive", "sleep": "Sleep(ctx",
	}
	lines := linesOfThisFile(t)
	go m.LockContext(ctx)
	go rw.RLockContext(ctx)
	go sem.Acquire(ctx, 2)
	go once.Do(func() {})
	go c.Receive(ctx)
	go Sleep(ctx, 1<<60)
	waitFor(t, "all goroutines to wait", func() bool { return len(openWaits(now(), nil)) == len(waits) })
	for _, w := range openWaits(now(), nil) {
		i := w.info()
		if want := waits[string(i.Kind)]; !strings.HasSuffix(i.Place.File, "goplace_test.go") || !strings.Contains(lines(i.Place.Line), "go "+want) {
			t.Errorf("%s waits at %s: %q, want the line with %q", i.Kind, i.Place, lines(i.Place.Line), want)
		}
		if f := i.Place.Function; !strings.HasSuffix(f, ".TestPlacesOfGoroutinesThatAreOnePrimitive") {
			t.Errorf("%s waits in %q", i.Kind, f)
		}
		if i.Kind == "once" && !strings.Contains(lines(i.Holders[0].Place.Line), "go once.Do") {
			t.Errorf("the Once is run at %s", i.Holders[0].Place)
		}
		if _, name := w.on.name().identity(); strings.Contains(name, "goexit") {
			t.Errorf("the resource is called %q", name)
		}
	}
	cancel()
	close(end)
	m.Unlock()
	rw.Unlock()
	waitFor(t, "all goroutines to go on", func() bool { return len(openWaits(now(), nil)) == 0 })
}

// What is held is held since that line, too.
func TestPlacesOfHoldsOfGoroutinesThatAreOnePrimitive(t *testing.T) {
	watched(t)
	lines := linesOfThisFile(t)
	m, sem := new(Mutex), NewSemaphore("", 2)
	go m.Lock()
	go sem.Acquire(t.Context(), 2)
	waitFor(t, "both to be held", func() bool { g, _, _ := m.owner.Load(); return g != 0 && !sem.TryAcquire(1) })
	for what, hold := range map[string]heldBy{"go m.Lock": m, "go sem.Acquire": sem} {
		var set holderSet
		if s, ok := hold.(*Semaphore); ok {
			_, set = blockedIn(t, func(ctx context.Context) { _ = s.Acquire(ctx, 1) })
		} else {
			hold.holders(nil, &set)
		}
		if len(set.list) != 1 || !strings.Contains(lines(placeOf(set.list[0].place).line), what) {
			t.Errorf("%s: held by %+v, at %q", what, set.list, placeOf(set.list[0].place).function)
		}
	}
	m.Unlock()
	sem.Release(2)
}

// A method value has nothing of the application around it.
func TestThePlaceOfAGoroutineWithoutAny(t *testing.T) {
	watched(t)
	m := new(Mutex)
	m.Lock()
	lock := m.Lock
	go lock()
	waitFor(t, "it to wait", func() bool { return len(openWaits(now(), nil)) == 1 })
	w := openWaits(now(), nil)[0]
	if _, name := w.on.name().identity(); strings.Contains(w.info().Place.Function, "goexit") || strings.Contains(name, "goexit") {
		t.Errorf("it waits in %q for %q", w.info().Place.Function, name)
	}
	m.Unlock()
	waitFor(t, "it to go on", func() bool { return len(openWaits(now(), nil)) == 0 })
}

func TestNamesWithoutWrappers(t *testing.T) {
	for name, want := range map[string]string{
		"main.main.gowrap2":         "main.main",
		"main.(*T).f.func1.gowrap1": "main.(*T).f.func1",
		"main.f.deferwrap12":        "main.f",
		"main.gowrapped":            "main.gowrapped",
		"main.f.gowrapX":            "main.f.gowrapX",
		"":                          "",
	} {
		if got := withoutWrapper(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

func linesOfThisFile(t *testing.T) func(line int) string {
	t.Helper()
	text, err := os.ReadFile("goplace_test.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	return func(line int) string {
		if line < 1 || line > len(lines) {
			return ""
		}
		return lines[line-1]
	}
}
