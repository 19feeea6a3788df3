package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/groupbytraceprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/bench/gateway"
	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler"
)

func samplerBatches(n int) []ptrace.Traces {
	rnd := rand.New(rand.NewPCG(1, 1))
	batches := make([]ptrace.Traces, n)
	for i := range batches {
		batches[i] = gateway.Batch(rnd, 1000)
	}
	return batches
}

// samplers are the peers, with the same policies: errors, slow traces, one in ten of
// the rest.
var samplers = []struct {
	name    string
	factory processor.Factory
	config  map[string]any
}{
	{"adaptive_sampler", adaptivesampler.NewFactory(), map[string]any{
		"decision_delay": "500ms", "trace_timeout": "1s", "min_rate": 0.1, "max_rate": 0.1, "memory": map[string]any{"limit_mib": 8192},
	}},
	{"tail_sampling", tailsamplingprocessor.NewFactory(), tailSampling()},
	// It only waits and gathers: no policies, nothing is dropped.
	{"groupbytrace", groupbytraceprocessor.NewFactory(), map[string]any{"wait_duration": "1s", "num_traces": 1_000_000}},
}

func tailSampling() map[string]any {
	return map[string]any{
		"decision_wait": "1s", "num_traces": 1_000_000,
		"policies": []any{
			map[string]any{"name": "errors", "type": "status_code", "status_code": map[string]any{"status_codes": []any{"ERROR"}}},
			map[string]any{"name": "slow", "type": "latency", "latency": map[string]any{"threshold_ms": 2000}},
			map[string]any{"name": "rest", "type": "probabilistic", "probabilistic": map[string]any{"sampling_percentage": 10}},
		},
	}
}

func startSampler(b *testing.B, factory processor.Factory, config map[string]any) processor.Traces {
	b.Helper()
	cfg := factory.CreateDefaultConfig()
	require.NoError(b, confmap.NewFromStringMap(config).Unmarshal(cfg))
	if v, ok := cfg.(interface{ Validate() error }); ok {
		require.NoError(b, v.Validate())
	}
	p, err := factory.CreateTraces(b.Context(), processortest.NewNopSettings(factory.Type()), component.Config(cfg), consumertest.NewNop())
	require.NoError(b, err)
	require.NoError(b, p.Start(b.Context(), componenttest.NewNopHost()))
	return p
}

// The CPU time of a span from its arrival to the decision about it, of all goroutines
// and the garbage collector together. Data are made before.
func BenchmarkSamplerCPU(b *testing.B) {
	const batches = 300
	for _, s := range samplers {
		b.Run(s.name, func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				b.StopTimer()
				data := samplerBatches(batches)
				p := startSampler(b, s.factory, s.config)
				runtime.GC()
				b.StartTimer()
				before := cpuTime()
				for _, td := range data {
					require.NoError(b, p.ConsumeTraces(b.Context(), td))
				}
				clear(data)
				time.Sleep(3500 * time.Millisecond) // until all is decided
				require.NoError(b, p.Shutdown(context.Background()))
				used += cpuTime() - before
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/(batches*1000), "cpu-ns/span")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What is held for each pending span, beside the span as it came.
func BenchmarkSamplerRetained(b *testing.B) {
	const batches = 100
	for _, s := range samplers {
		b.Run(s.name, func(b *testing.B) {
			config := map[string]any{}
			for k, v := range s.config {
				config[k] = v
			}
			for _, key := range []string{"decision_delay", "decision_wait", "wait_duration"} {
				if config[key] != nil {
					config[key] = "1m"
				}
			}
			if config["trace_timeout"] != nil {
				config["trace_timeout"] = "2m"
			}
			var held float64
			for b.Loop() {
				var with, without runtime.MemStats
				data := samplerBatches(batches)
				p := startSampler(b, s.factory, config)
				runtime.GC()
				runtime.GC() // what pools held of the run before
				runtime.ReadMemStats(&without)
				for _, td := range data {
					require.NoError(b, p.ConsumeTraces(b.Context(), td))
				}
				clear(data)
				time.Sleep(300 * time.Millisecond)
				runtime.GC()
				runtime.ReadMemStats(&with)
				held += float64(int64(with.HeapAlloc)-int64(without.HeapAlloc)) / (batches * 1000)
				require.NoError(b, p.Shutdown(context.Background()))
			}
			b.ReportMetric(held/float64(b.N), "B/span-more")
		})
	}
}

// The call itself, from one and from many goroutines.
func BenchmarkSamplerIngest(b *testing.B) {
	for _, goroutines := range []int{1, 4, 16} {
		for _, s := range samplers {
			b.Run(fmt.Sprintf("%s/%d goroutines", s.name, goroutines), func(b *testing.B) {
				const batches = 96
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					data := samplerBatches(batches)
					p := startSampler(b, s.factory, s.config)
					runtime.GC()
					b.StartTimer()
					var all sync.WaitGroup
					for g := range goroutines {
						all.Go(func() {
							for i := g; i < batches; i += goroutines {
								_ = p.ConsumeTraces(context.Background(), data[i])
							}
						})
					}
					all.Wait()
					b.StopTimer()
					require.NoError(b, p.Shutdown(context.Background()))
					b.StartTimer()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(batches*1000), "ns/span")
			})
		}
	}
}
