//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/asyncinspect/asyncinspect/sdk/internal/failure"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// With the option or the variable, no span says more of an error or a panic than its
// type. The option goes before the variable, and afterwards texts are as before.
func TestErrorTextsAreKeptOut(t *testing.T) {
	const secret = "4111 1111 1111 1111"
	for _, c := range []struct {
		env  string
		opts []Option
		kept bool // the texts are on the spans
	}{
		{"", nil, true},
		{"true", nil, true},
		{"false", nil, false},
		{"", []Option{WithErrorTexts(false)}, false},
		{"true", []Option{WithErrorTexts(false)}, false},
		{"false", []Option{WithErrorTexts(true)}, true},
	} {
		name := fmt.Sprintf("ASYNC_INSPECT_ERROR_TEXTS=%s and %d options", c.env, len(c.opts))
		clearEnv(t)
		t.Setenv("ASYNC_INSPECT_ERROR_TEXTS", c.env)
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
		ins, err := New(t.Context(), append(c.opts, WithTracerProvider(provider), WithReports(false))...)
		if err != nil {
			t.Fatal(err)
		}
		_, failed := ins.Begin(t.Context(), "fails")
		failed.End(fmt.Errorf("card %s: %w", secret, errors.New("declined")))
		_, panics := ins.Begin(t.Context(), "panics")
		panics.EndPanic("card " + secret)
		_, invalid := ins.Begin(t.Context(), "invalid")
		invalid.End(errors.New("card \xff" + secret))

		spans := exporter.GetSpans()
		if len(spans) != 3 {
			t.Fatalf("%s: %d spans", name, len(spans))
		}
		for _, s := range spans {
			if s.Status.Code != codes.Error || len(s.Events) != 1 {
				t.Errorf("%s: %s has status %v and %d events", name, s.Name, s.Status.Code, len(s.Events))
			}
			if has := strings.Contains(fmt.Sprint(s.Status, s.Events, s.Attributes), secret); has != c.kept {
				t.Errorf("%s: %s has the text: %v, want %v", name, s.Name, has, c.kept)
			}
			types := 0
			for _, a := range append(s.Attributes, s.Events[0].Attributes...) {
				if (a.Key == taskspan.ErrorType || a.Key == "exception.type") && a.Value.AsString() != "" {
					types++
				}
			}
			if types != 2 {
				t.Errorf("%s: %s has %d types of its error, want error.type and exception.type", name, s.Name, types)
			}
		}
		for range 2 { // the second changes nothing
			if err := ins.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
		exporter.Reset()
		_, span := provider.Tracer("after").Start(t.Context(), "after")
		failure.Record(span, errors.New(secret))
		span.End()
		if s := exporter.GetSpans()[0]; s.Status.Description != secret {
			t.Errorf("%s: after the shutdown the status is %q", name, s.Status.Description)
		}
	}
}

// One Inspector that keeps texts out is enough, for as long as it runs.
func TestErrorTextsAreKeptOutOfTheWholeProcess(t *testing.T) {
	clearEnv(t)
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	start := func(opts ...Option) *Inspector {
		ins, err := New(t.Context(), append(opts, WithTracerProvider(provider), WithReports(false))...)
		if err != nil {
			t.Fatal(err)
		}
		return ins
	}
	stop := func(ins *Inspector) {
		if err := ins.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	shows, hides, hidesToo := start(), start(WithErrorTexts(false)), start(WithErrorTexts(false))
	text := func() string {
		exporter.Reset()
		_, task := shows.Begin(t.Context(), "fails")
		task.End(errors.New("text"))
		return exporter.GetSpans()[0].Status.Description
	}
	if got := text(); got != "" {
		t.Errorf("with two that hide: %q", got)
	}
	stop(hides)
	if got := text(); got != "" {
		t.Errorf("with one that hides: %q", got)
	}
	stop(hidesToo)
	if got := text(); got != "text" {
		t.Errorf("with none: %q", got)
	}
	stop(shows)
	if _, err := New(t.Context(), WithErrorTexts(false), WithSamplingRate(2)); err == nil {
		t.Error("a rate of 2 is taken")
	}
	other := start()
	_, task := other.Begin(t.Context(), "fails")
	exporter.Reset()
	task.End(errors.New("text"))
	if got := exporter.GetSpans()[0].Status.Description; got != "text" {
		t.Errorf("after one that did not start: %q", got)
	}
	stop(other)
}
