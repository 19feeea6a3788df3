package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/e2e/goker"
)

// The kernels whose locks are taken in orders that contradict each other, or twice for
// reading, are warned of, whether or not they hang.
func TestKernelsThatCouldDeadlockAreWarnedOf(t *testing.T) {
	program, err := goker.Build(t.TempDir(), goker.Locks, false)
	if errors.Is(err, goker.ErrNoKernels) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	collector := startCollector(t)
	for kernel, says := range map[string]string{
		"Cockroach10214":  "orders that contradict",
		"Cockroach7504":   "orders that contradict",
		"Hugo3251":        "orders that contradict",
		"Kubernetes13135": "orders that contradict",
		"Kubernetes30872": "orders that contradict",
		"Moby4951":        "orders that contradict",
		"Cockroach3710":   "takes the read lock",
		"Cockroach6181":   "takes the read lock",
		"Kubernetes62464": "takes the read lock",
	} {
		t.Run(kernel, func(t *testing.T) {
			warned := regexp.MustCompile(`POTENTIAL DEADLOCK .*\b` + kernel + `\b.*` + says)
			// They race, so one run can miss one of the two orders.
			var err error
			for range 4 {
				cmd := exec.Command(program, "-export", "-after", "3s", kernel)
				cmd.Env = append(append(os.Environ(), sendTo(collector, "grpc", "0")...), "ASYNC_INSPECT_MODE=analysis")
				if out, failed := cmd.CombinedOutput(); failed != nil {
					err = fmt.Errorf("%w\n%s", failed, out)
					continue
				}
				for range 20 {
					if warned.MatchString(collector.log.String()) {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
				err = fmt.Errorf("no warning")
			}
			t.Error(err)
		})
	}
}

// Bugs of others reach the collector as deadlocks, and without their bug nothing does.
func TestKernelsReachTheCollector(t *testing.T) {
	kernels := []string{"Etcd6708", "Etcd6873", "Kubernetes10182", "Syncthing4829"}
	for name, fixed := range map[string]bool{"with their bugs": false, "mended": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := goker.Build(t.TempDir(), goker.Everything, fixed)
			if errors.Is(err, goker.ErrNoKernels) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			collector := startCollector(t)
			var wg sync.WaitGroup
			for _, kernel := range kernels {
				wg.Go(func() {
					cmd := exec.Command(program, "-export", "-after", "5s", kernel)
					cmd.Env = append(os.Environ(), sendTo(collector, "grpc", "0")...)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%s: %v\n%s", kernel, err, out)
					}
				})
			}
			wg.Wait()
			if fixed {
				n, err := collector.sum(foundDeadlocks, nil)
				beats, beatsErr := collector.sum("otelcol_processor_deadlock_detector_reports", map[string]string{"kind": "heartbeat"})
				if err != nil || beatsErr != nil || n != 0 || beats == 0 {
					t.Errorf("%v deadlocks in %v heartbeats (%v, %v)", n, beats, err, beatsErr)
				}
				return
			}
			for _, kernel := range kernels {
				eventually(t, 30*time.Second, "a deadlock of "+kernel, func() error {
					found, err := readDeadlocks(collector.spans)
					if err == nil && !slices.ContainsFunc(found, func(d deadlockSpan) bool { return d.of(kernel) }) {
						err = fmt.Errorf("none among %d", len(found))
					}
					return err
				})
			}
		})
	}
}

// A lock that its holder has not released before it ended is told as such.
func TestKernelsThatNeverUnlock(t *testing.T) {
	t.Parallel()
	program, err := goker.Build(t.TempDir(), goker.Locks, false)
	if errors.Is(err, goker.ErrNoKernels) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	collector := startCollector(t)
	for _, kernel := range []string{"Etcd5509", "Grpc3017", "Moby17176"} {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(program, "-export", "-after", "1m", kernel)
			cmd.Env = append(os.Environ(), sendTo(collector, "grpc", "0")...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			eventually(t, 40*time.Second, "an abandoned lock of "+kernel, func() error {
				found, err := readDeadlocks(collector.spans)
				if err == nil && !slices.ContainsFunc(found, func(d deadlockSpan) bool {
					return d.of(kernel) && d.attributes["async_inspect.deadlock.kind"] == "abandoned" &&
						d.attributes["async_inspect.deadlock.confidence"] == "suspected"
				}) {
					err = fmt.Errorf("none among %d", len(found))
				}
				return err
			})
		})
	}
}
