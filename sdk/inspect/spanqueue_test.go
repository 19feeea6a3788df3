//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// gatedExporter takes one batch for each value that it is given, and answers with it.
type gatedExporter struct {
	arrived chan int
	answer  chan error
}

func (e gatedExporter) ExportSpans(_ context.Context, s []sdktrace.ReadOnlySpan) error {
	e.arrived <- len(s)
	return <-e.answer
}
func (gatedExporter) Shutdown(context.Context) error { return nil }

// Every sampled span is exported or counted as dropped, whether the exporter fails or
// is too slow for the queue.
func TestSpanDropsAreCounted(t *testing.T) {
	clearEnv(t)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
	e := gatedExporter{make(chan int), make(chan error)}
	ins, err := New(t.Context(), WithSpanExporter(e), WithReports(false))
	if err != nil {
		t.Fatal(err)
	}
	const tasks = 100
	for range tasks {
		_, task := ins.Begin(t.Context(), "x")
		task.End(nil)
	}
	exported, failed := 0, 0
	done := make(chan error)
	go func() { done <- ins.Shutdown(context.Background()) }()
	for open := true; open; {
		select {
		case n := <-e.arrived:
			if failed == 0 {
				failed = n
				e.answer <- errors.New("refused")
			} else {
				exported += n
				e.answer <- nil
			}
		case err := <-done:
			open = false
			if err != nil {
				t.Error(err)
			}
		}
	}
	drops := int(ins.drops[dropSpanExport].Load())
	if failed == 0 || exported+drops != tasks || drops <= failed {
		t.Errorf("%d exported, %d dropped (%d because the exporter failed), of %d", exported, drops, failed, tasks)
	}
}

// Drops are counted while the exporter is still busy: all but those that can be in the
// queue or in a batch.
func TestSpanDropsAreCountedEarly(t *testing.T) {
	ins, _ := newSeen(t)
	q := &spanQueue{ins: ins, room: 6}
	q.ended.Store(100)
	q.haveLeft(2, q.room)
	if n := ins.drops[dropSpanExport].Load(); n != 92 {
		t.Errorf("%d drops after one batch, want 92", n)
	}
	q.haveLeft(6, q.room)
	if n := ins.drops[dropSpanExport].Load(); n != 92 {
		t.Errorf("%d drops after the rest was exported", n)
	}
	q.haveLeft(0, 0)
	if n := ins.drops[dropSpanExport].Load(); n != 92 {
		t.Errorf("%d drops in the end", n)
	}
}
