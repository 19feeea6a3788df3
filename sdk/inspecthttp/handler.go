package inspecthttp

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/internal/failure"
)

// NewHandler returns a handler whose requests are tasks. A task is named after the
// method and the route, as in "GET /orders/{id}", if h is a [http.ServeMux] or is
// registered with one, and otherwise after the method. Its span follows OpenTelemetry's
// semantic conventions for HTTP, without query parameter values; see [WithQueryValues].
// A request fails with a status of 500 or more or with a panic, and is cancelled if the
// client disconnects.
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
	method, pattern := h.config.method(r), h.pattern(r)
	of := taskOf(method, pattern)
	name := of.name
	if h.config.name != nil {
		name = h.config.name(r)
	}
	ctx, isServer, opts := h.place(r, of)
	ctx, task := inspect.Begin(ctx, name, opts...)
	span := trace.SpanFromContext(ctx)
	if isServer && span.IsRecording() {
		// Not when the span is made: what the SDK decides does not depend on them, and an
		// unsampled request would pay for them.
		span.SetAttributes(h.config.server(r, method)...)
	}
	inner := r.WithContext(ctx)
	if h.config.internal {
		// The server span inside reads its parent from the headers.
		inner.Header = r.Header.Clone()
		h.config.propagator().Inject(ctx, propagation.HeaderCarrier(inner.Header))
	}
	w, s := remember(w)
	defer func() {
		p := recover()
		if span.IsRecording() {
			var a attributes
			if s.code != 0 || p == nil && !s.hijacked {
				a.number(responseStatusCode, s.status())
			}
			if isServer && pattern == "" {
				a.text(httpRoute, route(inner.Pattern)) // a mux inside has found it
			}
			span.SetAttributes(a...)
		}
		switch {
		case p == nil:
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
// already, a server span of another instrumentation, the task is that span, or its child
// if server spans are no tasks;
// otherwise the task is the server span. Either way it answers the caller.
func (h *handler) place(r *http.Request, of *serverTask) (ctx context.Context, isServer bool, opts []inspect.TaskOption) {
	ctx = r.Context()
	extracted := h.config.propagator().Extract(ctx, propagation.HeaderCarrier(r.Header))
	if trace.SpanContextFromContext(ctx).IsValid() {
		caller := trace.SpanContextFromContext(extracted)
		if !caller.IsRemote() {
			return ctx, false, withinServerSpan
		}
		return ctx, false, []inspect.TaskOption{inspect.WithinServerSpan(), inspect.WithRemoteParent(caller)}
	}
	if h.config.internal {
		return extracted, false, nil
	}
	return extracted, true, of.options
}

var withinServerSpan = []inspect.TaskOption{inspect.WithinServerSpan()}

// server is what a request is, as far as the name and the first attributes of its span
// tell.
type server struct{ method, pattern string }

// serverTask is what the tasks of a server have in common.
type serverTask struct {
	name    string
	options []inspect.TaskOption // of one that is the server span
}

// maxServers bounds the servers that are kept; others are worked out each time. Methods
// are few, see method, and so are patterns, unless somebody makes them up.
const maxServers = 1000

// servers are those that are kept. The map is copied to add one.
var (
	servers      atomic.Pointer[map[server]*serverTask]
	addingServer sync.Mutex
)

func taskOf(method, pattern string) *serverTask {
	s := server{method, pattern}
	if known := servers.Load(); known != nil {
		if task, ok := (*known)[s]; ok {
			return task
		}
	}
	route := route(pattern)
	var attrs attributes
	attrs.text(requestMethod, method)
	attrs.text(httpRoute, route)
	task := &serverTask{
		name:    spanName(method),
		options: []inspect.TaskOption{inspect.JoinTaskOptions(inspect.WithSpanKind(trace.SpanKindServer), inspect.WithAttributes(attrs...))},
	}
	if route != "" {
		task.name += " " + route
	}
	addingServer.Lock()
	defer addingServer.Unlock()
	all := map[server]*serverTask{s: task}
	if known := servers.Load(); known != nil {
		if len(*known) >= maxServers {
			return task
		}
		maps.Copy(all, *known)
	}
	servers.Store(&all)
	return task
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
		return failure.Status(status)
	default:
		return nil
	}
}
