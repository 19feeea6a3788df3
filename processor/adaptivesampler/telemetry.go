package adaptivesampler

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

var budgetKinds = [...]string{"spans", "bytes", "traces"}

// registerTelemetry makes the metrics read the counts when they are collected, so
// that they cost nothing on the way of the spans.
func (p *adaptiveSampler) registerTelemetry() error {
	t, s := p.telemetry, p.sampler
	with := func(key, value string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
	}
	integer := func(read func() int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error { o.Observe(read()); return nil }
	}
	number := func(read func() float64) metric.Float64Callback {
		return func(_ context.Context, o metric.Float64Observer) error { o.Observe(read()); return nil }
	}
	return errors.Join(
		t.RegisterProcessorAdaptiveSamplerReceivedSpansCallback(integer(s.counts.spansIn.Load)),
		t.RegisterProcessorAdaptiveSamplerPassedSpansCallback(integer(s.counts.passed.Load)),
		t.RegisterProcessorAdaptiveSamplerRefusedSpansCallback(integer(s.counts.refused.Load)),
		t.RegisterProcessorAdaptiveSamplerEarlyTracesCallback(integer(s.counts.early.Load)),
		t.RegisterProcessorAdaptiveSamplerCompactedSpansCallback(integer(s.counts.compacted.Load)),
		t.RegisterProcessorAdaptiveSamplerTracesCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, name := range outcomeNames {
				o.Observe(s.counts.traces[i].Load(), with("outcome", name))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerSpansCallback(func(_ context.Context, o metric.Int64Observer) error {
			for i, name := range outcomeNames {
				o.Observe(s.counts.spans[i].Load(), with("outcome", name))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerLateSpansCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(s.counts.late[0].Load(), with("decision", "dropped"))
			o.Observe(s.counts.late[1].Load(), with("decision", "kept"))
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerPendingTracesCallback(integer(s.pending.Load)),
		t.RegisterProcessorAdaptiveSamplerMemoryUsageCallback(integer(s.bytes.Load)),
		t.RegisterProcessorAdaptiveSamplerMemoryLimitCallback(integer(func() int64 { return s.limit })),
		t.RegisterProcessorAdaptiveSamplerEvictionRateCallback(number(func() float64 { return 1 - threshold.Probability(s.eviction.Load()) })),
		t.RegisterProcessorAdaptiveSamplerSheddingRateCallback(number(func() float64 { return 1 - threshold.Probability(s.shedding.Load()) })),
		t.RegisterProcessorAdaptiveSamplerOverheadCallback(number(p.overhead.lastShare)),
		t.RegisterProcessorAdaptiveSamplerBudgetCallback(func(_ context.Context, o metric.Float64Observer) error {
			b := s.budget.Load()
			for i, kind := range budgetKinds {
				o.Observe(b.Target[i], with("kind", kind))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerBudgetSpentCallback(func(_ context.Context, o metric.Float64Observer) error {
			b := s.budget.Load()
			for i, kind := range budgetKinds {
				o.Observe(b.Spent[i], with("kind", kind))
			}
			return nil
		}),
		t.RegisterProcessorAdaptiveSamplerBudgetInfeasibleCallback(integer(func() int64 {
			if s.budget.Load().Infeasible {
				return 1
			}
			return 0
		})),
		t.RegisterProcessorAdaptiveSamplerKeysCallback(integer(func() int64 { return int64(len(s.budget.Load().Groups)) })),
		t.RegisterProcessorAdaptiveSamplerDecisionsCallback(func(_ context.Context, o metric.Int64Observer) error {
			keptOnes, droppedOnes := s.remembered()
			o.Observe(int64(keptOnes), with("decision", "kept"))
			o.Observe(int64(droppedOnes), with("decision", "dropped"))
			return nil
		}),
	)
}
