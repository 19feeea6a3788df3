// Package propagator knows whether OpenTelemetry's global propagator has been set.
package propagator

import (
	"reflect"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
)

// none stands for the global propagator as long as nobody has set one; nil if somebody
// had, before this package was there.
var none = func() propagation.TextMapPropagator {
	p := otel.GetTextMapPropagator()
	if len(p.Fields()) > 0 || !reflect.TypeOf(p).Comparable() {
		return nil
	}
	return p
}()

// Global returns the global propagator, or nil if nobody has set one.
func Global() propagation.TextMapPropagator {
	if p := otel.GetTextMapPropagator(); p != none {
		return p
	}
	return nil
}
