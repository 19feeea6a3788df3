package deadlockdetector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/lifecycle"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector/internal/metadata"
)

// advanceEvery is the interval at which it is checked whether processes are lost and
// silent tasks to be given up.
const advanceEvery = time.Second

// detector is the shell: it owns the clock, the lock, the log and the telemetry; what is
// known is in graph and orders.
type detector struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	next      consumer.Traces

	mu         sync.Mutex // guards all below, up to the blank line
	graph      *deadlock.Detector
	orders     *deadlock.Orders
	inversions []*deadlock.Inversion // all that are remembered

	// Only loop's, and Shutdown's after it.
	outlet   *lifecycle.Outlet
	full     *intake.Fullness
	advanced time.Time // when it was last looked what time has done
	told     told

	intake    *intake.Intake
	gaps      *intake.Gaps
	potential atomic.Int64
	totals    *totals

	loop   lifecycle.Loop
	since  time.Time // when it started
	remove func()    // hides the deadlocks from the inspector
}

var _ processor.Traces = (*detector)(nil)

func newProcessor(set processor.Settings, cfg *Config, next consumer.Traces) (*detector, error) {
	p := &detector{
		cfg: cfg, id: set.ID, logger: set.Logger, next: next,
		graph:  deadlock.New(cfg.limits(), cfg.MaxClockSkew),
		orders: deadlock.NewOrders(cfg.Potential.MaxOrders),
		outlet: lifecycle.NewOutlet("spans of deadlocks", next, set.Logger),
		full:   intake.NewFullness(set.Logger),
	}
	p.intake = intake.New(&p.mu, p.graph.Table(), p.learn, set.Logger)
	p.gaps = intake.NewGaps(&p.mu, p.graph.Table(), cfg.MaxProcesses, true, set.Logger)
	p.totals = newTotals(p.heard, set.Logger)
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	p.telemetry = builder
	return p, nil
}

// Capabilities says that reports of deadlocked tasks are marked.
func (*detector) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: true}
}

// Start begins to evaluate, and shows the deadlocks to the inspector.
func (p *detector) Start(ctx context.Context, host component.Host) error {
	if err := p.totals.start(ctx, host, p.cfg.Storage, p.id, time.Now()); err != nil {
		return err
	}
	if err := p.registerTelemetry(); err != nil {
		return fmt.Errorf("register telemetry of %s: %w", p.id, err)
	}
	p.since = time.Now()
	p.remove = lifecycle.Show(host, func(r view.DeadlockRegistrar) func() { return r.RegisterDeadlockDetector(p.id.String(), p) })
	p.outlet.Start(host)
	p.loop.Start(p.cfg.EvaluateInterval, p.evaluate)
	return nil
}

// Shutdown stops the clock and sends what is still to be said.
func (p *detector) Shutdown(ctx context.Context) error {
	defer p.telemetry.Shutdown()
	if !p.loop.Stop() {
		return p.totals.close(ctx)
	}
	p.remove()
	p.evaluate(ctx, time.Now())
	return errors.Join(p.outlet.Close(ctx), p.totals.close(ctx))
}

// heard asks the table of the fleet about a process.
func (p *detector) heard(process report.Process) (heard, before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.graph.Table().Counted(process)
}

// ConsumeTraces learns from the reports and passes everything on.
func (p *detector) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	now := time.Now()
	if resources := td.ResourceSpans(); p.gaps.Spans(resources, now) {
		p.intake.Take(resources, now)
		if resources.Len() == 0 {
			return nil
		}
	}
	return p.next.ConsumeTraces(ctx, td)
}

// evaluate looks for deadlocks that have come or gone, and tells of them.
func (p *detector) evaluate(ctx context.Context, now time.Time) {
	if now.Sub(p.advanced) >= advanceEvery {
		p.advanced = now
		p.mu.Lock()
		p.graph.Advance(now)
		p.mu.Unlock()
		p.full.Look(p.DetectorTables())
		p.gaps.Look(now)
	}
	p.mu.Lock()
	began := time.Now()
	found, ended := p.graph.Evaluate(now)
	took := time.Since(began)
	standing := p.graph.Standing(nil)
	p.mu.Unlock()
	changed := p.told.changed(standing, found)
	inversions := p.searchOrders(now)

	p.telemetry.ProcessorDeadlockDetectorEvaluationDuration.Record(ctx, took.Seconds())
	p.totals.count(ctx, found, ended, now)
	p.tell(found, ended, inversions, now)
	p.outlet.Send(ctx, newSpans(append(found, changed...), ended, inversions, now), now)
}
