package inspecthttp

import (
	"net/http"

	"go.opentelemetry.io/otel/propagation"

	"github.com/asyncinspect/asyncinspect/sdk/internal/propagator"
)

// ScopeName is the instrumentation scope of the client spans.
const ScopeName = "github.com/asyncinspect/asyncinspect/sdk/inspecthttp"

// Option changes a handler or a transport.
type Option interface{ apply(*config) }

type config struct {
	name        func(*http.Request) string // nil: by route
	propagators propagation.TextMapPropagator
	internal    bool
	queryValues bool
	methods     map[string]bool // the known ones
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithName sets the name of the task of a request. Use low-cardinality names, never the
// path of the URL.
func WithName(name func(*http.Request) string) Option {
	return optionFunc(func(c *config) { c.name = name })
}

// WithPropagators sets how a handler reads the caller's span from a request and a
// transport sends the client's span. The default is OpenTelemetry's global propagator,
// or W3C trace context if none is set.
func WithPropagators(p propagation.TextMapPropagator) Option {
	return optionFunc(func(c *config) { c.propagators = p })
}

// WithoutServerSpan is for a handler that wraps another instrumentation with server
// spans, such as otelhttp: the task is an internal span, and the server span is its
// child.
func WithoutServerSpan() Option { return optionFunc(func(c *config) { c.internal = true }) }

// WithQueryValues records the values of query parameters in url.full and url.query,
// except those known to be credentials. By default, all values are replaced by
// REDACTED.
func WithQueryValues() Option { return optionFunc(func(c *config) { c.queryValues = true }) }

func newConfig(opts []Option) *config {
	c := &config{methods: methods()}
	for _, o := range opts {
		o.apply(c)
	}
	return c
}

// propagator looks at the global one for each request: it is often set late.
func (c *config) propagator() propagation.TextMapPropagator {
	if c.propagators != nil {
		return c.propagators
	}
	if p := propagator.Global(); p != nil {
		return p
	}
	return propagation.TraceContext{}
}
