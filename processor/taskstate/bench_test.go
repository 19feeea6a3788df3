package taskstate

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// BenchmarkReaders tells how long a reader holds the fleet's lock (copy) and what
// a page costs in all, with full tables: 5,000 live and 5,000 ended tasks.
func BenchmarkReaders(b *testing.B) {
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), defaultConfig(), consumertest.NewNop())
	require.NoError(b, err)
	now := time.Now()
	for i := range 5000 {
		r := report.Report{Process: report.Process{Service: "s", Instance: "i", Epoch: 1}, Sequence: int64(i), Observed: now}
		r.Task = &report.Task{
			ID: report.TaskID{Trace: [16]byte{byte(i), byte(i >> 8), 1}, Span: [8]byte{1}}, Name: "t",
			State: taskspan.Blocked, Start: now,
		}
		r.Wait = &report.Wait{ID: int64(i), Open: true, Kind: taskspan.WaitMutex, ResourceID: "m", ResourceName: "m", Since: now}
		p.live.apply(&r, now)
	}
	require.NoError(b, p.ConsumeTraces(context.Background(), tasksOf("shop", "x", 5000, func(i int, s ptrace.Span) {
		s.SetName(fmt.Sprint("name ", i%100))
	})))
	b.Run("copy", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			p.fleetTasks()
		}
	})
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			p.Tasks(view.TaskQuery{Limit: 100})
		}
	})
	b.Run("all ended", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			p.ended.page(view.TaskQuery{}, 0, 0)
		}
	})
	b.Run("statistics", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			p.Statistics()
		}
	})
	require.NoError(b, p.Shutdown(context.Background()))
}
