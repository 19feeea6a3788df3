package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sampledTrace is a trace as a file has it: its ordinary spans, and what detectors and
// reports added.
type sampledTrace struct {
	spans      int
	ids        map[string]bool // of spans; one may have come twice
	failed     bool
	deadlocked bool
	first, end int64
	policy     string
	root       string
	weight     float64 // adjusted count of the root
}

func (t *sampledTrace) took() time.Duration { return time.Duration(t.end - t.first) }

// With a budget, all that failed, was slow or is deadlocked arrives, whole; what else
// is kept fits into the budget, and its adjusted counts are right.
func TestSamplerKeepsWhatMatters(t *testing.T) {
	t.Parallel()
	const budget, slow = 150, time.Second
	kept := filepath.Join(t.TempDir(), "kept.json")
	// Two pipelines from one receiver: the truth, and what is sampled of it.
	collector := startCollector(t, "processors:\n  deadlock", fmt.Sprintf(`processors:
  adaptive_sampler:
    # Spans of the shop and its bank come in batches of their own, seconds apart.
    decision_delay: 6s
    target: {spans_per_second: %d}
    min_rate: 0
    policies:
      - {name: deadlocks, type: attribute, attribute: {key: async_inspect.task.state, values: [deadlocked]}, rate: 1}
      - {name: errors, type: status_code, status_codes: [ERROR], rate: 1}
      - {name: slow, type: latency, threshold: %s, rate: 1}
  deadlock`, budget, slow), "exporters:\n", fmt.Sprintf(`exporters:
  file/kept: {path: %q, append: true, flush_interval: 100ms}
`, kept), "  pipelines:\n", `  pipelines:
    traces/kept:
      receivers: [otlp]
      processors: [deadlock_detector, task_state, adaptive_sampler]
      exporters: [file/kept]
`)
	demo := startDemo(t, sendTo(collector, "grpc", "1.0"), "-orders", "60", "-for", "25s")
	demo.chaos(t, "deadlock")
	time.Sleep(3 * time.Second)
	demo.chaos(t, "slow-bank")
	demo.wait(t)
	eventually(t, time.Minute, "decisions about all traces", func() error {
		pending, err := collector.sum("otelcol_processor_adaptive_sampler_pending_traces", nil)
		if err == nil && pending > 0 {
			err = fmt.Errorf("%v are pending", pending)
		}
		return err
	})
	refused, err := collector.sum("otelcol_processor_adaptive_sampler_refused_spans", nil)
	if err != nil || refused > 0 {
		t.Fatalf("%v spans were refused (%v)", refused, err)
	}
	collector.kill(os.Interrupt)

	truth, sampled := readTraces(t, collector.spans), readTraces(t, kept)
	var failed, slowOnes, deadlocked, ordinary, ordinarySpans int
	var first, end int64 = math.MaxInt64, 0
	var orders, adjusted float64
	for id, want := range truth {
		got := sampled[id]
		why := ""
		switch {
		case want.deadlocked:
			deadlocked++
			why = "deadlocked"
		case want.failed:
			failed++
			why = "failed"
		case want.took() >= slow:
			slowOnes++
			why = fmt.Sprint("took ", want.took())
		}
		switch {
		case got == nil && why != "":
			t.Errorf("a trace of %s that %s is missing", want.root, why)
		case got != nil && got.spans != want.spans:
			t.Errorf("of a trace of %s, kept by %q, %d of %d spans are there", want.root, got.policy, got.spans, want.spans)
		case got != nil && why == "":
			ordinary++
			ordinarySpans += got.spans
		}
		if want.spans > 0 {
			first, end = min(first, want.first), max(end, want.end)
		}
		if strings.HasPrefix(want.root, "POST /orders") {
			orders++
			if got != nil {
				adjusted += got.weight
			}
		}
	}
	seconds := time.Duration(end - first).Seconds()
	t.Logf("in %.0f s %d traces; kept: all of %d deadlocked, %d failed and %d slow ones, and %d others with %d spans",
		seconds, len(truth), deadlocked, failed, slowOnes, ordinary, ordinarySpans)
	t.Logf("%v orders, adjusted counts of the kept ones are %.0f", orders, adjusted)
	if deadlocked < 3 || failed < 10 || slowOnes < 4 || ordinary < 50 {
		t.Error("the load does not show much")
	}
	if most := budget * (seconds + 2); float64(ordinarySpans) > most {
		t.Errorf("%d spans of ordinary traces were kept, the budget and its burst are %.0f", ordinarySpans, most)
	}
	if math.Abs(adjusted/orders-1) > 0.35 {
		t.Error("the adjusted counts are wrong")
	}
}

