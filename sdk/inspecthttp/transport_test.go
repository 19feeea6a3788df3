//go:build !noinspect

package inspecthttp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// exchange is what a transport's base sees of a request: its headers, and what the
// caller waits for meanwhile.
type exchange struct {
	traceparent string
	caller      inspect.TaskInfo
	err         error
}

func (e *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	e.traceparent = r.Header.Get("traceparent")
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		// A client span of another instrumentation is a wait when its goroutine is parked.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			for _, task := range inspect.Tasks() {
				if task.Name == "caller" {
					e.caller = task
				}
			}
			if w := e.caller.Wait; e.caller.Name == "" || e.traceparent == "" || w != nil && strings.HasSuffix(w.ResourceID, strings.Join(strings.Split(e.traceparent+"--", "-")[1:3], "/")) {
				return
			}
		}
	}()
	<-looked
	if e.err != nil {
		return nil, e.err
	}
	return &http.Response{StatusCode: 404, Body: http.NoBody, Request: r}, nil
}

// onTheWay is the id of the span that the traceparent names, as a resource.
func (e *exchange) onTheWay(t *testing.T) string {
	t.Helper()
	parts := strings.Split(e.traceparent, "-")
	if len(parts) != 4 {
		t.Fatalf("traceparent is %q", e.traceparent)
	}
	return "span:" + parts[1] + "/" + parts[2]
}

func newRequest(t *testing.T, ctx context.Context) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://bank.example:81/pay?card=1234", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What the caller waits for is the span that the other side is told of, at any
// sampling rate and with or without another instrumentation.
func TestRequestIsAWait(t *testing.T) {
	for _, rate := range []float64{0, 1} {
		for name, layers := range map[string]func(*seen, http.RoundTripper) http.RoundTripper{
			"alone": func(_ *seen, base http.RoundTripper) http.RoundTripper { return NewTransport(base) },
			"below another": func(s *seen, base http.RoundTripper) http.RoundTripper {
				return otherTransport{s, NewTransport(base)}
			},
			"above another": func(s *seen, base http.RoundTripper) http.RoundTripper {
				return NewTransport(otherTransport{s, base})
			},
		} {
			t.Run(name, func(t *testing.T) {
				s := start(t, inspect.WithSamplingRate(rate))
				ctx, task := inspect.Begin(t.Context(), "caller")
				deadline := time.Now().Add(time.Hour)
				limited, cancel := context.WithDeadline(ctx, deadline)
				defer cancel()
				var e exchange
				r := newRequest(t, limited)
				response, err := layers(s, &e).RoundTrip(r)
				if err != nil || response.StatusCode != 404 {
					t.Fatal(response, err)
				}
				w := e.caller.Wait
				if w == nil {
					t.Fatal("the caller waits for nothing")
				}
				if w.Kind != "remote" || w.ResourceID != e.onTheWay(t) {
					t.Errorf("waits for %s %s, on the way is %s", w.Kind, w.ResourceID, e.onTheWay(t))
				}
				if w.Deadline == nil || w.Deadline.Sub(deadline).Abs() > time.Millisecond {
					t.Errorf("until %v, want %v", w.Deadline, deadline)
				}
				if !strings.HasSuffix(w.Place.File, "_test.go") {
					t.Errorf("at %v", w.Place)
				}
				if !strings.Contains(w.ResourceID, task.SpanContext().TraceID().String()) {
					t.Errorf("in another trace: %s", w.ResourceID)
				}
				if len(r.Header) != 0 {
					t.Errorf("the request was changed: %v", r.Header)
				}
				for _, info := range inspect.Tasks() {
					if info.Wait != nil {
						t.Errorf("%s waits after the answer", info.Name)
					}
				}
				task.End(nil)
			})
		}
	}
}

func TestClientSpan(t *testing.T) {
	s := start(t)
	ctx, task := inspect.Begin(t.Context(), "caller")
	var e exchange
	transport := NewTransport(&e)
	if _, err := transport.RoundTrip(newRequest(t, ctx)); err != nil {
		t.Fatal(err)
	}
	span := s.spans()["GET"]
	if span.SpanKind != trace.SpanKindClient || span.Parent.SpanID() != task.SpanContext().SpanID() || span.Status.Code != codes.Error {
		t.Errorf("kind %v below %v, status %v", span.SpanKind, span.Parent, span.Status)
	}
	for key, want := range map[string]any{
		"http.request.method": "GET", "server.address": "bank.example", "http.response.status_code": int64(404),
	} {
		if got := attributeOf(span, key); got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	for _, a := range span.Attributes {
		if strings.Contains(a.Value.String(), "1234") {
			t.Errorf("the value of a parameter is recorded: %v", a)
		}
	}
	s.exporter.Reset()
	e.err = errors.New("connection refused")
	if _, err := transport.RoundTrip(newRequest(t, ctx)); err != e.err {
		t.Errorf("the error becomes %v", err)
	}
	if span := s.spans()["GET"]; span.Status.Description != "connection refused" || len(span.Events) != 1 {
		t.Errorf("status %v, events %v", span.Status, span.Events)
	}
	task.End(nil)
}

// A proxy copies the headers of its own caller: those name nobody who waits here.
func TestHeadersOfAProxy(t *testing.T) {
	start(t)
	ctx, task := inspect.Begin(t.Context(), "caller")
	defer task.End(nil)
	var e exchange
	r := newRequest(t, ctx)
	callerOf(r, true)
	if _, err := NewTransport(&e).RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	if w := e.caller.Wait; e.caller.Name == "" || e.traceparent == "" || w != nil && w.ResourceID != e.onTheWay(t) || !strings.Contains(e.traceparent, task.SpanContext().TraceID().String()) {
		t.Errorf("waits for %v, on the way is %s", w, e.traceparent)
	}
}

func TestTransportWhileOff(t *testing.T) {
	var e exchange
	r := newRequest(t, t.Context())
	response, err := NewTransport(&e).RoundTrip(r)
	if err != nil || response.Request != r || e.traceparent != "" {
		t.Errorf("the request is changed: %v, %v", e.traceparent, err)
	}
}

// reportedWaits hands on the wait reports.
type reportedWaits struct{ waits chan map[string]string }

func (reportedWaits) Start(context.Context) error { return nil }
func (reportedWaits) Stop(context.Context) error  { return nil }

func (c reportedWaits) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) error {
	for _, r := range spans {
		for _, scope := range r.ScopeSpans {
			for _, span := range scope.Spans {
				report := make(map[string]string)
				for _, a := range span.Attributes {
					report[a.Key] = a.Value.GetStringValue()
				}
				if report["async_inspect.report"] == "wait" {
					c.waits <- report
				}
			}
		}
	}
	return nil
}

