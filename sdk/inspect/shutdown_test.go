//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// shakyClient is a collector that can fail and hang, and that gives up with the
// context of an export.
type shakyClient struct {
	mu    sync.Mutex
	down  error         // what an export returns
	takes time.Duration // how long it lasts
	kept  []*tracepb.Span
	tries int
}

func (*shakyClient) Start(context.Context) error { return nil }
func (*shakyClient) Stop(context.Context) error  { return nil }

func (c *shakyClient) UploadTraces(ctx context.Context, batch []*tracepb.ResourceSpans) error {
	c.mu.Lock()
	c.tries++
	takes := c.takes
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return c.down
	}
	for _, r := range batch {
		for _, s := range r.ScopeSpans {
			c.kept = append(c.kept, s.Spans...)
		}
	}
	return nil
}

func (c *shakyClient) set(down error, takes time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down, c.takes = down, takes
}

// heartbeats returns what has come and is a heartbeat.
func (c *shakyClient) heartbeats() (all []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.kept {
		if reported(s, taskspan.Report).GetStringValue() == string(taskspan.ReportHeartbeat) {
			all = append(all, s)
		}
	}
	return all
}

// lastCompleted is what the newest heartbeat says of completed tasks, and whether it
// is the final one; -1 if there is none.
func (c *shakyClient) lastCompleted() (n int64, final bool) {
	beats := c.heartbeats()
	if len(beats) == 0 {
		return -1, false
	}
	last := beats[len(beats)-1]
	return reported(last, taskspan.TasksCompleted).GetIntValue(), reported(last, taskspan.HeartbeatFinal).GetBoolValue()
}

// contexts are the ways in which a program that ends may call Shutdown. Each makes a
// context that began a while ago.
var contexts = []struct {
	name  string
	make  func(context.Context) (context.Context, context.CancelFunc)
	takes time.Duration // with a collector that does not answer
	err   error
}{
	{"no deadline", context.WithCancel, 5 * time.Second, context.DeadlineExceeded},
	{"cancelled before", func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}, 2 * time.Second, context.Canceled},
	{"cancelled within the grace", func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(500*time.Millisecond, cancel)
		return ctx, cancel
	}, 2 * time.Second, context.Canceled},
	{"cancelled after the grace", func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(3*time.Second, cancel)
		return ctx, cancel
	}, 3 * time.Second, context.Canceled},
	{"expired before", func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, -time.Second)
	}, 2 * time.Second, context.DeadlineExceeded},
	{"nearly expired", func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Millisecond)
	}, 2 * time.Second, context.DeadlineExceeded},
	{"a late deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 7*time.Second)
	}, 7 * time.Second, context.DeadlineExceeded},
	{"a late deadline, but cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
		time.AfterFunc(4*time.Second, cancel)
		return ctx, cancel
	}, 4 * time.Second, context.Canceled},
}

func TestTheGraceOfShutdownAndForceFlush(t *testing.T) {
	clearEnv(t)
	// Another batch would wait for a lock that the stuck one has, and no time passes in
	// the bubble while somebody waits for a lock.
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
	for _, test := range contexts {
		for name, call := range map[string]func(*Inspector, context.Context) error{
			"Shutdown": (*Inspector).Shutdown, "ForceFlush": (*Inspector).ForceFlush,
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					stuck := make(chan struct{})
					ins, err := New(context.Background(), WithSpanExporter(stuckExporter{stuck}), WithReports(false))
					if err != nil {
						t.Fatal(err)
					}
					_, task := ins.Begin(context.Background(), "work")
					task.End(nil)
					ctx, cancel := test.make(context.Background())
					defer cancel()
					began := time.Now()
					if err := call(ins, ctx); !errors.Is(err, test.err) {
						t.Errorf("returned %v, want %v", err, test.err)
					}
					if took := time.Since(began); took != test.takes {
						t.Errorf("took %v, want %v", took, test.takes)
					}
					close(stuck)
					if err := ins.Shutdown(context.Background()); name == "ForceFlush" && err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// Whatever the context is, the final heartbeat and the spans go out if the collector
// answers within the grace.
func TestShutdownWithAContextThatIsDone(t *testing.T) {
	clearEnv(t)
	for _, test := range contexts {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, exporter := new(shakyClient), tracetest.NewInMemoryExporter()
				ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(keepSpans{exporter}))
				if err != nil {
					t.Fatal(err)
				}
				for range 7 {
					_, task := ins.Begin(context.Background(), "work")
					task.End(nil)
				}
				client.set(nil, 1500*time.Millisecond)
				ctx, cancel := test.make(context.Background())
				defer cancel()
				if err := ins.Shutdown(ctx); err != nil {
					t.Errorf("Shutdown returned %v", err)
				}
				if n, final := client.lastCompleted(); n != 7 || !final {
					t.Errorf("the last heartbeat has %d completed tasks, final %v; want 7 and true", n, final)
				}
				if n := len(exporter.GetSpans()); n != 7 {
					t.Errorf("%d spans of 7 were exported", n)
				}
			})
		})
	}
}

// keepSpans keeps its spans after Shutdown.
type keepSpans struct{ *tracetest.InMemoryExporter }

func (keepSpans) Shutdown(context.Context) error { return nil }

