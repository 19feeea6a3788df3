package inspector

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/histogram"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func (x *inspector) scrape(accept string) *httptest.ResponseRecorder {
	x.forgetAll()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	x.handler().ServeHTTP(w, r)
	return w
}

const (
	asText        = "text/plain"
	asOpenMetrics = "application/openmetrics-text;version=1.0.0"
	asProtobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// numbersOfAFleet are those of two services, of which one has heartbeats.
func numbersOfAFleet() (*fakeState, *fakeDetector) {
	var took, stuck histogram.Histogram
	took.Add(2*time.Second, 1.25, taskOf(7), 1_700_000_000_500_000_000)
	took.Add(200*time.Millisecond, 9, taskOf(8), 1_700_000_001_000_000_000)
	stuck.Add(3*time.Second, 1, taskOf(7), 1_700_000_000_000_000_000)
	state := &fakeState{
		summary: view.Summary{
			Live:    map[taskspan.State]int64{taskspan.Deadlocked: 2},
			Dropped: map[report.Drop]int64{report.DropTime: 3},
			Tables:  []view.Table{{Name: "live_tasks", Size: 5, Limit: 10}},
		},
		processes: []view.Process{
			{Process: report.Process{Service: "shop", Instance: "1"}, Overhead: 0.01, Rate: 0.1},
			{Process: report.Process{Service: "shop", Instance: "2"}, Overhead: 0.03, Rate: 0.05},
			{Process: report.Process{Service: "shop", Instance: "3"}, Overhead: 0.9, Rate: 0.01, Status: fleet.Lost},
		},
		tasks: []view.Task{{ID: taskOf(1), Service: "shop", State: taskspan.Deadlocked}, {ID: taskOf(2), Service: "shop", State: taskspan.Deadlocked}},
		statistics: view.Statistics{
			Tasks: []view.TaskStatistics{{
				Service: "shop", Name: "order", Started: 1000, Ended: map[taskspan.State]float64{taskspan.Completed: 900, taskspan.Failed: 10},
				Running: 80, Blocked: 10, Durations: took,
			}},
			Waits:    []view.WaitStatistics{{Service: "shop", Kind: taskspan.WaitMutex, Resource: "stock", Open: 10, Longest: 71500 * time.Millisecond, Stuck: stuck}},
			Services: []view.ServiceStatistics{{Service: "shop", Events: 42, Dropped: map[string]int64{"queue_full": 4}, ProcessesLost: 6}},
		},
	}
	waitFor := func(task, holder int) []*fleet.Wait {
		return []*fleet.Wait{{Task: taskOf(task), Wait: report.Wait{
			ID: 1, Kind: taskspan.WaitMutex, ResourceName: "stock", Complete: true, Since: time.Unix(1, 0), Holders: []report.Holder{{Task: taskOf(holder)}},
		}}}
	}
	detector := &fakeDetector{
		victims: map[report.TaskID]struct{}{taskOf(3): {}, taskOf(5): {}, taskOf(6): {}},
		standing: []*deadlock.Deadlock{{
			ID: deadlock.ID{1}, Judgment: deadlock.Judgment{Confidence: deadlock.Certain}, Kind: deadlock.Local, Victims: 3, Cycle: 2,
			Waits: map[report.TaskID][]*fleet.Wait{taskOf(1): waitFor(1, 2), taskOf(2): waitFor(2, 1)},
			Core: []*fleet.Task{
				{Task: report.Task{ID: taskOf(1)}, Process: report.Process{Service: "shop"}},
				{Task: report.Task{ID: taskOf(2)}, Process: report.Process{Service: "shop"}},
			},
		}},
		totals: view.DetectorTotals{
			Found:    []view.FoundTotal{{Kind: deadlock.Local, Confidence: deadlock.Certain, Count: 5}},
			Resolved: map[deadlock.Ending]int64{deadlock.Released: 4},
		},
	}
	return state, detector
}

func TestMetricsSayWhatTheComponentsSay(t *testing.T) {
	x := unstarted(t, testConfig())
	state, detector := numbersOfAFleet()
	x.RegisterTaskState("task_state", state)
	x.RegisterDeadlockDetector("deadlock_detector", detector)
	x.RegisterAdaptiveSampler("adaptive_sampler", aSampler())
	text := x.scrape(asText).Body.String()
	for _, line := range []string{
		`async_inspect_tasks_total{service="shop",task="order"} 1000`,
		`async_inspect_tasks_ended_total{service="shop",state="completed",task="order"} 900`,
		`async_inspect_tasks_ended_total{service="shop",state="cancelled",task="order"} 0`,
		`async_inspect_tasks_by_state{service="shop",state="running"} 80`,
		`async_inspect_tasks_by_state{service="shop",state="blocked"} 8`,
		`async_inspect_tasks_by_state{service="shop",state="deadlocked"} 2`,
		`async_inspect_task_duration_seconds_bucket{service="shop",task="order",le="0.25"} 9`,
		`async_inspect_task_duration_seconds_bucket{service="shop",task="order",le="+Inf"} 10`,
		`async_inspect_task_duration_seconds_count{service="shop",task="order"} 10`,
		`async_inspect_events_total{service="shop"} 42`,
		`async_inspect_wait_longest_seconds{kind="mutex",resource="stock",service="shop"} 71.5`,
		`async_inspect_processes_lost_total{service="shop"} 6`,
		`async_inspect_deadlocks_found_total{confidence="certain",kind="local"} 5`,
		`async_inspect_deadlocks_detected{confidence="certain",kind="local"} 5`,
		`async_inspect_deadlocks_detected{confidence="transient",kind="self"} 0`,
		`async_inspect_deadlocks_resolved_total{how="released"} 4`,
		`async_inspect_deadlocks_active{confidence="certain"} 1`,
		`async_inspect_deadlocks_active{confidence="suspected"} 0`,
		`async_inspect_deadlock_tasks{role="core"} 2`,
		`async_inspect_deadlock_tasks{role="victim"} 3`,
		`async_inspect_task_blocked_seconds_sum{kind="mutex",resource="stock",service="shop"} 3`,
		`async_inspect_waits_open{kind="mutex",resource="stock",service="shop"} 10`,
		`async_inspect_lock_order_inversions 0`,
		`async_inspect_processes{status="reporting"} 2`,
		`async_inspect_processes{status="lost"} 1`,
		`async_inspect_sdk_overhead_ratio{service="shop"} 0.03`,
		`async_inspect_sdk_sampling_ratio{service="shop"} 0.05`,
		`async_inspect_sdk_dropped_total{reason="queue_full",service="shop"} 4`,
		`async_inspect_reports_dropped_total{component="task_state",reason="time"} 3`,
		`async_inspect_table_size{component="task_state",table="live_tasks"} 5`,
		`async_inspect_table_limit{component="task_state",table="live_tasks"} 10`,
		`async_inspect_sampling_ratio{key="shop/GET",processor="adaptive_sampler"} 0.1`,
		`async_inspect_sampling_budget_per_second{kind="spans",processor="adaptive_sampler"} 100`,
		`async_inspect_sampling_spent_per_second{kind="spans",processor="adaptive_sampler"} 90`,
		`async_inspect_sampling_spans_total{outcome="kept",processor="adaptive_sampler"} 100`,
		`async_inspect_build_info{version="1.2.3"} 1`,
	} {
		require.Contains(t, text, line+"\n")
	}
}

// Before anything has happened, the counters are there and say 0.
func TestCountersBeginAtZero(t *testing.T) {
	text := unstarted(t, testConfig()).scrape(asText).Body.String()
	for _, line := range []string{
		`async_inspect_tasks_total{otel_metric_overflow="true"} 0`,
		`async_inspect_task_duration_seconds_count{otel_metric_overflow="true"} 0`,
		`async_inspect_events_total{otel_metric_overflow="true"} 0`,
		`async_inspect_deadlocks_detected{confidence="certain",kind="local"} 0`,
		`async_inspect_deadlocks_active{confidence="certain"} 0`,
		`async_inspect_processes{status="reporting"} 0`,
	} {
		require.Contains(t, text, line+"\n")
	}
}

// OpenMetrics has the same names, and the trace of a task for each bucket.
func TestOpenMetricsHaveExemplars(t *testing.T) {
	x := unstarted(t, testConfig())
	state, detector := numbersOfAFleet()
	x.RegisterTaskState("task_state", state)
	x.RegisterDeadlockDetector("deadlock_detector", detector)
	x.scrape(asOpenMetrics) // series begin at 0
	w := x.scrape(asOpenMetrics)
	require.Contains(t, w.Header().Get("Content-Type"), "application/openmetrics-text")
	text := w.Body.String()
	require.Contains(t, text, `async_inspect_deadlocks_detected{confidence="certain",kind="local"} 5.0`)
	require.Contains(t, text, `async_inspect_tasks_total{service="shop",task="order"} 1000.0`)
	id := idOf(taskOf(7))
	require.Contains(t, text, fmt.Sprintf(`le="2.5"} 10 # {span_id=%q,trace_id=%q} 2.0 1.7000000005e+09`, id.SpanID, id.TraceID))
	require.True(t, strings.HasSuffix(text, "# EOF\n"))
}

// The native histogram adds up to the classic one, whatever the weights are.
func TestNativeHistogramsAddUp(t *testing.T) {
	x := unstarted(t, testConfig())
	state, _ := numbersOfAFleet()
	h := &state.statistics.Tasks[0].Durations
	for i := range 500 {
		h.Add(time.Duration(i*i*i)*time.Microsecond, 0.37+float64(i%7)/3, taskOf(i), int64(i))
	}
	x.RegisterTaskState("task_state", state)
	x.scrape(asProtobuf) // series begin at 0
	families := make(map[string]*dto.MetricFamily)
	decoder := expfmt.NewDecoder(x.scrape(asProtobuf).Body, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		f := new(dto.MetricFamily)
		if decoder.Decode(f) != nil {
			break
		}
		families[f.GetName()] = f
	}
	require.Equal(t, dto.MetricType_COUNTER, families["async_inspect_deadlocks_found_total"].GetType())
	require.Equal(t, dto.MetricType_UNTYPED, families["async_inspect_deadlocks_detected"].GetType())
	checked := 0
	for _, m := range families["async_inspect_task_duration_seconds"].GetMetric() {
		got := m.GetHistogram()
		require.EqualValues(t, histogram.Schema, got.GetSchema())
		var buckets, before uint64
		for _, b := range got.GetBucket() {
			require.GreaterOrEqual(t, b.GetCumulativeCount(), before)
			before = b.GetCumulativeCount()
		}
		require.Equal(t, got.GetSampleCount(), before)
		count, length := int64(0), 0
		for _, d := range got.GetPositiveDelta() {
			count += d
			require.GreaterOrEqual(t, count, int64(0))
			buckets += uint64(count)
		}
		for _, s := range got.GetPositiveSpan() {
			length += int(s.GetLength())
		}
		require.Len(t, got.GetPositiveDelta(), length)
		require.Equal(t, got.GetSampleCount(), buckets+got.GetZeroCount())
		if got.GetSampleCount() > 0 {
			checked++
			require.InDelta(t, h.Count, got.GetSampleCount(), 0.5)
		}
	}
	require.Equal(t, 1, checked)
}

// A bucket of the native histogram holds what its index says.
func TestANativeBucketIsWhereItsValuesAre(t *testing.T) {
	var h histogram.Histogram
	h.Add(3*time.Second, 2, taskOf(1), 0)
	h.Add(time.Millisecond, 5, taskOf(1), 0)
	out := histogramOf(&h)
	index, at := int32(0), map[int32]int64{}
	delta, count := 0, int64(0)
	for _, s := range out.PositiveSpan {
		index += s.GetOffset()
		for range s.GetLength() {
			count += out.PositiveDelta[delta]
			delta++
			at[index] = count
			index++
		}
	}
	want := map[int32]int64{}
	for v, n := range map[float64]int64{3: 2, 0.001: 5} {
		want[int32(math.Ceil(math.Log2(v)*4))] = n
	}
	require.Equal(t, want, at)
}

// Past the limit the counts of what comes later are summed, and what has a place
// keeps it.
func TestSeriesAreBounded(t *testing.T) {
	cfg := testConfig()
	cfg.Metrics.MaxSeries = 3
	x := unstarted(t, cfg)
	state := new(fakeState)
	x.RegisterTaskState("task_state", state)
	name := func(i int) string { return fmt.Sprintf("task %d", i) }
	for i := 9; i >= 0; i-- { // those that come first are not the first in the alphabet
		state.statistics.Tasks = append(state.statistics.Tasks, view.TaskStatistics{Service: "shop", Name: name(i), Started: 1})
		state.statistics.Tasks[len(state.statistics.Tasks)-1].Durations.Add(time.Second, 1, taskOf(i), 1)
		if i == 7 {
			x.scrape(asText)
		}
	}
	state.statistics.Tasks = append(state.statistics.Tasks, view.TaskStatistics{Service: "shop", Name: "\xff", Started: 1}, view.TaskStatistics{Service: "shop", Name: "\xfe", Started: 1})
	text := x.scrape(asText).Body.String()
	for i := range 10 {
		require.Equal(t, i >= 7, strings.Contains(text, fmt.Sprintf("async_inspect_tasks_total{service=\"shop\",task=%q} 1\n", name(i))), name(i))
	}
	require.Contains(t, text, `async_inspect_tasks_total{otel_metric_overflow="true"} 9`+"\n")
	require.Contains(t, text, `async_inspect_task_duration_seconds_count{otel_metric_overflow="true"} 7`+"\n")
	require.Positive(t, x.metrics.admitted.overflown())
	require.LessOrEqual(t, x.metrics.series(), x.metrics.limit())
}

// A series that has ended gives its place to others, and begins anew if it comes back.
func TestPlacesOfEndedSeriesAreFree(t *testing.T) {
	cfg := testConfig()
	cfg.Metrics.MaxSeries = 2
	x := unstarted(t, cfg)
	state := new(fakeState)
	x.RegisterTaskState("task_state", state)
	show := func(names ...string) string {
		state.statistics.Tasks = nil
		for i, name := range names {
			state.statistics.Tasks = append(state.statistics.Tasks, view.TaskStatistics{Service: "shop", Name: name, Started: float64(3 + i)})
		}
		return x.scrape(asText).Body.String()
	}
	of := func(name string) string {
		return fmt.Sprintf("async_inspect_tasks_total{service=\"shop\",task=%q}", name)
	}
	text := show("a", "b", "c")
	require.Contains(t, text, of("b")+" 4")
	require.NotContains(t, text, of("c"))
	before := x.metrics.series()
	show("b")
	require.Less(t, x.metrics.series(), before)
	text = show("b", "c")
	require.Contains(t, text, of("b")+" 3")
	require.Contains(t, text, of("c")+" 4")
	require.Equal(t, before, x.metrics.series())
}

// Names that are no UTF-8 fail no scrape, and names that become equal are added up.
func TestNamesMayBeAnything(t *testing.T) {
	x := unstarted(t, testConfig())
	state := new(fakeState)
	for _, name := range []string{"\xff", "\xfe", "a\"b\n", ""} {
		state.statistics.Tasks = append(state.statistics.Tasks, view.TaskStatistics{Service: "shop", Name: name, Started: 1})
	}
	x.RegisterTaskState("task_state", state)
	w := x.scrape(asText)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Contains(t, w.Body.String(), "async_inspect_tasks_total{service=\"shop\",task=\"\uFFFD\"} 2\n")
}

// promtool has nothing to say.
func TestPromtoolIsContent(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	x := unstarted(t, testConfig())
	state, detector := numbersOfAFleet()
	x.RegisterTaskState("task_state", state)
	x.RegisterDeadlockDetector("deadlock_detector", detector)
	x.RegisterAdaptiveSampler("adaptive_sampler", aSampler())
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(x.scrape(asText).Body.Bytes())
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))
}

