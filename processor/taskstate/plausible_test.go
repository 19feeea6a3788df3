package taskstate

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/histogram"
	"github.com/asyncinspect/asyncinspect/internal/plausible"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// No span moves a sum by more than a span can: neither its weight, nor its duration, nor
// how long it was blocked. What was bounded is counted.
func TestNoSpanMovesASumForEver(t *testing.T) {
	const at = 1_800_000_000_000_000_000
	seconds := func(s float64) pcommon.Timestamp { return pcommon.Timestamp(s * 1e9) }
	year := plausible.MaxDuration.Seconds()
	p, _ := started(t, defaultConfig())
	defer func() { require.NoError(t, p.Shutdown(context.Background())) }()
	for _, c := range []struct {
		name           string
		start, end     pcommon.Timestamp
		state          string
		weight, took   float64
		capped, mended int64
	}{
		{"as usual", at, at + seconds(3), "", 1, 3, 0, 0},
		{"weighted", at, at + seconds(5), "ot=th:c", 4, 5, 0, 0},
		{"the largest weight", at, at + seconds(7), "ot=th:fffff", plausible.MaxWeight, 7, 0, 0},
		{"more than that", at, at + seconds(11), "ot=th:ffffffffffffff", plausible.MaxWeight, 11, 1, 0},
		{"backwards", at + seconds(13), at, "ot=th:e", 8, 0, 0, 1},
		{"a year", at, at + seconds(year), "ot=th:8", 2, year, 0, 0},
		{"more than a year", at, at + seconds(year+17), "ot=th:f", 16, year, 0, 1},
		{"no start", 0, at, "ot=th:f8", 32, 0, 0, 1},
		{"no end", at, 0, "", 1, 0, 0, 1},
		{"beyond all time", at, math.MaxUint64, "ot=th:ffffffff", plausible.MaxWeight, year, 1, 1},
	} {
		for _, wait := range []bool{false, true} {
			before := map[string]int64{"weight_capped": p.stats.weightsCapped.Load(), "times_corrected": p.stats.timesCorrected.Load()}
			td := tasksOf("shop", c.name, 1, func(_ int, s ptrace.Span) {
				s.SetStartTimestamp(c.start)
				s.SetEndTimestamp(c.end)
				s.TraceState().FromRaw(c.state)
				if wait {
					s.SetKind(ptrace.SpanKindInternal)
					s.SetParentSpanID([8]byte{1})
					s.SetName(taskspan.WaitSpanPrefix + "mutex " + c.name)
					s.Attributes().PutStr(taskspan.WaitKind, "mutex")
					s.Attributes().PutStr(taskspan.WaitResourceName, c.name)
				}
			})
			require.NoError(t, p.ConsumeTraces(context.Background(), td))
			var h histogram.Histogram
			if wait {
				for _, w := range p.Statistics().Waits {
					if w.Resource == c.name {
						h = w.Sampled
					}
				}
			} else {
				task := statisticsOf(t, p, c.name)
				require.Equal(t, c.weight, task.Started, c.name)
				require.Equal(t, c.weight, task.Ended[taskspan.Completed], c.name)
				h = task.Durations
			}
			require.Equal(t, c.weight, h.Count, c.name)
			require.InEpsilon(t, 1+c.weight*c.took, 1+h.Sum, 1e-9, c.name)
			require.Equal(t, c.capped, p.stats.weightsCapped.Load()-before["weight_capped"], c.name)
			require.Equal(t, c.mended, p.stats.timesCorrected.Load()-before["times_corrected"], c.name)
		}
	}

	td := tasksOf("shop", "blocked for ages", 1, func(_ int, s ptrace.Span) {
		s.TraceState().FromRaw("ot=th:ffffffffffffff")
		s.Attributes().PutStr(taskspan.TaskState, "completed")
		s.Attributes().PutInt(taskspan.TaskBlockedNS, math.MaxInt64)
	})
	require.NoError(t, p.ConsumeTraces(context.Background(), td))
	require.Equal(t, year*plausible.MaxWeight, statisticsOf(t, p, "blocked for ages").BlockedIn)
	for _, e := range p.evictions() {
		if e.Table == "spans" {
			require.Equal(t, map[string]int64{"weight_capped": 5, "times_corrected": 10}[e.Reason], e.Count, e.Reason)
		}
	}
	tasks, _ := p.Tasks(view.TaskQuery{})
	for _, task := range tasks {
		took := task.End.Sub(task.Start)
		require.True(t, took >= 0 && took <= plausible.MaxDuration, "%s took %v", task.Name, took)
	}
	require.NotEmpty(t, tasks)
}

func statisticsOf(t *testing.T, p *taskState, name string) view.TaskStatistics {
	t.Helper()
	for _, s := range p.Statistics().Tasks {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no task is named %s", name)
	return view.TaskStatistics{}
}
