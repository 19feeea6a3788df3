package inspecthttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// Option changes a handler or a transport.
type Option interface{ apply(*config) }

type config struct {
	name       func(*http.Request) string
	propagator propagation.TextMapPropagator
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithName sets how a request's task is called. Names should be few: never take the
// path of the URL.
func WithName(name func(*http.Request) string) Option {
	return optionFunc(func(c *config) { c.name = name })
}

// WithPropagator sets how the caller's span is read from the request, and sent on.
// The default is the W3C trace context.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return optionFunc(func(c *config) { c.propagator = p })
}

func newConfig(opts []Option) *config {
	c := &config{name: routeName, propagator: propagation.TraceContext{}}
	for _, o := range opts {
		o.apply(c)
	}
	return c
}

// routeName is the pattern that the request matched, or its method.
func routeName(r *http.Request) string {
	if r.Pattern != "" {
		return r.Pattern
	}
	return "HTTP " + method(r)
}

// method keeps names few: anybody can send a method of his own.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	case "":
		return http.MethodGet
	default:
		return "_OTHER"
	}
}

// NewHandler returns a handler whose requests are tasks, called after the pattern
// that they match if h is registered with a [http.ServeMux]. A request fails with a
// status of 500 or more or a panic, and is cancelled when the client has gone.
func NewHandler(h http.Handler, opts ...Option) http.Handler {
	c := newConfig(opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(h, w, r) })
}

var errGone = fmt.Errorf("the client has gone: %w", context.Canceled)

func (c *config) serve(h http.Handler, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	caller := trace.SpanContextFromContext(c.propagator.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
	var taskOpts []inspect.TaskOption
	if trace.SpanContextFromContext(ctx).IsValid() {
		// A server span is there, or the handler is inside of another.
		if caller.IsValid() {
			taskOpts = append(taskOpts, inspect.WithRemoteParent(caller))
		}
	} else {
		if caller.IsValid() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, caller)
		}
		taskOpts = append(taskOpts, inspect.WithSpanKind(trace.SpanKindServer), inspect.WithAttributes(
			attribute.String("http.request.method", method(r)), attribute.String("http.route", route(r))))
	}
	ctx, task := inspect.Begin(ctx, c.name(r), taskOpts...)
	if task == nil {
		h.ServeHTTP(w, r)
		return
	}
	status := &statusWriter{ResponseWriter: w}
	var err error
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(error); ok && errors.Is(e, http.ErrAbortHandler) {
				task.End(errGone)
			} else {
				task.EndPanic(p)
			}
			panic(p)
		}
		task.End(err)
	}()
	h.ServeHTTP(status.full(), r.WithContext(ctx))
	switch {
	case r.Context().Err() != nil:
		err = errGone
	case status.code >= http.StatusInternalServerError:
		err = statusError(status.code)
	}
}

func route(r *http.Request) string {
	if r.Pattern == "" {
		return "/"
	}
	return r.Pattern
}

// statusError is how a request fails.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("status %d %s", int(e), http.StatusText(int(e)))
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets [http.ResponseController] through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// full is the writer with the interfaces that handlers ask for by type assertion and
// that the server's writer has: a Flusher, and on HTTP/1 a Hijacker, too.
func (w *statusWriter) full() http.ResponseWriter {
	flusher, flushes := w.ResponseWriter.(http.Flusher)
	hijacker, hijacks := w.ResponseWriter.(http.Hijacker)
	switch {
	case flushes && hijacks:
		return struct {
			*statusWriter
			http.Flusher
			http.Hijacker
		}{w, flusher, hijacker}
	case flushes:
		return struct {
			*statusWriter
			http.Flusher
		}{w, flusher}
	default:
		return w
	}
}
