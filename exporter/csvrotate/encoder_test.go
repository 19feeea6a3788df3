package csvrotate

import (
	"encoding/csv"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/plausible"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// scopeOf adds a scope of a process that sends heartbeats, or of a plain one.
func scopeOf(td ptrace.Traces, name string) ptrace.SpanSlice {
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(taskspan.ServiceName, "orders")
	rs.Resource().Attributes().PutStr("host.name", "h,1")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName(name)
	ss.Scope().SetVersion("v1")
	ss.Scope().Attributes().PutInt("generation", 3)
	return ss.Spans()
}

var (
	traceID  = [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}
	spanID   = [8]byte{0, 0, 0, 0, 0, 0, 0, 18}
	parentID = [8]byte{7: 1}
)

// span adds a child span of a millisecond.
func span(spans ptrace.SpanSlice, name string) ptrace.Span {
	s := spans.AppendEmpty()
	s.SetTraceID(traceID)
	s.SetSpanID(spanID)
	s.SetParentSpanID(parentID)
	s.SetName(name)
	s.SetKind(ptrace.SpanKindInternal)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(noon))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(noon.Add(time.Millisecond)))
	return s
}

// rows encodes a batch and reads it back, a map of its cells for each row.
func rows(t testing.TB, cfg *Config, td ptrace.Traces) []map[string]string {
	t.Helper()
	p, err := newPlan(cfg)
	require.NoError(t, err)
	e := newEncoder(p)
	n := e.encode(td)
	records, err := csv.NewReader(strings.NewReader(string(p.header) + string(e.buf))).ReadAll()
	require.NoError(t, err)
	var out []map[string]string
	for _, record := range records[1:] {
		row := make(map[string]string)
		for i, name := range records[0] {
			row[name] = record[i]
		}
		out = append(out, row)
	}
	require.EqualValues(t, n.rows, len(out))
	require.EqualValues(t, td.SpanCount(), n.rows+n.reports+n.others)
	return out
}

func TestATaskIsARow(t *testing.T) {
	td := ptrace.NewTraces()
	s := span(scopeOf(td, "app"), "reserve, stock")
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage("=no stock")
	s.TraceState().FromRaw("ot=th:c")
	s.Attributes().PutStr(taskspan.TaskState, "failed")
	s.Attributes().PutInt(taskspan.TaskBlockedNS, 77)
	s.Attributes().PutStr(taskspan.TaskLongestWaitResource, "stock")
	s.Attributes().PutStr(taskspan.CodeFunctionName, "main.reserve")
	require.Equal(t, []map[string]string{{
		"trace_id": "000102030405060708090a0b0c0d0eff", "span_id": "0000000000000012", "parent_span_id": "0000000000000001",
		"name": "reserve, stock", "service": "orders", "state": "failed",
		"start": "2026-11-23T12:00:00.000000000Z", "end": "2026-11-23T12:00:00.001000000Z", "start_unix_nano": "1795435200000000000",
		"duration_ns": "1000000", "blocked_ns": "77", "wait_kind": "", "wait_resource": "stock", "wait_place": "",
		"status_code": "error", "status_message": "'=no stock", "sampling_rate": "0.25", "adjusted_count": "4",
	}}, rows(t, defaultConfig(t), td))
}

func TestALostTaskTellsWhereItWaited(t *testing.T) {
	td := ptrace.NewTraces()
	s := span(scopeOf(td, taskspan.ScopeDetector), "reserve")
	s.Attributes().PutStr(taskspan.TaskState, "lost")
	s.Attributes().PutStr(taskspan.WaitKind, "mutex")
	s.Attributes().PutStr(taskspan.WaitResourceName, "stock")
	s.Attributes().PutStr(taskspan.CodeFunctionName, "main.reserve")
	s.Attributes().PutStr(taskspan.CodeFilePath, "shop/stock.go")
	s.Attributes().PutInt(taskspan.CodeLineNumber, 54)
	row := rows(t, defaultConfig(t), td)[0]
	require.Equal(t, "lost", row["state"])
	require.Equal(t, "mutex", row["wait_kind"])
	require.Equal(t, "stock", row["wait_resource"])
	require.Equal(t, "main.reserve shop/stock.go:54", row["wait_place"])
}

