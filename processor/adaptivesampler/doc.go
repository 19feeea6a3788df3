//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package adaptivesampler is the adaptive_sampler processor: it samples whole traces
// at the tail so that a budget is met, in the memory that it was given.
//
// In: traces. Out: the traces that are kept, with their sampling threshold in the
// tracestate (ot=th, OTEP 235), so that counts can be adjusted. Reports of the
// async-inspect protocol and what detectors add pass at once, and a trace that they
// are about is kept.
//
// The way of a span: a batch is looked at once ([rules]), outside of all locks, and
// stays as it is; what is kept for each trace is where its spans are in their batches
// ([batch], [shard]). When a trace is due it waits for the next tick, which knows all
// traces that are due with it and so needs no forecast ([allocate], [choose]). What is
// kept is moved out of its batches into one big one and sent ([output]).
//
// On failure: errors of the next component go back to the caller for spans that pass
// at once. Spans that a tick sends are sent again ([lifecycle.Outlet]). Every span that
// does not come out is in a counter with a reason.
package adaptivesampler