// readTraces reads what a file exporter has written.
func readTraces(t *testing.T, path string) map[string]*sampledTrace {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	traces := make(map[string]*sampledTrace)
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var batch struct {
			ResourceSpans []struct {
				ScopeSpans []struct {
					Scope struct{ Name string }
					Spans []struct {
						TraceID      string `json:"traceId"`
						SpanID       string `json:"spanId"`
						ParentSpanID string `json:"parentSpanId"`
						TraceState   string `json:"traceState"`
						Name         string
						Start        int64 `json:"startTimeUnixNano,string"`
						End          int64 `json:"endTimeUnixNano,string"`
						Status       struct{ Code int }
						Attributes   []struct {
							Key   string
							Value otlpValue
						}
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(line), &batch); err != nil {
			t.Fatal(err)
		}
		for _, rs := range batch.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					trace := traces[s.TraceID]
					if trace == nil {
						trace = &sampledTrace{first: math.MaxInt64, ids: make(map[string]bool)}
						traces[s.TraceID] = trace
					}
					switch ss.Scope.Name {
					case "async_inspect/report":
						continue
					case "async_inspect/detector":
						trace.deadlocked = true
						continue
					}
					trace.spans++
					trace.ids[s.SpanID] = true
					trace.failed = trace.failed || s.Status.Code == 2
					trace.first, trace.end = min(trace.first, s.Start), max(trace.end, s.End)
					for _, a := range s.Attributes {
						if a.Key == "async_inspect.sampling.policy" {
							trace.policy = a.Value.text()
						}
					}
					if s.ParentSpanID == "" {
						trace.root = s.Name
						weight, err := adjustedCount(s.TraceState)
						if err != nil {
							t.Errorf("tracestate %q: %v", s.TraceState, err)
						}
						trace.weight = weight
					}
				}
			}
		}
	}
	return traces
}

// adjustedCount reads what th says: of how many spans one was kept.
func adjustedCount(tracestate string) (float64, error) {
	for member := range strings.SplitSeq(tracestate, ",") {
		fields, ok := strings.CutPrefix(member, "ot=")
		if !ok {
			continue
		}
		for field := range strings.SplitSeq(fields, ";") {
			if th, ok := strings.CutPrefix(field, "th:"); ok {
				threshold, err := strconv.ParseUint((th + strings.Repeat("0", 14))[:14], 16, 64)
				if err != nil {
					return 0, err
				}
				return (1 << 56) / float64(1<<56-threshold), nil
			}
		}
	}
	return 0, errors.New("no threshold")
}

// SIGHUP loads the configuration anew. What is pending is decided with the old one and
// sent, and what comes after it by the new one.
func TestSamplerReloads(t *testing.T) {
	t.Parallel()
	at := func(rate string) []string {
		return []string{
			"processors:\n  deadlock", "processors:\n  adaptive_sampler: {decision_delay: 10m, trace_timeout: 20m, sampling_rate: " + rate +
				", policies: [{name: slow, type: latency, threshold: 1h, rate: 1}]}\n  deadlock",
			"processors: [deadlock_detector, task_state]", "processors: [adaptive_sampler]",
		}
	}
	collector := startCollector(t, at("1")...)
	post := func(name string) {
		body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":%q,"kind":2,
			"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, rand.Uint64()|1, rand.Uint64()|1, name)
		response, err := http.Post("http://"+collector.http+"/v1/traces", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
	}
	const traces = 100
	for range traces {
		post("before")
	}
	collector.configure(t, at("0")...)
	if err := collector.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "all that was pending", func() error {
		spans, err := os.ReadFile(collector.spans)
		if n := strings.Count(string(spans), `"before"`); err == nil && n != traces {
			err = fmt.Errorf("%d of %d spans are there", n, traces)
		}
		return err
	})
	eventually(t, 30*time.Second, "the collector with its new configuration", func() error {
		if n := strings.Count(collector.log.String(), "Everything is ready"); n < 2 {
			return fmt.Errorf("it has been ready %d times", n)
		}
		return nil
	})
	for range traces {
		post("after")
	}
	collector.kill(os.Interrupt)
	spans, err := os.ReadFile(collector.spans)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(spans), `"after"`) {
		t.Error("the old rate is still in force")
	}
}
