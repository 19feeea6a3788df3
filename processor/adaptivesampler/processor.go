package adaptivesampler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler/internal/metadata"
)

// adaptiveSampler is the shell: the goroutine that ticks, the clock, the log and the
// telemetry.
type adaptiveSampler struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	next      consumer.Traces

	sampler  *sampler
	fixed    *fixedRate // nil: not at a fixed rate
	overhead overhead
	failing  bool // only run's

	host       component.Host
	unregister []func()
	stop       context.CancelFunc
	done       chan struct{} // closed when the goroutine has ended
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
	p.host = host
	p.register(host)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.done = cancel, make(chan struct{})
	go p.run(ctx)
	return nil
}

// Shutdown decides about everything that is pending, and sends what is kept.
func (p *adaptiveSampler) Shutdown(ctx context.Context) error {
	for _, remove := range p.unregister {
		remove()
	}
	var err error
	if p.stop != nil {
		p.stop()
		<-p.done
		if out := p.sampler.tick(time.Now(), true); out != nil {
			if err = p.next.ConsumeTraces(ctx, out.td); err != nil {
				p.sampler.counts.refused.Add(int64(out.spans))
				err = fmt.Errorf("send %d spans that were pending at shutdown: %w", out.spans, err)
			}
		}
	}
	p.telemetry.Shutdown()
	return err
}

func (p *adaptiveSampler) run(ctx context.Context) {
	defer close(p.done)
	ticker := time.NewTicker(p.cfg.DecisionInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			p.tick(now)
		}
	}
}

// tick decides, and sends what is kept.
func (p *adaptiveSampler) tick(now time.Time) {
	began := time.Now()
	out := p.sampler.tick(now, false)
	p.overhead.spent(began)
	p.overhead.look(now, p.sampler)
	if out == nil {
		return
	}
	// Not the context of run: what has been decided is sent also while it stops.
	err := p.next.ConsumeTraces(context.Background(), out.td)
	if err == nil {
		if p.failing {
			p.failing = false
			componentstatus.ReportStatus(p.host, componentstatus.NewEvent(componentstatus.StatusOK))
		}
		return
	}
	p.sampler.counts.refused.Add(int64(out.spans))
	if !p.failing {
		p.failing = true
		p.logger.Warn("The next component refused kept spans, and they are lost; a queue and retries belong to the exporter.",
			zap.Int("spans", out.spans), zap.Error(err))
		componentstatus.ReportStatus(p.host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("send kept spans: %w", err)))
	}
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
