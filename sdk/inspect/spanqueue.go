package inspect

import (
	"context"
	"sync"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanQueue is the batch span processor with its exporter. It measures and counts
// what goes through, because the batch span processor tells nobody what it drops.
type spanQueue struct {
	taskSpans
	ins   *Inspector
	room  int64        // spans that can be on their way: in the queue and in a batch
	ended atomic.Int64 // sampled spans that came in

	mu   sync.Mutex // guards all below
	left int64      // spans that were exported, or are counted as dropped
}

func newSpanQueue(ins *Inspector, exporter sdktrace.SpanExporter) *spanQueue {
	b := ins.config.batch
	q := &spanQueue{ins: ins, room: int64(b.queue + b.size)}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(measuredExporter{NewSpanExporter(exporter), q},
		sdktrace.WithBatchTimeout(b.delay), sdktrace.WithExportTimeout(b.timeout),
		sdktrace.WithMaxQueueSize(b.queue), sdktrace.WithMaxExportBatchSize(b.size))
	return q
}

func (q *spanQueue) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		q.ended.Add(1)
		q.taskSpans.OnEnd(s)
	}
}

// Shutdown exports what is there; what has not left by then is lost.
func (q *spanQueue) Shutdown(ctx context.Context) error {
	err := q.taskSpans.Shutdown(ctx)
	q.haveLeft(0, 0)
	return err
}

// haveLeft books spans that have left, and counts those that came in and can be
// nowhere any more, if there is room for so many on their way. Between exports that is
// a lower bound, which every export brings nearer to the truth.
func (q *spanQueue) haveLeft(n int, room int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left += int64(n)
	if lost := q.ended.Load() - q.left - room; lost > 0 {
		q.left += lost
		q.ins.drops.add(dropSpanExport, lost)
	}
}

// measuredExporter measures the export of spans, and counts those that fail.
type measuredExporter struct {
	sdktrace.SpanExporter
	queue *spanQueue
}

func (e measuredExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	stop := threadCPU()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.queue.ins.spent(stop())
	if err != nil {
		e.queue.ins.drops.add(dropSpanExport, int64(len(spans)))
	}
	e.queue.haveLeft(len(spans), e.queue.room)
	return err
}
