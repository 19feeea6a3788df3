// Package deadlock finds, in what the processes of a fleet report, tasks that wait
// for each other and can never proceed.
//
// In: decoded reports ([report.Report]), in any order, repeated or with gaps. Out:
// deadlocks that have been found and that have ended ([Detector.Evaluate]), and
// orders of locks that could become one ([Orders]).
//
// What is true now is known to [fleet.Table]; this package makes a wait-for graph of
// it and reduces that (package waitgraph). Only what a report has touched is looked
// at: a new deadlock contains a task whose wait is new or has new holders, so the
// search begins there and follows who waits for whom.
//
// A set of tasks that cannot proceed by what is known now is not yet a deadlock,
// because what is known of two tasks may not have been true at the same time. It is
// reported when there is an instant at which every wait and every hold in it stood;
// see evidence.go.
//
// The package is a pure core: no clock (time is an argument), no goroutine, no lock,
// no logger. Everything is bounded by [Limits]. What finds no room counts as able to
// proceed: that can hide a deadlock and never invents one.
package deadlock
