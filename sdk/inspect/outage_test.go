//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// taken returns the reports of a kind that have come, in order.
func (c *shakyClient) taken(kind taskspan.ReportKind) (of []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.kept {
		if reported(s, taskspan.Report).GetStringValue() == string(kind) {
			of = append(of, s)
		}
	}
	return of
}

func (c *shakyClient) tried() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries
}

func (c *shakyClient) numbers() (n []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.kept {
		n = append(n, reported(s, taskspan.ReportSequence).GetIntValue())
	}
	return n
}

// blocked starts a task that waits for a value from on until stop is called.
func blocked(ins *Inspector, name string, on *Chan[int]) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, task := ins.Begin(ctx, name)
		defer task.End(nil)
		_, _ = on.Receive(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

var namesUsed atomic.Int64

// unusedName makes a name that no test of this process has used: lock orders are kept
// for the life of the process.
func unusedName(name string) string { return fmt.Sprint(name, " ", namesUsed.Add(1)) }

// A collector that fails for a while, then hangs for a while, and comes back knows
// afterwards what is true, and loses nothing but what has been overtaken.
func TestAReporterThroughAnOutage(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		client := new(shakyClient)
		ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}), WithLockOrder(true))
		if err != nil {
			t.Fatal(err)
		}
		first := blocked(ins, "before", NewChan[int]("outage a", 0))
		time.Sleep(1600 * time.Millisecond) // told after a second, and again a second later
		synctest.Wait()
		if n := len(client.taken(taskspan.ReportWait)); n != 1 {
			t.Fatalf("%d reports of waits before the outage", n)
		}

		client.set(errors.New("no collector"), 0)
		first()
		second := blocked(ins, "during", NewChan[int]("outage b", 0))
		third := blocked(ins, "in vain", NewChan[int]("outage c", 0))
		outer, inner := NewMutex(unusedName("outage outer")), NewMutex(unusedName("outage inner"))
		func() {
			_, task := ins.Begin(context.Background(), "orderly")
			defer task.End(nil)
			outer.Lock()
			defer outer.Unlock()
			inner.Lock()
			defer inner.Unlock()
		}()
		time.Sleep(22 * time.Second)
		client.set(nil, time.Hour) // hangs
		third()
		time.Sleep(11 * time.Second)
		before := client.tried()
		client.set(nil, 0)
		time.Sleep(20 * time.Second) // the longest pause, and an export that hangs until its end
		synctest.Wait()

		if client.tried() == before {
			t.Fatal("nothing is tried after the outage")
		}
		if n := ins.drops.list(); len(n) != 0 {
			t.Errorf("dropped are %v", n)
		}
		// The heartbeat that has come last before the outage comes again, once; everything else
		// has a number of its own.
		numbers := client.numbers()
		again := reported(client.heartbeats()[1], taskspan.ReportSequence).GetIntValue()
		sorted := slices.Sorted(slices.Values(numbers))
		if first := reported(client.heartbeats()[0], taskspan.ReportSequence).GetIntValue(); again != first || len(slices.Compact(sorted)) != len(numbers)-1 {
			t.Errorf("sequence numbers are used twice, and not only %d: %v", first, numbers)
		}
		states := make(map[int64]bool) // by wait, as last told
		for _, s := range client.taken(taskspan.ReportWait) {
			states[reported(s, taskspan.WaitID).GetIntValue()] = reported(s, taskspan.WaitOpen).GetBoolValue()
		}
		open := 0
		for _, is := range states {
			if is {
				open++
			}
		}
		if len(states) != 3 || open != 1 {
			t.Errorf("of 3 waits are known %d, of which %d are open; want one", len(states), open)
		}
		if n := len(client.taken(taskspan.ReportLockOrder)); n != 1 {
			t.Errorf("the lock order was told %d times, want once", n)
		}
		beats := client.heartbeats()
		last := beats[len(beats)-1]
		if n := reported(last, taskspan.TasksCompleted).GetIntValue(); n != 3 {
			t.Errorf("the last heartbeat has %d completed tasks, want 3", n)
		}
		if ids := reported(last, taskspan.WaitsIDs).GetArrayValue().GetValues(); len(ids) != 1 {
			t.Errorf("the last heartbeat lists %v, want one wait", ids)
		}
		// One heartbeat at a time: those of the outage were replaced by newer ones.
		if n := len(beats); n > 3+1+5 {
			t.Errorf("%d heartbeats came, want none from the middle of the outage", n)
		}
		second()
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// Lock orders are told again every ten minutes, for a collector that has restarted.
func TestLockOrdersAreToldAgain(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		client := new(shakyClient)
		ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}), WithLockOrder(true))
		if err != nil {
			t.Fatal(err)
		}
		held := unusedName("again outer")
		outer, inner := NewMutex(held), NewMutex(unusedName("again inner"))
		_, task := ins.Begin(context.Background(), "orderly")
		outer.Lock()
		inner.Lock()
		inner.Unlock()
		outer.Unlock()
		task.End(nil)
		told := func() (n int) {
			synctest.Wait()
			for _, s := range client.taken(taskspan.ReportLockOrder) {
				if reported(s, taskspan.LockOrderHeld).GetStringValue() == held {
					n++
				}
			}
			return n
		}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{time.Second, 1}, {9*time.Minute + 58*time.Second, 1}, {3 * time.Second, 2}, {9 * time.Minute, 2}, {time.Minute, 3}} {
			time.Sleep(step.after)
			if n := told(); n != step.want {
				t.Errorf("%v later the order has been told %d times, want %d", step.after, n, step.want)
			}
		}
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// Shutdown looks once more: what has got stuck, or has ended, since the last scan is in
// the last reports, which come before the final heartbeat.
func TestTheLastScanAtShutdown(t *testing.T) {
	clearEnv(t)
	synctest.Test(t, func(t *testing.T) {
		client := new(shakyClient)
		ins, err := New(context.Background(), WithReportClient(client), WithSpanExporter(discardingExporter{}))
		if err != nil {
			t.Fatal(err)
		}
		ended := blocked(ins, "ended", NewChan[int]("last a", 0))
		time.Sleep(2*time.Second - 100*time.Millisecond)
		stays := blocked(ins, "stays", NewChan[int]("last b", 0))
		time.Sleep(1050 * time.Millisecond) // 2.95 s: the last scan was at 2.75 s
		synctest.Wait()
		known := len(client.taken(taskspan.ReportWait))
		ended()
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		fresh := client.taken(taskspan.ReportWait)[known:]
		open := make(map[string]bool)
		for _, s := range fresh {
			open[reported(s, taskspan.TaskName).GetStringValue()] = reported(s, taskspan.WaitOpen).GetBoolValue()
		}
		if is, told := open["ended"]; !told || is {
			t.Errorf("the end of a wait is told as %v (%v)", is, told)
		}
		if is, told := open["stays"]; !told || !is {
			t.Errorf("the wait that got stuck since the last scan is told as open %v (%v)", is, told)
		}
		client.mu.Lock()
		last := client.kept[len(client.kept)-1]
		client.mu.Unlock()
		if !reported(last, taskspan.HeartbeatFinal).GetBoolValue() {
			t.Errorf("the last report is %v, want the final heartbeat", last)
		}
		if n := reported(last, taskspan.TasksCompleted).GetIntValue(); n != 1 {
			t.Errorf("the final heartbeat has %d completed tasks, want 1", n)
		}
		stays()
	})
}
