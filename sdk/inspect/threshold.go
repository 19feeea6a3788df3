package inspect

import (
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Consistent probability sampling, as the OpenTelemetry specification has it
// ("Probability Sampling", and "TraceState: OpenTelemetry probability sampling
// thresholds and randomness"): a trace is kept if its randomness, 56 bits, is at
// least the threshold. Services with the same rate keep the same traces, and with
// different rates nested ones. The threshold travels as "ot=th:...", so that who
// counts what was kept can compute what there was.

const randomnessBits = 56

// threshold is a rate as the randomness from which on traces are kept.
type threshold struct {
	rate  float64
	value uint64           // 0: all; 1<<56: none
	state trace.TraceState // with the threshold and nothing else
}

func newThreshold(rate float64) *threshold {
	t := &threshold{rate: rate, value: 1<<randomnessBits - uint64(math.Round(rate*(1<<randomnessBits)))}
	if t.value < 1<<randomnessBits {
		t.state = setOT(trace.TraceState{}, keyThreshold, t.text())
	}
	return t
}

// text is the threshold in hex without trailing zeros.
func (t *threshold) text() string {
	s := strconv.FormatUint(1<<randomnessBits|t.value, 16)[1:]
	if s = strings.TrimRight(s, "0"); s == "" {
		return "0"
	}
	return s
}

// in puts the threshold into a tracestate.
func (t *threshold) in(state trace.TraceState) trace.TraceState {
	if state.Len() == 0 {
		return t.state
	}
	return setOT(state, keyThreshold, t.text())
}

const (
	memberOT      = "ot"
	keyThreshold  = "th"
	keyRandomness = "rv"
)

// withoutThreshold is for traces that are not kept, or not by a probability.
func withoutThreshold(state trace.TraceState) trace.TraceState {
	if state.Len() == 0 || getOT(state, keyThreshold) == "" {
		return state
	}
	return setOT(state, keyThreshold, "")
}

// explicitRandomness is that which the beginner of the trace has given it, exactly
// 14 lower-case hex digits; anything else does not count.
func explicitRandomness(state trace.TraceState) (uint64, bool) {
	if state.Len() == 0 {
		return 0, false
	}
	rv := getOT(state, keyRandomness)
	if len(rv) != randomnessBits/4 || strings.Trim(rv, "0123456789abcdef") != "" {
		return 0, false
	}
	v, err := strconv.ParseUint(rv, 16, 64)
	return v, err == nil
}

// getOT reads a sub-key of OpenTelemetry's member of a tracestate, "k:v;k:v".
func getOT(state trace.TraceState, key string) string {
	for field := range strings.SplitSeq(state.Get(memberOT), ";") {
		if k, v, ok := strings.Cut(field, ":"); ok && k == key {
			return v
		}
	}
	return ""
}

// setOT sets a sub-key, or removes it if value is empty, and keeps all others and
// the other members. A tracestate that cannot hold it stays as it is.
func setOT(state trace.TraceState, key, value string) trace.TraceState {
	var fields []string
	if value != "" {
		fields = append(fields, key+":"+value)
	}
	for field := range strings.SplitSeq(state.Get(memberOT), ";") {
		if k, _, _ := strings.Cut(field, ":"); k != key && field != "" {
			fields = append(fields, field)
		}
	}
	if len(fields) == 0 {
		return state.Delete(memberOT)
	}
	changed, err := state.Insert(memberOT, strings.Join(fields, ";"))
	if err != nil {
		return state
	}
	return changed
}
