package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var lookalikesFor = flag.Duration("lookalikes", 20*time.Second, "how long programs that only look deadlocked run")

const foundDeadlocks = "otelcol_processor_deadlock_detector_found"

// Programs that really deadlock are found, each once, with all that are part of it,
// at every sampling rate.
func TestDeadlocksAreFound(t *testing.T) {
	program := buildStuck(t)
	for _, sampling := range []string{"1.0", "0.01"} {
		t.Run("sampling "+sampling, func(t *testing.T) {
			t.Parallel()
			collector := startCollector(t)
			for _, c := range []struct {
				name, kind, confidence string
				size                   int
				says                   []string
			}{
				{"two-mutexes", "local", "certain", 2, []string{"forward", "backward", `"a" before "b"`, "deadlocks.go:"}},
				{"first-use", "local", "suspected", 2, []string{"forward", "backward"}},
				{"ring", "local", "certain", 3, []string{"philosopher"}},
				{"self", "self", "certain", 1, []string{"forgetful", "already holds"}},
				{"rwmutex-readers", "local", "certain", 2, []string{"writer", "reader", "table", "index"}},
				{"recursive-rlock", "local", "certain", 2, []string{"read lock", "config"}},
				{"semaphore", "local", "certain", 2, []string{"connections", "in one call"}},
				{"join", "local", "certain", 2, []string{"parent", "child", "results"}},
				{"channels", "local", "certain", 2, []string{"ping", "pong"}},
				{"select", "local", "certain", 3, []string{"consumer", "producer"}},
				{"http", "distributed", "certain", 3, []string{"http back", "account", "Do not call"}},
				{"grpc", "distributed", "suspected", 4, []string{"grpc second", "grpc third", "ledger"}},
				{"abandoned", "abandoned", "suspected", 1, []string{"never unlocked: taken at main.abandoned.func1 stuck/deadlocks.go:", "by task \"forgetful\", which has ended"}},
				{"plain-http", "distributed", "suspected", 3, []string{"plain-http back: GET", "plain-http: GET", "till"}},
				{"plain-grpc", "distributed", "suspected", 3, []string{"plain-grpc back: grpc.health.v1.Health/Check", "ledger"}},
				{"external", "distributed", "certain", 2, []string{"invoices", "stock"}},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					began := playStuck(t, program, c.name, sendTo(collector, "grpc", sampling))
					var root deadlockSpan
					eventually(t, 30*time.Second, "the deadlock", func() error {
						var err error
						root, err = collector.deadlock(c.name)
						return err
					})
					t.Logf("found %v after it had begun", root.end.Sub(began).Round(10*time.Millisecond))
					a := root.attributes
					if a["async_inspect.deadlock.kind"] != c.kind || a["async_inspect.deadlock.confidence"] != c.confidence {
						t.Errorf("it is %s and %s", a["async_inspect.deadlock.kind"], a["async_inspect.deadlock.confidence"])
					}
					if root.links != c.size {
						t.Errorf("%d tasks are linked, not %d", root.links, c.size)
					}
					words := a["async_inspect.deadlock.cycle"] + a["async_inspect.deadlock.suggestion"]
					for _, want := range c.says {
						if !strings.Contains(words, want) {
							t.Errorf("no %q in %s", want, words)
						}
					}
				})
			}
		})
	}
}

// Programs that wait for long, and in circles that open again, are left alone.
func TestLookalikesAreLeftAlone(t *testing.T) {
	program := buildStuck(t)
	t.Parallel()
	collector := startCollector(t)
	for _, name := range []string{
		"contention", "slow-holder", "cancelled", "livelock", "handed-over", "free-permit", "way-out", "killed-holder", "grpc-stream",
	} {
		playStuck(t, program, name, sendTo(collector, "grpc", "1.0"))
	}
	heardOf(t, collector, "slow-holder")
	time.Sleep(*lookalikesFor)
	if n, err := collector.sum(foundDeadlocks, nil); err != nil || n != 0 {
		t.Errorf("%v deadlocks were reported (%v)", n, err)
	}
	if n, err := collector.sum("otelcol_processor_deadlock_detector_reports", map[string]string{"kind": "wait"}); err != nil || n < 10 {
		t.Errorf("only %v waits were reported (%v): this proves nothing", n, err)
	}
}

