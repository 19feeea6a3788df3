//go:build !noinspect

package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// buckets are counts by bucket.
func buckets(counts map[int]int64) []int64 {
	list := make([]int64, taskspan.DurationBuckets)
	for i, n := range counts {
		list[i] = n
	}
	return list
}

func TestADurationCountsInTheBucketWhoseBoundItDoesNotExceed(t *testing.T) {
	for i, seconds := range taskspan.DurationBounds {
		bound := time.Duration(seconds * 1e9)
		for _, c := range []struct {
			d    time.Duration
			want int
		}{{bound - 1, i}, {bound, i}, {bound + 1, i + 1}} {
			if got := durationBucket(c.d); got != c.want {
				t.Errorf("%v counts in bucket %d, want %d", c.d, got, c.want)
			}
		}
	}
	if !slices.IsSorted(taskspan.DurationBounds[:]) {
		t.Error("the bounds are not sorted")
	}
}

func TestDurationsAreSummedOverCells(t *testing.T) {
	const year = 365 * 24 * time.Hour
	var c counts
	for _, one := range []struct {
		goroutine uint64
		d         time.Duration
	}{
		{1, 0},
		{2, -time.Second}, // a clock that went back counts as nothing
		{3, 2 * time.Millisecond},
		{3, 12 * time.Second},
		{11, 12*time.Second + 1}, // the same cell
		{4, 400 * time.Second},
	} {
		c.of(one.goroutine).ended(taskspan.Completed, one.d)
	}
	got := c.durations()
	if want := buckets(map[int]int64{0: 2, 1: 1, 12: 2, 16: 1}); !slices.Equal(got.Buckets, want) {
		t.Errorf("buckets %v, want %v", got.Buckets, want)
	}
	if want := 424.002000001; got.Seconds != want {
		t.Errorf("%v seconds, want %v", got.Seconds, want)
	}

	// 3,000 years: more than an integer of nanoseconds holds, in each cell and in all.
	var long counts
	for i := range uint64(300) {
		long.of(i/37).ended(taskspan.Failed, 10*year)
	}
	if got, want := long.durations().Seconds, 3000*year.Seconds(); got < want*(1-1e-12) || got > want*(1+1e-12) {
		t.Errorf("%v seconds, want %v", got, want)
	}
}

// heartbeatNames are the counts by name of a heartbeat, as they travel.
func heartbeatNames(t *testing.T, r *reporterRig) map[string]taskspan.NameCounts {
	t.Helper()
	byName := make(map[string]taskspan.NameCounts)
	for _, v := range reported(r.heartbeat(false).Encode()[0], taskspan.TasksByName).GetArrayValue().GetValues() {
		var n taskspan.NameCounts
		if err := json.Unmarshal([]byte(v.GetStringValue()), &n); err != nil {
			t.Fatal(err)
		}
		if _, twice := byName[n.Name]; twice {
			t.Errorf("%q is listed twice", n.Name)
		}
		byName[n.Name] = n
	}
	return byName
}

// In production mode one task in a hundred is sampled, or none; all of them are timed.
func TestHeartbeatsCarryTheDurationOfEveryTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clearEnv(t)
		client := new(keepingClient)
		ins, err := New(t.Context(), WithMode(Production), WithSamplingRate(0), WithReportClient(client),
			WithSpanExporter(tracetest.NewNoopExporter()))
		if err != nil {
			t.Fatal(err)
		}
		run := func(n int, name string, d time.Duration, err error) {
			for range n {
				go func() {
					_, task := ins.Begin(context.Background(), name)
					defer task.End(err)
					time.Sleep(d)
				}()
			}
		}
		run(30, "report", 12*time.Second, nil)
		run(5, "report", 12*time.Second, errors.New("no"))
		run(3, "report", 40*time.Second, context.Canceled)
		run(7, "order", 20*time.Millisecond, nil)
		run(2, "order", 50*time.Minute, nil) // open at the goodbye
		defer time.Sleep(time.Hour)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]taskspan.NameCounts)
		for _, s := range client.spans() { // the last heartbeat stays
			for _, v := range reported(s, taskspan.TasksByName).GetArrayValue().GetValues() {
				var n taskspan.NameCounts
				if err := json.Unmarshal([]byte(v.GetStringValue()), &n); err != nil {
					t.Fatal(err)
				}
				got[n.Name] = n
			}
		}
		for name, want := range map[string]taskspan.Durations{
			"report": {Seconds: 540, Buckets: buckets(map[int]int64{12: 35, 13: 3})},
			"order":  {Seconds: 0.14, Buckets: buckets(map[int]int64{3: 7})},
		} {
			d := got[name].Durations
			if d == nil || d.Seconds != want.Seconds || !slices.Equal(d.Buckets, want.Buckets) {
				t.Errorf("%s took %+v, want %+v", name, d, want)
			}
		}
	})
}

