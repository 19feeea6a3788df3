package failure

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

type noPlace struct{}

func (*noPlace) Error() string { return "bad \xff" }

// An error becomes the status of the span and an event, a status code the status alone.
func TestRecord(t *testing.T) {
	for _, test := range []struct {
		err         error
		text, event string // event: the type of the exception; "": none
	}{
		{errors.New("no stock"), "no stock", "*errors.errorString"},
		{errors.New("caf\xe9"), "caf\uFFFD", "*errors.errorString"},
		{fmt.Errorf("caf\xe9: %w", context.Canceled), "caf\uFFFD: context canceled", "*fmt.wrapError"},
		{new(noPlace), "bad \uFFFD", "*failure.noPlace"},
		{context.DeadlineExceeded, "context deadline exceeded", "context.deadlineExceededError"},
		{Status(503), "", ""},
	} {
		exporter := tracetest.NewInMemoryExporter()
		_, span := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)).Tracer("x").Start(t.Context(), "x")
		Record(span, test.err)
		span.End()
		s := exporter.GetSpans()[0]
		if s.Status.Code != codes.Error || s.Status.Description != test.text {
			t.Errorf("%q: the status is %+v", test.err, s.Status)
		}
		if want := map[bool]int{true: 1}[test.event != ""]; len(s.Events) != want {
			t.Errorf("%q: %d events", test.err, len(s.Events))
			continue
		}
		for _, e := range s.Events {
			set := attribute.NewSet(e.Attributes...)
			of, _ := set.Value("exception.type")
			text, _ := set.Value("exception.message")
			if e.Name != "exception" || of.AsString() != test.event || text.AsString() != test.text {
				t.Errorf("%q: the event is %s with %s, %q", test.err, e.Name, of.AsString(), text.AsString())
			}
		}
	}
}

// What an invalid text changes of an event is its text.
func TestTheTypeOfAnError(t *testing.T) {
	for _, err := range []error{errors.New("x"), new(noPlace), context.DeadlineExceeded, Status(404), fmt.Errorf("%w", context.Canceled)} {
		exporter := tracetest.NewInMemoryExporter()
		_, span := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)).Tracer("x").Start(t.Context(), "x")
		span.RecordError(err)
		span.End()
		set := attribute.NewSet(exporter.GetSpans()[0].Events[0].Attributes...)
		if want, _ := set.Value("exception.type"); exceptionType(err) != want.AsString() {
			t.Errorf("%T is called %q, by OpenTelemetry %q", err, exceptionType(err), want.AsString())
		}
	}
}

func TestStatus(t *testing.T) {
	if s := Status(503); s.Error() != "status 503 Service Unavailable" || s.Type() != "503" {
		t.Errorf("%q of type %q", s.Error(), s.Type())
	}
}
