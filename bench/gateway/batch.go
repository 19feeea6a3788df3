// Package gateway makes the spans that samplers are measured with.
package gateway

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Batch is a batch as a gateway gets it: of four services, their traces of ten spans
// interleaved, with eight attributes each; one trace in a hundred has an error.
func Batch(rnd *rand.Rand, spans int) ptrace.Traces {
	td := ptrace.NewTraces()
	ids := make([]pcommon.TraceID, spans/10)
	for i := range ids {
		binary.BigEndian.PutUint64(ids[i][:], rnd.Uint64())
		binary.BigEndian.PutUint64(ids[i][8:], rnd.Uint64())
	}
	now := time.Now()
	for service := range 4 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", service))
		to := rs.ScopeSpans().AppendEmpty().Spans()
		for i := range spans / 4 {
			s := to.AppendEmpty()
			s.SetTraceID(ids[(i*7+service*13)%len(ids)])
			s.SetSpanID([8]byte{byte(service), byte(i), byte(i >> 8), 1})
			s.SetName("GET /orders/{id}")
			if service > 0 || i >= len(ids) {
				s.SetParentSpanID([8]byte{1})
			}
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(now))
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(now.Add(20 * time.Millisecond)))
			if rnd.IntN(1000) == 0 {
				s.Status().SetCode(ptrace.StatusCodeError)
			}
			for k := range 7 {
				s.Attributes().PutStr(attributes[k], "some value or other")
			}
			s.Attributes().PutInt("http.response.status_code", 200)
		}
	}
	return td
}

var attributes = [...]string{
	"http.request.method", "http.route", "url.path", "url.scheme", "server.address", "client.address", "user_agent.original",
}
