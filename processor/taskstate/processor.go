package taskstate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// tick is how often time is looked at: a lost process is noticed within it.
const tick = time.Second

// taskState is the shell: it owns the goroutine, the clock, the log and the
// telemetry; what is known is in live, ended and stats.
type taskState struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	next      consumer.Traces

	spans classifier
	stats *statistics
	ended *endedTasks
	live  *liveTasks
	sent  sentSpans
	fill  fillWarnings

	refusals report.Refusals
	batches  sync.Pool

	host       component.Host
	unregister []func()
	stop       context.CancelFunc
	done       chan struct{} // closed when the goroutine has ended
}

var (
	_ processor.Traces = (*taskState)(nil)
	_ view.Reader      = (*taskState)(nil)
)

func newProcessor(set processor.Settings, cfg *Config, next consumer.Traces) (*taskState, error) {
	p := &taskState{
		cfg: cfg, id: set.ID, logger: set.Logger, next: next,
		spans:   newClassifier(cfg.TaskSpans),
		stats:   newStatistics(cfg.MaxTaskNames, cfg.MaxResources),
		ended:   newEndedTasks(cfg.MaxTasks, cfg.MaxEvents),
		batches: sync.Pool{New: func() any { return &batch{} }},
	}
	p.live = newLiveTasks(cfg, p.stats, p.ended)
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	p.telemetry = builder
	return p, nil
}

// Capabilities says that spans get their state and reports are taken out.
func (*taskState) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: true}
}

// Start begins to look at the time, and shows the state to the inspector.
func (p *taskState) Start(_ context.Context, host component.Host) error {
	if err := p.registerTelemetry(); err != nil {
		return fmt.Errorf("register telemetry of %s: %w", p.id, err)
	}
	p.host = host
	for _, extension := range host.GetExtensions() {
		if r, ok := extension.(view.Registrar); ok {
			p.unregister = append(p.unregister, r.RegisterTaskState(p.id.String(), p))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.done = cancel, make(chan struct{})
	go p.run(ctx)
	return nil
}

// Shutdown stops the clock and sends what is still to be said.
func (p *taskState) Shutdown(ctx context.Context) error {
	for _, remove := range p.unregister {
		remove()
	}
	if p.stop != nil {
		p.stop()
		<-p.done
		p.sendLost(ctx)
	}
	p.telemetry.Shutdown()
	return nil
}

// run does what time does until the processor stops.
func (p *taskState) run(ctx context.Context) {
	defer close(p.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	now := time.Now()
	cleanup, picture := now.Add(p.cfg.CleanupInterval), now.Add(p.cfg.LogInterval)
	var shown shownPicture
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now = time.Now()
		p.live.advance(now)
		p.sendLost(ctx)
		// A tick that comes a little early still counts.
		due := now.Add(tick / 2)
		if due.After(cleanup) {
			p.ended.expire(now, p.cfg.TaskRetention)
			p.warnFull()
			cleanup = now.Add(p.cfg.CleanupInterval)
		}
		if p.cfg.LogInterval > 0 && due.After(picture) {
			p.logPicture(&shown, now)
			picture = now.Add(p.cfg.LogInterval)
		}
	}
}

// sendLost closes the tasks of lost processes.
func (p *taskState) sendLost(ctx context.Context) {
	lost := p.live.takeLost()
	if len(lost) == 0 {
		return
	}
	if err := p.next.ConsumeTraces(ctx, lostSpans(lost)); err != nil {
		p.sent.refused.Add(int64(len(lost)))
		p.logger.Warn("The next component refused the closing spans of lost tasks; they are not sent again.",
			zap.Int("spans", len(lost)), zap.Error(err))
		componentstatus.ReportStatus(p.host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("send closing spans of lost tasks: %w", err)))
		p.sent.failing = true
		return
	}
	p.sent.lost.Add(int64(len(lost)))
	if p.sent.failing {
		p.sent.failing = false
		componentstatus.ReportStatus(p.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
}

// ConsumeTraces learns from the spans, adds states, takes the reports out and
// passes the rest on.
func (p *taskState) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	now := time.Now()
	b := p.batches.Get().(*batch)
	withReports := false
	resources := td.ResourceSpans()
	for i := range resources.Len() {
		rs := resources.At(i)
		attrs := rs.Resource().Attributes()
		by := toldBy(attrs)
		scopes := rs.ScopeSpans()
		for j := range scopes.Len() {
			switch scopes.At(j).Scope().Name() {
			case taskspan.ScopeReport:
				withReports = true
			case taskspan.ScopeDetector:
				p.learnDeadlocks(scopes.At(j).Spans(), now)
			default:
				of := by
				of.durations = of.durations || durationsToldBy(scopes.At(j).Scope().Attributes())
				p.spans.read(scopes.At(j).Spans(), of, b)
			}
		}
		if len(b.tasks)+len(b.waits) > 0 {
			p.learn(serviceName(attrs), b, now)
		}
	}
	p.batches.Put(b)
	// Reports come last: a task that ends in the same batch stays ended.
	if withReports {
		p.takeReports(resources, now)
		if resources.Len() == 0 {
			return nil
		}
	}
	return p.next.ConsumeTraces(ctx, td)
}

// learn applies what the spans of one resource came to.
func (p *taskState) learn(service string, b *batch, now time.Time) {
	defer b.reset()
	p.stats.service(service).add(b)
	for i := range b.tasks {
		if b.tasks[i].reported {
			p.live.endSpans(b.tasks, now)
			break
		}
	}
	if len(b.tasks) > 0 {
		p.ended.addSpans(b.tasks, now)
	}
}

func serviceName(resource pcommon.Map) string {
	if v, ok := resource.Get(taskspan.ServiceName); ok && v.Type() == pcommon.ValueTypeStr && v.Str() != "" {
		return v.Str()
	}
	return unknownService
}