// Over a real connection: what the caller is reported to wait for is what the handler
// is reported to answer.
func TestBothEndsMeet(t *testing.T) {
	for _, rate := range []float64{0, 1} {
		client := reportedWaits{make(chan map[string]string, 64)}
		s := start(t, inspect.WithReportClient(client), inspect.WithStuckAfter(10*time.Millisecond), inspect.WithSamplingRate(rate))
		var stock inspect.Mutex
		stock.Lock()
		server := httptest.NewServer(NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			stock.Lock() // until somebody has seen both
			defer stock.Unlock()
		})))
		var called sync.WaitGroup
		called.Go(func() {
			ctx, task := inspect.Begin(context.Background(), "caller")
			defer task.End(nil)
			r, err := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
			if err != nil {
				t.Error(err)
				return
			}
			response, err := (&http.Client{Transport: NewTransport(nil)}).Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = response.Body.Close()
		})
		var waitsFor, answers string
		for waitsFor == "" || answers == "" {
			select {
			case report := <-client.waits:
				switch report["async_inspect.wait.kind"] {
				case "remote":
					waitsFor = report["async_inspect.wait.resource.id"]
					if host := strings.TrimPrefix(server.URL, "http://"); report["async_inspect.wait.resource.name"] != host {
						t.Errorf("the resource is called %q, want %q", report["async_inspect.wait.resource.name"], host)
					}
				case "mutex":
					answers = report["async_inspect.task.remote_parent"]
				}
			case <-t.Context().Done():
				t.Fatalf("reported only %q and %q", waitsFor, answers)
			}
		}
		stock.Unlock()
		called.Wait()
		server.Close()
		if waitsFor != "span:"+answers {
			t.Errorf("rate %v: the caller waits for %s, the handler answers %s", rate, waitsFor, answers)
		}
		_ = s.ins.Shutdown(t.Context())
	}
}

// Beside a server span that nobody records, only the headers say whom a request answers.
func TestWhomARequestBesideAServerSpanAnswers(t *testing.T) {
	for _, called := range []bool{true, false} {
		client := reportedWaits{make(chan map[string]string, 64)}
		s := start(t, inspect.WithReportClient(client), inspect.WithStuckAfter(10*time.Millisecond))
		var stock inspect.Mutex
		stock.Lock()
		h := NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			stock.Lock() // until somebody has seen it
			defer stock.Unlock()
		}))
		local := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{3}, SpanID: trace.SpanID{9}})
		r := httptest.NewRequest("GET", "/", nil)
		want := ""
		if called {
			caller := callerOf(r, false)
			want = caller.TraceID().String() + "/" + caller.SpanID().String()
		}
		var served sync.WaitGroup
		served.Go(func() {
			h.ServeHTTP(httptest.NewRecorder(), r.WithContext(trace.ContextWithSpanContext(r.Context(), local)))
		})
		select {
		case report := <-client.waits:
			if got := report["async_inspect.task.remote_parent"]; report["async_inspect.wait.kind"] != "mutex" || got != want {
				t.Errorf("called %t: a wait of kind %s answers %q, want %q", called, report["async_inspect.wait.kind"], got, want)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("called %t: the wait of the handler is not reported after 30 s", called)
		}
		stock.Unlock()
		served.Wait()
		_ = s.ins.Shutdown(t.Context())
	}
}

// The wait for an answer is called after the address that is called, not after the host
// that the request names.
func TestWhatARequestWaitsFor(t *testing.T) {
	start(t)
	var waits []string
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		for _, task := range inspect.Tasks() {
			if task.Wait != nil {
				waits = append(waits, task.Wait.Resource)
			}
		}
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
	})
	r := httptest.NewRequest("GET", "http://bank.example:8443/pay", nil)
	r.Host = "virtual.example"
	response, err := NewTransport(base).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if len(waits) != 1 || waits[0] != "bank.example:8443" {
		t.Errorf("it waits for %q", waits)
	}
}