// everything has one span of each sort; its name says what it is.
func everything() ptrace.Traces {
	td := ptrace.NewTraces()
	app := scopeOf(td, "app")
	span(app, "told").Attributes().PutStr(taskspan.TaskState, "cancelled")
	span(app, "server").SetKind(ptrace.SpanKindServer)
	consumer := span(app, "consumer")
	consumer.SetKind(ptrace.SpanKindConsumer)
	consumer.Status().SetCode(ptrace.StatusCodeError)
	span(app, "root").SetParentSpanID([8]byte{})
	span(app, "child")
	span(app, "wait mutex stock").Attributes().PutStr(taskspan.WaitKind, "mutex")
	report := span(scopeOf(td, taskspan.ScopeReport), "report")
	report.Attributes().PutStr(taskspan.TaskState, "blocked")
	detector := scopeOf(td, taskspan.ScopeDetector)
	span(detector, "lost").Attributes().PutStr(taskspan.TaskState, "lost")
	root := span(detector, taskspan.SpanDeadlock)
	root.SetParentSpanID([8]byte{})
	root.Attributes().PutStr(taskspan.TaskState, "deadlocked")
	root.Attributes().PutStr(taskspan.DeadlockID, "d1")
	root.Attributes().PutInt(taskspan.DeadlockSize, 2)
	root.Attributes().PutEmptySlice(taskspan.DeadlockServices).AppendEmpty().SetStr("orders")
	root.Attributes().PutStr(taskspan.DeadlockCycle, "a waits for b\nb waits for a")
	span(detector, taskspan.SpanDeadlock).Attributes().PutStr(taskspan.TaskState, "deadlocked")
	span(detector, taskspan.SpanDeadlockResolved).SetParentSpanID([8]byte{})
	return td
}

func TestWhichSpansAreRows(t *testing.T) {
	for kind, want := range map[string][]string{
		rowsTasks: {"told cancelled", "server completed", "consumer failed", "root completed", "lost lost"},
		rowsSpans: {
			"told cancelled", "server completed", "consumer failed", "root completed", "child ", "wait mutex stock ", "lost lost",
			"deadlock deadlocked", "deadlock deadlocked", "deadlock.resolved completed",
		},
		rowsDeadlocks: {"deadlock deadlocked"},
	} {
		cfg := defaultConfig(t)
		cfg.Rows, cfg.Columns = kind, []string{"name", "state"}
		var got []string
		for _, row := range rows(t, cfg, everything()) {
			got = append(got, row["name"]+" "+row["state"])
		}
		require.Equal(t, want, got, kind)
	}
}

// Where a task_state with a rule of its own has marked the scope, what carries no state is
// no task, and the rows are the tasks that the task_state counts.
func TestRowsAreTheTasksOfTheTaskState(t *testing.T) {
	td := everything()
	for _, rs := range td.ResourceSpans().All() {
		rs.ScopeSpans().At(0).Scope().Attributes().PutBool(taskspan.TasksMarked, true)
	}
	for kind, want := range map[string][]string{
		rowsTasks: {"told cancelled", "lost lost"},
		rowsSpans: {
			"told cancelled", "server ", "consumer ", "root ", "child ", "wait mutex stock ", "lost lost",
			"deadlock deadlocked", "deadlock deadlocked", "deadlock.resolved ",
		},
	} {
		cfg := defaultConfig(t)
		cfg.Rows, cfg.Columns = kind, []string{"name", "state"}
		var got []string
		for _, row := range rows(t, cfg, td) {
			got = append(got, row["name"]+" "+row["state"])
		}
		require.Equal(t, want, got, kind)
	}
}

