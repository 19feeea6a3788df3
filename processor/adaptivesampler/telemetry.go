package adaptivesampler

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

var budgetKinds = [...]string{"spans", "bytes", "traces"}

// registerTelemetry makes the metrics read the counts when they are collected, so
// that they cost nothing on the way of the spans.
func (p *adaptiveSampler) registerTelemetry() error {
	t, s := p.telemetry, p.sampler
	number := func(read func() float64) metric.Float64Callback {
		return func(_ context.Context, o metric.Float64Observer) error { o.Observe(read()); return nil }
	}
	return errors.Join(
		t.RegisterProcessorAdaptiveSamplerReceivedSpansCallback(intake.Observe(s.counts.spansIn.Load)),
		t.RegisterProcessorAdaptiveSamplerPassedSpansCallback(intake.Observe(s.counts.passed.Load)),
		t.RegisterProcessorAdaptiveSamplerRefusedSpansCallback(intake.Observe(p.outlet.Lost)),
		t.RegisterProcessorAdaptiveSamplerEarlyTracesCallback(intake.Observe(s.counts.early.Load)),
		t.RegisterProcessorAdaptiveSamplerCompactedSpansCallback(intake.Observe(s.counts.compacted.Load)),
		t.RegisterProcessorAdaptiveSamplerTracesCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, name := range outcomeNames {
				o.Observe(s.counts.traces[i].Load(), intake.With("outcome", name))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerSpansCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, name := range outcomeNames {
				o.Observe(s.counts.spans[i].Load(), intake.With("outcome", name))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerLateSpansCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(s.counts.late[0].Load(), intake.With("decision", "dropped"))
			o.Observe(s.counts.late[1].Load(), intake.With("decision", "kept"))
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerPendingTracesCallback(intake.Observe(s.pending.Load)),
		t.RegisterProcessorAdaptiveSamplerMemoryUsageCallback(intake.Observe(s.bytes.Load)),
		t.RegisterProcessorAdaptiveSamplerMemoryLimitCallback(intake.Observe(func() int64 { return s.limit })),
		t.RegisterProcessorAdaptiveSamplerEvictionRateCallback(number(func() float64 { return 1 - threshold.Probability(s.eviction.Load()) })),
		t.RegisterProcessorAdaptiveSamplerSheddingRateCallback(number(func() float64 { return 1 - threshold.Probability(s.shedding.Load()) })),
		t.RegisterProcessorAdaptiveSamplerOverheadCallback(number(p.overhead.lastShare)),
		t.RegisterProcessorAdaptiveSamplerBudgetCallback(func(_ context.Context, o metric.Float64Observer) error {
			b := s.budget.Load()
			for i, kind := range budgetKinds {
				o.Observe(b.Target[i], intake.With("kind", kind))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerBudgetSpentCallback(func(_ context.Context, o metric.Float64Observer) error {
			b := s.budget.Load()
			for i, kind := range budgetKinds {
				o.Observe(b.Spent[i], intake.With("kind", kind))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerBudgetInfeasibleCallback(intake.Observe(func() int64 {
			if s.budget.Load().Infeasible {
				return 1
			}
			return 0
		})),
		t.RegisterProcessorAdaptiveSamplerKeysCallback(intake.Observe(func() int64 { return int64(len(s.budget.Load().Groups)) })),
		t.RegisterProcessorAdaptiveSamplerDecisionsCallback(func(_ context.Context, o metric.Int64Observer) error {
			keptOnes, droppedOnes := s.remembered()
			o.Observe(int64(keptOnes), intake.With("decision", "kept"))
			o.Observe(int64(droppedOnes), intake.With("decision", "dropped"))
			return nil
		}),
	)
}
