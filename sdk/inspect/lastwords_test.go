//go:build !noinspect

package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// dyingEnv makes this test binary a program that dies in the way that it names.
const dyingEnv = "INSPECT_TEST_DIES_BY"

// deaths are the ways in which a program ends without Shutdown. Each has some tasks
// that have completed since the last heartbeat, and some that fail.
var deaths = []struct {
	name              string
	die               func()
	completed, failed int
	spans             []string // of failed tasks
	exit              int
}{
	{"panic in Go", func() {
		Go(context.Background(), "goroutine", func(context.Context) error { panic("boom") })
		select {}
	}, 3, 1, []string{"goroutine"}, 2},
	{"panic in a Group", func() {
		group, _ := NewGroup(context.Background(), "group")
		group.Go("member", func(context.Context) error { panic("boom") })
		_ = group.Wait()
	}, 3, 1, []string{"member"}, 2},
	{"panic in a WaitGroup", func() {
		var group WaitGroup
		group.Go(context.Background(), "joined", func(context.Context) error { panic("boom") })
		group.Wait()
	}, 3, 1, []string{"joined"}, 2},
	{"panic through tasks of a goroutine", func() {
		Go(context.Background(), "outer", func(ctx context.Context) error {
			_, inner := Begin(ctx, "inner")
			defer inner.End(nil)
			panic("boom")
		})
		select {}
	}, 3, 2, []string{"inner", "outer"}, 2},
	{"panic through End", func() {
		go func() {
			_, task := Begin(context.Background(), "work")
			defer task.End(nil)
			panic("boom")
		}()
		select {}
	}, 3, 1, []string{"work"}, 2},
	{"panic through EndWith", func() {
		go func() (err error) {
			_, task := Begin(context.Background(), "work")
			defer task.EndWith(&err)
			panic("boom")
		}()
		select {}
	}, 3, 1, []string{"work"}, 2},
	{"panic through EndPanic", func() {
		go func() {
			_, task := Begin(context.Background(), "work")
			defer func() {
				r := recover()
				task.EndPanic(r)
				panic(r)
			}()
			panic("boom")
		}()
		select {}
	}, 3, 1, []string{"work"}, 2},
	{"panic through nested tasks, two with one name", func() {
		go func() {
			ctx, first := Begin(context.Background(), "recursion")
			defer first.End(nil)
			ctx, second := Begin(ctx, "recursion")
			defer second.End(nil)
			_, third := Begin(ctx, "leaf")
			defer third.End(nil)
			panic("boom")
		}()
		select {}
	}, 3, 3, []string{"leaf", "recursion", "recursion"}, 2},
	{"panic after many that were recovered", func() {
		for range 500 {
			func() {
				defer func() { _ = recover() }()
				_, task := Begin(context.Background(), "job")
				defer task.End(nil)
				panic("recovered")
			}()
		}
		go func() {
			_, task := Begin(context.Background(), "last job")
			defer task.End(nil)
			panic("boom")
		}()
		select {}
	}, 3, 501, []string{"job", "last job"}, 2},
	{"os.Exit after ForceFlush", func() {
		_, task := Begin(context.Background(), "command")
		task.End(errors.New("bad argument"))
		_ = ForceFlush(context.Background())
		os.Exit(5)
	}, 3, 1, []string{"command"}, 5},
}

// lineClient prints heartbeats, and lineExporter spans.
type lineClient struct{}

func (lineClient) Start(context.Context) error { return nil }
func (lineClient) Stop(context.Context) error  { return nil }

func (lineClient) UploadTraces(_ context.Context, batch []*tracepb.ResourceSpans) error {
	for _, r := range batch {
		for _, s := range r.ScopeSpans[0].Spans {
			if s.Name == taskspan.SpanHeartbeat {
				fmt.Printf("heartbeat completed=%d failed=%d final=%v\n", reported(s, taskspan.TasksCompleted).GetIntValue(),
					reported(s, taskspan.TasksFailed).GetIntValue(), reported(s, taskspan.HeartbeatFinal).GetBoolValue())
			}
		}
	}
	return nil
}

type lineExporter struct{}

func (lineExporter) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		fmt.Printf("span %v: %s\n", s.Status().Code, s.Name())
	}
	return nil
}
func (lineExporter) Shutdown(context.Context) error { return nil }

// deafClient and deafExporter never return.
type deafClient struct{ lineClient }

func (deafClient) UploadTraces(context.Context, []*tracepb.ResourceSpans) error { select {} }

type deafExporter struct{ lineExporter }

func (deafExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { select {} }

// TestDying is the program that dies.
func TestDying(t *testing.T) {
	how, collector, _ := strings.Cut(os.Getenv(dyingEnv), "/")
	if how == "" {
		t.Skip("run by other tests")
	}
	opts := []Option{WithReportClient(lineClient{}), WithSpanExporter(lineExporter{}), WithHeartbeatInterval(10 * time.Minute)}
	if collector == "deaf" {
		opts = append(opts, WithReportClient(deafClient{}), WithSpanExporter(deafExporter{}))
	}
	if collector != "deaf" {
		// A clock that is fast gives the last words as long as a busy machine takes.
		final.clock = func() time.Time { return time.Now().Add(20 * time.Second) }
	}
	if _, err := Start(context.Background(), opts...); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, task := Begin(context.Background(), "done")
		task.End(nil)
	}
	for _, death := range deaths {
		if death.name == how {
			death.die()
		}
	}
	t.Fatal("still alive")
}

