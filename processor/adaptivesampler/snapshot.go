package adaptivesampler

import (
	"cmp"
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

var _ view.SamplerReader = (*adaptiveSampler)(nil)

// Sampling implements [view.SamplerReader].
func (p *adaptiveSampler) Sampling() view.Sampling {
	s, c := p.sampler, &p.sampler.counts
	b := s.budget.Load()
	v := view.Sampling{
		MinRate: s.allocator.min, MaxRate: s.allocator.max, Infeasible: b.Infeasible,
		EvictionRate: 1 - threshold.Probability(s.eviction.Load()),
		SheddingRate: 1 - threshold.Probability(s.shedding.Load()),
		Overhead:     p.overhead.lastShare(), OverheadLimit: p.cfg.TargetOverhead,
		DryRun:        p.cfg.DryRun,
		ReceivedSpans: c.spansIn.Load(), PassedSpans: c.passed.Load(), RefusedSpans: p.outlet.Lost(),
		LateDropped: c.late[0].Load(), LateKept: c.late[1].Load(),
	}
	if p.fixed != nil {
		v.FixedRate = p.cfg.SamplingRate
	}
	for i, perSecond := range s.targets() {
		if perSecond > 0 {
			v.Budgets = append(v.Budgets, view.Budget{Kind: budgetKinds[i], Asked: perSecond, Spent: b.PerSecond[i]})
		}
	}
	for i := range b.Groups {
		g := &b.Groups[i]
		v.Keys = append(v.Keys, view.KeyRate{Key: g.key, Rate: g.p, Spans: g.cost[0], KeptSpans: g.kept})
	}
	slices.SortFunc(v.Keys, func(x, y view.KeyRate) int {
		return cmp.Or(cmp.Compare(y.Spans, x.Spans), cmp.Compare(x.Key, y.Key))
	})
	for i, name := range outcomeNames {
		v.Outcomes = append(v.Outcomes, view.Outcome{Name: name, Traces: c.traces[i].Load(), Spans: c.spans[i].Load()})
	}
	keptOnes, droppedOnes := s.remembered()
	v.Tables = []view.Table{
		{Name: "pending_bytes", Size: int(s.bytes.Load()), Limit: int(s.limit)},
		{Name: "pending_traces", Size: int(s.pending.Load())},
		{Name: "kept_decisions", Size: keptOnes, Limit: p.cfg.DecisionCache.SampledSize},
		{Name: "dropped_decisions", Size: droppedOnes, Limit: p.cfg.DecisionCache.NonSampledSize},
	}
	return v
}

// remembered returns how many decisions are remembered.
func (s *sampler) remembered() (kept, dropped int) {
	for _, sh := range s.shards {
		sh.mu.Lock()
		kept += sh.decided.kept.size
		dropped += sh.decided.dropped.size
		sh.mu.Unlock()
	}
	return kept, dropped
}
