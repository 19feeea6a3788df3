package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Two tiers on one machine: an agent, three gateways and two detectors. Every trace is
// whole on one gateway, the fleet of them meets its budget, and a deadlock over two
// services is found.
func TestTwoTiers(t *testing.T) {
	t.Parallel()
	const gateways, detectors, budget = 3, 2, 20 // spans a second of each gateway
	directory := t.TempDir()
	// What would go to a backend goes to a file of each collector.
	tier := func(name string, n int) (addresses, inspectors, files []string) {
		for i := range n {
			address, inspector, file := freeAddress(t), freeAddress(t), filepath.Join(directory, fmt.Sprint(name, i, ".json"))
			end := filepath.Join(directory, fmt.Sprint(name, i, ".yaml"))
			writeFile(t, end, fmt.Sprintf("exporters: {file: {path: %q, append: true, flush_interval: 100ms}}\nservice: {pipelines: {traces: {exporters: [file]}}}\n", file))
			e := newEmbedded(t, name, []string{fmt.Sprint("ASYNC_INSPECT_BUDGET=", budget)},
				"receivers.otlp.protocols.grpc.endpoint="+address, "extensions.inspector.endpoint="+inspector)
			e.arguments = append(e.arguments, "--config="+end)
			e.start(t, address)
			addresses, inspectors, files = append(addresses, address), append(inspectors, inspector), append(files, file)
		}
		return addresses, inspectors, files
	}
	gatewayAddresses, inspectors, gatewayFiles := tier("gateway", gateways)
	detectorAddresses, _, detectorFiles := tier("detector", detectors)
	grpc, web := freeAddress(t), freeAddress(t)
	agent := newEmbedded(t, "agent", []string{
		"ASYNC_INSPECT_GATEWAYS=[" + strings.Join(gatewayAddresses, ",") + "]",
		"ASYNC_INSPECT_DETECTORS=[" + strings.Join(detectorAddresses, ",") + "]",
	}, "receivers.otlp.protocols.grpc.endpoint="+grpc, "receivers.otlp.protocols.http.endpoint="+web)
	agent.start(t, web)

	playStuck(t, buildStuck(t), "http", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + grpc, "ASYNC_INSPECT_SAMPLING=0.01"})

	// Traces of three spans, each of which comes in a request of its own, as from three
	// services.
	const traces, spans = 1500, 3
	began := time.Now()
	for i := range traces {
		trace := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
		for n := range spans {
			parent := fmt.Sprintf(`,"parentSpanId":"%016x"`, 1)
			if n == 0 {
				parent = ""
			}
			body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"%016x"%s,"name":"step %d","kind":2,
				"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, trace, n+1, parent, n)
			response, err := http.Post("http://"+web+"/v1/traces", "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Fatalf("trace %d: %s", i, response.Status)
			}
		}
	}
	seconds := time.Since(began).Seconds()

	eventually(t, 30*time.Second, "the deadlock over two services, from one of the detectors", func() error {
		var err error
		for _, file := range detectorFiles {
			if _, err = (&collector{spans: file}).deadlock("http"); err == nil {
				return nil
			}
		}
		return err
	})
	eventually(t, 30*time.Second, "decisions about all traces", func() error {
		for _, inspector := range inspectors {
			response, err := http.Get("http://" + inspector + "/api/v1/sampling")
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
	kept := 0
	seen := make(map[string]string)
	for _, file := range gatewayFiles {
		for id, trace := range readTraces(t, file) {
			if !strings.HasPrefix(trace.root, "step ") && trace.root != "" {
				continue // of the services that are stuck
			}
			kept += trace.spans
			if other, twice := seen[id]; twice {
				t.Errorf("trace %s is in %s and %s", id, other, file)
			}
			seen[id] = file
			if strings.HasPrefix(trace.root, "step ") && trace.spans != spans {
				t.Errorf("of trace %s %d of %d spans are there", id, trace.spans, spans)
			}
		}
	}
	t.Logf("%d spans in %.1f s, of which %d are kept; the budget is %d a second", traces*spans, seconds, kept, gateways*budget)
	// Two seconds of burst, and some in which what came last is decided.
	if most := gateways * budget * (seconds + 5); float64(kept) > most || float64(kept) < gateways*budget*(seconds-1)*0.8 {
		t.Errorf("%d spans are kept, the budget and its burst are %.0f", kept, most)
	}
}
