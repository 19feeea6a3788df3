//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package nestinglimiter refuses OTLP requests whose attribute values are nested too
// deeply. It is a middleware for any confighttp or configgrpc server.
//
// In: a request, decompressed but not yet decoded. Out: the same request, or a refusal.
// It keeps nothing but counts.
//
// pdata decodes a value in a value by a call in a call, without a limit. Each level
// takes ten bytes of a request and some hundreds of a stack, so a request of 4 MiB takes
// 768 MiB, and one of 19 MB overflows the stack, which ends the process. The walk here
// has a stack of its own, of one byte a level, and ends at the limit.
package nestinglimiter
