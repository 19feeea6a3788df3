//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package scrubber is the scrubber processor: it replaces secrets and personal data in
// every text of a span.
//
// In: traces. Out: the same traces, in which whatever matches blocked_values is replaced,
// and so is the whole value of each attribute whose key matches blocked_keys. It looks
// into names and status messages of spans, attributes of resources, scopes, spans, events
// and links with all that is nested in them, and the tracestate.
//
// What identifies a process, a task or a resource is left alone ([identities]): an
// instance id that looks like a card number would make one process of two, and hide a
// deadlock. Of the texts of the async-inspect protocol, the names are replaced, the same
// way everywhere, so that spans and reports still agree.
//
// It keeps the keys that it has matched, at most 10,000 of them, and nothing else. It has
// no goroutine. An expression runs only on texts that have what it needs, such as an @,
// and a text without a match costs no allocation. It cannot fail.
package scrubber
