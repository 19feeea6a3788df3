package taskstate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/lifecycle"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// tick is the interval at which time is looked at: a lost process is noticed within it.
const tick = time.Second

// taskState is the shell: it owns the clock, the log and the telemetry; what is known is
// in live, ended and stats, and keeper keeps the totals over a restart.
type taskState struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	next      consumer.Traces

	tasks classify.Rule
	stats *statistics
	ended *endedTasks
	live  *liveTasks

	intake  *intake.Intake
	gaps    *intake.Gaps
	batches sync.Pool

	// Only loop's, and Shutdown's after it.
	outlet                   *lifecycle.Outlet
	full                     *intake.Fullness
	toldNames, toldResources int64     // how many found no room, as logged
	cleanup, picture         time.Time // when they are due
	shown                    shownPicture

	keeper  *keeper // nil: no storage
	keeping lifecycle.Loop

	loop   lifecycle.Loop
	since  time.Time // when it started
	remove func()    // hides the state from the inspector
}

var (
	_ processor.Traces = (*taskState)(nil)
	_ view.Reader      = (*taskState)(nil)
)

func newProcessor(set processor.Settings, cfg *Config, next consumer.Traces) (*taskState, error) {
	p := &taskState{
		cfg: cfg, id: set.ID, logger: set.Logger, next: next,
		tasks:   classify.NewRule(cfg.TaskSpans.Kinds, cfg.TaskSpans.Roots),
		stats:   newStatistics(cfg.MaxTaskNames, cfg.MaxResources),
		ended:   newEndedTasks(cfg.MaxTasks, cfg.MaxEvents),
		batches: sync.Pool{New: func() any { return &batch{} }},
		outlet:  lifecycle.NewOutlet("closing spans of lost tasks", next, set.Logger),
		full:    intake.NewFullness(set.Logger),
	}
	p.live = newLiveTasks(cfg, p.stats, p.ended)
	p.intake = intake.New(&p.live.mu, p.live.table, p.learnReport, set.Logger)
	p.gaps = intake.NewGaps(&p.live.mu, p.live.table, cfg.MaxProcesses, cfg.ExpectReports, set.Logger)
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
func (p *taskState) Start(ctx context.Context, host component.Host) (err error) {
	now := time.Now()
	since := now
	if p.cfg.Storage != nil {
		if p.keeper, since, err = p.openKeeper(ctx, host, now); err != nil {
			return err
		}
	}
	p.live.countSince(since)
	if err := p.registerTelemetry(); err != nil {
		return fmt.Errorf("register telemetry of %s: %w", p.id, err)
	}
	p.since = time.Now()
	p.remove = lifecycle.Show(host, func(r view.Registrar) func() { return r.RegisterTaskState(p.id.String(), p) })
	p.outlet.Start(host)
	p.cleanup, p.picture = now.Add(p.cfg.CleanupInterval), now.Add(p.cfg.LogInterval)
	if p.keeper != nil {
		p.keeping.Start(tick, p.keeper.tick)
	}
	p.loop.Start(tick, p.tick)
	return nil
}

// Shutdown stops the clock and sends what is still to be said.
func (p *taskState) Shutdown(ctx context.Context) (err error) {
	defer p.telemetry.Shutdown()
	if p.keeper != nil {
		p.keeping.Stop()
		defer func() { err = errors.Join(err, p.keeper.close(ctx)) }()
	}
	if !p.loop.Stop() {
		return nil
	}
	p.remove()
	p.outlet.Send(ctx, lostSpans(p.live.takeLost()), time.Now())
	return p.outlet.Close(ctx)
}

// tick does what time does.
func (p *taskState) tick(ctx context.Context, now time.Time) {
	p.live.advance(now)
	p.gaps.Look(now)
	p.outlet.Send(ctx, lostSpans(p.live.takeLost()), now)
	// A tick that comes a little early still counts.
	due := now.Add(tick / 2)
	if due.After(p.cleanup) {
		p.ended.expire(now, p.cfg.TaskRetention)
		p.stats.expire(now, p.cfg.TaskRetention, p.live.services())
		p.warnShares()
		p.full.Look(p.tables())
		p.cleanup = now.Add(p.cfg.CleanupInterval)
	}
	if p.cfg.LogInterval > 0 && due.After(p.picture) {
		p.logPicture(now)
		p.picture = now.Add(p.cfg.LogInterval)
	}
}

// ConsumeTraces learns from the spans, adds states, takes the reports out and
// passes the rest on.
func (p *taskState) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	now := time.Now()
	b := p.batches.Get().(*batch)
	resources := td.ResourceSpans()
	withReports := p.gaps.Spans(resources, now)
	for i := range resources.Len() {
		rs := resources.At(i)
		attrs := rs.Resource().Attributes()
		by := toldBy(attrs)
		scopes := rs.ScopeSpans()
		for j := range scopes.Len() {
			switch scope := scopes.At(j).Scope(); classify.ScopeOf(scope) {
			case classify.Reports: // see below
			case classify.Detector:
				p.learnDeadlocks(scopes.At(j).Spans(), now)
			case classify.Application:
				of := by
				of.durations = of.durations || durationsToldBy(scope.Attributes())
				b.read(scopes.At(j).Spans(), p.tasks.In(scope), of)
				p.tasks.Mark(scope)
			}
		}
		if len(b.tasks)+len(b.waits) > 0 {
			p.learn(serviceName(attrs), b, now)
		}
	}
	p.batches.Put(b)
	// Reports come last: a task that ends in the same batch stays ended.
	if withReports {
		p.intake.Take(resources, now)
		if resources.Len() == 0 {
			return nil
		}
	}
	return p.next.ConsumeTraces(ctx, td)
}

// learn applies what the spans of one resource came to.
func (p *taskState) learn(service string, b *batch, now time.Time) {
	defer b.reset()
	p.stats.add(service, b)
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
