package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// At a sampling rate of 1 % the histogram of durations counts every task that has ended,
// as the demo counts them itself.
func TestDurationsOfEveryTaskInProductionMode(t *testing.T) {
	t.Parallel()
	collector := startDefault(t, nil, nil)
	demo := startDemo(t, []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + collector.grpc,
		"ASYNC_INSPECT_MODE=production",
	}, "-orders", "60", "-for", "8s")
	demo.wait(t)
	seen := metrics(collector.inspector)
	eventually(t, 20*time.Second, "a duration for each task that has ended", func() error {
		var differ []error
		for service, tasks := range demo.counted(t) {
			for name, n := range tasks {
				labels := map[string]string{"service": service, "task": name}
				got, err := seen.sum("async_inspect_task_duration_seconds_count", labels)
				if want := n.Completed + n.Failed + n.Cancelled; err != nil || got != want {
					differ = append(differ, fmt.Errorf("%s %q: %v durations (%v), want %v", service, name, got, err, want))
				}
				took, err := seen.sum("async_inspect_task_duration_seconds_sum", labels)
				if err != nil || n.Completed > 0 && !(took > 0) {
					differ = append(differ, fmt.Errorf("%s %q: they took %v s (%v)", service, name, took, err))
				}
			}
		}
		return errors.Join(differ...)
	})
}