// Two instances of a processor, in two pipelines that get different spans, are added up.
func TestInstancesAreAddedUp(t *testing.T) {
	x := unstarted(t, testConfig())
	one, detector := numbersOfAFleet()
	other, _ := numbersOfAFleet()
	other.statistics.Waits[0].Longest = 18 * time.Second
	for i := range other.processes { // one that has moved was heard there at another time
		other.processes[i].FirstHeard = other.processes[i].FirstHeard.Add(heardTogether)
	}
	for i := range other.tasks {
		other.tasks[i].ID.Trace[15]++
	}
	x.RegisterTaskState("task_state", one)
	remove := x.RegisterTaskState("task_state", other)
	x.RegisterDeadlockDetector("deadlock_detector", detector)
	text := x.scrape(asText).Body.String()
	require.Contains(t, text, `async_inspect_tasks_total{service="shop",task="order"} 2000`+"\n")
	require.Contains(t, text, `async_inspect_task_duration_seconds_count{service="shop",task="order"} 21`+"\n")
	require.Contains(t, text, `async_inspect_events_total{service="shop"} 84`+"\n")
	require.Contains(t, text, `async_inspect_processes{status="reporting"} 2`+"\n", "they know the same processes")
	require.Contains(t, text, `async_inspect_tasks_by_state{service="shop",state="deadlocked"} 4`+"\n")
	require.Contains(t, text, `async_inspect_processes_lost_total{service="shop"} 12`+"\n")
	require.Contains(t, text, `async_inspect_wait_longest_seconds{kind="mutex",resource="stock",service="shop"} 71.5`+"\n")
	require.Contains(t, text, `async_inspect_table_size{component="task_state#2",table="live_tasks"} 5`+"\n")
	remove()
	require.Contains(t, x.scrape(asText).Body.String(), `async_inspect_tasks_total{service="shop",task="order"} 1000`+"\n")
}

