package inspect

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// unsampledSpan is the span of a task that nobody records: it carries the span
// context on, so that children follow the decision, and nothing else. It is a part
// of the task and not noop.Span, which is five times as large.
type unsampledSpan struct {
	embedded.Span
	task *Task
}

func (s *unsampledSpan) SpanContext() trace.SpanContext { return s.task.sc }

func (s *unsampledSpan) TracerProvider() trace.TracerProvider { return s.task.ins.provider }

func (*unsampledSpan) IsRecording() bool                       { return false }
func (*unsampledSpan) End(...trace.SpanEndOption)              {}
func (*unsampledSpan) AddEvent(string, ...trace.EventOption)   {}
func (*unsampledSpan) AddLink(trace.Link)                      {}
func (*unsampledSpan) RecordError(error, ...trace.EventOption) {}
func (*unsampledSpan) SetStatus(codes.Code, string)            {}
func (*unsampledSpan) SetName(string)                          {}
func (*unsampledSpan) SetAttributes(...attribute.KeyValue)     {}
