// Package report decodes the report spans of the protocol (docs/protocol.md)
// into own types, once, at the edge of a component.
//
// In: spans of the instrumentation scope async_inspect/report, from anybody.
// Out: a [Report], or the reason why the span cannot be used; every reason is on
// the closed list of [Drop]. Nothing in a report is trusted: types, values, times
// and sizes are checked, what is too long is cut where a cut can only hide
// something, and refused where it could invent something. The package keeps no
// state, knows no clock and never panics on any input.
package report
