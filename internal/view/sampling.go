package view

// SamplerReader reads the state of one adaptive_sampler processor.
type SamplerReader interface {
	// Sampling returns what the sampler does now, consistent in itself.
	Sampling() Sampling
}

// SamplerRegistrar is implemented by the extension that shows sampling; see
// [Registrar].
type SamplerRegistrar interface {
	RegisterAdaptiveSampler(id string, r SamplerReader) (remove func())
}

// Sampling is the state of a sampler.
type Sampling struct {
	// FixedRate is the probability of every trace where there is no budget; nil: there
	// is one, or bounds on the rates.
	FixedRate        *float64
	MinRate, MaxRate float64
	// Budgets are those that are asked for, with what the last minute has spent.
	Budgets    []Budget
	Infeasible bool // the lowest rates alone took more than the last budget
	// Keys are the rates of the last decision interval, the heaviest load first.
	Keys []KeyRate
	// EvictionRate and SheddingRate are the shares of new traces that are refused
	// because memory is short, and because the sampler uses more CPU than it may.
	EvictionRate, SheddingRate float64
	// Overhead is the share of all cores that the sampler uses, and OverheadLimit what
	// it may; 0 is no limit.
	Overhead, OverheadLimit float64
	DryRun                  bool
	// The rest are totals since the start of the collector.
	ReceivedSpans int64
	PassedSpans   int64 // at once: reports, and what detectors add
	RefusedSpans  int64 // kept, and lost because the next component refused them
	LateKept      int64 // spans of traces that had been kept
	LateDropped   int64
	Outcomes      []Outcome
	Tables        []Table // bytes and traces that are pending, remembered decisions
}

// Budget is what a sampler may spend and what it has spent, each second.
type Budget struct {
	Kind         string // spans, bytes or traces
	Asked, Spent float64
}

// KeyRate is the rate of the traces of one key.
type KeyRate struct {
	Key       string
	Rate      float64
	Spans     float64 // that were due in the last decision interval
	KeptSpans float64 // of those
}

// Outcome counts what became of traces in one way: kept, dropped, drop_policy,
// evicted, evicted_protected, shed.
type Outcome struct {
	Name          string
	Traces, Spans int64
}
