package deadlockdetector

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector/internal/metadata"
)

// advanceEvery is how often it is looked what time has done: whether processes are
// lost and silent tasks to be given up.
const advanceEvery = time.Second

// maxUnsent bounds the spans of deadlocks that the next component has refused.
const maxUnsent = 10_000

// detector is the shell: it owns the goroutine, the clock, the lock, the log and the
// telemetry; what is known is in graph and orders.
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
	untold     []*deadlock.Inversion // since the last evaluation
	filled     map[string]bool       // tables that have been warned about
	advanced   time.Time             // when it was last looked what time has done

	// Only run's, and Shutdown's after it.
	unsent  ptrace.Traces
	failing bool

	reports   [len(reportKinds)]atomic.Int64
	dropped   [report.Drops]atomic.Int64
	refusals  report.Refusals
	shortened atomic.Int64
	potential atomic.Int64
	found     foundCounts
	resolved  resolvedCounts
	spans     atomic.Int64 // sent
	refused   atomic.Int64 // spans that found no room after the next component refused them

	host       component.Host
	unregister []func()
	stop       context.CancelFunc
	done       chan struct{} // closed when the goroutine has ended
}

var _ processor.Traces = (*detector)(nil)

func newProcessor(set processor.Settings, cfg *Config, next consumer.Traces) (*detector, error) {
	p := &detector{
		cfg: cfg, id: set.ID, logger: set.Logger, next: next,
		graph:  deadlock.New(cfg.limits(), cfg.MaxClockSkew),
		orders: deadlock.NewOrders(cfg.Potential.MaxOrders),
		filled: make(map[string]bool), unsent: ptrace.NewTraces(),
	}
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
func (p *detector) Start(_ context.Context, host component.Host) error {
	if err := p.registerTelemetry(); err != nil {
		return fmt.Errorf("register telemetry of %s: %w", p.id, err)
	}
	p.host = host
	for _, extension := range host.GetExtensions() {
		if r, ok := extension.(view.DeadlockRegistrar); ok {
			p.unregister = append(p.unregister, r.RegisterDeadlockDetector(p.id.String(), p))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.done = cancel, make(chan struct{})
	go p.run(ctx)
	return nil
}

// Shutdown stops the clock and sends what is still to be said.
func (p *detector) Shutdown(ctx context.Context) error {
	for _, remove := range p.unregister {
		remove()
	}
	if p.stop != nil {
		p.stop()
		<-p.done
		p.evaluate(ctx, time.Now())
	}
	p.telemetry.Shutdown()
	return nil
}

func (p *detector) run(ctx context.Context) {
	defer close(p.done)
	ticker := time.NewTicker(p.cfg.EvaluateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.evaluate(ctx, time.Now())
		}
	}
}

// ConsumeTraces learns from the reports and passes everything on.
func (p *detector) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	if resources := td.ResourceSpans(); hasReports(resources) {
		p.takeReports(resources, time.Now())
		if resources.Len() == 0 {
			return nil
		}
	}
	return p.next.ConsumeTraces(ctx, td)
}

// evaluate looks for deadlocks that have come or gone, and tells of them.
func (p *detector) evaluate(ctx context.Context, now time.Time) {
	p.mu.Lock()
	if now.Sub(p.advanced) >= advanceEvery {
		p.advanced = now
		p.graph.Advance(now)
		p.warnFull()
	}
	began := time.Now()
	found, ended := p.graph.Evaluate(now)
	took := time.Since(began)
	inversions := p.untold
	p.untold = nil
	p.mu.Unlock()

	p.telemetry.ProcessorDeadlockDetectorEvaluationDuration.Record(ctx, took.Seconds())
	for _, dl := range found {
		if dl.Added == nil && !dl.Raised {
			p.found.add(dl)
		}
	}
	for _, dl := range ended {
		p.resolved.add(dl.How)
	}
	p.tell(found, ended, inversions, now)
	writeSpans(p.unsent, found, ended, inversions, now)
	p.send(ctx)
}

// send passes the spans on, or keeps them for the next time.
func (p *detector) send(ctx context.Context) {
	n := p.unsent.SpanCount()
	if n == 0 {
		return
	}
	if err := p.next.ConsumeTraces(ctx, copyOf(p.unsent)); err != nil {
		if !p.failing {
			p.logger.Warn("The next component refused the spans of a deadlock; they are sent again.", zap.Int("spans", n), zap.Error(err))
			componentstatus.ReportStatus(p.host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("send the spans of a deadlock: %w", err)))
		}
		p.failing = true
		if n > maxUnsent {
			p.refused.Add(int64(n))
			p.unsent = ptrace.NewTraces()
		}
		return
	}
	p.spans.Add(int64(n))
	p.unsent = ptrace.NewTraces()
	if p.failing {
		p.failing = false
		componentstatus.ReportStatus(p.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
}

// copyOf is what the next component may change and keep.
func copyOf(td ptrace.Traces) ptrace.Traces {
	c := ptrace.NewTraces()
	td.CopyTo(c)
	return c
}
