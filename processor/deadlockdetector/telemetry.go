package deadlockdetector

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/intake"
)

func (p *detector) evictions() []intake.Eviction {
	p.mu.Lock()
	c, own, orders := p.graph.Table().Counters(), p.graph.Counters(), p.orders.Counters()
	p.mu.Unlock()
	return append(append(p.intake.Evictions(c), p.gaps.Evictions()...),
		intake.Eviction{Table: "edges", Reason: "refused", Count: c.EdgesRefused},
		intake.Eviction{Table: "claims", Reason: "refused", Count: own.ClaimsRefused},
		intake.Eviction{Table: "deadlocks", Reason: "not_listed", Count: own.DeadlocksGivenUp},
		intake.Eviction{Table: "deadlocks", Reason: "search_cut_short", Count: own.SearchesCutShort},
		intake.Eviction{Table: "lock_orders", Reason: "evicted", Count: orders.Evicted},
		intake.Eviction{Table: "lock_orders", Reason: "search_cut_short", Count: orders.CutShort},
		intake.Eviction{Table: "lock_orders", Reason: "call_forgotten", Count: orders.Forgotten},
		intake.Eviction{Table: "spans", Reason: "refused_downstream", Count: p.outlet.Lost()},
	)
}

func (p *detector) registerTelemetry() error {
	t := p.telemetry
	return errors.Join(
		t.RegisterProcessorDeadlockDetectorReportsCallback(p.intake.ObserveReports),
		t.RegisterProcessorDeadlockDetectorDroppedCallback(p.intake.ObserveDropped),
		t.RegisterProcessorDeadlockDetectorEvictedCallback(intake.ObserveEvictions(p.evictions)),
		t.RegisterProcessorDeadlockDetectorFoundCallback(func(_ context.Context, o metric.Int64Observer) error {
			counts := p.totals.shown()
			for i, kind := range deadlock.Kinds {
				for j, sure := range deadlock.Confidences {
					o.Observe(counts.found[i][j], intake.With("deadlock", string(kind), "confidence", string(sure)))
				}
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorResolvedCallback(func(_ context.Context, o metric.Int64Observer) error {
			counts := p.totals.shown()
			for i, how := range deadlock.Endings {
				o.Observe(counts.resolved[i], intake.With("how", string(how)))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorActiveCallback(func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			counts := p.graph.Active()
			p.mu.Unlock()
			for _, sure := range deadlock.Confidences {
				o.Observe(int64(counts[sure]), intake.With("confidence", string(sure)))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorStuckTasksCallback(func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			core, victims := p.graph.CoreTasks(), len(p.graph.Victims())
			p.mu.Unlock()
			o.Observe(int64(core), intake.With("role", "core"))
			o.Observe(int64(victims), intake.With("role", "victim"))
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorPotentialCallback(intake.Observe(p.potential.Load)),
		t.RegisterProcessorDeadlockDetectorLostSequencesCallback(intake.Observe(func() int64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.graph.Table().Counters().LostSpans
		})),
		t.RegisterProcessorDeadlockDetectorSentSpansCallback(intake.Observe(p.outlet.Sent)),
		t.RegisterProcessorDeadlockDetectorTableSizeCallback(intake.ObserveSizes(p.DetectorTables)),
		t.RegisterProcessorDeadlockDetectorTableLimitCallback(intake.ObserveLimits(p.DetectorTables)),
	)
}
