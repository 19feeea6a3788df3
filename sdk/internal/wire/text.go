package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Every text of a report passes through this file. OTLP texts are UTF-8: one invalid
// byte makes the batch impossible to encode. A receiver refuses or cuts what exceeds
// the limits of the protocol.

// Valid replaces each invalid byte by U+FFFD.
func Valid(s string) string { return Cut(s, math.MaxInt) }

// Cut returns the beginning of s, at most limit bytes of whole characters. It replaces
// each invalid byte by U+FFFD.
func Cut(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(min(len(s), limit))
	for _, r := range s { // r is U+FFFD for an invalid byte
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Name cuts a name. Names that begin alike can become one name, and what is counted
// under them one count.
func Name(s string) string { return Cut(s, taskspan.MaxStringBytes) }

// ID shortens an identity: of a resource or a class of locks. Different identities
// stay different, in every process alike, or a deadlock could be found where none is.
func ID(s string) string {
	if len(s) <= taskspan.MaxStringBytes && utf8.ValidString(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	suffix := "~" + hex.EncodeToString(sum[:8])
	return Cut(s, taskspan.MaxStringBytes-len(suffix)) + suffix
}
