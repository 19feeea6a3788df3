//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package inspector is the inspector extension: one address where a machine scrapes
// exact metrics and a person sees what is stuck, who waits for whom, and why.
//
// In: what task_state, deadlock_detector and adaptive_sampler show of themselves.
// They find the extension among those of the host and register a reader
// (internal/view); without the extension they work the same. Out: HTTP, behind a
// confighttp server: /metrics, /livez, /readyz, JSON and a stream of changes below
// /api/v1 (openapi.yaml), and the page.
//
// It reads and never writes. Those who ask at about the same time share one reading
// ([shared]), so that no number of clients makes the components copy more than twice
// a second. It keeps that reading for some seconds, a history of minutes, and a
// bounded queue for each of a bounded number of streams.
//
// On failure: a bad request is a problem document (RFC 9457) that names the
// parameter; a client that does not read is cut off; a component that does not
// answer makes /livez fail.
package inspector
