package inspector

import (
	"github.com/asyncinspect/asyncinspect/internal/view"
)

type budgetAnswer struct {
	Kind           string  `json:"kind"`
	AskedPerSecond float64 `json:"asked_per_second"`
	SpentPerSecond float64 `json:"spent_per_second"`
}

func budgetsOf(s *view.Sampling) []budgetAnswer {
	budgets := []budgetAnswer{}
	for _, b := range s.Budgets {
		budgets = append(budgets, budgetAnswer{b.Kind, finite(b.Asked), finite(b.Spent)})
	}
	return budgets
}

type samplingAnswer struct {
	Processor             string          `json:"processor"`
	FixedRate             *float64        `json:"fixed_rate"`
	MinRate               float64         `json:"min_rate"`
	MaxRate               float64         `json:"max_rate"`
	Budgets               []budgetAnswer  `json:"budgets"`
	Infeasible            bool            `json:"infeasible"`
	Keys                  []keyAnswer     `json:"keys"`
	EvictionRatio         float64         `json:"eviction_ratio"`
	SheddingRatio         float64         `json:"shedding_ratio"`
	OverheadRatio         float64         `json:"overhead_ratio"`
	OverheadLimitRatio    float64         `json:"overhead_limit_ratio"`
	DryRun                bool            `json:"dry_run"`
	ReceivedSpansTotal    int64           `json:"received_spans_total"`
	PassedSpansTotal      int64           `json:"passed_spans_total"`
	RefusedSpansTotal     int64           `json:"refused_spans_total"`
	LateKeptSpansTotal    int64           `json:"late_kept_spans_total"`
	LateDroppedSpansTotal int64           `json:"late_dropped_spans_total"`
	Outcomes              []outcomeAnswer `json:"outcomes"`
	Tables                []tableAnswer   `json:"tables"`
}

type keyAnswer struct {
	Key       string  `json:"key"`
	Rate      float64 `json:"rate"`
	Spans     float64 `json:"spans"`
	KeptSpans float64 `json:"kept_spans"`
}

type outcomeAnswer struct {
	Name        string `json:"name"`
	TracesTotal int64  `json:"traces_total"`
	SpansTotal  int64  `json:"spans_total"`
}

type samplingList struct {
	AsOf     instant          `json:"as_of"`
	Samplers []samplingAnswer `json:"samplers"`
}

func (x *inspector) getSampling(q *query) (any, error) {
	if err := q.done(); err != nil {
		return nil, err
	}
	n := x.numbers.get()
	list := samplingList{AsOf: instant(n.at), Samplers: []samplingAnswer{}}
	for i := range n.samplers {
		list.Samplers = append(list.Samplers, samplingOf(&n.samplers[i]))
	}
	return list, nil
}

func samplingOf(s *samplerNumbers) samplingAnswer {
	a := samplingAnswer{
		Processor: s.id, FixedRate: s.FixedRate, MinRate: finite(s.MinRate), MaxRate: finite(s.MaxRate), Budgets: budgetsOf(&s.Sampling),
		Infeasible: s.Infeasible, Keys: []keyAnswer{}, EvictionRatio: s.EvictionRate, SheddingRatio: s.SheddingRate,
		OverheadRatio: s.Overhead, OverheadLimitRatio: s.OverheadLimit, DryRun: s.DryRun, ReceivedSpansTotal: s.ReceivedSpans,
		PassedSpansTotal: s.PassedSpans, RefusedSpansTotal: s.RefusedSpans, LateKeptSpansTotal: s.LateKept, LateDroppedSpansTotal: s.LateDropped,
		Outcomes: []outcomeAnswer{}, Tables: tablesOf(s.Tables),
	}
	for _, k := range s.Keys {
		a.Keys = append(a.Keys, keyAnswer{k.Key, k.Rate, k.Spans, k.KeptSpans})
	}
	for _, o := range s.Outcomes {
		a.Outcomes = append(a.Outcomes, outcomeAnswer{o.Name, o.Traces, o.Spans})
	}
	return a
}
