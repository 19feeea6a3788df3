package inspect

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// headSampler decides about traces that begin in this process: by a rate, or by
// somebody who is asked.
//
// A rate is consistent probability sampling as the OpenTelemetry specification has
// it ("Probability Sampling 2", TraceState th and rv): a trace is kept if its
// randomness, the low 56 bits of its id, is at least the threshold. Services
// with the same rate keep the same traces, and with different rates nested ones;
// the threshold travels as "ot=th:...", so that whoever counts what was kept can
// compute what there was.
type headSampler struct {
	threshold atomic.Pointer[threshold] // nil if somebody else is asked
	custom    Sampler
	otel      sdktrace.Sampler
}

// threshold is a rate as the randomness from which on traces are kept.
type threshold struct {
	rate  float64
	value uint64           // 0: all; 1<<56: none
	state trace.TraceState // with the threshold and nothing else
}

const randomnessBits = 56

func newThreshold(rate float64) *threshold {
	t := &threshold{rate: rate, value: uint64(math.Round((1 - rate) * (1 << randomnessBits)))}
	if t.value < 1<<randomnessBits {
		t.state, _ = trace.TraceState{}.Insert("ot", "th:"+t.text())
	}
	return t
}

// text is the threshold in hex without trailing zeros.
func (t *threshold) text() string {
	s := strconv.FormatUint(1<<randomnessBits|t.value, 16)[1:]
	if s = strings.TrimRight(s, "0"); s == "" {
		return "0"
	}
	return s
}

func newHeadSampler(c *config) *headSampler {
	h := &headSampler{custom: c.sampler, otel: c.otelSampler}
	switch {
	case h.custom != nil || h.otel != nil:
	case c.adaptive != nil:
		h.setRate(c.adaptive.MaxRate)
	default:
		h.setRate(c.rate)
	}
	return h
}

func (h *headSampler) setRate(rate float64) { h.threshold.Store(newThreshold(rate)) }

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

// decide decides about a trace by the name of its first task or span.
func (h *headSampler) decide(id trace.TraceID, name string) (keep bool, state trace.TraceState) {
	switch {
	case h.custom != nil:
		return h.custom.ShouldSample(name), trace.TraceState{}
	case h.otel != nil:
		r := h.otel.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: id, Name: name})
		return r.Decision == sdktrace.RecordAndSample, r.Tracestate
	}
	t := h.threshold.Load()
	if binary.BigEndian.Uint64(id[8:])&(1<<randomnessBits-1) < t.value {
		return false, trace.TraceState{}
	}
	return true, t.state
}

// spanSampler is the sampler of our own provider. It makes the same decisions for
// plain spans as for tasks, and carries out the one that a task has made already.
type spanSampler struct {
	head        *headSampler
	remoteWaits bool
}

func (s spanSampler) Description() string { return "async-inspect" }

func (s spanSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if t := TaskFromContext(p.ParentContext); t != nil && t.starting {
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample, Tracestate: t.light.sc.TraceState()}
	}
	keep, state := false, trace.TraceState{}
	if parent := trace.SpanContextFromContext(p.ParentContext); parent.IsValid() {
		keep, state = parent.IsSampled(), parent.TraceState()
	} else {
		keep, state = s.head.decide(p.TraceID, p.Name)
	}
	decision := sdktrace.Drop
	switch {
	case keep:
		decision = sdktrace.RecordAndSample
	case s.remoteWaits && crossesProcesses(p.Kind):
		decision = sdktrace.RecordOnly
	}
	return sdktrace.SamplingResult{Decision: decision, Tracestate: state}
}

// crossesProcesses says which spans matter for waits between processes.
func crossesProcesses(k trace.SpanKind) bool {
	return k == trace.SpanKindClient || k == trace.SpanKindServer || k == trace.SpanKindConsumer
}

// WrapSampler makes a sampler record, and not export, the client and server spans
// that base drops, so that a span processor of [NewSpanProcessor] sees remote calls
// at every sampling rate. It is for a provider of your own; see
// [WithTracerProvider].
func WrapSampler(base sdktrace.Sampler) sdktrace.Sampler { return recordingSampler{base} }

type recordingSampler struct{ base sdktrace.Sampler }

func (s recordingSampler) Description() string { return "async-inspect(" + s.base.Description() + ")" }

func (s recordingSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	r := s.base.ShouldSample(p)
	if r.Decision == sdktrace.Drop && crossesProcesses(p.Kind) {
		r.Decision = sdktrace.RecordOnly
	}
	return r
}

// idGenerator gives a sampled task the ids that its decision was made for.
type idGenerator struct{}

func (idGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if t := TaskFromContext(ctx); t != nil && t.starting {
		return t.light.sc.TraceID(), t.light.sc.SpanID()
	}
	var id trace.TraceID
	var span trace.SpanID
	putRandom(id[:8])
	putRandom(id[8:])
	putRandom(span[:])
	return id, span
}

func (idGenerator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if t := TaskFromContext(ctx); t != nil && t.starting {
		return t.light.sc.SpanID()
	}
	var span trace.SpanID
	putRandom(span[:])
	return span
}
