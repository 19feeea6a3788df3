package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A service that is killed leaves nothing hanging: what it reported as blocked
// ends as lost, as a span and in the counts.
func TestKilledServiceLeavesLostTasks(t *testing.T) {
	t.Parallel()
	collector := startCollector(t)
	demo := startDemo(t, sendTo(collector, "grpc", "0.01"), "-orders", "20")
	demo.chaos(t, "deadlock")
	eventually(t, 30*time.Second, "blocked clerks in the collector's log", func() error {
		if log := collector.log.String(); !strings.Contains(log, "warehouse") || !strings.Contains(log, "stock.go:") {
			return errors.New("none yet")
		}
		return nil
	})
	eventually(t, 30*time.Second, "blocked clerks in a heartbeat", func() error {
		blocked, err := collector.sum(liveTasks, map[string]string{"state": "blocked"})
		if err != nil {
			return err
		}
		deadlocked, err := collector.sum(liveTasks, map[string]string{"state": "deadlocked"})
		if n := blocked + deadlocked; err == nil && n < 4 {
			err = fmt.Errorf("%v so far", n)
		}
		return err
	})
	if err := demo.cmd.Process.Signal(killed); err != nil {
		t.Fatal(err)
	}
	demo.wait(t)
	eventually(t, time.Minute, "lost tasks", func() error {
		n, err := collector.sum(endedTasks, map[string]string{"service": "shop", "state": "lost", "task": "move box"})
		if err != nil {
			return err
		}
		if n != 4 {
			return fmt.Errorf("%v of the 4 clerks are lost", n)
		}
		spans, err := os.ReadFile(collector.spans)
		if err != nil {
			return err
		}
		for _, want := range []string{"async_inspect/detector", "process_lost", `"lost"`, "move box"} {
			if !strings.Contains(string(spans), want) {
				return fmt.Errorf("no %s in the exported spans", want)
			}
		}
		return nil
	})
}

// The log says which tasks are blocked, on what and at which line, at a sampling
// rate at which no span of theirs is ever sent.
func TestPictureShowsWhatBlocks(t *testing.T) {
	t.Parallel()
	collector := startCollector(t)
	demo := startDemo(t, sendTo(collector, "http/protobuf", "0"), "-orders", "40")
	demo.chaos(t, "block")
	eventually(t, 30*time.Second, "orders that wait for the stock", func() error {
		log := collector.log.String()
		for _, want := range []string{"shop", "reserve", "mutex", "stock", "stocktaking", "stock.go:"} {
			if !strings.Contains(log, want) {
				return fmt.Errorf("no %q in the log", want)
			}
		}
		return nil
	})
	demo.stop(t)
}
