package adaptivesampler

import "sync/atomic"

// outcome is what became of traces and spans. The list is closed.
type outcome int

const (
	kept       outcome = iota
	dropped            // the budget or the rate had no room
	dropPolicy         // a drop policy
	evicted            // memory was short, and it would not have been kept at the raised threshold
	evictedBad         // memory was short for what policies protect, too
	shed               // the processor would have used more CPU than it may
	outcomes
)

var outcomeNames = [outcomes]string{"kept", "dropped", "drop_policy", "evicted", "evicted_protected", "shed"}

// counts are since the start.
type counts struct {
	spansIn   atomic.Int64
	passed    atomic.Int64 // spans that pass at once: reports, detectors
	traces    [outcomes]atomic.Int64
	spans     [outcomes]atomic.Int64
	late      [2]atomic.Int64 // spans of decided traces: dropped, kept
	early     atomic.Int64    // traces decided at once, because they are large
	ticks     atomic.Int64
	compacted atomic.Int64 // spans moved out of batches that are mostly empty
}

func (c *counts) count(o outcome, spans int32) {
	c.traces[o].Add(1)
	c.spans[o].Add(int64(spans))
}
