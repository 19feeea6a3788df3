package deadlockdetector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
)

// A deadlock in a process whose clock is more than a day behind is found, and is said
// to stand since when it does by our clock.
func TestADeadlockOfAProcessWithASlowClock(t *testing.T) {
	const behind = 27 * time.Hour
	f := start(t, defaultConfig(), new(consumertest.TracesSink), componenttest.NewNopHost())
	t.Cleanup(func() { f.stopped(t) })
	shop := newSpeaker("shop")
	from := time.Now()
	take := func(r *report.Report, now time.Time) {
		r.Process.Epoch = from.Add(-behind - time.Hour).UnixNano()
		r.Observed = now.Add(-behind)
		if r.Wait != nil {
			r.Task.Start, r.Wait.Since = r.Observed.Add(-time.Minute), r.Observed.Add(-2*time.Second)
		}
		f.intake.Take(reporttest.Traces(r).ResourceSpans(), now)
	}
	now := from
	for range 4 {
		shop.sequence++
		take(&report.Report{
			Process: shop.process, Sequence: shop.sequence, Heartbeat: &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1},
		}, now)
		now = now.Add(5 * time.Second)
	}
	take(shop.waits(1, true, "a", 2), now)
	take(shop.waits(2, true, "b", 1), now)
	f.evaluate(t.Context(), now)
	f.mu.Lock()
	defer f.mu.Unlock()
	found := f.graph.Standing(nil)
	require.Len(t, found, 1)
	require.WithinDuration(t, now.Add(-2*time.Second), found[0].Since, time.Millisecond)
}
