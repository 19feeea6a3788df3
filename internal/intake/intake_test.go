package intake_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// fixture is an intake before a table of the fleet, with what it logs.
type fixture struct {
	*intake.Intake
	table *fleet.Table
	logs  *observer.ObservedLogs
	now   time.Time
}

// newFixture passes on the reports whose sequence number is even.
func newFixture(tb testing.TB, limits fleet.Limits) *fixture {
	tb.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	f := &fixture{logs: logs, now: time.Now()}
	f.table = fleet.NewTable(limits, func(fleet.Event) {})
	mu := new(sync.Mutex)
	f.Intake = intake.New(mu, f.table, func(r *report.Report, _ ptrace.Span, now time.Time) (bool, report.Drop) {
		require.False(tb, mu.TryLock(), "the guard is held")
		return r.Sequence%2 == 0, f.table.Apply(r, now)
	}, zap.New(core))
	return f
}

func (f *fixture) report(process report.Process, sequence int64) *report.Report {
	return &report.Report{Process: process, Sequence: sequence, Observed: f.now}
}

func (f *fixture) beat(process report.Process, sequence int64) *report.Report {
	r := f.report(process, sequence)
	r.Heartbeat = &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1}
	return r
}

func (f *fixture) wait(process report.Process, sequence, id int64) *report.Report {
	r := f.report(process, sequence)
	r.Task = &report.Task{ID: report.TaskID{Trace: [16]byte{byte(id)}, Span: [8]byte{byte(id)}}, Name: "work", State: taskspan.Blocked, Start: f.now}
	r.Wait = &report.Wait{ID: id, Revision: 1, Open: true, Kind: taskspan.WaitMutex, ResourceID: "l", ResourceName: "l", Since: f.now}
	return r
}

func (f *fixture) order(process report.Process, sequence int64) *report.Report {
	r := f.report(process, sequence)
	r.LockOrder = &report.LockOrder{Task: report.TaskID{Trace: [16]byte{9}, Span: [8]byte{9}}, Held: "a", Taken: "b"}
	return r
}

var (
	shop = report.Process{Service: "shop", Instance: "7", Epoch: time.Now().UnixNano()}
	bank = report.Process{Service: "bank", Instance: "8", Epoch: time.Now().UnixNano()}
)

// Reports that go on, all else of the batch, and nothing that is empty without the
// reports.
func TestWhatIsLeftOfABatch(t *testing.T) {
	f := newFixture(t, fleet.Limits{Processes: 9, Tasks: 9, Waits: 9})
	td := reporttest.Traces(
		f.beat(shop, 1), f.wait(shop, 2, 1), f.wait(shop, 3, 2), f.order(shop, 4), f.order(shop, 5), f.order(shop, 6), // 3 of 6
		f.beat(bank, 1), // none of 1
	)
	td.ResourceSpans().At(0).ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("ordinary")
	td.ResourceSpans().AppendEmpty() // was empty before
	f.Take(td.ResourceSpans(), f.now)

	require.Equal(t, 2, td.ResourceSpans().Len())
	scopes := td.ResourceSpans().At(0).ScopeSpans()
	require.Equal(t, 2, scopes.Len())
	var left []int64
	for _, s := range scopes.At(0).Spans().All() {
		v, _ := s.Attributes().Get(taskspan.ReportSequence)
		left = append(left, v.Int())
	}
	require.Equal(t, []int64{2, 4, 6}, left)
	require.Equal(t, "ordinary", scopes.At(1).Spans().At(0).Name())
	require.Equal(t, map[taskspan.ReportKind]int64{
		taskspan.ReportWait: 2, taskspan.ReportTask: 0, taskspan.ReportHeartbeat: 2, taskspan.ReportLockOrder: 3,
	}, f.Reports())
	require.Empty(t, f.Dropped())
}

