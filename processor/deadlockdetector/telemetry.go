package deadlockdetector

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/intake"
)

// foundCounts counts found deadlocks by kind and confidence.
type foundCounts [len(deadlock.Kinds)][len(deadlock.Confidences)]atomic.Int64

func (c *foundCounts) add(dl *deadlock.Deadlock) {
	for i, k := range deadlock.Kinds {
		for j, sure := range deadlock.Confidences {
			if dl.Kind == k && dl.Confidence == sure {
				c[i][j].Add(1)
			}
		}
	}
}

// resolvedCounts counts deadlocks that are over by how they ended.
type resolvedCounts [len(deadlock.Endings)]atomic.Int64

func (c *resolvedCounts) add(how deadlock.Ending) {
	for i, e := range deadlock.Endings {
		if e == how {
			c[i].Add(1)
		}
	}
}

func (p *detector) evictions() []intake.Eviction {
	p.mu.Lock()
	c, own, orders := p.graph.Table().Counters(), p.graph.Counters(), p.orders.Counters()
	p.mu.Unlock()
	return append(append(p.intake.Evictions(c), p.gaps.Evictions()...),
		intake.Eviction{Table: "claims", Reason: "refused", Count: own.ClaimsRefused},
		intake.Eviction{Table: "deadlocks", Reason: "refused", Count: own.DeadlocksRefused},
		intake.Eviction{Table: "deadlocks", Reason: "search_cut_short", Count: own.SearchesCutShort},
		intake.Eviction{Table: "lock_orders", Reason: "refused", Count: orders.Refused},
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
			for i, kind := range deadlock.Kinds {
				for j, sure := range deadlock.Confidences {
					o.Observe(p.found[i][j].Load(), intake.With("deadlock", string(kind), "confidence", string(sure)))
				}
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorResolvedCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, how := range deadlock.Endings {
				o.Observe(p.resolved[i].Load(), intake.With("how", string(how)))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorActiveCallback(func(_ context.Context, o metric.Int64Observer) error {
			counts := make(map[deadlock.Confidence]int64)
			for _, dl := range p.standing() {
				counts[dl.Confidence]++
			}
			for _, sure := range deadlock.Confidences {
				o.Observe(counts[sure], intake.With("confidence", string(sure)))
			}
			return nil
		}),
		t.RegisterProcessorDeadlockDetectorStuckTasksCallback(func(_ context.Context, o metric.Int64Observer) error {
			var core int64
			for _, dl := range p.standing() {
				core += int64(len(dl.Core))
			}
			o.Observe(core, intake.With("role", "core"))
			o.Observe(int64(len(p.Victims())), intake.With("role", "victim"))
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
