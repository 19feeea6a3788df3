package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// defaults is the distribution with its default configuration, on ports of its own.
type defaults struct {
	grpc, http, inspector string
	csv                   string // directory
	*embedded
}

// startDefault starts it with texts of further configurations, which are merged over
// the embedded one, variables for these, and settings.
func startDefault(t *testing.T, overlays, environment []string, set ...string) *defaults {
	t.Helper()
	d := &defaults{
		grpc: freeAddress(t), http: freeAddress(t), inspector: freeAddress(t),
		csv: filepath.Join(t.TempDir(), "csv"),
	}
	d.embedded = newEmbedded(t, loopback, "default", append(environment, "ASYNC_INSPECT_CSV_DIRECTORY="+d.csv), append(set,
		"receivers.otlp.protocols.grpc.endpoint="+d.grpc, "receivers.otlp.protocols.http.endpoint="+d.http,
		"extensions.inspector.endpoint="+d.inspector)...)
	for _, overlay := range overlays {
		file := filepath.Join(t.TempDir(), "overlay.yaml")
		writeFile(t, file, overlay)
		d.merge(file)
	}
	d.start(t, d.http) // the last that listens
	return d
}

// post sends a span.
func (d *defaults) post(t *testing.T, name string) {
	t.Helper()
	body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":%q,"kind":2,
		"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, rand.Uint64()|1, rand.Uint64()|1, name)
	response, err := http.Post("http://"+d.http+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}
