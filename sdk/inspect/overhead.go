package inspect

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// overhead measures what the SDK costs, as a share of the CPU time of the process:
// the reporter and the exporter measure themselves, and of tasks one in
// measuredTasks is timed. What the exporter's transport does on goroutines of its
// own is not seen.
type overhead struct {
	spentNS atomic.Int64

	mu       sync.Mutex // guards all below
	lastSeen int64      // spentNS at the last look
	lastCPU  time.Duration
	share    float64
}

// measuredTasks is how many tasks one measured task stands for.
const measuredTasks = 64

// spent books CPU time of the SDK.
func (ins *Inspector) spent(d time.Duration) { ins.overhead.spentNS.Add(int64(d)) }

// longestMeasured cuts measurements during which the goroutine was not running:
// no task costs this much.
const longestMeasured = 50 * time.Microsecond

func (ins *Inspector) spentOnTask(d time.Duration) {
	ins.spent(min(d, longestMeasured) * measuredTasks)
}

// overheadShare is the share over the last interval, which begins anew when
// lookAtOverhead is called.
func (ins *Inspector) overheadShare() float64 {
	ins.overhead.mu.Lock()
	defer ins.overhead.mu.Unlock()
	return ins.overhead.share
}

// lookAtOverhead ends an interval and returns its share.
func (ins *Inspector) lookAtOverhead() float64 {
	o := &ins.overhead
	o.mu.Lock()
	defer o.mu.Unlock()
	spent, cpu := o.spentNS.Load(), processCPU()
	if used := cpu - o.lastCPU; used > 0 {
		o.share = min(1, float64(spent-o.lastSeen)/float64(used))
	}
	o.lastSeen, o.lastCPU = spent, cpu
	return o.share
}

// measuredExporter measures the export of spans, and counts those that fail.
type measuredExporter struct {
	sdktrace.SpanExporter
	ins *Inspector
}

func (e measuredExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	stop := threadCPU()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.ins.spent(stop())
	if err != nil {
		e.ins.drops.add(dropSpanExport, int64(len(spans)))
	}
	return err
}
