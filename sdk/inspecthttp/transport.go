package inspecthttp

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// NewTransport returns a transport whose requests, made inside of a task, show as
// waits for the process that answers them, from the request until the headers of the
// response. Requests outside of a task go through as they are. A nil base is
// [http.DefaultTransport].
func NewTransport(base http.RoundTripper, opts ...Option) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{base: base, config: newConfig(opts)}
}

type transport struct {
	base   http.RoundTripper
	config *config
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	task := inspect.TaskFromContext(r.Context())
	if task == nil {
		return t.base.RoundTrip(r)
	}
	header := propagation.HeaderCarrier(r.Header)
	for _, field := range t.config.propagator.Fields() {
		if header.Get(field) != "" {
			// The client span is there already, and on its way.
			return t.send(r, trace.SpanContextFromContext(r.Context()))
		}
	}
	tracer := task.TracerProvider().Tracer(ScopeName, trace.WithInstrumentationVersion(inspect.Version))
	ctx, span := tracer.Start(r.Context(), "HTTP "+method(r), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("http.request.method", method(r)), attribute.String("server.address", r.URL.Hostname())))
	defer span.End()
	r = r.Clone(ctx) // a transport must not change the request
	t.config.propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
	response, err := t.send(r, span.SpanContext())
	switch {
	case err != nil:
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	default:
		span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
		if response.StatusCode >= http.StatusBadRequest {
			span.SetStatus(codes.Error, "")
		}
	}
	return response, err
}

// ScopeName is the instrumentation scope of the client spans.
const ScopeName = "github.com/asyncinspect/asyncinspect/sdk/inspecthttp"

func (t *transport) send(r *http.Request, span trace.SpanContext) (response *http.Response, err error) {
	err = inspect.RemoteWait(r.Context(), span, r.URL.Host, func() error {
		response, err = t.base.RoundTrip(r)
		return err
	})
	return response, err
}
