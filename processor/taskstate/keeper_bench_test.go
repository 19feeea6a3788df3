package taskstate

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/growth"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// BenchmarkSave writes the totals after a heartbeat of every process, each with a task name
// of its own, to a storage in memory.
func BenchmarkSave(b *testing.B) {
	growth.Benchmark(b, 100, func(n int) func() {
		c := newCollectors(b)
		c.kill()
		epoch := time.Now().UnixNano()
		for i := range n {
			process := report.Process{Service: fmt.Sprint("s", i%20), Instance: fmt.Sprint(i), Epoch: epoch}
			c.take(beat(process, 1, named(fmt.Sprint("t", i), report.NameCounts{
				Counts:    report.Counts{Started: 7, Completed: 5},
				Durations: report.Durations{Seconds: 3, Buckets: [taskspan.DurationBuckets]int64{3: 2, 8: 3}},
			})))
		}
		return func() { require.NoError(b, c.keeper.save(context.Background())) }
	})
}
