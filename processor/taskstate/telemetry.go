package taskstate

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

// tables says how full the bounded tables are.
func (p *taskState) tables() []view.Table {
	p.live.mu.Lock()
	reporting, gone, live, _ := p.live.table.Sizes()
	goneNames := p.live.table.GoneNames()
	p.live.mu.Unlock()
	p.ended.mu.Lock()
	tasks, events := live+p.ended.size, p.ended.events.kept
	p.ended.mu.Unlock()
	// The tables of tasks and events are full in the ordinary course of things, for they
	// keep the last ended ones; only live tasks can fill them to anybody's harm.
	return []view.Table{
		{Name: "tasks", Size: tasks, Limit: p.cfg.MaxTasks},
		{Name: "live_tasks", Size: live, Limit: p.cfg.MaxTasks, Setting: "max_tasks"},
		{Name: "events", Size: events, Limit: p.cfg.MaxEvents},
		{Name: "processes", Size: reporting, Limit: p.cfg.MaxProcesses, Setting: "max_processes"},
		{Name: "gone_processes", Size: gone, Limit: p.cfg.MaxProcesses},
		{Name: "gone_names", Size: goneNames, Limit: fleet.MaxGoneNames},
		{Name: "task_names", Size: int(p.stats.names.used.Load()), Limit: p.cfg.MaxTaskNames, Setting: "max_task_names"},
		{Name: "resources", Size: int(p.stats.resources.used.Load()), Limit: p.cfg.MaxResources, Setting: "max_resources"},
	}
}

func (p *taskState) evictions() []intake.Eviction {
	p.live.mu.Lock()
	c, lostCut := p.live.table.Counters(), p.live.lostCut
	p.live.mu.Unlock()
	p.ended.mu.Lock()
	evicted, dropped, events := p.ended.evicted, p.ended.dropped, p.ended.events
	p.ended.mu.Unlock()
	return append(append(p.intake.Evictions(c), p.gaps.Evictions()...),
		intake.Eviction{Table: "tasks", Reason: "ended_evicted", Count: evicted},
		intake.Eviction{Table: "tasks", Reason: "ended_no_room", Count: dropped},
		intake.Eviction{Table: "events", Reason: "evicted", Count: events.evicted},
		intake.Eviction{Table: "events", Reason: "no_room", Count: events.refused},
		intake.Eviction{Table: "task_names", Reason: "merged", Count: p.stats.names.merged.Load()},
		intake.Eviction{Table: "task_names", Reason: "cut", Count: p.stats.names.cut.Load()},
		intake.Eviction{Table: "resources", Reason: "merged", Count: p.stats.resources.merged.Load()},
		intake.Eviction{Table: "resources", Reason: "cut", Count: p.stats.resources.cut.Load()},
		intake.Eviction{Table: "spans", Reason: "weight_capped", Count: p.stats.weightsCapped.Load()},
		intake.Eviction{Table: "spans", Reason: "times_corrected", Count: p.stats.timesCorrected.Load()},
		intake.Eviction{Table: "lost_spans", Reason: "no_room", Count: lostCut},
		intake.Eviction{Table: "lost_spans", Reason: "refused_downstream", Count: p.outlet.Lost()},
	)
}

func (p *taskState) registerTelemetry() error {
	t := p.telemetry
	return errors.Join(
		t.RegisterProcessorTaskStateReportsCallback(p.intake.ObserveReports),
		t.RegisterProcessorTaskStateDroppedCallback(p.intake.ObserveDropped),
		t.RegisterProcessorTaskStateEvictedCallback(intake.ObserveEvictions(p.evictions)),
		t.RegisterProcessorTaskStateLiveTasksCallback(func(_ context.Context, o metric.Int64Observer) error {
			for state, n := range p.liveByState() {
				o.Observe(n, intake.With("state", string(state)))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateStartedTasksCallback(func(_ context.Context, o metric.Float64Observer) error {
			for _, s := range byShare(p.stats.series()) {
				o.Observe(s.started, intake.With("service", s.service, "task", s.name))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateEndedTasksCallback(func(_ context.Context, o metric.Float64Observer) error {
			for _, s := range byShare(p.stats.series()) {
				for i, state := range endStates {
					o.Observe(s.ended[i], intake.With("service", s.service, "task", s.name, "state", string(state)))
				}
			}
			return nil
		}),
		t.RegisterProcessorTaskStateProcessesCallback(func(_ context.Context, o metric.Int64Observer) error {
			counts := make(map[string]int64)
			processes := p.fleetProcesses()
			for i := range processes {
				counts[processes[i].Status.String()]++
			}
			for _, status := range []string{"reporting", "lost"} {
				o.Observe(counts[status], intake.With("status", status))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateLostSequencesCallback(intake.Observe(func() int64 {
			_, counters := p.fleetTasks()
			return counters.LostSpans
		})),
		t.RegisterProcessorTaskStateTakenOverProcessesCallback(intake.Observe(func() int64 {
			_, counters := p.fleetTasks()
			return counters.TakenOver
		})),
		t.RegisterProcessorTaskStateLostSpansCallback(intake.Observe(p.outlet.Sent)),
		t.RegisterProcessorTaskStateTableSizeCallback(intake.ObserveSizes(p.tables)),
		t.RegisterProcessorTaskStateTableLimitCallback(intake.ObserveLimits(p.tables)),
	)
}
