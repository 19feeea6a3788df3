package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

const (
	startedTasks = "otelcol_processor_task_state_started_tasks"
	endedTasks   = "otelcol_processor_task_state_ended_tasks"
	liveTasks    = "otelcol_processor_task_state_live_tasks"
)

// The collector's counts equal those that the demo has made by itself, at every
// sampling rate, over both protocols, also across a crash of a collector with a storage.
func TestCountsAreExact(t *testing.T) {
	for _, c := range []struct {
		protocol, sampling string
		crash              bool
	}{
		{"grpc", "1.0", false},
		{"grpc", "0.01", true},
		{"http/protobuf", "1.0", true},
		{"http/protobuf", "0.01", false},
	} {
		name := fmt.Sprintf("%s/sampling %s/crash %v", c.protocol, c.sampling, c.crash)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			collector := startCollector(t, withStorage(t)...)
			demo := startDemo(t, sendTo(collector, c.protocol, c.sampling), "-orders", "60", "-for", "12s")
			if c.crash {
				heardOf(t, collector, "shop")
				heardOf(t, collector, "bank")
				collector.kill(killed)
				collector.start(t)
			}
			demo.wait(t)
			counted := demo.counted(t)
			if n := counted["shop"]["POST /orders/{item}"]; n.Completed < 50 || n.Cancelled == 0 || counted["shop"]["reserve"].Failed == 0 {
				t.Fatalf("the load does not show much: orders %+v, reserve %+v", n, counted["shop"]["reserve"])
			}
			eventually(t, 20*time.Second, "equal counts", func() error { return equalCounts(collector, counted) })
		})
	}
}

// withStorage changes the configuration so that totals are kept.
func withStorage(t *testing.T) []string {
	return []string{
		"processors:\n  deadlock_detector:", fmt.Sprintf("extensions:\n  file_storage: {directory: %q}\nprocessors:\n  deadlock_detector:\n    storage: file_storage", t.TempDir()),
		"  task_state:", "  task_state:\n    storage: file_storage",
		"service:\n", "service:\n  extensions: [file_storage]\n",
	}
}

func sendTo(c *collector, protocol, sampling string) []string {
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.endpoint(protocol),
		"OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol,
		"ASYNC_INSPECT_SAMPLING=" + sampling,
	}
}

// heardOf waits until the collector has counted tasks of a service.
func heardOf(t *testing.T, c *collector, service string) {
	t.Helper()
	eventually(t, 30*time.Second, "the first counts of "+service, func() error {
		n, err := c.sum(startedTasks, map[string]string{"service": service})
		if err == nil && n == 0 {
			err = errors.New("none yet")
		}
		return err
	})
}

// equalCounts compares the demo's counts with the collector's, by service, name
// and state, and both ways round.
func equalCounts(c *collector, counted map[string]tasks) error {
	var differ []error
	compare := func(metric, service, task, state string, want float64) {
		labels := map[string]string{"service": service, "task": task}
		if state != "" {
			labels["state"] = state
		}
		got, err := c.sum(metric, labels)
		if err != nil {
			differ = append(differ, err)
		} else if got != want {
			differ = append(differ, fmt.Errorf("%s %s %q %s: the collector says %v, the demo %v", metric, service, task, state, got, want))
		}
	}
	var all float64
	for service, tasks := range counted {
		for name, n := range tasks {
			compare(startedTasks, service, name, "", n.Started)
			compare(endedTasks, service, name, "completed", n.Completed)
			compare(endedTasks, service, name, "failed", n.Failed)
			compare(endedTasks, service, name, "cancelled", n.Cancelled)
			all += n.Started
		}
	}
	if got, err := c.sum(startedTasks, nil); err != nil || got != all {
		differ = append(differ, fmt.Errorf("all started tasks: the collector says %v (%v), the demo %v", got, err, all))
	}
	return errors.Join(differ...)
}

// Requests of a service that has only stock instrumentation are tasks: counted once, by
// the names that their spans have in the end, and live ones as blocked.
func TestServerSpansAreCountedAsTasks(t *testing.T) {
	program := buildStuck(t)
	for _, sampling := range []string{"0", "1.0"} {
		t.Run("sampling "+sampling, func(t *testing.T) {
			t.Parallel()
			collector := startCollector(t)
			playStuck(t, program, "plain-http", sendTo(collector, "grpc", sampling))
			eventually(t, 30*time.Second, "the counts", func() error {
				var differ []error
				for _, c := range []struct {
					metric, task string
					want         float64
				}{
					{startedTasks, "GET /total", 3},
					{startedTasks, "GET", 2}, // that wait, and get their route when they end
				} {
					if n, err := collector.sum(c.metric, map[string]string{"service": "plain-http", "task": c.task}); err != nil || n != c.want {
						differ = append(differ, fmt.Errorf("%s of %s is %v (%v), want %v", c.metric, c.task, n, err, c.want))
					}
				}
				return errors.Join(differ...)
			})
		})
	}
}