// dies runs the program and returns what it printed and its exit code.
func dies(t *testing.T, how string) (out string, exit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestDying$", "-test.timeout=50s")
	cmd.Env = append(os.Environ(), dyingEnv+"="+how)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || ctx.Err() != nil {
		t.Fatalf("the program ended with %v (%v):\n%s", err, ctx.Err(), b.String())
	}
	return b.String(), failed.ExitCode()
}

func TestADyingProgramSaysWhatItKnows(t *testing.T) {
	clearEnv(t)
	beat := regexp.MustCompile(`heartbeat completed=(\d+) failed=(\d+) final=(\w+)`)
	for _, death := range deaths {
		t.Run(death.name, func(t *testing.T) {
			t.Parallel()
			out, exit := dies(t, death.name)
			if exit != death.exit {
				t.Errorf("the exit code is %d, want %d", exit, death.exit)
			}
			if death.exit == 2 && !strings.Contains(out, "panic: boom") {
				t.Error("the panic is not passed on")
			}
			beats := beat.FindAllStringSubmatch(out, -1)
			if len(beats) == 0 {
				t.Fatalf("no heartbeats:\n%s", out)
			}
			last := beats[len(beats)-1]
			completed, _ := strconv.Atoi(last[1])
			failed, _ := strconv.Atoi(last[2])
			if completed != death.completed || failed != death.failed || last[3] != "false" {
				t.Errorf("the last heartbeat is %q, want %d completed, %d failed, not final", last[0], death.completed, death.failed)
			}
			for _, name := range death.spans {
				if strings.Count(out, "span Error: "+name+"\n") < strings.Count(strings.Join(death.spans, "\n")+"\n", name+"\n") {
					t.Errorf("the span of %s is missing", name)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// A collector that does not answer keeps no program alive.
func TestADyingProgramDoesNotWaitForADeafCollector(t *testing.T) {
	clearEnv(t)
	for _, how := range []string{"panic in Go", "panic through End", "panic after many that were recovered"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			if out, exit := dies(t, how+"/deaf"); exit != 2 || !strings.Contains(out, "panic: boom") {
				t.Errorf("exit code %d:\n%s", exit, out)
			}
		})
	}
}

// Which panics wait, and for how long: by hand, with a clock of its own.
func TestWhoseLastWordsAreHeard(t *testing.T) {
	at := time.Unix(1000, 0)
	l := lastWords{clock: func() time.Time { return at }}
	next := byte(0)
	task := func(name string, parent *Task) *Task {
		next++
		task := &Task{name: &nameEntry{name: name}}
		task.traceID, task.spanID = trace.TraceID{1}, trace.SpanID{next}
		if parent != nil {
			task.parent = parent.spanID
		}
		return task
	}
	begin := func(t *testing.T, who *Task, fatal bool, want time.Duration) {
		t.Helper()
		until, ok := l.begin(who, fatal)
		if ok != (want > 0) || ok && until.Sub(at) != want {
			t.Errorf("%s may wait for %v (%v), want %v", who.name.name, until.Sub(at), ok, want)
		}
	}
	const ms = time.Millisecond
	outer := task("outer", nil)
	begin(t, task("job", outer), false, 500*ms)
	at = at.Add(70 * ms)
	begin(t, outer, false, 430*ms) // while the first still speaks
	at = at.Add(30 * ms)
	l.end()
	select {
	case <-l.silent:
		t.Error("silent while one speaks")
	default:
	}
	at = at.Add(20 * ms)
	<-l.end()
	at = at.Add(time.Second) // nobody waits: costs nothing
	begin(t, task("job", nil), false, 0)
	begin(t, task("other", nil), false, 380*ms)
	at = at.Add(350 * ms)
	<-l.end()
	again := task("job", nil)
	inner := task("third", again)
	begin(t, inner, false, 30*ms)
	begin(t, again, false, 30*ms) // said before in this period, but this one is around the one that speaks
	l.end()
	at = at.Add(40 * ms)
	<-l.end()
	begin(t, task("fourth", nil), false, 0) // the period's time is used up
	// Goroutines whose panic ends the process have their own time.
	begin(t, task("job", nil), true, 500*ms)
	at = at.Add(200 * ms)
	begin(t, task("job", nil), true, 300*ms)
	l.end()
	<-l.end()
	at = at.Add(300 * ms)
	begin(t, task("job", nil), true, 0)
	// The next period is as the first was.
	at = at.Add(lastWordsPeriod)
	begin(t, task("job", nil), false, 500*ms)
	<-l.end()
	at = at.Add(lastWordsPeriod - ms)
	begin(t, task("job", nil), false, 0)
	at = at.Add(ms)
	begin(t, task("job", nil), false, 500*ms)
	<-l.end()
}

// The panic of a goroutine that Go has started is seen once more where it ends, and that
// of any other one is not.
func TestWhoSeesAPanicAgain(t *testing.T) {
	ins := quietInspector(t)
	for name, one := range map[string]struct {
		run  func(func())
		want bool
	}{
		"Go": {func(f func()) {
			h := ins.Go(context.Background(), "work", func(context.Context) error { f(); return nil })
			_ = h.Wait(context.Background())
		}, true},
		"a goroutine": {func(f func()) {
			var all sync.WaitGroup
			all.Go(f)
			all.Wait()
		}, false},
		"a deep goroutine": {func(f func()) {
			var all sync.WaitGroup
			all.Go(func() { deeper(500, f) })
			all.Wait()
		}, false},
		"deep below Go": {func(f func()) {
			h := ins.Go(context.Background(), "work", func(context.Context) error { deeper(500, f); return nil })
			_ = h.Wait(context.Background())
		}, true},
	} {
		got := false
		one.run(func() { got = handledAbove() })
		if got != one.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
