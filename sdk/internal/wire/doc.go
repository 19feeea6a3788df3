// Package wire writes reports as OTLP spans, as docs/protocol.md has them. It is
// pure: structs in, spans out. Sequence numbers are given when a span is sent; see
// [SetSequence].
package wire
