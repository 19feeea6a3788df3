// Command shop is the service that `make bench-overhead` measures: JSON over HTTP,
// locks, a database with a pool of connections that is waited for, and work that fans
// out. It is built from one source with the SDK, with the SDK compiled out (the build tag
// noinspect), with OpenTelemetry alone (traced) and with neither (plain); only where its
// locks and tasks come from differs.
package main
