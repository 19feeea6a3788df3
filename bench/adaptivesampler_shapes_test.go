package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// The shapes of contrib's adaptive_tail_sampling, by the names of its benchmarks, so
// that its published figures can be set beside these: each batch has ten spans of one
// trace. That component cannot be had as a module. It copies the spans, so its own
// benchmarks send one batch again and again; here each batch is new, as it is behind a
// receiver, and made outside the timer.

const shapeSpans, shapeWindow = 10, 8192

func shapeBatch(seq uint64, root bool) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	var id pcommon.TraceID
	binary.BigEndian.PutUint64(id[:], seq*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], seq*0xbf58476d1ce4e5b9)
	for i := range shapeSpans {
		s := spans.AppendEmpty()
		s.SetTraceID(id)
		s.SetSpanID([8]byte{byte(i), 1})
		if !root || i > 0 {
			s.SetParentSpanID([8]byte{2})
		}
		s.SetName("GET /orders/{id}")
		s.SetStartTimestamp(1)
		s.SetEndTimestamp(2)
		s.Attributes().PutStr("http.request.method", "GET")
		s.Attributes().PutStr("http.route", "/orders/{id}")
		s.Attributes().PutInt("http.response.status_code", 200)
		s.Status().SetCode(ptrace.StatusCodeOk)
	}
	return td
}

func BenchmarkConsumeTraces_Parallel(b *testing.B) {
	long := map[string]any{"adaptive_sampler": "1h", "tail_sampling": "1h"}
	for _, shape := range []struct {
		name    string
		trace   func(n uint64) uint64 // of the nth batch
		root    bool
		seed    bool // the window is sent before
		decided bool // and decided
		rate    float64
	}{
		{name: "new_traces", trace: func(n uint64) uint64 { return shapeWindow + n }},
		{name: "append_to_pending", trace: func(n uint64) uint64 { return n % shapeWindow }, seed: true},
		{name: "cache_hit_sampled", trace: func(n uint64) uint64 { return n % shapeWindow }, seed: true, decided: true, rate: 1},
		{name: "cache_hit_dropped", trace: func(n uint64) uint64 { return n % shapeWindow }, seed: true, decided: true},
		{name: "mixed", trace: func(n uint64) uint64 { return shapeWindow + n }, root: true, rate: 0.1},
	} {
		for _, s := range samplers[:2] {
			if shape.root && s.name != "adaptive_sampler" {
				continue // it has no decision that the root sets off
			}
			config := map[string]any{
				"trace_timeout": long[s.name], "decision_delay": "30m", "min_rate": shape.rate, "max_rate": shape.rate,
				"memory": map[string]any{"limit_mib": 16384},
			}
			if s.name == "tail_sampling" {
				config = tailSampling()
				config["decision_wait"] = long[s.name]
				config["decision_cache"] = map[string]any{"sampled_cache_size": shapeWindow, "non_sampled_cache_size": shapeWindow}
				config["policies"] = []any{map[string]any{
					"name": "rest", "type": "probabilistic", "probabilistic": map[string]any{"sampling_percentage": 100 * shape.rate},
				}}
			}
			if shape.decided {
				if s.name == "tail_sampling" {
					config["decision_wait"] = "1s"
				} else {
					config["decision_interval"], config["decision_delay"], config["trace_timeout"] = "100ms", "1ms", "100ms"
				}
			}
			if shape.root {
				config["decision_interval"], config["decision_delay"] = "100ms", "1ms"
			}
			for _, goroutines := range []int{1, 4, 16} {
				b.Run(fmt.Sprintf("%s/%s/%d goroutines", shape.name, s.name, goroutines), func(b *testing.B) {
					p := startSampler(b, s.factory, config)
					defer func() { _ = p.Shutdown(context.Background()) }()
					if shape.seed {
						for i := range uint64(shapeWindow) {
							require.NoError(b, p.ConsumeTraces(b.Context(), shapeBatch(i, false)))
						}
					}
					if shape.decided {
						time.Sleep(map[string]time.Duration{"adaptive_sampler": 300, "tail_sampling": 2200}[s.name] * time.Millisecond)
					}
					var before, after runtime.MemStats
					var objects uint64
					b.ResetTimer()
					for done := 0; done < b.N; {
						// A piece at a time, so that the batches fit into memory.
						b.StopTimer()
						n := min(b.N-done, 20_000)
						data := make([]ptrace.Traces, n)
						for i := range data {
							data[i] = shapeBatch(shape.trace(uint64(done+i)), shape.root)
						}
						runtime.ReadMemStats(&before)
						b.StartTimer()
						var all sync.WaitGroup
						for g := range goroutines {
							all.Go(func() {
								for i := g; i < n; i += goroutines {
									_ = p.ConsumeTraces(context.Background(), data[i])
								}
							})
						}
						all.Wait()
						b.StopTimer()
						runtime.ReadMemStats(&after)
						objects += after.Mallocs - before.Mallocs
						b.StartTimer()
						done += n
					}
					spans := float64(b.N * shapeSpans)
					b.ReportMetric(spans/b.Elapsed().Seconds(), "spans/s")
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/spans, "ns/span")
					b.ReportMetric(float64(objects)/spans, "allocs/span")
				})
			}
		}
	}
}
