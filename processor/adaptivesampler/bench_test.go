package adaptivesampler

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// gatewayBatch is a thousand spans of a hundred traces, interleaved, of four services,
// with eight attributes each.
func gatewayBatch(rnd *rand.Rand) ptrace.Traces {
	td := ptrace.NewTraces()
	ids := make([]pcommon.TraceID, 100)
	for i := range ids {
		binary.BigEndian.PutUint64(ids[i][:], rnd.Uint64())
		binary.BigEndian.PutUint64(ids[i][8:], rnd.Uint64())
	}
	for service := range 4 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", service))
		spans := rs.ScopeSpans().AppendEmpty().Spans()
		for i := range 250 {
			s := spans.AppendEmpty()
			s.SetTraceID(ids[(i*7+service*13)%len(ids)])
			s.SetSpanID([8]byte{byte(service), byte(i), 1})
			s.SetName("GET /orders/{id}")
			if service > 0 || i >= len(ids) {
				s.SetParentSpanID([8]byte{1})
			}
			s.SetStartTimestamp(pcommon.Timestamp(time.Hour))
			s.SetEndTimestamp(pcommon.Timestamp(time.Hour + 20*time.Millisecond))
			for k := range 7 {
				s.Attributes().PutStr(fmt.Sprint("attribute.number.", k), "some value or other")
			}
			s.Attributes().PutInt("http.response.status_code", 200)
		}
	}
	return td
}

// The decision about a span, one in ten of which is kept.
func BenchmarkDecide(b *testing.B) {
	const batches = 100
	cfg := createDefaultConfig().(*Config)
	cfg.MinRate, cfg.MaxRate, cfg.Target = 0.1, 0.1, Target{}
	b.ReportAllocs()
	rnd := rand.New(rand.NewPCG(1, 1))
	s := newSampler(cfg, 8<<30)
	now := time.Unix(1000, 0)
	for b.Loop() {
		b.StopTimer()
		for range batches {
			s.ingest(gatewayBatch(rnd), now)
		}
		now = now.Add(time.Minute)
		runtime.GC()
		b.StartTimer()
		s.tick(now, false)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(batches*1000), "ns/span")
}
