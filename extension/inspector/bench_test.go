package inspector

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector"
	"github.com/asyncinspect/asyncinspect/processor/taskstate"
)

// busy is an inspector over processors that know 10,000 live tasks, of which 5,000
// wait for another one, and series statistics of tasks.
func busy(b *testing.B, series int) *inspector {
	b.Helper()
	x := unstarted(b, createDefaultConfig().(*Config))
	x.cfg.Metrics.MaxSeries = 10_000
	x.metrics.admitted.limit = 10_000
	p := connected(b, x)
	process := shop()
	const batch = 500
	for from := 0; from < 10_000; from += batch {
		var reports []*report.Report
		for i := from; i < from+batch; i++ {
			if i < 5_000 {
				reports = append(reports, waits(process, i, fmt.Sprintf("lock %d", i%100), i/2+5_000))
				continue
			}
			reports = append(reports, &report.Report{Process: process, Task: &report.Task{ID: taskOf(i), Name: fmt.Sprintf("task %d", i%50), State: "running", Start: time.Now().Add(-time.Minute)}})
		}
		p.consume(b, reports...)
	}
	for i := range series {
		require.NoError(b, p.first.ConsumeTraces(context.Background(), spans("web", fmt.Sprintf("GET /%d", i), 1, time.Duration(i)*time.Millisecond)))
	}
	return x
}

// fresh answers a request of which nothing has been read before: the first that a
// person sees.
func fresh(b *testing.B, target string, series int) {
	x := busy(b, series)
	handler := x.handler()
	size, lines := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		x.forgetAll()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		require.Equal(b, http.StatusOK, w.Code)
		size, lines = w.Body.Len(), strings.Count(w.Body.String(), "\n")
	}
	b.ReportMetric(float64(size), "bytes")
	b.ReportMetric(float64(lines), "lines")
}

// A task name has a series for each of its buckets and numbers, some 25.
func BenchmarkScrape(b *testing.B) {
	for _, names := range []int{40, 1_000} {
		b.Run(fmt.Sprintf("names=%d", names), func(b *testing.B) { fresh(b, "/metrics", names) })
	}
}

func BenchmarkFirstAnswer(b *testing.B) {
	for name, target := range map[string]string{
		"tasks": "/api/v1/tasks", "tasks10000": "/api/v1/tasks?limit=10000", "search": "/api/v1/tasks?q=lock+7&sort=-blocked",
		"graph": "/api/v1/graph?limit=5000", "overview": "/api/v1/overview", "resources": "/api/v1/resources",
	} {
		b.Run(name, func(b *testing.B) { fresh(b, target, 50) })
	}
}

// BenchmarkConsumeTraces is what a span costs in task_state and deadlock_detector
// while nobody looks; while a scraper and a page ask without a pause; while they
// read the components without the guard that makes them share; and, to tell the
// locks from the CPU and the garbage that the reading takes, while they do the
// same to other components.
func BenchmarkConsumeTraces(b *testing.B) {
	for _, readers := range []string{"none", "hammering", "unshared", "elsewhere", "elsewhere-unshared"} {
		b.Run(readers, func(b *testing.B) {
			x := busy(b, 100)
			first := consumer(b, x)
			asked := x
			if strings.HasPrefix(readers, "elsewhere") {
				asked = busy(b, 100)
			}
			handler := asked.handler()
			stop := make(chan struct{})
			var wg sync.WaitGroup
			if readers != "none" {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if strings.HasSuffix(readers, "unshared") {
							asked.forgetAll()
						}
						for _, target := range []string{"/metrics", "/api/v1/tasks?limit=1"} {
							handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, nil))
						}
					}
				})
			}
			const batch = 1_000
			traces := spans("web", "GET /", batch, time.Millisecond)
			worst := time.Duration(0)
			b.ResetTimer()
			for range b.N {
				td := ptrace.NewTraces()
				traces.CopyTo(td)
				began := time.Now()
				require.NoError(b, first.ConsumeTraces(context.Background(), td))
				worst = max(worst, time.Since(began))
			}
			b.StopTimer()
			close(stop)
			wg.Wait()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/span")
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs/batch")
		})
	}
}

// consumer is a second pair of processors that show themselves to x.
func consumer(b *testing.B, x *inspector) processor.Traces {
	b.Helper()
	h := host{component.MustNewID("inspector"): x}
	last, err := taskstate.NewFactory().CreateTraces(context.Background(), processortest.NewNopSettings(component.MustNewType("task_state")),
		taskstate.NewFactory().CreateDefaultConfig(), consumertest.NewNop())
	require.NoError(b, err)
	first, err := deadlockdetector.NewFactory().CreateTraces(context.Background(), processortest.NewNopSettings(component.MustNewType("deadlock_detector")),
		deadlockdetector.NewFactory().CreateDefaultConfig(), last)
	require.NoError(b, err)
	require.NoError(b, last.Start(context.Background(), h))
	require.NoError(b, first.Start(context.Background(), h))
	b.Cleanup(func() {
		require.NoError(b, first.Shutdown(context.Background()))
		require.NoError(b, last.Shutdown(context.Background()))
	})
	return first
}
