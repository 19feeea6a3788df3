//go:build noinspect

package inspect

import "go.opentelemetry.io/otel/exporters/otlp/otlptrace"

// compiledIn is explained in gate_on.go.
const compiledIn = false

// newClient makes nothing: an Inspector that does not run has nothing to send. It stands
// for the one that links the exporters.
func (*config) newClient(bool) otlptrace.Client { return nil }
