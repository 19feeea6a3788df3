package adaptivesampler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/lifecycle"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler/internal/metadata"
)

// adaptiveSampler is the shell: the clock, the log and the telemetry.
type adaptiveSampler struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	next      consumer.Traces

	sampler  *sampler
	fixed    *fixedRate // nil: not at a fixed rate
	overhead overhead
	outlet   *lifecycle.Outlet // only loop's, and Shutdown's after it

	loop   lifecycle.Loop
	remove func() // hides the sampler from the inspector
}

var _ processor.Traces = (*adaptiveSampler)(nil)

func newProcessor(set processor.Settings, cfg *Config, next consumer.Traces) (*adaptiveSampler, error) {
	limit, err := cfg.Memory.bytes()
	if err != nil {
		return nil, fmt.Errorf("memory::limit_percentage: %w", err)
	}
	p := &adaptiveSampler{
		cfg: cfg, id: set.ID, logger: set.Logger, next: next, sampler: newSampler(cfg, limit),
		overhead: overhead{target: cfg.TargetOverhead},
		outlet:   lifecycle.NewOutlet("spans of kept traces", next, set.Logger),
	}
	if cfg.fixed() {
		p.fixed = newFixedRate(*cfg.SamplingRate, &p.sampler.counts)
	}
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	p.telemetry = builder
	return p, nil
}

// Capabilities says that spans are taken out and get their threshold.
func (*adaptiveSampler) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: true}
}

// Start begins to tick.
func (p *adaptiveSampler) Start(_ context.Context, host component.Host) error {
	if err := p.registerTelemetry(); err != nil {
		return fmt.Errorf("register telemetry of %s: %w", p.id, err)
	}
	p.remove = lifecycle.Show(host, func(r view.SamplerRegistrar) func() { return r.RegisterAdaptiveSampler(p.id.String(), p) })
	p.outlet.Start(host)
	p.loop.Start(p.cfg.DecisionInterval, p.tick)
	return nil
}

// Shutdown decides about everything that is pending, and sends what is kept.
func (p *adaptiveSampler) Shutdown(ctx context.Context) error {
	defer p.telemetry.Shutdown()
	if !p.loop.Stop() {
		return nil
	}
	p.remove()
	now := time.Now()
	p.send(ctx, p.sampler.tick(now, true), now)
	return p.outlet.Close(ctx)
}

// tick decides, and sends what is kept.
func (p *adaptiveSampler) tick(ctx context.Context, now time.Time) {
	began := time.Now()
	out := p.sampler.tick(now, false)
	p.overhead.spent(began)
	p.overhead.look(now, p.sampler)
	p.send(ctx, out, now)
}

func (p *adaptiveSampler) send(ctx context.Context, out *output, now time.Time) {
	td := ptrace.NewTraces()
	if out != nil {
		td = out.td
	}
	p.outlet.Send(ctx, td, now)
}

// ConsumeTraces takes spans in. What passes at once goes on before it returns.
func (p *adaptiveSampler) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	began := time.Now()
	direct, any := takeDirect(td, p.sampler.stuck)
	var errs []error
	if any {
		p.sampler.counts.passed.Add(int64(direct.SpanCount()))
		errs = append(errs, p.next.ConsumeTraces(ctx, direct))
	}
	if p.fixed != nil {
		left := p.fixed.sample(td)
		p.overhead.spent(began)
		if left {
			errs = append(errs, p.next.ConsumeTraces(ctx, td))
		}
		return errors.Join(errs...)
	}
	out := p.sampler.ingest(td, began)
	p.overhead.spent(began)
	if out != nil && out.spans > 0 {
		errs = append(errs, p.next.ConsumeTraces(ctx, out.td))
	}
	return errors.Join(errs...)
}
