// Package lifecycle is what the processors have in common between Start and
// Shutdown: a goroutine that ticks ([Loop]), and the way out for the spans that a
// processor sends by itself ([Outlet]), with its health.
package lifecycle