// Programs in which another goroutine releases than took are never a deadlock for
// certain. Until the first release they are suspected, as a program that deadlocks with
// its first use of a lock is.
func TestHandOversAreNeverCertain(t *testing.T) {
	program := buildStuck(t)
	t.Parallel()
	collector := startCollector(t)
	for _, name := range []string{
		"pool", "pool-after-errors", "pool-per-request", "unnamed-pool", "drained-pool", "permit-and-lock", "signal", "signal-per-request",
		"unnamed-signal", "crossed-signals", "write-hand-over", "read-hand-over",
	} {
		playStuck(t, program, name, sendTo(collector, "grpc", "1.0"))
	}
	heardOf(t, collector, "signal")
	time.Sleep(*lookalikesFor)
	found := func(confidence string) float64 {
		n, err := collector.sum(foundDeadlocks, map[string]string{"confidence": confidence})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if n := found("certain"); n != 0 {
		t.Errorf("%v deadlocks are called certain:\n%s", n, collector.log.String())
	}
	if n := found("suspected"); n < 10 {
		t.Errorf("only %v are suspected: this proves nothing", n)
	}
	if log := collector.log.String(); !strings.Contains(log, "SUSPECTED DEADLOCK") || !strings.Contains(log, "a deadlock if semaphore ") {
		t.Error("no suspicion is told as one")
	}
}

// A collector that starts when a deadlock stands already finds it, and calls it the
// same.
func TestADeadlockKeepsItsNameOverARestart(t *testing.T) {
	program := buildStuck(t)
	t.Parallel()
	collector := startCollector(t)
	playStuck(t, program, "two-mutexes", sendTo(collector, "http/protobuf", "0"))
	find := func() (root deadlockSpan) {
		eventually(t, time.Minute, "the deadlock", func() error {
			var err error
			root, err = collector.deadlock("two-mutexes")
			return err
		})
		return root
	}
	before := find()
	collector.kill(killed)
	if err := os.Truncate(collector.spans, 0); err != nil {
		t.Fatal(err)
	}
	collector.start(t)
	if after := find(); after.trace != before.trace {
		t.Errorf("it was %s and is %s", before.trace, after.trace)
	}
}

// Orders of locks that contradict each other are warned of while nothing hangs.
func TestAPotentialDeadlockIsWarnedOf(t *testing.T) {
	program := buildStuck(t)
	t.Parallel()
	for name, says := range map[string][]string{
		"lock-order":     {"accounts", "audit", "lookalikes.go:"},
		"order-unnamed":  {`read lock "`, "main.orderUnnamed", "orders.go:"},
		"read-twice":     {"takes the read lock", "twice", "a writer that arrives in between", "orders.go:"},
		"order-external": {"order-external and order-external other take the locks", "orders of both", "payments of both"},
		"order-call":     {"order-call and order-call back take the locks", "cart of call", "ledger of call", "calls ", "answering in ", "release it before the call"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			collector := startCollector(t)
			playStuck(t, program, name, append(sendTo(collector, "grpc", "0"), "ASYNC_INSPECT_MODE=analysis"))
			eventually(t, 30*time.Second, "the warning", func() error {
				log := strings.Join(strings.Fields(collector.log.String()), " ")
				for _, want := range append(says, "POTENTIAL DEADLOCK") {
					if !strings.Contains(log, strings.TrimSpace(want)) {
						return fmt.Errorf("no %q in the log", want)
					}
				}
				n, err := collector.sum("otelcol_processor_deadlock_detector_potential", nil)
				if err == nil && n != 1 {
					err = fmt.Errorf("%v of them", n)
				}
				return err
			})
			if n, err := collector.sum(foundDeadlocks, nil); err != nil || n != 0 {
				t.Errorf("%v deadlocks were reported (%v)", n, err)
			}
		})
	}
}

func buildStuck(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stuck")
	if out, err := exec.Command("go", "build", "-o", path, "./stuck").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// playStuck starts a case and returns when it has said that it has begun.
func playStuck(t *testing.T, program, name string, environment []string) time.Time {
	t.Helper()
	return playStuckOn(t, loopback, program, name, environment)
}

func playStuckOn(t *testing.T, on *host, program, name string, environment []string) time.Time {
	t.Helper()
	cmd := on.command(program, name)
	cmd.Env = append(os.Environ(), environment...)
	log := new(output)
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", name, log)
		}
	})
	if _, err := io.ReadAtLeast(stdout, make([]byte, 256), len("ready")); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, log)
	}
	return time.Now()
}

// deadlockSpan is the root span of a deadlock.
type deadlockSpan struct {
	trace      string
	end        time.Time
	links      int
	attributes map[string]string
}

// of says whether a service has a part in it.
func (d deadlockSpan) of(service string) bool {
	return slices.ContainsFunc(strings.Split(d.attributes["async_inspect.deadlock.services"], ","),
		func(name string) bool { return strings.Split(name, " ")[0] == service })
}

// deadlock returns the only deadlock of a service that has been exported, which ends
// in the file.
func (c *collector) deadlock(service string) (deadlockSpan, error) {
	all, err := readDeadlocks(c.spans)
	if err != nil {
		return deadlockSpan{}, err
	}
	found := slices.DeleteFunc(all, func(d deadlockSpan) bool { return !d.of(service) })
	switch len(found) {
	case 0:
		return deadlockSpan{}, errors.New("none yet")
	case 1:
		return found[0], nil
	}
	return deadlockSpan{}, fmt.Errorf("%d of them", len(found))
}

// readDeadlocks reads all deadlocks that a file exporter has written.
func readDeadlocks(path string) (found []deadlockSpan, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, `"deadlock"`) || !strings.HasSuffix(line, "\n") {
			continue
		}
		var batch otlpBatch
		if err := json.Unmarshal([]byte(line), &batch); err != nil {
			return nil, err
		}
		for _, rs := range batch.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					if s.Name != "deadlock" || s.ParentSpanID != "" {
						continue
					}
					root := deadlockSpan{trace: s.TraceID, links: len(s.Links), attributes: make(map[string]string)}
					for _, a := range s.Attributes {
						root.attributes[a.Key] = a.Value.text()
					}
					var end int64
					if _, err := fmt.Sscan(s.End, &end); err != nil {
						return nil, err
					}
					root.end = time.Unix(0, end)
					found = append(found, root)
				}
			}
		}
	}
	return found, nil
}

// otlpBatch is what is read of OTLP JSON.
type otlpBatch struct {
	ResourceSpans []struct {
		ScopeSpans []struct {
			Spans []struct {
				TraceID      string `json:"traceId"`
				ParentSpanID string `json:"parentSpanId"`
				Name         string `json:"name"`
				End          string `json:"endTimeUnixNano"`
				Links        []json.RawMessage
				Attributes   []struct {
					Key   string
					Value otlpValue
				}
			}
		}
	}
}

type otlpValue struct {
	StringValue string
	ArrayValue  struct{ Values []otlpValue }
}

func (v otlpValue) text() string {
	if len(v.ArrayValue.Values) == 0 {
		return v.StringValue
	}
	var all []string
	for _, one := range v.ArrayValue.Values {
		all = append(all, one.text())
	}
	return strings.Join(all, ",")
}
