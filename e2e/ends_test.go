package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What ends a deadlock by itself is said, and then it is over.
func TestDeadlocksThatEndByThemselves(t *testing.T) {
	program := buildStuck(t)
	t.Parallel()
	for _, c := range []struct {
		name, confidence string
		says             []string
		never            string
		how              string // it ends; empty: it stands
	}{
		{"external-undeclared", "suspected", []string{"inspect.WithTTL"}, "restart", ""},
		{"external-ttl", "transient", []string{"It ends at", "when the TTL of external lock", "expires"}, "restart", "deadline"},
		{"caller", "certain", []string{"ends only if a caller gives up"}, "restart", "released"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			collector := startCollector(t)
			playStuck(t, program, c.name, sendTo(collector, "grpc", "1.0"))
			var root deadlockSpan
			eventually(t, 30*time.Second, "the deadlock", func() (err error) {
				root, err = collector.deadlock(c.name)
				return err
			})
			if got := root.attributes["async_inspect.deadlock.confidence"]; got != c.confidence {
				t.Errorf("it is %s, not %s", got, c.confidence)
			}
			words := strings.Join(strings.Fields(root.attributes["async_inspect.deadlock.suggestion"]), " ")
			for _, want := range c.says {
				if !strings.Contains(words, want) {
					t.Errorf("no %q in %s", want, words)
				}
			}
			if strings.Contains(words, c.never) {
				t.Errorf("%q in %s", c.never, words)
			}
			if c.how == "" {
				return
			}
			eventually(t, 40*time.Second, "its end", func() error {
				n, err := collector.sum("otelcol_processor_deadlock_detector_resolved", map[string]string{"how": c.how})
				if err == nil && n != 1 {
					err = fmt.Errorf("%v have ended", n)
				}
				return err
			})
			if n, err := collector.sum("otelcol_processor_deadlock_detector_active", nil); err != nil || n != 0 {
				t.Errorf("%v stand (%v)", n, err)
			}
			// Nothing of it comes back.
			heard, err := collector.sum("otelcol_processor_deadlock_detector_reports", map[string]string{"kind": "heartbeat"})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, 40*time.Second, "two more heartbeats", func() error {
				n, err := collector.sum("otelcol_processor_deadlock_detector_reports", map[string]string{"kind": "heartbeat"})
				if err == nil && n < heard+4 {
					err = fmt.Errorf("%v of them", n-heard)
				}
				return err
			})
			if n, err := collector.sum(foundDeadlocks, nil); err != nil || n != 1 {
				t.Errorf("%v were found (%v)", n, err)
			}
		})
	}
}
