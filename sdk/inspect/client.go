//go:build !noinspect

package inspect

import (
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
)

// newClient makes an OTLP client for the configured endpoint. Without a retry of
// its own a failed export comes back at once: the report sender tries again with
// what is true by then.
func (c *config) newClient(retry bool) otlptrace.Client {
	if c.protocol == protocolHTTP {
		opts := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(c.target())}
		if !retry {
			opts = append(opts, otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}))
		}
		if c.headers != nil {
			opts = append(opts, otlptracehttp.WithHeaders(c.headers))
		}
		return otlptracehttp.NewClient(opts...)
	}
	opts := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(c.target())}
	if !retry {
		opts = append(opts, otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}))
	}
	if c.headers != nil {
		opts = append(opts, otlptracegrpc.WithHeaders(c.headers))
	}
	return otlptracegrpc.NewClient(opts...)
}
