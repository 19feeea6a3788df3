// Package taskspan is the vocabulary of async-inspect's protocol: the names of
// its scopes, spans and attributes, and the closed lists of states, wait kinds
// and report kinds. Both the SDK and the collector side import it, so that each
// name stands in one place. docs/protocol.md says what travels under them.
//
// The package holds constants and tables only and depends on nothing.
package taskspan
