//go:build !noinspect

package inspecthttp

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// countingClient counts exports.
type countingClient struct{ exports atomic.Int64 }

func (*countingClient) Start(context.Context) error { return nil }
func (*countingClient) Stop(context.Context) error  { return nil }

func (c *countingClient) UploadTraces(context.Context, []*tracepb.ResourceSpans) error {
	c.exports.Add(1)
	return nil
}

// A server recovers the panics of its handlers. Nothing is lost then, so no request
// waits until something has been sent, however the panic passes the SDK.
func TestAPanicThatTheServerRecoversSendsNothing(t *testing.T) {
	client := new(countingClient)
	ins, err := inspect.Start(t.Context(), inspect.WithReportClient(client), inspect.WithSpanExporter(tracetest.NewNoopExporter()),
		inspect.WithHeartbeatInterval(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	boom := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, task := inspect.Begin(r.Context(), "inner")
		defer task.End(nil)
		panic("boom")
	})
	mux := http.NewServeMux()
	mux.Handle("/plain", boom)
	mux.Handle("/inside", NewHandler(boom))
	mux.Handle("/timeout", http.TimeoutHandler(NewHandler(boom), time.Minute, ""))
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(mux)
		server.EnableHTTP2 = http2
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		before := client.exports.Load()
		for before == 0 { // the first heartbeat
			before = client.exports.Load()
		}
		for _, path := range []string{"/plain", "/inside", "/timeout"} {
			if r, err := server.Client().Get(server.URL + path); err == nil {
				r.Body.Close()
				t.Errorf("%s answers with %s", path, r.Status)
			}
		}
		if n := client.exports.Load() - before; n != 0 {
			t.Errorf("HTTP/2 %v: %d exports for three panics, want none", http2, n)
		}
		server.Close()
	}
}
