// Package threshold reads the sampling threshold of OpenTelemetry's consistent
// probability sampling out of a tracestate (ot=th:..., OTEP 235).
package threshold

import "strings"

// total is 2^56: a threshold is a part of it.
const total = 1 << 56

// AdjustedCount returns how many spans a span with this tracestate stands for:
// 1 without a threshold, or with one that cannot be read. It does not allocate.
func AdjustedCount(tracestate string) float64 {
	for tracestate != "" {
		var member string
		member, tracestate, _ = strings.Cut(tracestate, ",")
		value, ok := strings.CutPrefix(strings.TrimSpace(member), "ot=")
		if !ok {
			continue
		}
		for value != "" {
			var field string
			field, value, _ = strings.Cut(value, ";")
			if digits, ok := strings.CutPrefix(field, "th:"); ok {
				return adjusted(digits)
			}
		}
		return 1
	}
	return 1
}

// adjusted turns up to 14 hex digits, padded with zeros on the right, into 1/p.
func adjusted(digits string) float64 {
	if len(digits) == 0 || len(digits) > 14 {
		return 1
	}
	var rejected uint64
	for i := range 14 {
		rejected <<= 4
		if i >= len(digits) {
			continue
		}
		switch c := digits[i]; {
		case '0' <= c && c <= '9':
			rejected |= uint64(c - '0')
		case 'a' <= c && c <= 'f':
			rejected |= uint64(c-'a') + 10
		default:
			return 1
		}
	}
	return total / float64(total-rejected)
}
