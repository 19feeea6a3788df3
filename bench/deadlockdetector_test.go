package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func startDetector(b *testing.B) processor.Traces {
	b.Helper()
	factory := deadlockdetector.NewFactory()
	p, err := factory.CreateTraces(b.Context(), processortest.NewNopSettings(factory.Type()), factory.CreateDefaultConfig(), consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, p.Start(b.Context(), componenttest.NewNopHost()))
	b.Cleanup(func() { require.NoError(b, p.Shutdown(context.Background())) })
	return p
}

// Ordinary spans pass the detector by.
func BenchmarkDetectorOrdinarySpans(b *testing.B) {
	p := startDetector(b)
	const spans = 1000
	td := ptrace.NewTraces()
	for range 10 {
		ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
		for range spans / 10 {
			ss.Spans().AppendEmpty().SetName("GET /orders")
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.ConsumeTraces(b.Context(), td); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/spans, "ns/span")
}

// A process tells of a thousand stuck tasks.
func BenchmarkDetectorReports(b *testing.B) {
	p := startDetector(b)
	const tasks = 1000
	now := time.Now()
	process := report.Process{Service: "shop", Instance: "1", Epoch: now.UnixNano()}
	reports := make([]*report.Report, tasks)
	id := func(n int) report.TaskID {
		return report.TaskID{Trace: [16]byte{byte(n), byte(n >> 8), 15: 1}, Span: [8]byte{byte(n), byte(n >> 8), 7: 1}}
	}
	for n := range reports {
		reports[n] = &report.Report{
			Process: process, Sequence: int64(n), Observed: now,
			Task: &report.Task{ID: id(n), Name: "reserve", State: taskspan.Blocked, Start: now.Add(-time.Minute)},
			Wait: &report.Wait{
				ID: int64(n), Revision: 1, Open: true, Kind: taskspan.WaitMutex, ResourceID: "stock", ResourceName: "stock",
				Since: now.Add(-time.Minute), Complete: true, Place: report.Place{Function: "main.reserve", File: "main.go", Line: 10},
				Holders: []report.Holder{{Task: id(n + 1), Generation: 1, Weight: 1}},
			},
		}
	}
	var sequence int64
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, r := range reports {
			sequence++
			r.Sequence = sequence
		}
		td := reporttest.Traces(reports...)
		b.StartTimer()
		if err := p.ConsumeTraces(b.Context(), td); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tasks, "ns/report")
}