// Whether a report is refused by its scope, its content or the table: it is counted by
// reason, taken out, and not counted as used.
func TestRefusedReportsAreCountedByReason(t *testing.T) {
	f := newFixture(t, fleet.Limits{Processes: 1, Tasks: 9, Waits: 9})
	take := func(td ptrace.Traces) {
		f.Take(td.ResourceSpans(), f.now)
		require.Zero(t, td.ResourceSpans().Len())
	}
	take(reporttest.Traces(f.beat(shop, 1)))
	version := reporttest.Traces(f.beat(shop, 2), f.beat(shop, 4), f.beat(shop, 6))
	version.ResourceSpans().At(0).ScopeSpans().At(0).Scope().SetVersion("99")
	take(version)
	require.Zero(t, f.TurnedAway(), "only a process without room counts")
	take(reporttest.Traces(f.beat(bank, 2), f.beat(bank, 4))) // no room
	turnedAway := f.now
	require.True(t, f.TurnedAway().Equal(turnedAway))
	f.now = f.now.Add(time.Second)
	content := reporttest.Traces(f.beat(shop, 8))
	content.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).SetSpanID(pcommon.SpanID{})
	take(content)
	require.Equal(t, map[report.Drop]int64{report.DropVersion: 3, report.DropNewProcess: 2, report.DropSpanID: 1}, f.Dropped())
	require.EqualValues(t, 1, f.Reports()[taskspan.ReportHeartbeat])
	require.True(t, f.TurnedAway().Equal(turnedAway), "the last refusal had another reason")
}

func TestAShortenedReportIsCounted(t *testing.T) {
	f := newFixture(t, fleet.Limits{Processes: 9, Tasks: 9, Waits: 9})
	r := f.wait(shop, 1, 1)
	for range taskspan.MaxHolders + 1 {
		r.Wait.Holders = append(r.Wait.Holders, report.Holder{Task: r.Task.ID, Weight: 1})
	}
	f.Take(reporttest.Traces(r, f.wait(shop, 2, 2)).ResourceSpans(), f.now)
	require.Contains(t, f.Evictions(f.table.Counters()), intake.Eviction{Table: "reports", Reason: "shortened", Count: 1})
}

// The first refused report of each process is logged with its service; the rest is
// counted.
func TestTheFirstRefusalOfAProcessIsLogged(t *testing.T) {
	f := newFixture(t, fleet.Limits{Processes: 9, Tasks: 9, Waits: 9})
	refused := func(service, version string, spans int, edit func(pcommon.Map)) {
		td := ptrace.NewTraces()
		scope := reporttest.Scope(td, report.Process{Service: service, Instance: "7", Epoch: 9})
		scope.Scope().SetVersion(version)
		for range spans {
			scope.Spans().AppendEmpty()
		}
		if edit != nil {
			edit(td.ResourceSpans().At(0).Resource().Attributes())
		}
		f.Take(td.ResourceSpans(), f.now)
		f.now = f.now.Add(2 * time.Second)
	}
	refused("shop", taskspan.Version, 3, nil)
	refused("shop", taskspan.Version, 2, nil)
	refused("bank", "99", 1, nil)
	refused("nameless", taskspan.Version, 4, func(resource pcommon.Map) { resource.Remove(taskspan.ServiceInstanceID) })
	var got []map[string]any
	for _, e := range f.logs.FilterMessageSnippet("Refused a report").All() {
		got = append(got, e.ContextMap())
	}
	require.Equal(t, []map[string]any{
		{"service": "shop", "instance": "7", "epoch": int64(9), "reason": "span_id"},
		{"service": "bank", "instance": "7", "epoch": int64(9), "reason": "version"},
		{"service": "nameless", "instance": "", "epoch": int64(9), "reason": "identity"},
	}, got)
	require.Equal(t, map[report.Drop]int64{report.DropSpanID: 5, report.DropVersion: 1, report.DropIdentity: 4}, f.Dropped())
}

// A table is warned about past nine tenths, once, and again when it has had room since.
func TestAFullTableIsWarnedAboutOnce(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	full := intake.NewFullness(zap.New(core))
	for i, step := range []struct{ size, other, warnings int }{
		{18, 100, 0}, {19, 100, 1}, {20, 100, 1}, {18, 100, 1}, {19, 100, 2},
	} {
		full.Look([]view.Table{
			{Name: "a", Size: step.size, Limit: 20, Setting: "max_a"},
			{Name: "harmless", Size: step.other, Limit: 100},
		})
		require.Equal(t, step.warnings, logs.Len(), "step %d", i)
	}
	require.Equal(t, map[string]any{"table": "a", "size": int64(19), "limit": int64(20), "setting": "max_a"}, logs.All()[1].ContextMap())
}

func TestLabelsAreValidUTF8(t *testing.T) {
	set := metric.NewObserveConfig([]metric.ObserveOption{intake.With("task", "caf\xe9", "service", "shop")}).Attributes()
	task, _ := set.Value("task")
	service, _ := set.Value("service")
	require.Equal(t, []string{"caf\uFFFD", "shop"}, []string{task.AsString(), service.AsString()})
}
