package inspect

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
)

// newClient makes an OTLP client for the configured endpoint. Without a retry of
// its own a failed export comes back at once: the report sender tries again with
// what is true by then.
func (c *config) newClient(retry bool) (otlptrace.Client, error) {
	var target string
	switch {
	case c.endpoint != "":
		u, err := endpointURL(c.endpoint)
		if err != nil {
			return nil, fmt.Errorf("endpoint (WithEndpoint): %w", err)
		}
		if c.protocol == protocolHTTP && strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/traces"
		}
		target = u.String()
	case !endpointInEnvironment():
		target = map[string]string{
			protocolGRPC: "http://localhost:4317",
			protocolHTTP: "http://localhost:4318/v1/traces",
		}[c.protocol]
	}
	if c.protocol == protocolHTTP {
		opts := []otlptracehttp.Option{otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false})}
		if retry {
			opts = opts[:0]
		}
		if target != "" {
			opts = append(opts, otlptracehttp.WithEndpointURL(target))
		}
		if c.headers != nil {
			opts = append(opts, otlptracehttp.WithHeaders(c.headers))
		}
		return otlptracehttp.NewClient(opts...), nil
	}
	opts := []otlptracegrpc.Option{otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false})}
	if retry {
		opts = opts[:0]
	}
	if target != "" {
		opts = append(opts, otlptracegrpc.WithEndpointURL(target))
	}
	if c.headers != nil {
		opts = append(opts, otlptracegrpc.WithHeaders(c.headers))
	}
	return otlptracegrpc.NewClient(opts...), nil
}

func endpointInEnvironment() bool {
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// endpointURL reads host:port, which means no TLS, or a URL.
func endpointURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is neither host:port nor a URL: %w", s, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is neither host:port nor a URL that begins with http:// or https://", s)
	}
	return u, nil
}
