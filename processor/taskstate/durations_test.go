package taskstate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/histogram"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// timedHeartbeat is a heartbeat that carries durations.
func timedHeartbeat(instance string, epoch, sequence int64, durations string) ptrace.Traces {
	td := heartbeat("shop", instance, epoch, sequence, 40, 35)
	a := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes()
	a.PutEmptySlice(taskspan.TasksByName).AppendEmpty().SetStr(
		fmt.Sprintf(`{"name":"order","started":40,"completed":35,"running":5,"durations":%s}`, durations))
	return td
}

// durationsOf are those of the tasks of one name.
func durationsOf(t *testing.T, p *taskState, name string) histogram.Histogram {
	t.Helper()
	var found []view.TaskStatistics
	for _, s := range p.Statistics().Tasks {
		if s.Name == name {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1)
	return found[0].Durations
}

const (
	upToSecond = 8  // the bucket (0.5 s, 1 s]
	upToThirty = 12 // the bucket (10 s, 30 s]
)

// What heartbeats carry is counted, and spans of the same tasks only show examples,
// whichever comes first, and however often.
func TestDurationsComeFromHeartbeatsOrFromSpansAndNeverFromBoth(t *testing.T) {
	const third = "ot=th:aaaaaaaaaaaaab" // 1 in 3
	span := func(onResource, onScope, epoch bool, state string) ptrace.Traces {
		td := tasksOf("shop", "order", 1, func(_ int, s ptrace.Span) {
			s.SetTraceID([16]byte{7})
			s.TraceState().FromRaw(third)
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(-12 * time.Second)))
			if state != "" {
				s.Attributes().PutStr(taskspan.TaskState, state)
			}
		})
		rs := td.ResourceSpans().At(0)
		if epoch {
			rs.Resource().Attributes().PutInt(taskspan.ProcessEpoch, 1)
		}
		if onResource {
			rs.Resource().Attributes().PutBool(taskspan.ProcessDurations, true)
		}
		if onScope {
			rs.ScopeSpans().At(0).Scope().Attributes().PutBool(taskspan.ProcessDurations, true)
		}
		return td
	}
	beat := func() ptrace.Traces {
		return timedHeartbeat("1", 1, 1, `{"seconds":370.5,"buckets":[0,0,0,0,0,0,0,0,5,0,0,0,30]}`)
	}
	oldBeat := func() ptrace.Traces { return heartbeat("shop", "1", 1, 1, 40, 35) }
	for name, c := range map[string]struct {
		send   []ptrace.Traces
		count  float64
		sum    float64
		thirty float64
	}{
		"heartbeat alone":                   {[]ptrace.Traces{beat()}, 35, 370.5, 30},
		"heartbeat, then span":              {[]ptrace.Traces{beat(), span(true, true, true, "completed")}, 35, 370.5, 30},
		"span, then heartbeat":              {[]ptrace.Traces{span(true, true, true, "completed"), beat()}, 35, 370.5, 30},
		"span of another provider":          {[]ptrace.Traces{beat(), span(false, true, false, "completed")}, 35, 370.5, 30},
		"server span of the process":        {[]ptrace.Traces{beat(), span(true, false, true, "")}, 35, 370.5, 30},
		"heartbeat twice":                   {[]ptrace.Traces{beat(), beat()}, 35, 370.5, 30},
		"an old SDK":                        {[]ptrace.Traces{oldBeat(), span(false, false, true, "completed")}, 3, 36, 3},
		"an old SDK beside a new one":       {[]ptrace.Traces{beat(), span(false, false, true, "completed")}, 38, 406.5, 33},
		"a plain application":               {[]ptrace.Traces{span(false, false, false, "")}, 3, 36, 3},
		"a span whose heartbeat went lost":  {[]ptrace.Traces{span(true, true, true, "completed")}, 0, 0, 0},
		"a mark of the wrong type is none":  {[]ptrace.Traces{marked(span(false, false, true, "completed"))}, 3, 36, 3},
		"a heartbeat of another start, too": {[]ptrace.Traces{beat(), timedHeartbeat("1", 2, 1, `{"seconds":22.25,"buckets":[0,0,0,0,0,0,0,0,1,0,0,0,2]}`)}, 38, 392.75, 32},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := started(t, defaultConfig())
			defer func() { require.NoError(t, p.Shutdown(context.Background())) }()
			for _, td := range c.send {
				require.NoError(t, p.ConsumeTraces(context.Background(), td))
			}
			h := durationsOf(t, p, "order")
			require.InDelta(t, c.count, h.Count, 1e-6)
			require.InDelta(t, c.sum, h.Sum, 0.01)
			require.InDelta(t, c.thirty, h.Fixed[upToThirty], 1e-6)
			if strings.Contains(name, "span") {
				require.Equal(t, report.TaskID{Trace: [16]byte{7}, Span: [8]byte{1}}, h.Exemplars[upToThirty].Task)
			}
		})
	}
}

