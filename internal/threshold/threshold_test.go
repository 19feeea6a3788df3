package threshold

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAdjustedCount(t *testing.T) {
	for tracestate, want := range map[string]float64{
		"":                         1,
		"ot=th:0":                  1,
		"ot=th:8":                  2,
		"ot=th:c":                  4,
		"ot=rv:abcdef;th:c":        4,
		"vendor=x, ot=th:8;rv:1":   2,
		"ot=th:ffffffffffffff":     1 << 56,
		"ot=th:":                   1,
		"ot=th:G":                  1,
		"ot=th:800000000000000":    1, // 15 digits
		"other=th:8":               1,
		"xot=th:8":                 1,
		"ot=p:8":                   1,
		"ot=th:fd70a3d70a3d71,x=y": 100,
	} {
		require.InEpsilon(t, want, AdjustedCount(tracestate), 1e-12, "tracestate %q", tracestate)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { AdjustedCount("vendor=x,ot=rv:abcdef;th:c") }))
}

func FuzzAdjustedCount(f *testing.F) {
	f.Add("ot=th:c")
	f.Fuzz(func(t *testing.T, tracestate string) {
		if n := AdjustedCount(tracestate); n < 1 || n > 1<<56 {
			t.Fatalf("%q stands for %v spans", tracestate, n)
		}
	})
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, probability := range []float64{1, 0.5, 0.1, 0.01, 1e-9, 2} {
		want := Of(probability)
		for _, before := range []string{"", "a=b", "ot=th:8;rv:01020304050607,a=b", "x=y,ot=rv:01020304050607", "ot=th:zz"} {
			after := Write(before, Text(want))
			s := Read(after)
			if !s.Sampled || s.Threshold != want {
				t.Errorf("%q with %x is %q, which says %x", before, want, after, s.Threshold)
			}
			if strings.Contains(before, "rv") != s.Explicit || s.Explicit && s.Randomness != 0x01020304050607 {
				t.Errorf("%q became %q", before, after)
			}
			if strings.Contains(before, "a=b") && !strings.HasSuffix(after, ",a=b") {
				t.Errorf("%q became %q", before, after)
			}
		}
		if p := Probability(want); math.Abs(p-min(probability, 1)) > 1e-12 {
			t.Errorf("%v became %v", probability, p)
		}
	}
	if Of(0) != Total || Probability(Total) != 0 {
		t.Error("nobody is kept with probability 0")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("ot=th:c;rv:01020304050607,a=b")
	f.Fuzz(func(t *testing.T, text string) {
		before := Read(text)
		after := Read(Write(text, "8"))
		if after.Threshold != Total/2 || before.Explicit && !strings.Contains(text, "\x00") && after.Randomness != before.Randomness {
			t.Errorf("%q: %+v became %+v", text, before, after)
		}
	})
}
