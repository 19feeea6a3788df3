// Package threshold reads and writes the sampling threshold of OpenTelemetry's
// consistent probability sampling in a tracestate (ot=th:..., OTEP 235).
//
// A trace with the randomness R, 56 bits that all its spans share, is kept by
// everybody whose threshold is at most R. Who is kept with a threshold T stands for
// 1/(1-T/2^56) like it.
package threshold

import (
	"encoding/binary"
	"math"
	"strings"
)

// Total is 2^56: a threshold is a part of it.
const Total = 1 << 56

// digits is how many hex digits a threshold has at most.
const digits = 14

// State is what a tracestate says about sampling.
type State struct {
	Threshold  uint64
	Sampled    bool // Threshold was there
	Randomness uint64
	Explicit   bool // Randomness was there (rv); else it is in the trace id
}

// AdjustedCount returns how many spans a span with this tracestate stands for:
// 1 without a threshold, or with one that cannot be read. It does not allocate.
func AdjustedCount(tracestate string) float64 {
	if tracestate == "" {
		return 1
	}
	return Read(tracestate).AdjustedCount()
}

// AdjustedCount returns how many spans a span with this state stands for.
func (s State) AdjustedCount() float64 {
	if !s.Sampled {
		return 1
	}
	return Total / float64(Total-s.Threshold)
}

// Read reads a tracestate. What cannot be read is as if it were not there. It does
// not allocate.
func Read(tracestate string) (s State) {
	value, found := member(tracestate)
	for found && value != "" {
		var field string
		field, value, _ = strings.Cut(value, ";")
		if text, ok := strings.CutPrefix(field, "th:"); ok {
			s.Threshold, s.Sampled = parse(text)
		} else if text, ok := strings.CutPrefix(field, "rv:"); ok && len(text) == digits {
			s.Randomness, s.Explicit = parse(text)
		}
	}
	return s
}

// member returns the value of OpenTelemetry's member.
func member(tracestate string) (value string, found bool) {
	for tracestate != "" {
		var m string
		m, tracestate, _ = strings.Cut(tracestate, ",")
		if value, found = strings.CutPrefix(strings.TrimSpace(m), "ot="); found {
			return value, true
		}
	}
	return "", false
}

// parse reads up to 14 hex digits, padded with zeros on the right.
func parse(text string) (v uint64, ok bool) {
	if len(text) == 0 || len(text) > digits {
		return 0, false
	}
	for i := range digits {
		v <<= 4
		if i >= len(text) {
			continue
		}
		switch c := text[i]; {
		case '0' <= c && c <= '9':
			v |= uint64(c - '0')
		case 'a' <= c && c <= 'f':
			v |= uint64(c-'a') + 10
		default:
			return 0, false
		}
	}
	return v, true
}

// Randomness is that of a trace id without an explicit one: its last 56 bits.
func Randomness(trace [16]byte) uint64 {
	return binary.BigEndian.Uint64(trace[8:]) & (Total - 1)
}

// Of returns the threshold of a probability: 0 for 1 and more, and Total, which
// nobody reaches, for 0 and less.
func Of(probability float64) uint64 {
	switch {
	case probability >= 1:
		return 0
	case !(probability > 0):
		return Total
	}
	return uint64(math.Round((1 - probability) * Total))
}

// Probability is that with which a threshold is reached.
func Probability(t uint64) float64 { return float64(Total-min(t, Total)) / Total }

const hex = "0123456789abcdef"

// Text writes a threshold as th has it, without zeros at the end.
func Text(t uint64) string {
	if t == 0 {
		return "0"
	}
	var b [digits]byte
	for i := range b {
		b[i] = hex[t>>(4*(digits-1-i))&15]
	}
	return strings.TrimRight(string(b[:]), "0")
}

// Write returns the tracestate with a threshold, given as [Text]. What others have
// put there stays, as does explicit randomness.
func Write(tracestate, text string) string {
	if tracestate == "" {
		return "ot=th:" + text
	}
	own := "ot=th:" + text
	if value, found := member(tracestate); found {
		for field := range strings.SplitSeq(value, ";") {
			if field != "" && !strings.HasPrefix(field, "th:") {
				own += ";" + field
			}
		}
	}
	var b strings.Builder
	b.WriteString(own)
	for m := range strings.SplitSeq(tracestate, ",") {
		if m = strings.TrimSpace(m); m != "" && !strings.HasPrefix(m, "ot=") {
			b.WriteByte(',')
			b.WriteString(m)
		}
	}
	return b.String()
}