// A span says that the durations of its process come with the heartbeats, if they do.
// Without heartbeats it has no epoch either, so the collector expects no reports.
func TestSpansSayWhetherHeartbeatsCarryDurations(t *testing.T) {
	for _, reports := range []bool{true, false} {
		t.Run(fmt.Sprint(reports), func(t *testing.T) {
			ins, exporter := newSeen(t, WithReportClient(new(keepingClient)), WithReports(reports))
			_, task := ins.Begin(t.Context(), "work")
			task.End(nil)
			s := exported(t, ins, exporter)[0]
			want := attribute.Bool(taskspan.ProcessDurations, true)
			for where, set := range map[string]*attribute.Set{
				"resource": s.Resource.Set(), "scope": &s.InstrumentationScope.Attributes,
			} {
				if got, ok := set.Value(want.Key); ok != reports || ok && got != want.Value {
					t.Errorf("the %s says %v, %v; want %v", where, got, ok, reports)
				}
			}
			if epoch, ok := s.Resource.Set().Value(taskspan.ProcessEpoch); ok != reports {
				t.Errorf("the resource has the epoch %v, %v; want %v", epoch.AsInt64(), ok, reports)
			}
		})
	}
	t.Run("with another provider", func(t *testing.T) {
		clearEnv(t)
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		ins, err := New(t.Context(), WithTracerProvider(provider), WithReportClient(new(keepingClient)))
		if err != nil {
			t.Fatal(err)
		}
		defer ins.Shutdown(context.Background())
		_, task := ins.Begin(t.Context(), "work")
		task.End(nil)
		scope := exporter.GetSpans()[0].InstrumentationScope
		if got, _ := scope.Attributes.Value(taskspan.ProcessDurations); !got.AsBool() {
			t.Errorf("the scope does not say it: %v", scope)
		}
	})
}

// Names that are cut to the same text are counted as one, and are called that wherever
// they are shown.
func TestALongNameIsCutEverywhere(t *testing.T) {
	r := newReporterRig(t)
	sql := "SELECT * FROM orders WHERE id IN (" + strings.Repeat("10042, ", 600)
	cut := sql[:taskspan.MaxStringBytes]
	for i := range 3 {
		_, task := r.ins.Begin(context.Background(), fmt.Sprint(sql, i))
		if task.Name() != cut {
			t.Errorf("the task is called %q", task.Name())
		}
		task.End(nil)
	}
	_, latin := r.ins.Begin(context.Background(), "caf\xe9")
	latin.End(nil)
	_, utf := r.ins.Begin(context.Background(), "caf\uFFFD")
	utf.End(nil)
	_, bracket := r.ins.Begin(context.Background(), strings.Repeat("<", 700))
	bracket.End(nil)
	got := heartbeatNames(t, r)
	for name, want := range map[string]int64{cut: 3, "caf\uFFFD": 2, strings.Repeat("<", taskspan.MaxStringBytes): 1} {
		if got[name].Started != want {
			t.Errorf("%d tasks called %.40q, want %d", got[name].Started, name, want)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d names, want 3", len(got))
	}
}

// The collector adds up what each name has grown by. So a name that is listed stays
// listed, and what was counted as "other" stays there, however frequent it gets.
func TestANameIsCountedInOnePlaceForEver(t *testing.T) {
	r := newReporterRig(t)
	begin := func(name string, n int) {
		for range n {
			_, task := r.ins.Begin(context.Background(), name)
			task.End(nil)
		}
	}
	told := make(map[string]int64)
	check := func(total int64) {
		t.Helper()
		var sum int64
		for name, n := range heartbeatNames(t, r) {
			if n.Started < told[name] {
				t.Errorf("%q falls from %d to %d", name, told[name], n.Started)
			}
			told[name] = n.Started
			var timed int64
			for _, in := range n.Durations.Buckets {
				timed += in
			}
			if timed != n.Started {
				t.Errorf("%q has %d tasks and %d durations", name, n.Started, timed)
			}
		}
		for _, n := range told {
			sum += n
		}
		if sum != total || len(told) > taskspan.MaxNames {
			t.Errorf("%d tasks under %d names, want %d", sum, len(told), total)
		}
	}
	begin("rare", 1)
	begin(taskspan.OtherNames, 4) // a user's own
	check(5)
	for i := range 2 * taskspan.MaxNames {
		begin(fmt.Sprint("task ", i), 2)
	}
	begin("frequent", 9)
	check(5 + 4*taskspan.MaxNames + 9)
	begin("task 399", 1000)
	check(5 + 4*taskspan.MaxNames + 9 + 1000)
	if told["rare"] != 1 || told["frequent"] != 9 || told["task 399"] != 0 {
		t.Errorf("rare %d, frequent %d, task 399 %d", told["rare"], told["frequent"], told["task 399"])
	}
}

// A name that two goroutines add at once is one entry.
func TestANameIsAddedOnce(t *testing.T) {
	n := newNames()
	first := n.add("work")
	if again := n.add("work"); again != first || first == n.other {
		t.Error("the second one to add it gets another entry")
	}
	if e, name := n.entry("work"); e != first || name != "work" {
		t.Errorf("it is %q in another entry", name)
	}
}
