package deadlockdetector

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

var (
	kinds       = [...]deadlock.Kind{deadlock.Self, deadlock.Local, deadlock.Distributed, deadlock.Abandoned}
	confidences = [...]deadlock.Confidence{deadlock.Certain, deadlock.Suspected, deadlock.Transient}
	endings     = [...]string{
		deadlock.Released, deadlock.Cancelled, deadlock.DeadlineReached, deadlock.ProcessLost, deadlock.Evicted, deadlock.EvidenceExpired,
	}
)

// foundCounts counts found deadlocks by kind and confidence.
type foundCounts [len(kinds)][len(confidences)]atomic.Int64

func (c *foundCounts) add(dl *deadlock.Deadlock) {
	for i, k := range kinds {
		for j, sure := range confidences {
			if dl.Kind == k && dl.Confidence == sure {
				c[i][j].Add(1)
			}
		}
	}
}

// resolvedCounts counts deadlocks that are over by how they ended.
type resolvedCounts [len(endings)]atomic.Int64

func (c *resolvedCounts) add(how string) {
	for i, e := range endings {
		if e == how {
			c[i].Add(1)
		}
	}
}

// tables says how full the bounded tables are. The caller holds mu.
func (p *detector) tables() []view.Table {
	reporting, _, tasks, waits := p.graph.Table().Sizes()
	claims, standing, past, unproven := p.graph.Sizes()
	return []view.Table{
		{Name: "tasks", Size: tasks, Limit: p.cfg.MaxTasks},
		{Name: "waits", Size: waits, Limit: p.cfg.MaxTasks},
		{Name: "edges", Size: p.graph.Table().Edges(), Limit: p.cfg.MaxEdges},
		{Name: "claims", Size: claims, Limit: max(p.cfg.MaxEdges, p.cfg.MaxTasks)},
		{Name: "processes", Size: reporting, Limit: p.cfg.MaxProcesses},
		{Name: "deadlocks", Size: standing, Limit: p.cfg.MaxDeadlocks},
		{Name: "past_deadlocks", Size: past, Limit: p.cfg.MaxDeadlocks},
		{Name: "unproven", Size: unproven, Limit: p.cfg.MaxTasks},
		{Name: "lock_orders", Size: p.orders.Len(), Limit: p.cfg.Potential.MaxOrders},
	}
}

var settingOf = map[string]string{
	"tasks": "max_tasks", "waits": "max_tasks", "edges": "max_edges", "claims": "max_edges",
	"processes": "max_processes", "deadlocks": "max_deadlocks", "lock_orders": "potential::max_orders",
}

// warnFull says once when a table is more than nine tenths full. The caller holds mu.
func (p *detector) warnFull() {
	for _, t := range p.tables() {
		setting := settingOf[t.Name]
		if setting == "" {
			continue
		}
		full := t.Size*10 > t.Limit*9
		if full && !p.filled[t.Name] {
			p.logger.Warn("A table is more than 90 % full; past its limit new entries are refused, and a deadlock among them is not seen.",
				zap.String("table", t.Name), zap.Int("size", t.Size), zap.Int("limit", t.Limit), zap.String("setting", setting))
		}
		p.filled[t.Name] = full
	}
}

// eviction is one count of something that found no room.
type eviction struct {
	table, reason string
	n             int64
}

// evictions are read with mu held.
func (p *detector) evictions() []eviction {
	c, own, orders := p.graph.Table().Counters(), p.graph.Counters(), p.orders.Counters()
	return []eviction{
		{"tasks", "refused", c.TasksRefused},
		{"waits", "refused", c.WaitsRefused},
		{"waits", "evicted", c.WaitsEvicted},
		{"waits", "task_full", c.WaitsOfTask},
		{"edges", "refused", c.EdgesRefused},
		{"claims", "refused", own.ClaimsRefused},
		{"processes", "record_forgotten", c.ProcessesGone},
		{"processes", "clock_forgotten", c.ClocksForgotten},
		{"tombstones", "dropped_early", c.TombstonesEarly},
		{"heartbeats", "incomplete", c.PartsGivenUp},
		{"deadlocks", "refused", own.DeadlocksRefused},
		{"lock_orders", "refused", orders.Refused},
		{"lock_orders", "search_cut_short", orders.CutShort},
		{"lock_orders", "call_forgotten", orders.Forgotten},
		{"reports", "shortened", p.shortened.Load()},
		{"reports", "duplicate", c.Duplicates},
		{"spans", "refused_downstream", p.refused.Load()},
	}
}

// registerTelemetry makes the metrics read the counts when they are collected, so
// that they cost nothing on the way of the spans.
func (p *detector) registerTelemetry() error {
	t := p.telemetry
	with := func(pairs ...string) metric.MeasurementOption {
		attrs := make([]attribute.KeyValue, 0, len(pairs)/2)
		for i := 0; i < len(pairs); i += 2 {
			attrs = append(attrs, attribute.String(pairs[i], pairs[i+1]))
		}
		return metric.WithAttributeSet(attribute.NewSet(attrs...))
	}
	return errors.Join(
		t.RegisterProcessorDeadlockDetectorReportsCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, kind := range reportKinds {
				o.Observe(p.reports[i].Load(), with("kind", string(kind)))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorDroppedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for d := report.Used + 1; d < report.Drops; d++ {
				o.Observe(p.dropped[d].Load(), with("reason", d.String()))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorEvictedCallback(func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, e := range p.evictions() {
				o.Observe(e.n, with("table", e.table, "reason", e.reason))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorFoundCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, kind := range kinds {
				for j, sure := range confidences {
					o.Observe(p.found[i][j].Load(), with("deadlock", string(kind), "confidence", string(sure)))
				}
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorResolvedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, how := range endings {
				o.Observe(p.resolved[i].Load(), with("how", how))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorActiveCallback(func(_ context.Context, o metric.Int64Observer) error {
			counts := make(map[deadlock.Confidence]int64)
			for _, dl := range p.standing() {
				counts[dl.Confidence]++
			}
			for _, sure := range confidences {
				o.Observe(counts[sure], with("confidence", string(sure)))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorStuckTasksCallback(func(_ context.Context, o metric.Int64Observer) error {
			var core, victims int64
			for _, dl := range p.standing() {
				core += int64(len(dl.Core))
				victims += int64(dl.Victims)
			}
			o.Observe(core, with("role", "core"))
			o.Observe(victims, with("role", "victim"))
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorPotentialCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(p.potential.Load())
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorLostSequencesCallback(func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			o.Observe(p.graph.Table().Counters().LostSpans)
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorSentSpansCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(p.spans.Load())
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorTableSizeCallback(func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, table := range p.tables() {
				o.Observe(int64(table.Size), with("table", table.Name))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorTableLimitCallback(func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, table := range p.tables() {
				o.Observe(int64(table.Limit), with("table", table.Name))
			}
			return nil
		}),
	)
}
