package inspect

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// unsampledSpan is the span of a task that nobody records: it carries the span
// context on, so that children follow the decision, and nothing else. It is the task
// itself under another name, and takes no room of its own.
type unsampledSpan Task

func (s *unsampledSpan) SpanContext() trace.SpanContext { return (*Task)(s).spanContext() }

func (s *unsampledSpan) TracerProvider() trace.TracerProvider { return s.ins.provider }

func (*unsampledSpan) IsRecording() bool                       { return false }
func (*unsampledSpan) End(...trace.SpanEndOption)              {}
func (*unsampledSpan) AddEvent(string, ...trace.EventOption)   {}
func (*unsampledSpan) AddLink(trace.Link)                      {}
func (*unsampledSpan) RecordError(error, ...trace.EventOption) {}
func (*unsampledSpan) SetStatus(codes.Code, string)            {}
func (*unsampledSpan) SetName(string)                          {}
func (*unsampledSpan) SetAttributes(...attribute.KeyValue)     {}
