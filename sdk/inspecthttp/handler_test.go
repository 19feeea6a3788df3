//go:build !noinspect

package inspecthttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

func statusHandler(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func TestRequestIsATask(t *testing.T) {
	inMux := func(pattern string, h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(pattern, NewHandler(h))
		return mux
	}
	aroundMux := func(pattern string, h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(pattern, h)
		return NewHandler(mux)
	}
	gone, leave := context.WithCancel(context.Background())
	leave()
	for _, test := range []struct {
		name    string
		handler http.Handler
		request *http.Request
		task    string
		state   string
		route   any
		status  any
	}{
		{
			"in a mux", inMux("POST /orders/{item}", statusHandler(201)), httptest.NewRequest("POST", "/orders/7", nil),
			"POST /orders/{item}", "completed", "/orders/{item}", int64(201),
		},
		{
			"around a mux", aroundMux("shop.example/orders/{item}", statusHandler(404)), httptest.NewRequest("GET", "http://shop.example/orders/7", nil),
			"GET /orders/{item}", "completed", "/orders/{item}", int64(404),
		},
		{
			"around a mux that does not know it", aroundMux("/orders/{item}", statusHandler(200)), httptest.NewRequest("GET", "/secret/42", nil),
			"GET", "completed", nil, int64(404),
		},
		{
			"without a mux", NewHandler(statusHandler(200)), httptest.NewRequest("GET", "/secret/42", nil),
			"GET", "completed", nil, int64(200),
		},
		{
			"a method of its own", NewHandler(statusHandler(200)), httptest.NewRequest("BREW", "/", nil),
			"HTTP", "completed", nil, int64(200),
		},
		{
			"named", NewHandler(statusHandler(200), WithName(func(r *http.Request) string { return "pot of " + r.Method })), httptest.NewRequest("GET", "/", nil),
			"pot of GET", "completed", nil, int64(200),
		},
		{
			"nothing written", NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), httptest.NewRequest("GET", "/", nil),
			"GET", "completed", nil, int64(200),
		},
		{
			"failed", NewHandler(statusHandler(503)), httptest.NewRequest("GET", "/", nil),
			"GET", "failed", nil, int64(503),
		},
		{
			"client gone", NewHandler(statusHandler(200)), httptest.NewRequest("GET", "/", nil).WithContext(gone),
			"GET", "cancelled", nil, int64(200),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t)
			caller := callerOf(test.request, true)
			test.handler.ServeHTTP(httptest.NewRecorder(), test.request)
			span, ok := s.spans()[test.task]
			if !ok {
				t.Fatalf("no task called %q in %v", test.task, s.spans())
			}
			if span.SpanKind != trace.SpanKindServer || span.Parent.SpanID() != caller.SpanID() || !span.Parent.IsRemote() {
				t.Errorf("kind %v below %v", span.SpanKind, span.Parent)
			}
			for key, want := range map[string]any{
				"async_inspect.task.state": test.state, "http.route": test.route, "http.response.status_code": test.status,
			} {
				if got := attributeOf(span, key); got != want {
					t.Errorf("%s is %v, want %v", key, got, want)
				}
			}
			if (span.Status.Code == codes.Error) != (test.state == "failed") {
				t.Errorf("status %v", span.Status)
			}
		})
	}
}

// Panics go on to the server, with the value that they had.
func TestPanics(t *testing.T) {
	for _, test := range []struct {
		value any
		state string
	}{{"boom", "failed"}, {http.ErrAbortHandler, "cancelled"}} {
		s := start(t)
		h := NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(test.value) }))
		func() {
			defer func() {
				if r := recover(); r != test.value {
					t.Errorf("the panic %v arrives as %v", test.value, r)
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		}()
		if got := attributeOf(s.spans()["GET"], "async_inspect.task.state"); got != test.state {
			t.Errorf("after %v the task is %v", test.value, got)
		}
		_ = s.ins.Shutdown(context.Background())
	}
}

// Inside of another instrumentation the task is its server span, or a child of that if
// server spans are no tasks. Either way there is one task, which answers the caller.
func TestInsideOfAServerSpan(t *testing.T) {
	for _, serverTasks := range []bool{true, false} {
		t.Run(fmt.Sprint(serverTasks), func(t *testing.T) {
			s := start(t, inspect.WithServerTasks(serverTasks))
			var live []inspect.TaskInfo
			h := otherHandler(s, NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { live = inspect.Tasks() })))
			r := httptest.NewRequest("GET", "/", nil)
			caller := callerOf(r, true)
			h.ServeHTTP(httptest.NewRecorder(), r)
			spans := s.spans()
			server := spans["other server"]
			of := server
			if !serverTasks {
				of = spans["GET"]
				if of.SpanKind != trace.SpanKindInternal || of.Parent.SpanID() != server.SpanContext.SpanID() {
					t.Errorf("the task is of kind %v below %v, the server span is %v", of.SpanKind, of.Parent, server.SpanContext)
				}
			}
			if len(live) != 1 || live[0].Name != "GET" || live[0].SpanID != of.SpanContext.SpanID().String() || live[0].TraceID != caller.TraceID().String() {
				t.Errorf("the tasks are %+v, want one called GET with the span %v", live, of.SpanContext)
			}
			if got := attributeOf(of, "async_inspect.task.state"); got != "completed" {
				t.Errorf("the state is %v", got)
			}
			if want := map[bool]int{true: 1, false: 2}[serverTasks]; len(spans) != want {
				t.Errorf("%d spans, want %d", len(spans), want)
			}
			if left := inspect.Tasks(); len(left) > 0 {
				t.Errorf("afterwards there are %+v", left)
			}
		})
	}
}

