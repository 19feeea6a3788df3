package inspect

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// OTelSampler makes an OpenTelemetry sampler of s, for use beside others:
//
//	sdktrace.ParentBased(inspect.OTelSampler(s))
//
// What s keeps has no known probability, so its spans carry no threshold.
func OTelSampler(s Sampler) sdktrace.Sampler { return namedSampler{s} }

type namedSampler struct{ Sampler }

func (s namedSampler) Description() string { return fmt.Sprintf("async-inspect{%T}", s.Sampler) }

func (s namedSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return result(s.Sampler.ShouldSample(p.Name),
		withoutThreshold(trace.SpanContextFromContext(p.ParentContext).TraceState()))
}

func result(keep bool, state trace.TraceState) sdktrace.SamplingResult {
	r := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: state}
	if keep {
		r.Decision = sdktrace.RecordAndSample
	}
	return r
}

// headSampler decides about the traces that begin in this process: by a rate, or
// by somebody who is asked. Spans with a parent follow it.
type headSampler struct {
	threshold atomic.Pointer[threshold] // nil if somebody else is asked
	custom    Sampler
	otel      sdktrace.Sampler // decides about every span, as in any provider
	everySpan bool             // the threshold decides about spans with a parent, too
}

func newHeadSampler(c *config) *headSampler {
	h := &headSampler{custom: c.sampler, otel: c.otelSampler, everySpan: c.everySpan}
	switch {
	case h.custom != nil || h.otel != nil:
	case c.adaptive != nil:
		h.setRate(c.adaptive.MaxRate)
	default:
		h.setRate(c.rate)
	}
	return h
}

func (h *headSampler) setRate(rate float64) {
	if t := h.threshold.Load(); t == nil || t.rate != rate {
		h.threshold.Store(newThreshold(rate))
	}
}

// rate is the one in force, or -1 if it is not known.
func (h *headSampler) rate() float64 {
	if h == nil {
		return -1
	}
	if t := h.threshold.Load(); t != nil {
		return t.rate
	}
	return -1
}

// decide decides about a trace by the name of its first task or span. The state is
// what came in; what goes on carries the threshold of a trace that is kept.
func (h *headSampler) decide(id trace.TraceID, name string, state trace.TraceState) (bool, trace.TraceState) {
	if h.custom != nil {
		return h.custom.ShouldSample(name), withoutThreshold(state)
	}
	t := h.threshold.Load()
	if randomness(id, state) < t.value {
		return false, withoutThreshold(state)
	}
	return true, t.in(state)
}

// randomness of a trace: its explicit one, or else the low 56 bits of its id.
func randomness(id trace.TraceID, state trace.TraceState) uint64 {
	if rv, ok := explicitRandomness(state); ok {
		return rv
	}
	return binary.BigEndian.Uint64(id[8:]) & (1<<randomnessBits - 1)
}

// spanSampler is the sampler of our own provider. It makes the same decisions for
// plain spans as for tasks, and carries out the one that a task has made already.
type spanSampler struct {
	head *headSampler
	// Of which spans the processor wants to know: those that are waits, and those that
	// are tasks or answer somebody.
	clients, servers bool
}

func (s spanSampler) Description() string {
	switch {
	case s.head.otel != nil:
		return "async-inspect{" + s.head.otel.Description() + "}"
	case s.head.custom != nil:
		return OTelSampler(s.head.custom).Description()
	default:
		return fmt.Sprintf("async-inspect{%g}", s.head.rate())
	}
}

func (s spanSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	task := startingTask(p.ParentContext)
	var r sdktrace.SamplingResult
	switch {
	case s.head.otel != nil:
		r = s.head.otel.ShouldSample(p)
	case task != nil && task.spanID.IsValid():
		return result(true, task.spanContext().TraceState())
	default:
		parent := trace.SpanContextFromContext(p.ParentContext)
		if parent.IsValid() && !s.head.everySpan {
			r = result(parent.IsSampled(), parent.TraceState())
		} else {
			r = result(s.head.decide(p.TraceID, p.Name, parent.TraceState()))
		}
	}
	if task == nil && (p.Kind == trace.SpanKindClient && s.clients || p.Kind != trace.SpanKindClient && s.servers) {
		r = recorded(r, p.Kind)
	}
	return r
}

// startingTask returns the task whose own span is being made in ctx. A task's
// later children have the same context and are not meant.
func startingTask(ctx context.Context) *Task {
	if t := TaskFromContext(ctx); t != nil && t.span == nil {
		return t
	}
	return nil
}

// recorded makes sure that span processors see the spans that matter for waits
// between processes.
func recorded(r sdktrace.SamplingResult, k trace.SpanKind) sdktrace.SamplingResult {
	crosses := k == trace.SpanKindClient || k == trace.SpanKindServer || k == trace.SpanKindConsumer
	if crosses && r.Decision == sdktrace.Drop {
		r.Decision = sdktrace.RecordOnly
	}
	return r
}

// WrapSampler makes a sampler record, and not export, the client, server and
// consumer spans that base drops, so that [NewSpanProcessor] sees remote calls at
// every sampling rate. It is for a provider of your own; see [WithTracerProvider].
// A recorded span costs what any span costs but its export. While no Inspector runs,
// the sampler decides as base does.
func WrapSampler(base sdktrace.Sampler) sdktrace.Sampler { return recordingSampler{base} }

type recordingSampler struct{ base sdktrace.Sampler }

func (s recordingSampler) Description() string { return "async-inspect{" + s.base.Description() + "}" }

func (s recordingSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	r := s.base.ShouldSample(p)
	if !inspecting() || startingTask(p.ParentContext) != nil {
		return r // nobody looks, or the SDK sees its own tasks anyway
	}
	return recorded(r, p.Kind)
}

// idGenerator gives a sampled task the ids that its decision was made for.
type idGenerator struct{}

func (idGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	sc := decided(ctx)
	if !sc.IsValid() {
		sc = newIdentity()
	}
	return sc.TraceID(), sc.SpanID()
}

func (idGenerator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if sc := decided(ctx); sc.IsValid() {
		return sc.SpanID()
	}
	return randomSpanID()
}

// decided is the identity that a task has got before its span is made.
func decided(ctx context.Context) trace.SpanContext {
	if t := startingTask(ctx); t != nil {
		return t.spanContext()
	}
	return trace.SpanContext{}
}