func marked(td ptrace.Traces) ptrace.Traces {
	td.ResourceSpans().At(0).Resource().Attributes().PutStr(taskspan.ProcessDurations, "true")
	td.ResourceSpans().At(0).ScopeSpans().At(0).Scope().Attributes().PutBool(taskspan.ProcessDurations, false)
	return td
}

// The series of a service only grows, over heartbeats that come late, the end of a
// process and its next start.
func TestDurationsOnlyGrow(t *testing.T) {
	p, _ := started(t, defaultConfig())
	defer func() { require.NoError(t, p.Shutdown(context.Background())) }()
	for i, c := range []struct {
		epoch, sequence int64
		durations       string
		second, thirty  float64
		sum             float64
	}{
		{1, 1, `{"seconds":1.5,"buckets":[0,0,0,0,0,0,0,0,2]}`, 2, 0, 1.5},
		{1, 3, `{"seconds":62.5,"buckets":[0,0,0,0,0,0,0,0,3,0,0,0,5]}`, 3, 5, 62.5},
		{1, 2, `{"seconds":14.5,"buckets":[0,0,0,0,0,0,0,0,3,0,0,0,1]}`, 3, 5, 62.5},                 // late
		{2, 1, `{"seconds":0.75,"buckets":[0,0,0,0,0,0,0,0,1]}`, 4, 5, 63.25},                        // restarted
		{2, 2, `{"seconds":24.75,"buckets":[0,0,0,0,0,0,0,0,1,0,0,0,2]}`, 4, 7, 87.25},               //
		{1, 4, `{"seconds":75.5,"buckets":[0,0,0,0,0,0,0,0,4,0,0,0,6]}`, 5, 8, 100.25},               // the last of the first start, late
		{2, 3, `{"seconds":36.75,"buckets":[0,0,0,0,0,0,0,0,1,0,0,0,3,0]}`, 5, 9, 112.25},            //
		{2, 4, `{"seconds":36.75,"buckets":[0,0,0,0,0,0,0,0,1,0,0,0,3,0]}`, 5, 9, 112.25},            // nothing new
		{3, 1, `{"seconds":0.0001,"buckets":[6]}`, 5, 9, 112.2501},                                   //
		{3, 2, `{"seconds":400.0001,"buckets":[6,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]}`, 5, 9, 512.2501}, // beyond all bounds
	} {
		require.NoError(t, p.ConsumeTraces(context.Background(), timedHeartbeat("1", c.epoch, c.sequence, c.durations)))
		h := durationsOf(t, p, "order")
		require.Equal(t, c.second, h.Fixed[upToSecond], "step %d", i)
		require.Equal(t, c.thirty, h.Fixed[upToThirty], "step %d", i)
		require.InDelta(t, c.sum, h.Sum, 1e-9, "step %d", i)
	}
	h := durationsOf(t, p, "order")
	require.EqualValues(t, 6, h.Fixed[0])
	require.EqualValues(t, 1, h.Fixed[len(h.Fixed)-1])
}