// shownTasks scrapes, and returns the totals and the numbers of durations by task.
func (x *inspector) shownTasks(t *testing.T, accept string) (totals, durations map[string]float64) {
	t.Helper()
	totals, durations = make(map[string]float64), make(map[string]float64)
	w := x.scrape(accept)
	if !strings.Contains(w.Header().Get("Content-Type"), "protobuf") {
		for into, line := range map[*map[string]float64]*regexp.Regexp{
			&totals:    regexp.MustCompile(`(?m)^async_inspect_tasks_total\{service="shop",task="(.*)"\} (\S+)$`),
			&durations: regexp.MustCompile(`(?m)^async_inspect_task_duration_seconds_count\{service="shop",task="(.*)"\} (\S+)$`),
		} {
			for _, found := range line.FindAllStringSubmatch(w.Body.String(), -1) {
				value, err := strconv.ParseFloat(found[2], 64)
				require.NoError(t, err)
				(*into)[found[1]] = value
			}
		}
		return totals, durations
	}
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	for f := new(dto.MetricFamily); decoder.Decode(f) == nil; f = new(dto.MetricFamily) {
		for _, m := range f.Metric {
			if len(m.Label) == 0 {
				continue
			}
			switch task := m.Label[len(m.Label)-1]; {
			case task.GetName() != "task":
			case f.GetName() == "async_inspect_tasks_total":
				totals[task.GetValue()] = m.GetCounter().GetValue()
			case f.GetName() == "async_inspect_task_duration_seconds":
				durations[task.GetValue()] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return totals, durations
}

// A series that a Prometheus sees for the first time begins at 0: increase() counts from
// the first value of a series. Whoever asks for text gets what is so. Series that were
// kept over a restart continue from their last value.
func TestSeriesBeginAtZeroForAPrometheus(t *testing.T) {
	for name, accept := range map[string]string{
		"OpenMetrics": asOpenMetrics,
		// What Prometheus asks for, without and with native histograms.
		"Prometheus":                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		"Prometheus, native histograms": asProtobuf + ",application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
	} {
		for _, restored := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " restored ", restored), func(t *testing.T) {
				cfg := testConfig()
				cfg.Metrics.MaxSeries = 2
				x := unstarted(t, cfg)
				state := new(fakeState)
				state.statistics.Restored = restored
				x.RegisterTaskState("task_state", state)
				add := func(name string, started float64) {
					var took histogram.Histogram
					took.Add(time.Second, started, taskOf(1), 1)
					state.statistics.Tasks = append(state.statistics.Tasks, view.TaskStatistics{Service: "shop", Name: name, Started: started, Durations: took})
				}
				first := 0.0
				if restored {
					first = 7
				}
				add("a", 7)
				for i, step := range []struct {
					accept string
					want   map[string]float64
				}{
					{asText, map[string]float64{"a": 7}},
					{accept, map[string]float64{"a": first}},
					{asText, map[string]float64{"a": 7}},
					{accept, map[string]float64{"a": 7, "b": 0}},
					{accept, map[string]float64{"a": 7, "b": 9}},
					{accept, map[string]float64{"a": 7, "b": 9}}, // c has no place of its own
				} {
					switch i {
					case 3:
						add("b", 9)
					case 5:
						add("c", 11)
					}
					totals, durations := x.shownTasks(t, step.accept)
					require.Equal(t, step.want, totals, "scrape %d", i+1)
					require.Equal(t, step.want, durations, "scrape %d", i+1)
				}
				require.Contains(t, x.scrape(asText).Body.String(), `async_inspect_tasks_total{otel_metric_overflow="true"} 11`+"\n")
			})
		}
	}
}
