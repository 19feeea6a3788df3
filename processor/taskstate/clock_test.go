package taskstate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A process whose clock is more than a day behind is heard once it is known by how
// much, and its processes and counts are shown in our time.
func TestAProcessWithASlowClockIsHeard(t *testing.T) {
	p, _ := started(t, defaultConfig())
	defer func() { require.NoError(t, p.Shutdown(t.Context())) }()
	const behind = 31 * time.Hour
	from := time.Now()
	for i := range 7 {
		now := from.Add(time.Duration(i) * 5 * time.Second)
		r := &report.Report{
			Process:  report.Process{Service: "shop", Instance: "slow", Epoch: from.Add(-behind - time.Minute).UnixNano()},
			Sequence: int64(i + 1), Observed: now.Add(-behind),
			Heartbeat: &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1},
		}
		td := reporttest.Traces(r)
		td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().PutInt(taskspan.TasksStarted, int64(i))
		p.intake.Take(td.ResourceSpans(), now)
	}
	require.EqualValues(t, 3, p.intake.Dropped()[report.DropTime])
	processes := p.live.table.Processes(nil)
	require.Len(t, processes, 1)
	require.Equal(t, -behind, processes[0].Ahead)
	require.EqualValues(t, 6, processes[0].Counts.Started)
}
