package taskstate

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

// sentSpans counts closing spans of lost tasks.
type sentSpans struct {
	lost, refused atomic.Int64
	failing       bool // whether the last attempt failed; only run's
}

// fillWarnings remembers the tables that have been warned about, so that each
// filling up is said once. Only run's.
type fillWarnings map[string]bool

// tables says how full the bounded tables are.
func (p *taskState) tables() []view.Table {
	p.live.mu.Lock()
	reporting, _, live, _ := p.live.table.Sizes()
	p.live.mu.Unlock()
	p.ended.mu.Lock()
	tasks, events := live+p.ended.size, p.ended.events.kept
	p.ended.mu.Unlock()
	return []view.Table{
		{Name: "tasks", Size: tasks, Limit: p.cfg.MaxTasks},
		{Name: "live_tasks", Size: live, Limit: p.cfg.MaxTasks},
		{Name: "events", Size: events, Limit: p.cfg.MaxEvents},
		{Name: "processes", Size: reporting, Limit: p.cfg.MaxProcesses},
		{Name: "task_names", Size: int(p.stats.names.Load()), Limit: p.cfg.MaxTaskNames},
		{Name: "resources", Size: int(p.stats.resources.Load()), Limit: p.cfg.MaxResources},
	}
}

// warnFull says once when a table is more than nine tenths full. The tables of
// tasks and events are full in the ordinary course of things, for they keep the
// last ended ones; only live tasks can fill them to anybody's harm.
func (p *taskState) warnFull() {
	if p.fill == nil {
		p.fill = make(fillWarnings)
	}
	for _, t := range p.tables() {
		if t.Name == "tasks" || t.Name == "events" {
			continue
		}
		full := t.Size*10 > t.Limit*9
		if full && !p.fill[t.Name] {
			p.logger.Warn("A table is more than 90 % full; at its limit new entries are refused or counted as \"other\".",
				zap.String("table", t.Name), zap.Int("size", t.Size), zap.Int("limit", t.Limit),
				zap.String("setting", settingOf[t.Name]))
		}
		p.fill[t.Name] = full
	}
}

var settingOf = map[string]string{
	"live_tasks": "max_tasks", "processes": "max_processes",
	"task_names": "max_task_names", "resources": "max_resources",
}

// eviction is one count of something that found no room.
type eviction struct {
	table, reason string
	n             int64
}

func (p *taskState) evictions() []eviction {
	p.live.mu.Lock()
	c, lostCut := p.live.table.Counters(), p.live.lostCut
	p.live.mu.Unlock()
	p.ended.mu.Lock()
	evicted, dropped, events := p.ended.evicted, p.ended.dropped, p.ended.events
	p.ended.mu.Unlock()
	return []eviction{
		{"tasks", "ended_evicted", evicted},
		{"tasks", "ended_no_room", dropped},
		{"tasks", "live_refused", c.TasksRefused},
		{"events", "evicted", events.evicted},
		{"events", "no_room", events.refused},
		{"processes", "record_forgotten", c.ProcessesGone},
		{"processes", "clock_forgotten", c.ClocksForgotten},
		{"processes", "names_merged", c.NamesMerged},
		{"waits", "refused", c.WaitsRefused},
		{"waits", "evicted", c.WaitsEvicted},
		{"waits", "task_full", c.WaitsOfTask},
		{"tombstones", "dropped_early", c.TombstonesEarly},
		{"heartbeats", "incomplete", c.PartsGivenUp},
		{"reports", "shortened", p.live.shortened.Load()},
		{"reports", "duplicate", c.Duplicates},
		{"task_names", "merged", p.stats.namesMerged.Load()},
		{"resources", "merged", p.stats.resourcesMerged.Load()},
		{"lost_spans", "no_room", lostCut},
		{"lost_spans", "refused_downstream", p.sent.refused.Load()},
	}
}

// registerTelemetry makes the metrics read the counts when they are collected,
// so that they cost nothing on the way of the spans.
func (p *taskState) registerTelemetry() error {
	t := p.telemetry
	one := func(key, value string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
	}
	return errors.Join(
		t.RegisterProcessorTaskStateReportsCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, kind := range reportKinds {
				o.Observe(p.live.reports[i].Load(), one("kind", string(kind)))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateDroppedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for d := report.Used + 1; d < report.Drops; d++ {
				o.Observe(p.live.dropped[d].Load(), one("reason", d.String()))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateEvictedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, e := range p.evictions() {
				o.Observe(e.n, metric.WithAttributeSet(attribute.NewSet(
					attribute.String("table", e.table), attribute.String("reason", e.reason))))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateLiveTasksCallback(func(_ context.Context, o metric.Int64Observer) error {
			for state, n := range p.liveByState() {
				o.Observe(n, one("state", string(state)))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateStartedTasksCallback(func(_ context.Context, o metric.Float64Observer) error {
			for _, s := range p.stats.series() {
				o.Observe(s.started, metric.WithAttributeSet(attribute.NewSet(
					attribute.String("service", s.service), attribute.String("task", s.name))))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateEndedTasksCallback(func(_ context.Context, o metric.Float64Observer) error {
			for _, s := range p.stats.series() {
				for i, state := range endStates {
					o.Observe(s.ended[i], metric.WithAttributeSet(attribute.NewSet(
						attribute.String("service", s.service), attribute.String("task", s.name),
						attribute.String("state", string(state)))))
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
				o.Observe(counts[status], one("status", status))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateLostSequencesCallback(func(_ context.Context, o metric.Int64Observer) error {
			_, counters := p.fleetTasks()
			o.Observe(counters.LostSpans)
			return nil
		}),
		t.RegisterProcessorTaskStateLostSpansCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(p.sent.lost.Load())
			return nil
		}),
		t.RegisterProcessorTaskStateTableSizeCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, table := range p.tables() {
				o.Observe(int64(table.Size), one("table", table.Name))
			}
			return nil
		}),
		t.RegisterProcessorTaskStateTableLimitCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, table := range p.tables() {
				o.Observe(int64(table.Limit), one("table", table.Name))
			}
			return nil
		}),
	)
}
