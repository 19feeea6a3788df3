//go:build !noinspect

package inspecthttp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// sameAttributes compares all attributes of a span but those of async-inspect and the
// place in the code.
func sameAttributes(t *testing.T, span tracetest.SpanStub, want map[string]any) {
	t.Helper()
	got := make(map[string]any)
	for _, a := range span.Attributes {
		key := string(a.Key)
		if !strings.HasPrefix(key, "async_inspect.") && !strings.HasPrefix(key, "code.") && !strings.HasPrefix(key, "thread.") {
			got[key] = a.Value.AsInterface()
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if got[key] != want[key] {
			t.Errorf("%s is %v, want %v", key, got[key], want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is missing, want %v", key, want[key])
		}
	}
}

func with(base map[string]any, changes map[string]any) map[string]any {
	m := maps.Clone(base)
	maps.Copy(m, changes)
	for key, v := range m {
		if v == nil {
			delete(m, key)
		}
	}
	return m
}

func TestServerSpansFollowTheConventions(t *testing.T) {
	// What httptest.NewRequest("GET", "/orders/7?card=1234", nil) comes to.
	base := map[string]any{
		"http.request.method": "GET", "http.route": "/orders/{item}", "http.response.status_code": int64(200),
		"url.scheme": "http", "url.path": "/orders/7", "url.query": "card=REDACTED",
		"server.address": "example.com", "server.port": int64(80),
		"client.address": "192.0.2.1", "network.peer.address": "192.0.2.1", "network.peer.port": int64(1234),
		"network.protocol.version": "1.1",
	}
	answer := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		options []Option
		method  string
		edit    func(*http.Request)
		span    string
		status  codes.Code
		state   string
		want    map[string]any // changes of base; nil: not there
	}{
		{name: "plain", handler: answer(200)},
		{name: "nothing written", handler: func(http.ResponseWriter, *http.Request) {}},
		{name: "informational first", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(204) }, want: map[string]any{"http.response.status_code": int64(204)}},
		{name: "the client's fault", handler: answer(404), want: map[string]any{"http.response.status_code": int64(404)}},
		{name: "the last of them", handler: answer(499), want: map[string]any{"http.response.status_code": int64(499)}},
		{
			name: "the server's fault", handler: answer(500), status: codes.Error, state: "failed",
			want: map[string]any{"http.response.status_code": int64(500), "error.type": "500"},
		},
		{
			name: "unavailable", handler: answer(503), status: codes.Error, state: "failed",
			want: map[string]any{"http.response.status_code": int64(503), "error.type": "503"},
		},
		{
			name: "panic before the response", handler: func(http.ResponseWriter, *http.Request) { panic("boom") }, status: codes.Error, state: "failed",
			want: map[string]any{"http.response.status_code": nil, "error.type": "panic"},
		},
		{
			name: "panic after the header", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); panic("boom") }, status: codes.Error, state: "failed",
			want: map[string]any{"http.response.status_code": int64(202), "error.type": "panic"},
		},
		{name: "another known method", handler: answer(200), method: "DELETE", span: "DELETE /orders/{item}", want: map[string]any{"http.request.method": "DELETE"}},
		{
			name: "an unknown method", handler: answer(200), method: "BREW", span: "HTTP /orders/{item}",
			want: map[string]any{"http.request.method": "_OTHER", "http.request.method_original": "BREW"},
		},
		{
			name: "methods are case-sensitive", handler: answer(200), method: "get", span: "HTTP /orders/{item}",
			want: map[string]any{"http.request.method": "_OTHER", "http.request.method_original": "get"},
		},
		{
			name: "a long method", handler: answer(200), method: strings.Repeat("X", 300), span: "HTTP /orders/{item}",
			want: map[string]any{"http.request.method": "_OTHER", "http.request.method_original": strings.Repeat("X", 256)},
		},
		{name: "no query", handler: answer(200), edit: func(r *http.Request) { r.URL.RawQuery = "" }, want: map[string]any{"url.query": nil}},
		{
			name: "values of a query", handler: answer(200), options: []Option{WithQueryValues()},
			edit: func(r *http.Request) { r.URL.RawQuery = "card=1234&sig=abc&x" },
			want: map[string]any{"url.query": "card=1234&sig=REDACTED&x"},
		},
		{name: "an escaped path", handler: answer(200), edit: func(r *http.Request) { r.URL.Path = "/orders/\xe9" }, want: map[string]any{"url.path": "/orders/%E9"}},
		{
			name: "TLS", handler: answer(200), edit: func(r *http.Request) { r.TLS = new(tls.ConnectionState) },
			want: map[string]any{"url.scheme": "https", "server.port": int64(443)},
		},
		{
			name: "HTTP/2", handler: answer(200), edit: func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 },
			want: map[string]any{"network.protocol.version": "2"},
		},
		{
			name: "HTTP/1.0 without a host", handler: answer(200), edit: func(r *http.Request) { r.ProtoMinor, r.Host = 0, "" },
			want: map[string]any{"network.protocol.version": "1.0", "server.address": nil, "server.port": nil},
		},
		{
			name: "a port", handler: answer(200), edit: func(r *http.Request) { r.Host = "shop.example:8080" },
			want: map[string]any{"server.address": "shop.example", "server.port": int64(8080)},
		},
		{
			name: "IPv6", handler: answer(200), edit: func(r *http.Request) { r.Host, r.RemoteAddr = "[2001:db8::1]", "[2001:db8::2]:99" },
			want: map[string]any{
				"server.address": "2001:db8::1", "client.address": "2001:db8::2", "network.peer.address": "2001:db8::2", "network.peer.port": int64(99),
			},
		},
		{name: "a user agent", handler: answer(200), edit: func(r *http.Request) { r.Header.Set("User-Agent", "curl/8 caf\xe9") }, want: map[string]any{"user_agent.original": "curl/8 caf\uFFFD"}},
		{
			name: "behind proxies", handler: answer(200), edit: func(r *http.Request) {
				r.Header.Set("X-Forwarded-Proto", "https")
				r.Header.Set("X-Forwarded-Host", "shop.example, inner.example")
				r.Header.Set("X-Forwarded-For", "203.0.113.9, 198.51.100.7")
			},
			want: map[string]any{"url.scheme": "https", "server.address": "shop.example", "server.port": int64(443), "client.address": "203.0.113.9"},
		},
		{
			name: "behind a proxy of RFC 7239", handler: answer(200), edit: func(r *http.Request) {
				r.Header.Set("Forwarded", `For="[2001:db8::7]:4711"; Proto=HTTPS;host="shop.example:8443", for=198.51.100.7`)
				r.Header.Set("X-Forwarded-Proto", "gopher")
			},
			want: map[string]any{"url.scheme": "https", "server.address": "shop.example", "server.port": int64(8443), "client.address": "2001:db8::7"},
		},
		{name: "a scheme that is none", handler: answer(200), edit: func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "gopher") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			mux := http.NewServeMux()
			mux.Handle("/orders/{item}", NewHandler(c.handler, c.options...))
			r := httptest.NewRequest("GET", "/orders/7?card=1234", nil)
			if c.method != "" {
				r.Method = c.method
			}
			if c.edit != nil {
				c.edit(r)
			}
			func() {
				defer func() { _ = recover() }()
				mux.ServeHTTP(httptest.NewRecorder(), r)
			}()
			name := c.span
			if name == "" {
				name = "GET /orders/{item}"
			}
			span, ok := s.spans()[name]
			if !ok {
				t.Fatalf("no span called %q: %v", name, s.spans())
			}
			sameAttributes(t, span, with(base, c.want))
			if span.Status.Code != c.status {
				t.Errorf("status %v, want %v", span.Status, c.status)
			}
			if _, byStatus := c.want["error.type"]; byStatus && c.want["error.type"] != "panic" && (span.Status.Description != "" || len(span.Events) > 0) {
				t.Errorf("the status code says why it failed, and the span also says %q, %v", span.Status.Description, span.Events)
			}
			state := c.state
			if state == "" {
				state = "completed"
			}
			if got := attributeOf(span, "async_inspect.task.state"); got != state {
				t.Errorf("the task is %v, want %v", got, state)
			}
		})
	}
}

