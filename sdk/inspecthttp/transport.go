package inspecthttp

import (
	"context"
	"net/http"
	"net/http/httptrace"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/internal/declared"
	"github.com/asyncinspect/asyncinspect/sdk/internal/failure"
)

// NewTransport returns a transport whose requests show as waits for the process that
// answers them, from the request until the headers of the response are there. A nil
// base is [http.DefaultTransport].
//
// Client spans follow OpenTelemetry's semantic conventions for HTTP. Their URL has no
// user, password or query parameter values; see [WithQueryValues].
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
	provider := provider(r.Context())
	if provider == nil {
		return t.base.RoundTrip(r)
	}
	if client, ok := t.clientSpan(r); ok {
		return t.send(r, client)
	}
	tracer := provider.Tracer(ScopeName, trace.WithInstrumentationVersion(inspect.Version))
	method := t.config.method(r)
	_, span := tracer.Start(declared.Mark(r.Context()), spanName(method), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(t.config.client(r, method)...))
	defer span.End()

	ctx := trace.ContextWithSpan(r.Context(), span)
	if span.SpanContext().IsSampled() {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			var a attributes
			a.peer(c.Conn.RemoteAddr())
			span.SetAttributes(a...)
		}})
	}
	r = r.Clone(ctx) // a transport must not change its request
	t.config.propagator().Inject(ctx, propagation.HeaderCarrier(r.Header))
	response, err := t.send(r, span.SpanContext())
	if err != nil {
		failure.Record(span, err)
		span.SetAttributes(errorType.String(transportErrorType(err)))
		return response, err
	}
	var a attributes
	a.number(responseStatusCode, response.StatusCode)
	a.text(protocolVersion, version(response.ProtoMajor, response.ProtoMinor))
	if response.StatusCode >= http.StatusBadRequest {
		a.text(errorType, failure.Status(response.StatusCode).Type())
		span.SetStatus(codes.Error, "") // the status code says why
	}
	span.SetAttributes(a...)
	return response, nil
}

// provider is that of the task, or of the default Inspector for a goroutine without
// one; nil while async-inspect is off.
func provider(ctx context.Context) trace.TracerProvider {
	if task := inspect.TaskFromContext(ctx); task != nil {
		return task.TracerProvider()
	}
	if ins := inspect.Default(); ins != nil {
		return ins.TracerProvider()
	}
	return nil
}

// clientSpan returns the client span that an instrumentation above has made for the
// request: the current one, if it is on its way in the headers. Headers alone prove
// nothing, a proxy passes on those of its own caller.
func (t *transport) clientSpan(r *http.Request) (trace.SpanContext, bool) {
	sent := t.config.propagator().Extract(context.Background(), propagation.HeaderCarrier(r.Header))
	current := trace.SpanContextFromContext(r.Context())
	return current, current.IsValid() && current.SpanID() == trace.SpanContextFromContext(sent).SpanID()
}

func (t *transport) send(r *http.Request, client trace.SpanContext) (response *http.Response, err error) {
	err = inspect.RemoteWait(r.Context(), client, r.URL.Host, func() error {
		response, err = t.base.RoundTrip(r)
		return err
	})
	return response, err
}
