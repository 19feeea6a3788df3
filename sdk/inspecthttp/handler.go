package inspecthttp

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// NewHandler returns a handler whose requests are tasks. A task is called after the
// pattern that its request matches, if h is registered with a [http.ServeMux] or is
// one, and else after the method. A request with a status of 500 or more, or a panic,
// has failed; one whose client has gone is cancelled.
func NewHandler(h http.Handler, opts ...Option) http.Handler {
	return &handler{next: h, config: newConfig(opts)}
}

type handler struct {
	next   http.Handler
	config *config
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !inspect.Enabled(r.Context()) {
		h.next.ServeHTTP(w, r)
		return
	}
	pattern := h.pattern(r)
	ctx, opts := h.place(r, pattern)
	ctx, task := inspect.Begin(ctx, h.name(r, pattern), opts...)
	inner := r.WithContext(ctx)
	if h.config.internal {
		// The server span inside reads its parent from the headers.
		inner.Header = r.Header.Clone()
		h.config.propagator().Inject(ctx, propagation.HeaderCarrier(inner.Header))
	}
	w, s := remember(w)
	defer func() {
		p := recover()
		switch {
		case p == nil:
			if span := trace.SpanFromContext(ctx); span.IsRecording() {
				span.SetAttributes(attribute.Int("http.response.status_code", s.status()))
			}
			task.End(outcome(r.Context(), s.status()))
			return
		case p == http.ErrAbortHandler:
			task.End(errGone)
		default:
			task.EndPanic(p)
		}
		panic(p)
	}()
	h.next.ServeHTTP(w, inner)
}

// place says where the task of a request belongs. If there is a span in the context
// already, a server span of another instrumentation, the task is its child;
// otherwise the task is the server span. Either way it answers the caller.
func (h *handler) place(r *http.Request, pattern string) (context.Context, []inspect.TaskOption) {
	ctx := r.Context()
	extracted := h.config.propagator().Extract(ctx, propagation.HeaderCarrier(r.Header))
	if trace.SpanContextFromContext(ctx).IsValid() {
		caller := trace.SpanContextFromContext(extracted)
		if !caller.IsRemote() {
			return ctx, nil
		}
		return ctx, []inspect.TaskOption{inspect.WithRemoteParent(caller)}
	}
	if h.config.internal {
		return extracted, nil
	}
	return extracted, serverOptions(method(r), pattern)
}

// server is what a request is, as far as its span tells.
type server struct{ method, pattern string }

// maxServers bounds the servers whose options are kept; those of others are made anew.
// Methods are few, see method, and so are patterns, unless somebody makes them up.
const maxServers = 1000

// serverSpans are the options of the tasks of each server. The map is copied to add one.
var (
	serverSpans      atomic.Pointer[map[server][]inspect.TaskOption]
	addingServerSpan sync.Mutex
)

func serverOptions(method, pattern string) []inspect.TaskOption {
	s := server{method, pattern}
	if known := serverSpans.Load(); known != nil {
		if options, ok := (*known)[s]; ok {
			return options
		}
	}
	attrs := []attribute.KeyValue{attribute.String("http.request.method", method)}
	if route := route(pattern); route != "" {
		attrs = append(attrs, attribute.String("http.route", route))
	}
	options := []inspect.TaskOption{
		inspect.JoinTaskOptions(inspect.WithSpanKind(trace.SpanKindServer), inspect.WithAttributes(attrs...)),
	}
	addingServerSpan.Lock()
	defer addingServerSpan.Unlock()
	all := map[server][]inspect.TaskOption{s: options}
	if known := serverSpans.Load(); known != nil {
		if len(*known) >= maxServers {
			return options
		}
		maps.Copy(all, *known)
	}
	serverSpans.Store(&all)
	return options
}

// pattern is what the request matches. A mux that comes after us has not looked yet.
func (h *handler) pattern(r *http.Request) string {
	if r.Pattern != "" {
		return r.Pattern
	}
	if mux, ok := h.next.(*http.ServeMux); ok {
		_, pattern := mux.Handler(r)
		return pattern
	}
	return ""
}

func (h *handler) name(r *http.Request, pattern string) string {
	switch {
	case h.config.name != nil:
		return h.config.name(r)
	case pattern != "":
		return pattern
	default:
		return method(r)
	}
}

// route is a pattern without its method and host.
func route(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i >= 0 {
		return pattern[i:]
	}
	return ""
}

var errGone = fmt.Errorf("the client has gone: %w", context.Canceled)

// outcome is the error of a request that ended without a panic.
func outcome(ctx context.Context, status int) error {
	switch {
	case ctx.Err() != nil:
		return errGone
	case status >= http.StatusInternalServerError:
		return statusError(status)
	default:
		return nil
	}
}

// statusError is how a request fails.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("status %d %s", int(e), http.StatusText(int(e)))
}
