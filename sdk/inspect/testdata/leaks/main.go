// Leaks blocks goroutines for good, with package sync and plain channels and with package
// inspect, and prints how many of them the runtime's goroutine leak profile finds. A test
// builds it with GOEXPERIMENT=goroutineleakprofile.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// silent is a collector that takes all reports.
type silent struct{}

func (silent) Start(context.Context) error                                  { return nil }
func (silent) Stop(context.Context) error                                   { return nil }
func (silent) UploadTraces(context.Context, []*tracepb.ResourceSpans) error { return nil }

// leaked counts the goroutines in the leak profile.
func leaked() int {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutineleak").WriteTo(&b, 2); err != nil {
		panic(err)
	}
	return strings.Count(b.String(), "(leaked)")
}

// blocked counts the goroutines that are parked and were started by a leak.
func blocked() (n int) {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, g := range strings.Split(string(stacks), "\n\n") {
		state, _, _ := strings.Cut(g, "\n")
		parked := strings.Contains(state, "[chan ") || strings.Contains(state, "[select") || strings.Contains(state, "[sync.")
		ofLeak := strings.Contains(g, "main.init.func") || strings.Contains(g, "main.start") || strings.Contains(g, "inspect.lockOrDone")
		if parked && ofLeak {
			n++
		}
	}
	return n
}

// start leaves a leak on a goroutine of its own. In a task, that is a task with an
// inspection point and a context that nobody can cancel.
//
//go:noinline
func start(block func(context.Context), inTask bool) {
	go func() {
		ctx := context.Background()
		if inTask {
			var task *inspect.Task
			ctx, task = inspect.Begin(lost(ctx), "leak")
			defer task.End(nil)
			task.Point("before")
		}
		block(ctx)
	}()
}

var leakedBefore int

// find starts a leak and returns how many goroutines it blocks, and how many of them the
// profile finds. Not all of them block at once, and a scan of the SDK that has a wait in
// its hands during a profile hides that wait from it, so it looks more than once.
func find(want int, block func(context.Context), inTask bool) (found, stuck int) {
	blockedBefore := blocked()
	defer func() { leakedBefore += found }()
	start(block, inTask)
	for range 50 {
		time.Sleep(10 * time.Millisecond)
		found, stuck = leaked()-leakedBefore, blocked()-blockedBefore
		if stuck == want && found == stuck {
			break
		}
	}
	return found, stuck
}

// shown says whether the SDK, after all those profiles, shows its waits as before.
func shown() string {
	waits, held := 0, 0
	for _, task := range inspect.Tasks() {
		if task.Wait == nil {
			continue
		}
		if waits++; task.Wait.Resource == "" {
			return fmt.Sprintf("the wait of goroutine %d has no resource", task.Goroutine)
		}
		if len(task.Wait.Holders) > 0 {
			held++
		}
	}
	if waits < 2*len(leaks)-10 || held < waits/3 || len(inspect.Deadlocks()) < 10 {
		return fmt.Sprintf("%d waits, %d with holders, and %d deadlocks are shown", waits, held, len(inspect.Deadlocks()))
	}
	return "all waits shown, with their names and holders"
}

func main() {
	if pprof.Lookup("goroutineleak") == nil {
		fmt.Println("no goroutine leak profile")
		os.Exit(0)
	}
	debug.SetGCPercent(-1) // a cycle in between would take the mark off those that are found
	for _, rate := range []float64{0, 1} {
		ins, err := inspect.Start(context.Background(), inspect.WithoutExport(), inspect.WithReportClient(silent{}),
			inspect.WithSamplingRate(rate), inspect.WithStuckAfter(10*time.Millisecond), inspect.WithLockOrder(true))
		if err != nil {
			panic(err)
		}
		for _, l := range leaks {
			found, stuck := find(l.want, l.plain, false)
			fmt.Printf("%s (plain): found %d, blocked %d, want %d\n", l.name, found, stuck, l.want)
			for _, inTask := range []bool{false, true} {
				found, stuck := find(l.want+l.more, l.ours, inTask)
				fmt.Printf("%s (rate %g, in a task %t): found %d, blocked %d, want %d\n", l.name, rate, inTask, found, stuck, l.want+l.more)
			}
		}
		fmt.Println(shown())
		if err := ins.Shutdown(context.Background()); err != nil {
			panic(err)
		}
	}
}