// A state that no task can end in is none: the status says how the task ended. Only a
// detector's spans are about tasks that may be live.
func TestAStateThatIsNoEndIsNone(t *testing.T) {
	for i, c := range []struct {
		told     string
		failed   bool
		detector bool
		want     string // "": no row
	}{
		{"blocked", false, false, "completed"},
		{"deadlocked", true, false, "failed"},
		{"asleep", true, false, "failed"},
		{"cancelled", true, false, "cancelled"},
		{"lost", false, false, "lost"},
		{"lost", true, true, "lost"},
		{"deadlocked", true, true, ""},
		{"completed", false, true, ""},
	} {
		td := ptrace.NewTraces()
		scope := "app"
		if c.detector {
			scope = taskspan.ScopeDetector
		}
		s := span(scopeOf(td, scope), "x")
		s.Attributes().PutStr(taskspan.TaskState, c.told)
		if c.failed {
			s.Status().SetCode(ptrace.StatusCodeError)
		}
		cfg := defaultConfig(t)
		cfg.Columns = []string{"name", "state"}
		got := ""
		for _, row := range rows(t, cfg, td) {
			got = row["state"]
		}
		require.Equal(t, c.want, got, "case %d", i)
	}
}

func TestADeadlockIsARow(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Rows = rowsDeadlocks
	row := rows(t, cfg, everything())[0]
	require.Equal(t, "d1", row["deadlock_id"])
	require.Equal(t, "2", row["size"])
	require.Equal(t, `["orders"]`, row["services"])
	require.Equal(t, "a waits for b\nb waits for a", row["cycle"])
}

func TestAttributesOfAnythingCanBeColumns(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Columns = []string{
		"resource.host.name", "scope.generation", "scope_name", "scope_version", "http.route", "attribute.plain", "attribute.resource.x", "absent.key", "kind", "attributes",
	}
	td := ptrace.NewTraces()
	s := span(scopeOf(td, "app"), "n")
	s.SetKind(ptrace.SpanKindServer)
	s.Attributes().PutStr("http.route", "/a")
	s.Attributes().PutBool("plain", true)
	s.Attributes().PutDouble("resource.x", 1.5)
	require.Equal(t, []map[string]string{{
		"resource.host.name": "h,1", "scope.generation": "3", "scope_name": "app", "scope_version": "v1", "http.route": "/a", "attribute.plain": "true",
		"attribute.resource.x": "1.5", "absent.key": "", "kind": "server", "attributes": `{"http.route":"/a","plain":true,"resource.x":1.5}`,
	}}, rows(t, cfg, td))
}

func TestWhatASpanDoesNotTellIsNull(t *testing.T) {
	cfg := defaultConfig(t)
	for _, known := range builtins {
		cfg.Columns = append(cfg.Columns, known.name)
	}
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	for name, cell := range rows(t, cfg, td)[0] {
		switch name {
		case "trace_id", "span_id":
			require.Equal(t, strings.Repeat("0", len(cell)), cell)
		case "state", "status_code", "sampling_rate", "adjusted_count":
			require.NotEmpty(t, cell)
		default:
			require.Empty(t, cell, name)
		}
	}
	cfg.Columns = []string{"name"}
	require.Equal(t, []map[string]string{{"name": ""}}, rows(t, cfg, td), "a row with one null is still a row")
}

// Values of one span, resource or scope must not show up in the next.
func TestNothingIsCarriedOver(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Rows, cfg.Columns = rowsSpans, []string{"service", "http.route", "scope.generation"}
	td := ptrace.NewTraces()
	spans := scopeOf(td, "app")
	span(spans, "a").Attributes().PutStr("http.route", "/a")
	span(spans, "b")
	bare := td.ResourceSpans().AppendEmpty()
	span(bare.ScopeSpans().AppendEmpty().Spans(), "c")
	require.Equal(t, []map[string]string{
		{"service": "orders", "http.route": "/a", "scope.generation": "3"},
		{"service": "orders", "http.route": "", "scope.generation": "3"},
		{"service": "", "http.route": "", "scope.generation": ""},
	}, rows(t, cfg, td))
}

