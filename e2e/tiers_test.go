package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tiers are an agent, gateways and detectors, as processes on one machine. What would go
// to a backend goes to a file of each.
type tiers struct {
	grpc, web           string // of the agent
	gateways, detectors []tierMember
}

type tierMember struct {
	*embedded
	address, inspector, file string
}

func startTiers(t *testing.T, gateways, detectors, budget int) *tiers {
	t.Helper()
	directory := t.TempDir()
	tier := func(name string, n int) (members []tierMember, addresses string) {
		var all []string
		for i := range n {
			m := tierMember{address: freeAddress(t), inspector: freeAddress(t), file: filepath.Join(directory, fmt.Sprint(name, i, ".json"))}
			end := filepath.Join(directory, fmt.Sprint(name, i, ".yaml"))
			writeFile(t, end, fmt.Sprintf("exporters: {file: {path: %q, append: true, flush_interval: 100ms}}\nservice: {pipelines: {traces: {exporters: [file]}}}\n", m.file))
			m.embedded = newEmbedded(t, name, []string{fmt.Sprint("ASYNC_INSPECT_BUDGET=", budget)},
				"receivers.otlp.protocols.grpc.endpoint="+m.address, "extensions.inspector.endpoint="+m.inspector)
			m.arguments = append(m.arguments, "--config="+end)
			m.start(t, m.address)
			members, all = append(members, m), append(all, m.address)
		}
		return members, "[" + strings.Join(all, ",") + "]"
	}
	s := &tiers{grpc: freeAddress(t), web: freeAddress(t)}
	var gatewayList, detectorList string
	s.gateways, gatewayList = tier("gateway", gateways)
	s.detectors, detectorList = tier("detector", detectors)
	agent := newEmbedded(t, "agent", []string{"ASYNC_INSPECT_GATEWAYS=" + gatewayList, "ASYNC_INSPECT_DETECTORS=" + detectorList},
		"receivers.otlp.protocols.grpc.endpoint="+s.grpc, "receivers.otlp.protocols.http.endpoint="+s.web,
		"extensions.inspector.endpoint="+freeAddress(t))
	agent.start(t, s.web)
	return s
}

// tierSpans are those of a trace of send.
const tierSpans = 3

// send sends a trace, each span in a request of its own, as from three services.
func (s *tiers) send(t *testing.T) (trace string) {
	t.Helper()
	trace = fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	for n := range tierSpans {
		parent := fmt.Sprintf(`,"parentSpanId":"%016x"`, 1)
		if n == 0 {
			parent = ""
		}
		body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"%016x"%s,"name":"step %d","kind":2,
			"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, trace, n+1, parent, n)
		response, err := http.Post("http://"+s.web+"/v1/traces", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
	}
	return trace
}

// deadlock returns that of a service, from one of the detectors.
func (s *tiers) deadlock(service string) (found deadlockSpan, err error) {
	for _, d := range s.detectors {
		if found, err = (&collector{spans: d.file}).deadlock(service); err == nil {
			return found, nil
		}
	}
	return found, err
}

// kept returns the traces of send that the gateways have kept, and where, and what is
// wrong with those that are not whole on one of them.
func (s *tiers) kept(t *testing.T) (spans int, where map[string]string, wrong []string) {
	t.Helper()
	where = make(map[string]string)
	for _, g := range s.gateways {
		for id, trace := range readTraces(t, g.file) {
			if !strings.HasPrefix(trace.root, "step ") && trace.root != "" {
				continue // of the services that are stuck
			}
			spans += trace.spans
			if other, twice := where[id]; twice {
				wrong = append(wrong, fmt.Sprintf("trace %s is in %s and %s", id, other, g.file))
			}
			where[id] = g.file
			if strings.HasPrefix(trace.root, "step ") && trace.spans != tierSpans {
				wrong = append(wrong, fmt.Sprintf("of trace %s %d of %d spans are there", id, trace.spans, tierSpans))
			}
		}
	}
	return spans, where, wrong
}

// decided waits until no gateway has a trace that waits.
func (s *tiers) decided(t *testing.T) {
	t.Helper()
	eventually(t, 45*time.Second, "decisions about all traces", func() error {
		for _, g := range s.gateways {
			response, err := http.Get("http://" + g.inspector + "/api/v1/sampling")
			if err != nil {
				return err
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil {
				return err
			}
			if !strings.Contains(string(body), `{"table":"pending_traces","size":0,`) {
				return fmt.Errorf("%s", body)
			}
		}
		return nil
	})
}

// Every trace is whole on one of three gateways, they meet the budget of the fleet, and
// a deadlock over two services is found by one of two detectors.
func TestTwoTiers(t *testing.T) {
	t.Parallel()
	const gateways, budget, traces = 3, 20, 1500 // spans a second of each gateway
	s := startTiers(t, gateways, 2, budget)
	playStuck(t, buildStuck(t), "http", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.grpc, "ASYNC_INSPECT_SAMPLING=0.01"})
	began := time.Now()
	for range traces {
		s.send(t)
	}
	seconds := time.Since(began).Seconds()
	eventually(t, 30*time.Second, "the deadlock over two services", func() error {
		_, err := s.deadlock("http")
		return err
	})
	s.decided(t)
	kept, where, wrong := s.kept(t)
	if len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	used := make(map[string]bool)
	for _, file := range where {
		used[file] = true
	}
	if len(used) != gateways {
		t.Errorf("only %d of %d gateways have kept anything", len(used), gateways)
	}
	t.Logf("%d spans in %.1f s, of which %d are kept; the budget is %d a second", traces*tierSpans, seconds, kept, gateways*budget)
	// Two seconds of burst, and some in which what came last is decided.
	if most := gateways * budget * (seconds + 5); float64(kept) > most || float64(kept) < gateways*budget*(seconds-1)*0.8 {
		t.Errorf("%d spans are kept, the budget and its burst are %.0f", kept, most)
	}
}

// A gateway and a detector that are killed take with them what they held in memory, and
// nothing else: what comes meanwhile waits in the agent, and a deadlock is found again
// under the same id.
func TestTwoTiersSurviveKills(t *testing.T) {
	t.Parallel()
	s := startTiers(t, 3, 1, 100_000)
	playStuck(t, buildStuck(t), "http", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.grpc, "ASYNC_INSPECT_SAMPLING=0.01"})
	var before deadlockSpan
	eventually(t, 30*time.Second, "the deadlock", func() (err error) {
		before, err = s.deadlock("http")
		return err
	})
	for range 100 {
		s.send(t)
	}
	s.decided(t)
	s.gateways[0].kill()
	s.detectors[0].kill()
	var sent []string
	for range 200 {
		sent = append(sent, s.send(t))
	}
	s.gateways[0].start(t, s.gateways[0].address)
	if err := os.Rename(s.detectors[0].file, s.detectors[0].file+".before"); err != nil {
		t.Fatal(err)
	}
	s.detectors[0].start(t, s.detectors[0].address)
	eventually(t, time.Minute, "all that came while a gateway was away", func() error {
		// Spans of a trace may come seconds apart now; late ones follow the decision.
		_, where, wrong := s.kept(t)
		missing := len(wrong)
		for _, trace := range sent {
			if where[trace] == "" {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d traces are missing", missing, len(sent))
		}
		return nil
	})
	eventually(t, time.Minute, "the same deadlock from the new detector", func() error {
		after, err := s.deadlock("http")
		if err == nil && after.trace != before.trace {
			err = fmt.Errorf("it is %s, was %s", after.trace, before.trace)
		}
		return err
	})
}
