package threshold

import (
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
