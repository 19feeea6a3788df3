//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// The client of either protocol sends the headers that were given, and one without
// retries comes back with the first error.
func TestClients(t *testing.T) {
	clearEnv(t)
	for _, protocol := range []string{protocolGRPC, protocolHTTP} {
		for _, given := range []map[string]string{nil, {"authorization": "Bearer 7", "x-tenant": "shop"}} {
			for _, down := range []bool{false, true} {
				var (
					mu       sync.Mutex
					requests []http.Header
				)
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					mu.Lock()
					requests = append(requests, r.Header.Clone())
					mu.Unlock()
					switch {
					case protocol == protocolGRPC:
						w.Header().Set("Content-Type", "application/grpc")
						w.Header().Set("Trailer", "Grpc-Status")
						w.WriteHeader(http.StatusOK)
						status := "0"
						if down {
							status = "14" // unavailable
						} else {
							_, _ = w.Write(make([]byte, 5)) // an empty answer
						}
						w.Header().Set("Grpc-Status", status)
					case down:
						w.WriteHeader(http.StatusServiceUnavailable)
					}
				}))
				server.Config.Protocols = new(http.Protocols)
				server.Config.Protocols.SetHTTP1(true)
				server.Config.Protocols.SetUnencryptedHTTP2(true)
				server.Start()
				opts := []Option{WithEndpoint(server.URL), WithProtocol(protocol)}
				if given != nil {
					opts = append(opts, WithHeaders(given))
				}
				c, err := newConfig(opts)
				if err != nil {
					t.Fatal(err)
				}
				client := c.newClient(false)
				ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
				if err := client.Start(ctx); err != nil {
					t.Fatal(err)
				}
				err = client.UploadTraces(ctx, []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{Name: "x"}}}}}})
				if (err != nil) != down || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
					t.Errorf("%s, down %t: returned %v", protocol, down, err)
				}
				mu.Lock()
				if len(requests) != 1 {
					t.Errorf("%s, down %t: %d requests, want one", protocol, down, len(requests))
				}
				for name, want := range given {
					if got := requests[0].Get(name); got != want {
						t.Errorf("%s: the header %s is %q, want %q", protocol, name, got, want)
					}
				}
				if got := requests[0].Get("authorization"); given == nil && got != "" {
					t.Errorf("%s: a header was sent that nobody has given: %q", protocol, got)
				}
				mu.Unlock()
				_ = client.Stop(ctx)
				cancel()
				server.Close()
			}
		}
	}
}
