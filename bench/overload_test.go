package bench

import (
	"context"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/internal/view"
)

// A stream of three times what fits into memory, with an error in one trace of a
// hundred: adaptive_sampler keeps all of these, and tail_sampling, which is given room
// for as many traces, those that happen to be among the last.
func TestErrorsInAnOverload(t *testing.T) {
	const fits, offered = 8000, 24_000
	kept := func(s int, config map[string]any) (errors int) {
		synctest.Test(t, func(t *testing.T) {
			sink := new(consumertest.TracesSink)
			p := startWith(t, samplers[s].factory, config, sink)
			rnd := rand.New(rand.NewPCG(3, 3))
			for n := range offered / 100 {
				require.NoError(t, p.ConsumeTraces(t.Context(), overloadBatch(rnd, n)))
			}
			time.Sleep(8 * time.Second)
			synctest.Wait()
			require.NoError(t, p.Shutdown(context.Background()))
			for _, td := range sink.AllTraces() {
				for _, rs := range td.ResourceSpans().All() {
					for _, ss := range rs.ScopeSpans().All() {
						for _, span := range ss.Spans().All() {
							if span.Status().Code() == ptrace.StatusCodeError {
								errors++
							}
						}
					}
				}
			}
		})
		return errors
	}
	// A trace of overloadBatch takes about two kilobytes.
	ours := kept(0, map[string]any{
		"decision_delay": "5s", "trace_timeout": "6s", "memory": map[string]any{"limit_mib": fits * 2 / 1024},
	})
	config := tailSampling()
	config["num_traces"], config["decision_wait"] = fits, "5s"
	theirs := kept(1, config)
	t.Logf("of %d errors in a stream three times as large as the memory: adaptive_sampler kept %d, tail_sampling %d", offered/100, ours, theirs)
	require.Equal(t, offered/100, ours)
	require.Less(t, theirs, offered/100)
}

var millions = flag.Int("millions", 2, "seconds of TestAMillionSpansASecond")

// A million spans a second into 64 MiB: the limit holds, nothing waits, everything is
// counted, and five seconds later it is over.
func TestAMillionSpansASecond(t *testing.T) {
	const limit = 64 << 20
	synctest.Test(t, func(t *testing.T) {
		p := startWith(t, samplers[0].factory, map[string]any{
			"memory": map[string]any{"limit_mib": limit >> 20}, "trace_timeout": "10s",
		}, consumertest.NewNop())
		sampler := p.(view.SamplerReader)
		rnd := rand.New(rand.NewPCG(1, 1))
		var sent, most int64
		feed := func(batches int) {
			for n := range batches {
				began := time.Now()
				require.NoError(t, p.ConsumeTraces(t.Context(), overloadBatch(rnd, n)))
				require.Equal(t, began, time.Now(), "the caller does not wait")
				sent += 400
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		state := func() (bytes, spans int64, refused float64) {
			s := sampler.Sampling()
			spans = s.LateKept + s.LateDropped
			for _, o := range s.Outcomes {
				spans += o.Spans
			}
			return int64(s.Tables[0].Size), spans, s.EvictionRate
		}
		var base, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&base)
		for tenth := range *millions * 10 {
			feed(250) // 100,000 spans
			bytes, _, _ := state()
			require.LessOrEqual(t, bytes, int64(limit))
			if tenth%10 == 9 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, int64(now.HeapAlloc)-int64(base.HeapAlloc))
			}
		}
		_, _, refused := state()
		t.Logf("%d spans; at most %d MiB of live heap, %.1f %% of new traces refused in the end", sent, most>>20, 100*refused)
		require.NotZero(t, refused)
		require.Less(t, most, int64(limit+32<<20), "beside the limit there are the remembered decisions and what is being sent")
		for range 50 {
			feed(1) // 4,000 spans a second
		}
		_, _, refused = state()
		require.Zero(t, refused, "it has recovered after five seconds")
		require.NoError(t, p.Shutdown(context.Background()))
		bytes, spans, _ := state()
		require.Zero(t, bytes)
		require.Equal(t, sent, spans, "each span has an outcome")
	})
}

// overloadBatch is a hundred traces of four spans, one of which has an error.
func overloadBatch(rnd *rand.Rand, n int) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range 100 {
		var id pcommon.TraceID
		binary.BigEndian.PutUint64(id[:], rnd.Uint64())
		binary.BigEndian.PutUint64(id[8:], rnd.Uint64())
		for k := range 4 {
			s := spans.AppendEmpty()
			s.SetTraceID(id)
			s.SetSpanID([8]byte{byte(k), 1})
			s.SetName("GET /orders/{id}")
			s.SetStartTimestamp(1)
			s.SetEndTimestamp(2)
			s.Attributes().PutStr("url.path", "/orders/1234567890")
			if k > 0 {
				s.SetParentSpanID([8]byte{0, 1})
			} else if i == n%100 {
				s.Status().SetCode(ptrace.StatusCodeError)
			}
		}
	}
	return td
}

func startWith(t *testing.T, factory processor.Factory, config map[string]any, next consumer.Traces) processor.Traces {
	t.Helper()
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(config).Unmarshal(cfg))
	p, err := factory.CreateTraces(t.Context(), processortest.NewNopSettings(factory.Type()), component.Config(cfg), next)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	return p
}