// What no span can have is not in a row, and is counted.
func TestWeightsAndDurationsAreBounded(t *testing.T) {
	const at = 1_800_000_000_000_000_000
	cfg := defaultConfig(t)
	cfg.Columns = []string{"adjusted_count", "sampling_rate", "duration_ns"}
	p, err := newPlan(cfg)
	require.NoError(t, err)
	for _, c := range []struct {
		start, end        pcommon.Timestamp
		state, want       string
		capped, corrected int64
	}{
		{at, at + 7, "ot=th:c", "4,0.25,7", 0, 0},
		{at + 5, at, "", "1,1,0", 0, 1},
		{at, at + pcommon.Timestamp(plausible.MaxDuration), "ot=th:8", "2,0.5,31536000000000000", 0, 0},
		{at, at + pcommon.Timestamp(plausible.MaxDuration) + 3, "ot=th:8", "2,0.5,31536000000000000", 0, 1},
		{0, at, "", "1,1,", 0, 0},
		{at, 0, "", "1,1,", 0, 0},
		{at, at + 9, "ot=th:fffff", "1048576,9.5367431640625e-07,9", 0, 0},
		{at, at + 11, "ot=th:ffffffffffffff", "1048576,9.5367431640625e-07,11", 1, 0},
		{at, math.MaxUint64, "ot=th:ffffffffffffff", "1048576,9.5367431640625e-07,31536000000000000", 1, 1},
	} {
		td := ptrace.NewTraces()
		s := scopeOf(td, "app").AppendEmpty()
		s.SetStartTimestamp(c.start)
		s.SetEndTimestamp(c.end)
		s.TraceState().FromRaw(c.state)
		e := newEncoder(p)
		n := e.encode(td)
		require.Equal(t, c.want+recordEnd, string(e.buf))
		require.Equal(t, batchCounts{rows: 1, capped: c.capped, corrected: c.corrected}, n)
	}
}

func TestTimesAreRFC3339(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Columns = []string{"start", "end", "duration_ns"}
	for _, at := range []time.Time{
		time.Unix(0, 1), time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC), time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2262, 1, 1, 1, 2, 3, 4, time.UTC), noon.Add(-time.Nanosecond), noon, noon.Add(59 * time.Second), noon.Add(time.Minute),
	} {
		td := ptrace.NewTraces()
		s := scopeOf(td, "app").AppendEmpty()
		s.SetStartTimestamp(pcommon.Timestamp(at.UnixNano()))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(noon))
		row := rows(t, cfg, td)[0]
		require.Equal(t, at.UTC().Format("2006-01-02T15:04:05.000000000Z"), row["start"])
		got, err := time.Parse(time.RFC3339Nano, row["start"])
		require.NoError(t, err)
		require.True(t, at.Equal(got))
	}
}

func TestAByteOrderMarkOnlyIfAskedFor(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Columns = []string{"name"}
	p, err := newPlan(cfg)
	require.NoError(t, err)
	require.Equal(t, "name\r\n", string(p.header))
	cfg.BOM = true
	p, err = newPlan(cfg)
	require.NoError(t, err)
	require.Equal(t, "\xef\xbb\xbfname\r\n", string(p.header))
}

func TestARowAllocatesNothing(t *testing.T) {
	for _, kind := range []string{rowsTasks, rowsSpans} {
		cfg := defaultConfig(t)
		cfg.Rows = kind
		p, err := newPlan(cfg)
		require.NoError(t, err)
		e := newEncoder(p)
		td := everything()
		for range 100 {
			everything().ResourceSpans().MoveAndAppendTo(td.ResourceSpans())
		}
		require.Zero(t, testing.AllocsPerRun(20, func() { e.encode(td) }), kind)
	}
}
