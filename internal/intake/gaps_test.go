package intake_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// ordinary is a batch with a span of a process in one scope.
func ordinary(p report.Process, scope string) ptrace.ResourceSpansSlice {
	td := ptrace.NewTraces()
	s := reporttest.Scope(td, p)
	s.Scope().SetName(scope)
	s.Spans().AppendEmpty()
	return td.ResourceSpans()
}

// Spans of a process are noticed whether they come alone or beside those of another;
// what a detector has added is not from the process.
func TestWhichProcessesAreUnreported(t *testing.T) {
	for name, c := range map[string]struct {
		expected bool
		want     []report.Process
		logged   int
	}{
		"reports are expected here":   {true, []report.Process{shop}, 1},
		"another collector gets them": {false, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, fleet.Limits{Processes: 9, Tasks: 9, Waits: 9})
			g, logs := f.gaps(c.expected)
			for i := range int64(6) {
				require.False(t, g.Spans(ordinary(shop, "otelgrpc"), f.now))
				require.False(t, g.Spans(ordinary(report.Process{Service: "mail", Instance: "3", Epoch: 4}, taskspan.ScopeDetector), f.now))
				both := reporttest.Traces(f.beat(bank, i+1)).ResourceSpans()
				ordinary(bank, "otelhttp").MoveAndAppendTo(both)
				require.True(t, g.Spans(both, f.now))
				f.Take(both, f.now)
				g.Look(f.now)
				f.now = f.now.Add(5 * time.Second)
			}
			require.Equal(t, c.want, g.Unreported())
			require.Equal(t, c.logged, logs.FilterMessageSnippet("deadlock_detector, task_state, then").Len())
			require.Equal(t, c.logged, logs.Len())
			if c.logged > 0 {
				require.Equal(t, map[string]any{"service": "shop", "instance": "7", "epoch": shop.Epoch, "more_processes": int64(0)}, logs.All()[0].ContextMap())
			}
		})
	}
}

// Many gaps at a time are one line.
func TestGapsAreLoggedInOneLine(t *testing.T) {
	f := newFixture(t, fleet.Limits{Processes: 9, Tasks: 9, Waits: 9})
	g, logs := f.gaps(true)
	for range 6 {
		for _, name := range []string{"a", "b", "c", "d"} {
			g.Spans(ordinary(report.Process{Service: name, Instance: "1", Epoch: 1}, "x"), f.now)
		}
		g.Look(f.now)
		f.now = f.now.Add(5 * time.Second)
	}
	require.Equal(t, 1, logs.Len())
	require.EqualValues(t, 2, logs.All()[0].ContextMap()["more_processes"], "there is room for three")
	require.Equal(t, []intake.Eviction{{Table: "processes", Reason: "spans_unwatched", Count: 6}}, g.Evictions())
}

// Reports of which two of three are missing are a warning, once.
func TestReportsThatArriveInPart(t *testing.T) {
	f := newFixture(t, fleet.Limits{Processes: 9, Tasks: 9, Waits: 9})
	g, logs := f.gaps(true)
	for i := range int64(60) {
		if r := f.beat(shop, i+1); i%3 == 0 {
			f.Take(reporttest.Traces(r).ResourceSpans(), f.now)
		}
		g.Look(f.now)
		f.now = f.now.Add(5 * time.Second)
	}
	require.Equal(t, 1, logs.Len())
	fields := logs.All()[0].ContextMap()
	require.Contains(t, logs.All()[0].Message, "A part of the reports")
	require.Equal(t, "shop", fields["service"])
	require.InDelta(t, 2./3, fields["missing"], 0.1)
}

// Two replicas with one fixed id are a warning, once.
func TestTwoProcessesWithOneInstanceID(t *testing.T) {
	f := newFixture(t, fleet.Limits{Processes: 9, Tasks: 9, Waits: 9})
	g, logs := f.gaps(true)
	other := shop
	other.Epoch++
	for i := range int64(12) {
		for _, p := range []report.Process{shop, other} {
			f.Take(reporttest.Traces(f.beat(p, i+1)).ResourceSpans(), f.now)
		}
		g.Look(f.now)
		f.now = f.now.Add(5 * time.Second)
	}
	require.Equal(t, 1, logs.Len())
	require.Contains(t, logs.All()[0].Message, "Two processes use one service.instance.id")
	fields := logs.All()[0].ContextMap()
	require.Equal(t, "shop", fields["service"])
	require.EqualValues(t, shop.Epoch, fields["epoch"])
	require.Contains(t, f.Evictions(f.table.Counters()), intake.Eviction{Table: "heartbeats", Reason: "older_start", Count: f.table.Counters().OlderStart})
	require.Positive(t, f.table.Counters().OlderStart)
}

// gaps watches at most three processes.
func (f *fixture) gaps(expected bool) (*intake.Gaps, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.InfoLevel)
	return intake.NewGaps(new(sync.Mutex), f.table, 3, expected, zap.New(core)), logs
}