// A mux inside finds the route while the request is served.
func TestTheRouteOfAMuxInside(t *testing.T) {
	s := start(t)
	mux := http.NewServeMux()
	mux.Handle("GET shop.example/orders/{item}", statusHandler(200))
	between := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r) })
	NewHandler(between).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://shop.example/orders/7", nil))
	if got := attributeOf(s.spans()["GET"], "http.route"); got != "/orders/{item}" {
		t.Errorf("http.route is %v", got)
	}
}

// What a handler writes on a connection of its own is not seen.
func TestAHijackedConnectionHasNoStatus(t *testing.T) {
	s := start(t)
	server := httptest.NewServer(NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n")
		conn.Close()
	})))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	server.Close()
	if got := attributeOf(s.spans()["GET"], "http.response.status_code"); got != nil {
		t.Errorf("the status is %v", got)
	}
}

func TestClientSpansFollowTheConventions(t *testing.T) {
	base := map[string]any{
		"http.request.method": "GET", "url.full": "http://bank.example:81/pay", "url.scheme": "http",
		"server.address": "bank.example", "server.port": int64(81),
		"http.response.status_code": int64(200), "network.protocol.version": "1.1",
	}
	noResponse := map[string]any{"http.response.status_code": nil, "network.protocol.version": nil}
	for _, c := range []struct {
		name        string
		method      string
		url         string
		options     []Option
		code        int
		proto       [2]int
		err         error
		span        string
		status      codes.Code
		description string
		want        map[string]any
	}{
		{name: "plain"},
		{name: "the end of what is well", code: 399, want: map[string]any{"http.response.status_code": int64(399)}},
		{name: "a fault of ours", code: 400, status: codes.Error, want: map[string]any{"http.response.status_code": int64(400), "error.type": "400"}},
		{name: "a fault of theirs", code: 502, status: codes.Error, want: map[string]any{"http.response.status_code": int64(502), "error.type": "502"}},
		{name: "HTTP/2", proto: [2]int{2, 0}, want: map[string]any{"network.protocol.version": "2"}},
		{name: "HTTP/1.0", proto: [2]int{1, 0}, want: map[string]any{"network.protocol.version": "1.0"}},
		{name: "the port of http", url: "http://bank.example/", want: map[string]any{"url.full": "http://bank.example/", "server.port": int64(80)}},
		{
			name: "the port of https", url: "https://bank.example/",
			want: map[string]any{"url.full": "https://bank.example/", "url.scheme": "https", "server.port": int64(443)},
		},
		{
			name: "IPv6", url: "https://[2001:db8::1]:8443/",
			want: map[string]any{"url.full": "https://[2001:db8::1]:8443/", "url.scheme": "https", "server.address": "2001:db8::1", "server.port": int64(8443)},
		},
		{
			name: "credentials", url: "http://ann:secret@bank.example:81/pay?card=1234&X-Amz-Signature=abc&flag&x=",
			want: map[string]any{"url.full": "http://REDACTED:REDACTED@bank.example:81/pay?card=REDACTED&X-Amz-Signature=REDACTED&flag&x=REDACTED"},
		},
		{
			name: "a user alone, and values", url: "http://ann@bank.example:81/pay?card=1234&Signature=a&AWSAccessKeyId=b&%73ig=c&X-Goog-Signature=d", options: []Option{WithQueryValues()},
			want: map[string]any{"url.full": "http://REDACTED:REDACTED@bank.example:81/pay?card=1234&Signature=REDACTED&AWSAccessKeyId=REDACTED&%73ig=REDACTED&X-Goog-Signature=REDACTED"},
		},
		{name: "an invalid byte", url: "http://bank.example:81/pay?caf\xe9=1", want: map[string]any{"url.full": "http://bank.example:81/pay?caf\uFFFD=REDACTED"}},
		{name: "another method", method: "PATCH", span: "PATCH", want: map[string]any{"http.request.method": "PATCH"}},
		{name: "no method is GET", method: "-"},
		{name: "an unknown method", method: "PURGE", span: "HTTP", want: map[string]any{"http.request.method": "_OTHER", "http.request.method_original": "PURGE"}},
		{
			name: "canceled", err: fmt.Errorf("get: %w", context.Canceled), status: codes.Error, description: "get: context canceled",
			want: with(noResponse, map[string]any{"error.type": "canceled"}),
		},
		{
			name: "too late", err: context.DeadlineExceeded, status: codes.Error, description: "context deadline exceeded",
			want: map[string]any{"error.type": "timeout"},
		},
		{name: "timeout", err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, status: codes.Error, description: "dial: i/o timeout", want: map[string]any{"error.type": "timeout"}},
		{name: "no such host", err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x"}}, status: codes.Error, description: "dial: lookup x: no such host", want: map[string]any{"error.type": "*net.DNSError"}},
		{name: "refused", err: &net.OpError{Op: "dial", Err: errors.New("refused")}, status: codes.Error, description: "dial: refused", want: map[string]any{"error.type": "*net.OpError"}},
		{name: "cut off", err: io.ErrUnexpectedEOF, status: codes.Error, description: "unexpected EOF", want: map[string]any{"error.type": "*errors.errorString"}},
		{name: "an invalid byte in the error", err: errors.New("caf\xe9"), status: codes.Error, description: "caf\uFFFD", want: map[string]any{"error.type": "*errors.errorString"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			u := c.url
			if u == "" {
				u = "http://bank.example:81/pay"
			}
			parsed, err := url.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			r := (&http.Request{Method: "GET", URL: parsed, Header: http.Header{}}).WithContext(t.Context())
			switch c.method {
			case "":
			case "-":
				r.Method = ""
			default:
				r.Method = c.method
			}
			send := roundTripper(func(r *http.Request) (*http.Response, error) {
				if c.err != nil {
					return nil, c.err
				}
				response := &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Request: r}
				if c.code != 0 {
					response.StatusCode = c.code
				}
				if c.proto[0] != 0 {
					response.ProtoMajor, response.ProtoMinor = c.proto[0], c.proto[1]
				}
				return response, nil
			})
			if _, err := NewTransport(send, c.options...).RoundTrip(r); !errors.Is(err, c.err) {
				t.Errorf("the error becomes %v", err)
			}
			name := c.span
			if name == "" {
				name = "GET"
			}
			span, ok := s.spans()[name]
			if !ok {
				t.Fatalf("no span called %q: %v", name, s.spans())
			}
			want := base
			if c.err != nil {
				want = with(want, map[string]any{"http.response.status_code": nil, "network.protocol.version": nil})
			}
			sameAttributes(t, span, with(want, c.want))
			if span.Status.Code != c.status || span.Status.Description != c.description {
				t.Errorf("status %v, want %v %q", span.Status, c.status, c.description)
			}
			if (len(span.Events) == 1) != (c.err != nil) {
				t.Errorf("events %v", span.Events)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Over a real connection: who was talked to, and which attempt it was.
func TestThePeerAndTheRedirectOfARequest(t *testing.T) {
	s := start(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if next, ok := map[string]string{"/": "/there", "/there": "/at/last"}[r.URL.Path]; ok {
			http.Redirect(w, r, next, http.StatusFound)
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: NewTransport(nil)}
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	s.spansNamed("GET", func(spans []tracetest.SpanStub) {
		if len(spans) != 3 {
			t.Fatalf("%d spans", len(spans))
		}
		for i, want := range []map[string]any{
			{"url.full": server.URL, "http.response.status_code": int64(302)},
			{"url.full": server.URL + "/there", "http.response.status_code": int64(302), "http.request.resend_count": int64(1)},
			{"url.full": server.URL + "/at/last", "http.response.status_code": int64(200), "http.request.resend_count": int64(2)},
		} {
			sameAttributes(t, spans[i], with(want, map[string]any{
				"http.request.method": "GET", "url.scheme": "http", "server.address": host, "server.port": int64(portOf(port, "")),
				"network.peer.address": host, "network.peer.port": int64(portOf(port, "")), "network.protocol.version": "1.1",
			}))
		}
	})
}

// The list of known methods can be replaced, as the conventions demand.
func TestKnownMethodsOfTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PURGE")
	c := newConfig(nil)
	for method, want := range map[string]string{"GET": "GET", "PURGE": "PURGE", "POST": otherMethod, "": "GET", "purge": otherMethod} {
		if got := c.method(&http.Request{Method: method}); got != want {
			t.Errorf("%q is %q, want %q", method, got, want)
		}
	}
}

// With another sampling an unsampled request gets no attributes and still works.
func TestAnUnsampledRequest(t *testing.T) {
	s := start(t, inspect.WithSamplingRate(0))
	w := httptest.NewRecorder()
	NewHandler(statusHandler(503)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 503 || len(s.spans()) != 0 {
		t.Errorf("status %d, spans %v", w.Code, s.spans())
	}
}

// A task that is no server span, beside one of another instrumentation, says how it went
// and leaves the rest to the server span.
func TestATaskBesideAServerSpanRepeatsNothing(t *testing.T) {
	for name, layers := range map[string]func(*seen, http.Handler) http.Handler{
		"inside":  func(s *seen, h http.Handler) http.Handler { return otherHandler(s, NewHandler(h)) },
		"outside": func(s *seen, h http.Handler) http.Handler { return NewHandler(otherHandler(s, h), WithoutServerSpan()) },
	} {
		for _, called := range []bool{true, false} {
			t.Run(fmt.Sprint(name, called), func(t *testing.T) {
				s := start(t, inspect.WithServerTasks(false))
				mux := http.NewServeMux()
				mux.Handle("/orders/{item}", statusHandler(503))
				// A handler between hides the mux, which sets the pattern on the request.
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r) })
				r := httptest.NewRequest("GET", "/orders/7?card=1234", nil)
				if called {
					callerOf(r, true)
				}
				layers(s, h).ServeHTTP(httptest.NewRecorder(), r)
				sameAttributes(t, s.spans()["GET"], map[string]any{"http.response.status_code": int64(503), "error.type": "503"})
			})
		}
	}
}

func TestCredentialsOfTheConventionsAreRedacted(t *testing.T) {
	c := newConfig([]Option{WithQueryValues()})
	for _, name := range []string{
		"AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token",
	} {
		if got, want := c.query("a=1&"+name+"=secret&b=2"), "a=1&"+name+"=REDACTED&b=2"; got != want {
			t.Errorf("%s becomes %s", name, got)
		}
	}
	for query, want := range map[string]string{"": "", "&": "&", "a": "a", "=x": "=x", "%zz=1": "%zz=REDACTED", "a=1;sig=2": "a=1;sig=2", "a=b=c": "a=b=c"} {
		if got := c.query(query); got != want {
			t.Errorf("%q becomes %q, want %q", query, got, want)
		}
	}
}

// A route that is known when the task begins is not changed by a mux inside.
func TestTheRouteOfAMuxOutside(t *testing.T) {
	s := start(t)
	inner := http.NewServeMux()
	inner.Handle("/orders/{item}", statusHandler(200))
	outer := http.NewServeMux()
	between := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r) })
	outer.Handle("/orders/", NewHandler(between))
	outer.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://shop.example/orders/7", nil))
	if got := attributeOf(s.spans()["GET /orders/"], "http.route"); got != "/orders/" {
		t.Errorf("http.route is %v", got)
	}
}
