// Package e2e holds the end-to-end tests: the real distribution, built with ocb,
// fed over real OTLP by the demo and by plain OpenTelemetry clients, each a
// process of its own.
//
// The environment says where the programs are: ASYNCINSPECT_COLLECTOR,
// ASYNCINSPECT_DEMO, ASYNCINSPECT_TELEMETRYGEN and ASYNCINSPECT_JAEGER. `make test`
// builds them and sets all.
package e2e
