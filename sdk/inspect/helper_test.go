package inspect_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// late marks itself when it is told to.
//
//go:noinline
func late(ctx context.Context, mark bool, name string) (context.Context, *inspect.Task) {
	if mark {
		inspect.Helper()
	}
	return inspect.Begin(ctx, name)
}

//go:noinline
func callsLate(ctx context.Context, mark bool, name string) *inspect.Task {
	_, task := late(ctx, mark, name)
	return task
}

// A mark counts from the first call of Helper on, also for lines that are known already.
func TestHelperMarksTheFunctionThatCallsIt(t *testing.T) {
	ins, err := inspect.Start(t.Context(), inspect.WithReports(false), inspect.WithoutExport())
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	if !compiledIn() {
		inspect.Helper() // has no effect, and no task
		return
	}
	inspect.ForgetHelpers() // a mark is for good, and the test may have run before
	begun := func(name string) string {
		for _, task := range ins.Tasks() {
			if task.Name == name {
				return task.Begun.Function[strings.LastIndexByte(task.Begun.Function, '.')+1:]
			}
		}
		return "no such task"
	}
	for _, test := range []struct {
		name string
		mark bool
		want string
	}{
		{"before", false, "late"},
		{"before, again", false, "late"},
		{"with the mark", true, "callsLate"},
		{"after", false, "callsLate"},
	} {
		task := callsLate(t.Context(), test.mark, test.name)
		if got := begun(test.name); got != test.want {
			t.Errorf("%s: begun in %s, want %s", test.name, got, test.want)
		}
		task.End(nil)
	}
}

func TestHelperFromManyGoroutines(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				inspect.Helper()
			}
		})
	}
	all.Wait()
}

func BenchmarkHelper(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		inspect.Helper()
	}
}