// A program may end by two ways at once. Neither may leave while the final heartbeat is
// on its way.
func TestEveryShutdownWaitsForTheFirst(t *testing.T) {
	clearEnv(t)
	refused := errors.New("refused")
	for _, outcome := range []error{nil, refused} {
		synctest.Test(t, func(t *testing.T) {
			client := new(shakyClient)
			ins, err := Start(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			client.set(outcome, time.Second)
			calls := []func(context.Context) error{
				ins.Shutdown, ins.Shutdown, Shutdown, ins.ForceFlush, ForceFlush,
			}
			began := time.Now()
			var all sync.WaitGroup
			all.Go(func() {
				if err := ins.Shutdown(context.Background()); !errors.Is(err, outcome) {
					t.Errorf("the first Shutdown returned %v", err)
				}
			})
			synctest.Wait()
			for i, call := range calls {
				all.Go(func() {
					err := call(context.Background())
					if !errors.Is(err, outcome) || outcome == nil && err != nil {
						t.Errorf("call %d returned %v, want %v", i, err, outcome)
					}
					if took := time.Since(began); took != time.Second {
						t.Errorf("call %d returned after %v, want with the first", i, took)
					}
				})
			}
			all.Wait()
			if err := ins.Shutdown(context.Background()); !errors.Is(err, outcome) {
				t.Errorf("a later Shutdown returned %v", err)
			}
			if err := errors.Join(Shutdown(context.Background()), ForceFlush(context.Background())); err != nil {
				t.Errorf("without a default Inspector: %v", err)
			}
		})
	}
}

// One that has to wait for the first gives up with its context, after the grace.
func TestAWaitingShutdownGivesUp(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		client := new(shakyClient)
		ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}))
		if err != nil {
			t.Fatal(err)
		}
		client.set(nil, 4*time.Second)
		go ins.Shutdown(context.Background())
		synctest.Wait()
		done, cancel := context.WithCancel(context.Background())
		cancel()
		began := time.Now()
		if err := ins.Shutdown(done); !errors.Is(err, context.Canceled) {
			t.Errorf("returned %v", err)
		}
		if took := time.Since(began); took != grace {
			t.Errorf("took %v, want %v", took, grace)
		}
		<-ins.ended
	})
}

// ForceFlush sends spans and counts at once, any number of times, and says nothing
// final.
func TestForceFlush(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		client, exporter := new(shakyClient), tracetest.NewInMemoryExporter()
		ins, err := Start(context.Background(), WithReportClient(client), WithSpanExporter(exporter))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		done := 0
		for _, n := range []int{3, 0, 11} {
			for range n {
				_, task := Begin(context.Background(), "invocation")
				task.End(nil)
			}
			done += n
			before := len(client.heartbeats())
			if err := ForceFlush(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got, final := client.lastCompleted(); got != int64(done) || final || len(client.heartbeats()) != before+1 {
				t.Errorf("after %d tasks the heartbeats are %d more and the last has %d, final %v",
					done, len(client.heartbeats())-before, got, final)
			}
			if got := len(exporter.GetSpans()); got != done {
				t.Errorf("%d spans of %d were exported", got, done)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		// Afterwards heartbeats come as before.
		before := len(client.heartbeats())
		time.Sleep(3*ins.config.heartbeatInterval + scanInterval)
		synctest.Wait()
		if n := len(client.heartbeats()) - before; n != 3 {
			t.Errorf("%d heartbeats in three intervals", n)
		}
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// Through an outage ForceFlush says what is wrong and loses nothing.
func TestForceFlushThroughAnOutage(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		client, refused := new(shakyClient), errors.New("refused")
		ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		client.set(refused, 0)
		for range 6 { // into the back-off
			if err := ins.ForceFlush(context.Background()); !errors.Is(err, refused) {
				t.Errorf("while the collector is down it returned %v", err)
			}
		}
		_, task := ins.Begin(context.Background(), "work")
		task.End(nil)
		client.set(nil, time.Hour)
		began := time.Now()
		if err := ins.ForceFlush(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while the collector hangs it returned %v", err)
		}
		if took := time.Since(began); took != exportTimeout {
			t.Errorf("it took %v", took)
		}
		client.set(nil, 0)
		began = time.Now()
		if err := ins.ForceFlush(context.Background()); err != nil {
			t.Errorf("with the collector back it returned %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it waited %v for the next try, want none", took)
		}
		if n, _ := client.lastCompleted(); n != 1 {
			t.Errorf("the last heartbeat has %d completed tasks, want 1", n)
		}
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestForceFlushOfNothing(t *testing.T) {
	clearEnv(t)
	var none *Inspector
	t.Setenv("ASYNC_INSPECT_ENABLED", "false")
	off, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(context.Context) error{
		"nil": none.ForceFlush, "off": off.ForceFlush, "no default": ForceFlush,
		"Shutdown of nil": none.Shutdown, "Shutdown of off": off.Shutdown, "Shutdown of no default": Shutdown,
	} {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is off costs nothing: afterwards nobody inspects any more.
func TestShutdownTakesTheInspectorOut(t *testing.T) {
	clearEnv(t)
	before := inspectors.Load()
	first, err := New(context.Background(), WithReports(false), WithoutExport())
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(context.Background(), WithReports(false), WithoutExport())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		ins  *Inspector
		want int32
	}{{nil, 2}, {first, 1}, {first, 1}, {second, 0}, {second, 0}} {
		if err := step.ins.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if n := inspectors.Load() - before; int32(n) != step.want {
			t.Errorf("%d Inspectors are counted, want %d", n, step.want)
		}
	}
}

// A ForceFlush that finds the reporter gone waits for the Shutdown that has sent it all.
func TestForceFlushBesideAShutdown(t *testing.T) {
	clearEnv(t)
	ins, err := New(context.Background(), WithReportClient(new(shakyClient)), WithSpanExporter(discardingExporter{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := ins.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ins.stopped.Store(false) // as it was when ForceFlush looked
	if err := ins.ForceFlush(context.Background()); err != nil {
		t.Errorf("ForceFlush returned %v, and Shutdown none", err)
	}
	ins.stopped.Store(true)
}
