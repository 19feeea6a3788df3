package plausible

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

func TestAWeightIsAtMostAMillion(t *testing.T) {
	for state, want := range map[string]struct {
		weight float64
		capped bool
	}{
		"": {1, false}, "ot=th:0": {1, false}, "ot=th:c": {4, false}, "ot=th:nonsense": {1, false}, "other=1": {1, false},
		"ot=th:fffff": {MaxWeight, false}, "ot=th:fffff8": {MaxWeight, true},
		"ot=th:ffffe": {MaxWeight / 2, false}, "ot=th:ffffffffffffff": {MaxWeight, true},
	} {
		weight, capped := Weight(state)
		require.Equal(t, want.weight, weight, state)
		require.Equal(t, want.capped, capped, state)
	}
}

func TestTimesAreInOrderAndNotFarApart(t *testing.T) {
	const at, year = 1_800_000_000_000_000_000, int64(MaxDuration)
	for name, c := range map[string]struct {
		start, end pcommon.Timestamp
		from, to   int64
		corrected  bool
	}{
		"as usual":               {at, at + 7, at, at + 7, false},
		"no time at all":         {at, at, at, at, false},
		"a year":                 {at, pcommon.Timestamp(at + year), at, at + year, false},
		"more than a year":       {at, pcommon.Timestamp(at + year + 5), at + 5, at + year + 5, true},
		"the end is before":      {at + 9, at, at, at, true},
		"no start":               {0, at, at, at, true},
		"no end":                 {at, 0, at, at, true},
		"neither":                {0, 0, 0, 0, false},
		"an end beyond all time": {at, math.MaxUint64, math.MaxInt64 - year, math.MaxInt64, true},
		"a start beyond it":      {math.MaxUint64, at, at, at, true},
		"both":                   {math.MaxUint64 - 3, math.MaxUint64, math.MaxInt64, math.MaxInt64, true},
		"just within it":         {math.MaxInt64 - 2, math.MaxInt64, math.MaxInt64 - 2, math.MaxInt64, false},
	} {
		from, to, corrected := Times(c.start, c.end)
		require.Equal(t, c.from, from, name)
		require.Equal(t, c.to, to, name)
		require.Equal(t, c.corrected, corrected, name)
	}
}

// Whatever times are sent, the duration is one that a task can have.
func FuzzTimes(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(math.MaxUint64), uint64(0))
	f.Fuzz(func(t *testing.T, start, end uint64) {
		from, to, _ := Times(pcommon.Timestamp(start), pcommon.Timestamp(end))
		if d := time.Duration(to - from); from < 0 || d < 0 || d > MaxDuration {
			t.Fatalf("%d to %d became %d to %d", start, end, from, to)
		}
	})
}

func TestADurationIsBounded(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		-1: 0, 0: 0, 5: 5, MaxDuration: MaxDuration, MaxDuration + 1: MaxDuration, math.MaxInt64: MaxDuration, math.MinInt64: 0,
	} {
		require.Equal(t, want, Duration(d))
	}
}
