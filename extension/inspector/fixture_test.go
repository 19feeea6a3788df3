package inspector

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/extension/inspector/internal/metadata"
	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector"
	"github.com/asyncinspect/asyncinspect/processor/taskstate"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// host is a collector with extensions.
type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func testConfig() *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.NetAddr.Endpoint = "localhost:0"
	cfg.TraceURL = "https://traces.example/trace/{trace_id}?span={span_id}"
	return cfg
}

// unstarted is an inspector without a server and a clock.
func unstarted(t testing.TB, cfg *Config) *inspector {
	t.Helper()
	set := extensiontest.NewNopSettings(metadata.Type)
	set.BuildInfo.Version = "1.2.3"
	x, err := newInspector(set, cfg)
	require.NoError(t, err)
	t.Cleanup(x.telemetry.Shutdown)
	return x
}

// get answers a request without a network. It forgets what has been read before.
func (x *inspector) get(target string) *httptest.ResponseRecorder {
	x.forgetAll()
	return x.getUnforgotten(target)
}

func (x *inspector) getUnforgotten(target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	x.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

func (x *inspector) forgetAll() {
	x.picture.forget(time.Now().Add(time.Hour))
	x.numbers.forget(time.Now().Add(time.Hour))
}

// answers reads a JSON answer.
func answers[T any](t testing.TB, x *inspector, target string) T {
	t.Helper()
	w := x.get(target)
	require.Equal(t, http.StatusOK, w.Code, "%s: %s", target, w.Body)
	var v T
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), "%s: %s", target, w.Body)
	return v
}

// The rest of this file is a real task_state and a real deadlock_detector behind an
// inspector, which get the reports of a fleet.

type pipeline struct {
	x        *inspector
	first    processor.Traces
	sequence int64
	epoch    int64 // of the shop of deadlocked
}

// connected starts both processors with the inspector as an extension of their host.
func connected(t testing.TB, x *inspector) *pipeline {
	t.Helper()
	ctx := context.Background()
	h := host{component.MustNewID("inspector"): x}
	tasks := processortest.NewNopSettings(component.MustNewType("task_state"))
	tasks.ID = component.MustNewID("task_state")
	last, err := taskstate.NewFactory().CreateTraces(ctx, tasks, taskstate.NewFactory().CreateDefaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	locks := processortest.NewNopSettings(component.MustNewType("deadlock_detector"))
	locks.ID = component.MustNewID("deadlock_detector")
	first, err := deadlockdetector.NewFactory().CreateTraces(ctx, locks, deadlockdetector.NewFactory().CreateDefaultConfig(), last)
	require.NoError(t, err)
	require.NoError(t, last.Start(ctx, h))
	require.NoError(t, first.Start(ctx, h))
	t.Cleanup(func() {
		require.NoError(t, first.Shutdown(ctx))
		require.NoError(t, last.Shutdown(ctx))
	})
	return &pipeline{x: x, first: first}
}

func (p *pipeline) consume(t testing.TB, reports ...*report.Report) {
	t.Helper()
	now := time.Now() // one scan sees all waits at one instant
	for _, r := range reports {
		p.sequence++
		r.Sequence, r.Observed = p.sequence, now
	}
	require.NoError(t, p.first.ConsumeTraces(context.Background(), reporttest.Traces(reports...)))
}

func shop() report.Process {
	return report.Process{Service: "shop", Instance: "shop-1", Epoch: time.Now().Add(-time.Hour).UnixNano()}
}

func taskOf(n int) report.TaskID {
	return report.TaskID{Trace: [16]byte{1, byte(n >> 8), byte(n)}, Span: [8]byte{2, byte(n >> 8), byte(n)}}
}

// waits is the report of a task that waits for a lock that another one holds.
func waits(p report.Process, task int, lock string, holders ...int) *report.Report {
	now := time.Now()
	r := &report.Report{
		Process: p, Observed: now,
		Task: &report.Task{ID: taskOf(task), Name: fmt.Sprintf("move %d", task), State: taskspan.Blocked, Start: now.Add(-time.Minute), Thread: int64(task)},
		Wait: &report.Wait{
			ID: int64(task), Revision: 1, Open: true, Kind: taskspan.WaitMutex, ResourceID: lock, ResourceName: lock,
			Since: now.Add(-time.Duration(10+task) * time.Second), Complete: true, Place: report.Place{Function: "main.move", File: "shop/stock.go", Line: 85},
			Callers: []report.Place{{Function: "main.buy", File: "shop/cart.go", Line: 31}},
		},
	}
	for _, h := range holders {
		r.Wait.Holders = append(r.Wait.Holders, report.Holder{
			Task: taskOf(h), Generation: 1, Weight: 1, Place: report.Place{Function: "main.take", File: "shop/stock.go", Line: 82},
		})
	}
	return r
}

func lockOrder(p report.Process, task int, held, taken string) *report.Report {
	return &report.Report{Process: p, Observed: time.Now(), LockOrder: &report.LockOrder{
		Task: taskOf(task), Held: held, Taken: taken, Place: report.Place{Function: "main.order", File: "shop/order.go", Line: 7},
	}}
}

// spans are ordinary spans of a service without the SDK.
func spans(service, name string, n int, took time.Duration) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(taskspan.ServiceName, service)
	list := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := list.AppendEmpty()
		s.SetName(name)
		id := taskOf(1000 + i)
		s.SetTraceID(id.Trace)
		s.SetSpanID(id.Span)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(-took)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	}
	return td
}

