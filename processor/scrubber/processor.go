package scrubber

import (
	"context"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/otel/metric"

	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/processor/scrubber/internal/metadata"
)

// field is where a text is.
type field int

const (
	inAttribute field = iota
	inEvent
	inLink
	inName
	inResource
	inScope
	inStatus
	inTracestate
	fields
)

var fieldNames = [fields]string{"attribute", "event", "link", "name", "resource", "scope", "status", "tracestate"}

// scrubber is the shell around [rules]: it walks through the spans and counts.
type scrubber struct {
	rules     *rules
	next      consumer.Traces
	telemetry *metadata.TelemetryBuilder
	replaced  [fields]atomic.Int64
}

var _ processor.Traces = (*scrubber)(nil)

func newProcessor(set processor.Settings, cfg *Config, next consumer.Traces) (*scrubber, error) {
	r, err := newRules(cfg)
	if err != nil {
		return nil, err
	}
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	return &scrubber{rules: r, next: next, telemetry: builder}, nil
}

// Capabilities says that texts are changed.
func (*scrubber) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: true}
}

// Start shows the counts.
func (p *scrubber) Start(context.Context, component.Host) error {
	return p.telemetry.RegisterProcessorScrubberReplacedTextsCallback(func(_ context.Context, o metric.Int64Observer) error {
		for i := range p.replaced {
			o.Observe(p.replaced[i].Load(), intake.With("field", fieldNames[i]))
		}
		return nil
	})
}

// Shutdown ends that.
func (p *scrubber) Shutdown(context.Context) error {
	p.telemetry.Shutdown()
	return nil
}

// ConsumeTraces scrubs every text of the spans and passes them on.
func (p *scrubber) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	for _, rs := range td.ResourceSpans().All() {
		p.count(inResource, p.rules.attributes(rs.Resource().Attributes()))
		for _, ss := range rs.ScopeSpans().All() {
			p.scope(ss.Scope())
			for _, span := range ss.Spans().All() {
				p.span(span)
			}
		}
	}
	return p.next.ConsumeTraces(ctx, td)
}

func (p *scrubber) scope(scope pcommon.InstrumentationScope) {
	if s, replaced := p.rules.text(scope.Name()); replaced {
		scope.SetName(s)
		p.count(inScope, 1)
	}
	if s, replaced := p.rules.text(scope.Version()); replaced {
		scope.SetVersion(s)
		p.count(inScope, 1)
	}
	p.count(inScope, p.rules.attributes(scope.Attributes()))
}

func (p *scrubber) span(span ptrace.Span) {
	if s, replaced := p.rules.text(span.Name()); replaced {
		span.SetName(s)
		p.count(inName, 1)
	}
	if s, replaced := p.rules.text(span.Status().Message()); replaced {
		span.Status().SetMessage(s)
		p.count(inStatus, 1)
	}
	p.count(inTracestate, p.rules.tracestate(span.TraceState()))
	p.count(inAttribute, p.rules.attributes(span.Attributes()))
	for _, event := range span.Events().All() {
		if s, replaced := p.rules.text(event.Name()); replaced {
			event.SetName(s)
			p.count(inEvent, 1)
		}
		p.count(inEvent, p.rules.attributes(event.Attributes()))
	}
	for _, link := range span.Links().All() {
		p.count(inTracestate, p.rules.tracestate(link.TraceState()))
		p.count(inLink, p.rules.attributes(link.Attributes()))
	}
}

func (p *scrubber) count(in field, n int64) {
	if n > 0 {
		p.replaced[in].Add(n)
	}
}