// Outside of one it makes no second server span if it is told so.
func TestOutsideOfAServerSpan(t *testing.T) {
	s := start(t)
	h := NewHandler(otherHandler(s, statusHandler(200)), WithoutServerSpan())
	r := httptest.NewRequest("GET", "/", nil)
	caller := callerOf(r, true)
	header := r.Header.Get("traceparent")
	h.ServeHTTP(httptest.NewRecorder(), r)
	spans := s.spans()
	task, server := spans["GET"], spans["other server"]
	if task.SpanKind != trace.SpanKindInternal || task.Parent.SpanID() != caller.SpanID() {
		t.Errorf("the task is of kind %v below %v", task.SpanKind, task.Parent)
	}
	if server.Parent.SpanID() != task.SpanContext.SpanID() || server.SpanContext.TraceID() != caller.TraceID() {
		t.Errorf("the server span is below %v, the task is %v", server.Parent, task.SpanContext)
	}
	if r.Header.Get("traceparent") != header {
		t.Error("the request of the server was changed")
	}
}

func TestHandlerWhileOff(t *testing.T) {
	w := httptest.NewRecorder()
	var got http.ResponseWriter
	NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { got = w })).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if got != w {
		t.Error("the writer is wrapped")
	}
}

// Handlers find in the writer what the server's writer can.
func TestWriterKeepsItsInterfaces(t *testing.T) {
	start(t)
	server := httptest.NewServer(NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := w.(http.Flusher); !ok {
			t.Error("no Flusher")
		}
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Error("no ReaderFrom")
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
			t.Errorf("the ResponseController: %v", err)
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 299 Mine\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		_ = rw.Flush()
	})))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 299 {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestStatusIsTheFinalOne(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{
		{nil, 200},
		{[]int{100, 199}, 200},
		{[]int{101}, 101}, // is final
		{[]int{101, 204}, 101},
		{[]int{102, 204, 404}, 204},
		{[]int{200, 500}, 200},
	} {
		w := &statusWriter{ResponseWriter: plainWriter{httptest.NewRecorder()}}
		for _, code := range c.codes {
			w.WriteHeader(code)
		}
		if w.status() != c.want {
			t.Errorf("after %d: %d, want %d", c.codes, w.status(), c.want)
		}
	}
	w := &statusWriter{ResponseWriter: httptest.NewRecorder()}
	w.WriteHeader(http.StatusEarlyHints)
	if w.status() != http.StatusOK {
		t.Errorf("after early hints %d", w.status())
	}
	w.WriteHeader(http.StatusTeapot)
	w.WriteHeader(http.StatusOK)
	if w.status() != http.StatusTeapot {
		t.Errorf("then %d", w.status())
	}
}

// plainWriter can do nothing but write.
type plainWriter struct{ http.ResponseWriter }

type pushingWriter struct {
	plainWriter
	http.Flusher
}

func (pushingWriter) Push(string, *http.PushOptions) error { return errors.New("pushed") }

type hijackingWriter struct {
	plainWriter
	http.Flusher
}

func (hijackingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("hijacked")
}

// The writer promises nothing that the one below cannot do.
func TestWriterPromisesNoMore(t *testing.T) {
	for name, test := range map[string]struct {
		w    http.ResponseWriter
		want string
	}{
		"plain":   {plainWriter{}, ""},
		"HTTP/2":  {pushingWriter{}, "flush push"},
		"HTTP/1":  {hijackingWriter{}, "flush hijack"},
		"flusher": {httptest.NewRecorder(), "flush"},
	} {
		var can []string
		w, _ := remember(test.w)
		if _, ok := w.(http.Flusher); ok {
			can = append(can, "flush")
		}
		if _, ok := w.(http.Hijacker); ok {
			can = append(can, "hijack")
		}
		if _, ok := w.(http.Pusher); ok {
			can = append(can, "push")
		}
		if got := strings.Join(can, " "); got != test.want {
			t.Errorf("%s can %q, want %q", name, got, test.want)
		}
	}
}

// Where the connection could not be handed over, the status is what the handler writes.
func TestAHijackThatFails(t *testing.T) {
	w, status := remember(hijackingWriter{plainWriter: plainWriter{httptest.NewRecorder()}})
	if _, _, err := w.(http.Hijacker).Hijack(); err == nil || status.hijacked {
		t.Errorf("error %v, hijacked %t", err, status.hijacked)
	}
	w.WriteHeader(http.StatusTeapot)
	if status.status() != http.StatusTeapot {
		t.Errorf("status %d", status.status())
	}
}

// However many patterns somebody makes up, no more options are kept, and each request has
// its own.
func TestKeptOptionsAreBounded(t *testing.T) {
	before := servers.Load()
	defer servers.Store(before)
	for i := range maxServers + 10 {
		if task := taskOf("GET", fmt.Sprint("/made/up/", i)); len(task.options) == 0 {
			t.Fatalf("pattern %d has no options", i)
		}
	}
	if n := len(*servers.Load()); n != maxServers {
		t.Errorf("the options of %d servers are kept, want %d", n, maxServers)
	}
}

func BenchmarkHandler(b *testing.B) {
	for _, with := range []bool{false, true} {
		name, h := "plain", statusHandler(200)
		if with {
			name, h = "inspected", NewHandler(h)
			ins, err := inspect.Start(b.Context(), inspect.WithMode(inspect.Production), inspect.WithReports(false), inspect.WithSamplingRate(0))
			if err != nil {
				b.Fatal(err)
			}
			defer ins.Shutdown(context.Background())
		}
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