// deadlocked is the fleet that most tests look at: tasks 1 and 2 wait for each
// other, 3 behind them, 4 for somebody who is not known; two locks are taken in
// orders that contradict each other; and a service without the SDK.
func deadlocked(t testing.TB, x *inspector) *pipeline {
	t.Helper()
	p := connected(t, x)
	s := shop()
	p.epoch = s.Epoch
	p.consume(t,
		&report.Report{Process: s, Observed: time.Now(), Heartbeat: &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1}},
		waits(s, 1, "south", 2), waits(s, 2, "north", 1), waits(s, 3, "north", 1), waits(s, 4, "till", 99),
		lockOrder(s, 1, "a", "b"), lockOrder(s, 2, "b", "a"),
	)
	require.NoError(t, p.first.ConsumeTraces(context.Background(), spans("=web", "GET /", 7, 30*time.Millisecond)))
	require.Eventually(t, func() bool { return len(x.registry.readNumbers(time.Now()).standing) == 1 }, 10*time.Second, 10*time.Millisecond)
	return p
}

// sampler is a sampler that shows fixed numbers.
type sampler struct{ shown view.Sampling }

func (s sampler) Sampling() view.Sampling { return s.shown }

func aSampler() sampler {
	return sampler{view.Sampling{
		MinRate: 0.001, MaxRate: 1, Budgets: []view.Budget{{Kind: "spans", Asked: 100, Spent: 90}},
		Keys:          []view.KeyRate{{Key: "shop/GET", Rate: 0.1, Spans: 1000, KeptSpans: 100}},
		ReceivedSpans: 1000, Outcomes: []view.Outcome{{Name: "kept", Traces: 10, Spans: 100}},
		Tables: []view.Table{{Name: "pending_bytes", Size: 95, Limit: 100}, {Name: "pending_traces", Size: 3}},
	}}
}

// fakeState is a task_state that shows what a test says.
type fakeState struct {
	summary    view.Summary
	coverage   view.Coverage
	processes  []view.Process
	tasks      []view.Task
	statistics view.Statistics
}

func (f *fakeState) Summary() view.Summary { return f.summary }

func (f *fakeState) Coverage() view.Coverage { return f.coverage }

func (f *fakeState) Processes(view.ProcessQuery) ([]view.Process, int) {
	return append([]view.Process{}, f.processes...), len(f.processes)
}

func (f *fakeState) Tasks(view.TaskQuery) ([]view.Task, int) {
	return append([]view.Task{}, f.tasks...), len(f.tasks)
}

func (f *fakeState) Task(id report.TaskID) (view.Task, bool) {
	for _, t := range f.tasks {
		if t.ID == id {
			return t, true
		}
	}
	return view.Task{}, false
}

func (f *fakeState) Statistics() view.Statistics {
	s := f.statistics
	s.Tasks = append([]view.TaskStatistics{}, s.Tasks...)
	s.Waits = append([]view.WaitStatistics{}, s.Waits...)
	s.Services = append([]view.ServiceStatistics{}, s.Services...)
	return s
}

// fakeDetector is a deadlock_detector that shows what a test says.
type fakeDetector struct {
	standing, past []*deadlock.Deadlock
	victims        map[report.TaskID]struct{}
	inversions     []*deadlock.Inversion
	edges          []deadlock.Edge
	totals         view.DetectorTotals
	tables         []view.Table
	processes      []view.Process
	coverage       view.Coverage
}

func (f *fakeDetector) DetectorProcesses() []view.Process                { return slices.Clone(f.processes) }
func (f *fakeDetector) DetectorCoverage() view.Coverage                  { return f.coverage }
func (f *fakeDetector) Victims() map[report.TaskID]struct{}              { return f.victims }
func (f *fakeDetector) Deadlocks() (standing, past []*deadlock.Deadlock) { return f.standing, f.past }
func (f *fakeDetector) Inversions() []*deadlock.Inversion                { return f.inversions }
func (f *fakeDetector) Graph(limit int) ([]deadlock.Edge, int) {
	return f.edges[:min(limit, len(f.edges))], len(f.edges)
}

func (f *fakeDetector) DetectorTotals() view.DetectorTotals {
	t := f.totals
	t.Resolved = maps.Clone(t.Resolved)
	return t
}
func (f *fakeDetector) DetectorTables() []view.Table { return f.tables }

// served is an inspector that listens, and its address.
func served(t testing.TB, cfg *Config, h host) (x *inspector, address string) {
	t.Helper()
	x = unstarted(t, cfg)
	if h == nil {
		h = host{}
	}
	require.NoError(t, x.Start(context.Background(), h))
	t.Cleanup(func() { require.NoError(t, x.Shutdown(context.Background())) })
	return x, x.address
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	return string(b)
}

func (t *instant) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, (*time.Time)(t)) }
