//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package deadlockdetector is the deadlock_detector processor: it finds tasks that
// wait for each other and can never proceed, in one process or over many.
//
// In: traces with report spans of the async-inspect protocol. Out: the same traces,
// in which the reports of deadlocked tasks say so, and for each deadlock that is
// found, or has ended, spans that tell it.
//
// The graph and the decision are in internal/deadlock, which is pure. This package
// is the shell around it: the clock, the lock, the goroutine that evaluates, spans,
// log and telemetry. Ordinary spans are not looked at: a batch without a report
// scope costs a look at the names of its scopes.
//
// On failure: a report that cannot be used is dropped and counted by reason. Spans of a
// deadlock that the next component refuses are sent again ([lifecycle.Outlet]).
package deadlockdetector
