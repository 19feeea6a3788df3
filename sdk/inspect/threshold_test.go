//go:build !noinspect

package inspect

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// The examples of the specification's probability sampling pages, at full precision.
func TestThresholdText(t *testing.T) {
	for _, test := range []struct {
		rate float64
		want string
	}{
		{1, "0"},
		{0.5, "8"},
		{0.25, "c"},
		{1.0 / 16, "f"},
		{1.0 / 256, "ff"},
		{0.75, "4"},
		{1.0 / (1 << 56), "ffffffffffffff"},
	} {
		if got := newThreshold(test.rate).text(); got != test.want {
			t.Errorf("rate %v has th:%s, want th:%s", test.rate, got, test.want)
		}
	}
	if th := newThreshold(0); th.value != 1<<randomnessBits || th.state.Len() != 0 {
		t.Errorf("rate 0 keeps from %x on, with the state %q", th.value, th.state)
	}
	for range 1000 {
		rate := rand.Float64()
		back := 1 - float64(newThreshold(rate).value)/(1<<randomnessBits)
		if math.Abs(back-rate) > 1e-15 {
			t.Errorf("rate %v becomes %v", rate, back)
		}
	}
}

func TestTraceStateKeepsWhatIsNotOurs(t *testing.T) {
	half := newThreshold(0.5)
	for _, test := range []struct{ in, kept, dropped string }{
		{"", "ot=th:8", ""},
		{"ot=th:c", "ot=th:8", ""},
		{"ot=rv:0123456789abcd", "ot=th:8;rv:0123456789abcd", "ot=rv:0123456789abcd"},
		{"ot=th:c;rv:0123456789abcd;x:y", "ot=th:8;rv:0123456789abcd;x:y", "ot=rv:0123456789abcd;x:y"},
		{"a=b,ot=th:c,z=1", "ot=th:8,a=b,z=1", "a=b,z=1"},
		{"a=b", "ot=th:8,a=b", "a=b"},
	} {
		state, err := trace.ParseTraceState(test.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := half.in(state).String(); got != test.kept {
			t.Errorf("%q of a trace that is kept becomes %q, want %q", test.in, got, test.kept)
		}
		if got := withoutThreshold(state).String(); got != test.dropped {
			t.Errorf("%q of a trace that is not kept becomes %q, want %q", test.in, got, test.dropped)
		}
	}
}

func TestExplicitRandomness(t *testing.T) {
	for _, test := range []struct {
		state string
		want  uint64
		ok    bool
	}{
		{"ot=rv:0123456789abcd", 0x0123456789abcd, true},
		{"ot=th:8;rv:ffffffffffffff", 1<<56 - 1, true},
		{"ot=rv:0123456789abc", 0, false},
		{"ot=rv:0123456789ABCD", 0, false},
		{"ot=rv:+123456789abcd", 0, false},
		{"rv=0123456789abcd", 0, false},
		{"", 0, false},
	} {
		state, err := trace.ParseTraceState(test.state)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := explicitRandomness(state)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%q: %x, %v", test.state, got, ok)
		}
	}
}

// Kept if and only if the randomness is at least the threshold, to the very value.
func TestDecisionAtTheThreshold(t *testing.T) {
	h := new(headSampler)
	h.setRate(0.1)
	th := h.threshold.Load().value
	for _, test := range []struct {
		randomness uint64
		keep       bool
	}{{th - 1, false}, {th, true}, {th + 1, true}, {0, false}, {1<<56 - 1, true}} {
		var id trace.TraceID
		binary.BigEndian.PutUint64(id[8:], test.randomness|0xab<<56) // the high byte does not count
		keep, state := h.decide(id, "x", trace.TraceState{})
		if keep != test.keep || keep != (state.Get("ot") != "") {
			t.Errorf("randomness %x with the threshold %x: kept %v with %q", test.randomness, th, keep, state)
		}
	}
	state, _ := trace.ParseTraceState("ot=rv:ffffffffffffff")
	if keep, out := h.decide(trace.TraceID{}, "x", state); !keep || out.Get("ot") == "" {
		t.Error("the explicit randomness does not decide")
	}
}

// FuzzTraceState: whatever comes in, the threshold can be put in and taken out, and
// what else was there stays.
func FuzzTraceState(f *testing.F) {
	f.Add("ot=th:8;rv:0123456789abcd,x=y")
	f.Add("ot=;;:,a=b")
	half := newThreshold(0.5)
	f.Fuzz(func(t *testing.T, s string) {
		state, err := trace.ParseTraceState(s)
		if err != nil {
			return
		}
		with := half.in(state)
		if _, err := trace.ParseTraceState(with.String()); err != nil {
			t.Fatalf("%q becomes %q: %v", s, with, err)
		}
		without := withoutThreshold(with)
		if getOT(without, keyThreshold) != "" {
			t.Fatalf("%q keeps a threshold: %q", s, without)
		}
		if getOT(without, keyRandomness) != getOT(state, keyRandomness) {
			t.Fatalf("%q loses its randomness: %q", s, without)
		}
		state.Walk(func(k, v string) bool {
			if k != memberOT && state.Len() < 32 && with.Get(k) != v {
				t.Fatalf("%q loses %s: %q", s, k, with)
			}
			return true
		})
	})
}
