package bench

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/processor/taskstate"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	services       = 5
	tracesPerBatch = 20 // of each service
	spansPerTrace  = 10
	batchSpans     = services * tracesPerBatch * spansPerTrace
)

// batch makes 1,000 spans of five services, each span with eight attributes. Of
// the ten of a trace the first tasks ones are of kind SERVER and the rest INTERNAL
// and CLIENT.
func batch(tasks int) ptrace.Traces {
	td := ptrace.NewTraces()
	now := time.Now()
	for s := range services {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprint("service-", s))
		rs.Resource().Attributes().PutStr("service.instance.id", "instance-1")
		spans := rs.ScopeSpans().AppendEmpty().Spans()
		for tr := range tracesPerBatch {
			for i := range spansPerTrace {
				span := spans.AppendEmpty()
				span.SetTraceID([16]byte{0: 1, 1: byte(s), 2: byte(tr)})
				span.SetSpanID([8]byte{0: byte(s), 1: byte(tr), 2: byte(i + 1)})
				span.SetParentSpanID([8]byte{0: byte(s), 1: byte(tr), 2: 1})
				span.SetKind(ptrace.SpanKindInternal + ptrace.SpanKind(i%2)*2)
				if i < tasks {
					span.SetKind(ptrace.SpanKindServer)
				}
				span.SetName(fmt.Sprintf("operation %d", i))
				span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
				span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Duration(i+1) * time.Millisecond)))
				for a := range 8 {
					span.Attributes().PutStr(fmt.Sprint("http.attribute.number.", a), "value")
				}
			}
		}
	}
	return td
}

func taskState(tb testing.TB) consumer.Traces {
	f := taskstate.NewFactory()
	p, err := f.CreateTraces(context.Background(), processortest.NewNopSettings(f.Type()), f.CreateDefaultConfig(), consumertest.NewNop())
	return startedConsumer(tb, p, err)
}

func spanMetrics(tb testing.TB) consumer.Traces {
	f := spanmetricsconnector.NewFactory()
	c, err := f.CreateTracesToMetrics(context.Background(), connectortest.NewNopSettings(f.Type()), f.CreateDefaultConfig(), consumertest.NewNop())
	return startedConsumer(tb, c, err)
}

func startedConsumer(tb testing.TB, c interface {
	component.Component
	consumer.Traces
}, err error,
) consumer.Traces {
	require.NoError(tb, err)
	require.NoError(tb, c.Start(context.Background(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, c.Shutdown(context.Background())) })
	return c
}

// BenchmarkSpans gives both components the same batches. task_state writes into
// them, so each run gets a copy that is made outside the measured time.
func BenchmarkSpans(b *testing.B) {
	for _, load := range []struct {
		name  string
		tasks int
	}{{"no_tasks", 0}, {"one_task_in_ten", 1}, {"all_tasks", spansPerTrace}} {
		for _, peer := range []struct {
			name string
			make func(testing.TB) consumer.Traces
		}{{"task_state", taskState}, {"span_metrics", spanMetrics}} {
			b.Run(load.name+"/"+peer.name, func(b *testing.B) {
				c := peer.make(b)
				origin := batch(load.tasks)
				copies := make([]ptrace.Traces, 16)
				fill := func() {
					for i := range copies {
						copies[i] = ptrace.NewTraces()
						origin.CopyTo(copies[i])
					}
				}
				fill()
				for i := range copies { // steady state: tables and pools are full
					require.NoError(b, c.ConsumeTraces(context.Background(), copies[i]))
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					if i%len(copies) == 0 {
						b.StopTimer()
						fill()
						runtime.GC()
						b.StartTimer()
					}
					if err := c.ConsumeTraces(context.Background(), copies[i%len(copies)]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSpans, "ns/span")
			})
		}
	}
}

// liveBatch reports n stuck tasks of one process, from the given number on.
func liveBatch(from, n int) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	now := time.Now()
	attrs := rs.Resource().Attributes()
	attrs.PutStr(taskspan.ServiceName, "orders")
	attrs.PutStr(taskspan.ServiceInstanceID, "1")
	attrs.PutInt(taskspan.ProcessEpoch, 1)
	scope := rs.ScopeSpans().AppendEmpty()
	scope.Scope().SetName(taskspan.ScopeReport)
	scope.Scope().SetVersion(taskspan.Version)
	for i := from; i < from+n; i++ {
		id := [8]byte{7: 1, 0: byte(i), 1: byte(i >> 8), 2: byte(i >> 16)}
		span := scope.Spans().AppendEmpty()
		span.SetTraceID([16]byte{15: 1, 0: byte(i), 1: byte(i >> 8), 2: byte(i >> 16)})
		span.SetSpanID(id)
		span.SetParentSpanID(id)
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-2 * time.Second)))
		span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
		a := span.Attributes()
		a.PutStr(taskspan.Report, "wait")
		a.PutInt(taskspan.ReportSequence, int64(i))
		a.PutStr(taskspan.TaskName, fmt.Sprint("task ", i%10))
		a.PutStr(taskspan.TaskState, "blocked")
		a.PutInt(taskspan.TaskStart, now.Add(-3*time.Second).UnixNano())
		a.PutInt(taskspan.WaitID, int64(i))
		a.PutInt(taskspan.WaitRevision, 0)
		a.PutBool(taskspan.WaitOpen, true)
		a.PutStr(taskspan.WaitKind, "mutex")
		a.PutStr(taskspan.WaitResourceID, fmt.Sprint("mutex-", i%100))
		a.PutStr(taskspan.WaitResourceName, fmt.Sprint("lock ", i%100))
		a.PutBool(taskspan.WaitHoldersComplete, true)
		a.PutStr(taskspan.CodeFunctionName, "main.(*Inventory).Reserve")
		a.PutStr(taskspan.CodeFilePath, "/src/orders/inventory.go")
		a.PutInt(taskspan.CodeLineNumber, 42)
		link := span.Links().AppendEmpty()
		link.SetTraceID([16]byte{15: 2})
		link.SetSpanID([8]byte{7: 2})
		link.Attributes().PutInt(taskspan.HoldGeneration, 1)
		link.Attributes().PutStr(taskspan.CodeFunctionName, "main.(*Inventory).Rebuild")
		link.Attributes().PutStr(taskspan.CodeFilePath, "/src/orders/inventory.go")
		link.Attributes().PutInt(taskspan.CodeLineNumber, 77)
	}
	return td
}

// BenchmarkReports tells what a report costs, and what a stuck task takes: the
// heap after 10,000 of them against that before, without the batches.
func BenchmarkReports(b *testing.B) {
	const tasks = 10_000
	var grown uint64
	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		f := taskstate.NewFactory()
		c, err := f.CreateTraces(context.Background(), processortest.NewNopSettings(f.Type()), f.CreateDefaultConfig(), consumertest.NewNop())
		require.NoError(b, err)
		before := heap()
		td := copied(liveBatch(1, tasks))
		b.StartTimer()
		if err := c.ConsumeTraces(context.Background(), td); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		runtime.KeepAlive(td)
		grown = heap() - before
		require.NoError(b, c.Shutdown(context.Background()))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tasks, "ns/report")
	b.ReportMetric(float64(grown)/tasks, "B/live-task")
}

// copied makes the strings of a batch its own, as they are when it has come over
// the wire.
func copied(td ptrace.Traces) ptrace.Traces {
	raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		panic(err)
	}
	td, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
	if err != nil {
		panic(err)
	}
	return td
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
