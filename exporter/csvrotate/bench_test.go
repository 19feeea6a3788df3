package csvrotate

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// BenchmarkEncode is what a row costs before it is written: 1,000 tasks with eight
// attributes each.
func BenchmarkEncode(b *testing.B) {
	td := ptrace.NewTraces()
	spans := scopeOf(td, "app")
	for i := range 1000 {
		s := span(spans, fmt.Sprint("operation ", i%10))
		s.Attributes().PutStr(taskspan.TaskState, "completed")
		s.Attributes().PutInt(taskspan.TaskBlockedNS, int64(i))
		for a := range 6 {
			s.Attributes().PutStr(fmt.Sprint("http.attribute.number.", a), "value")
		}
	}
	for _, kind := range []string{rowsTasks, rowsSpans} {
		b.Run(kind, func(b *testing.B) {
			cfg := defaultConfig(b)
			cfg.Rows = kind
			p, err := newPlan(cfg)
			if err != nil {
				b.Fatal(err)
			}
			e := newEncoder(p)
			e.encode(td)
			b.ReportAllocs()
			b.SetBytes(int64(len(e.buf)))
			for b.Loop() {
				e.encode(td)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
		})
	}
}
