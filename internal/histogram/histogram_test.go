package histogram

import (
	"math"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

func TestEveryDurationFallsIntoTheBucketThatHoldsIt(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 20_000 {
		d := time.Duration(math.Exp(rnd.Float64()*math.Log(float64(24*time.Hour)))) + 1000
		var h Histogram
		h.Add(d, 2, report.TaskID{}, 0)
		for i, n := range h.Fixed {
			low, high := math.Inf(-1), math.Inf(1)
			if i > 0 {
				low = Bounds[i-1]
			}
			if i < len(Bounds) {
				high = Bounds[i]
			}
			require.Equal(t, d.Seconds() > low && d.Seconds() <= high, n == 2, "%v in fixed bucket %d", d, i)
		}
		h.Native(func(i int, n float64) {
			low, high := math.Exp2(float64(i-1)/4), math.Exp2(float64(i)/4)
			require.True(t, d.Seconds() > low*(1-1e-12) && d.Seconds() <= high*(1+1e-12), "%v in native bucket %d (%v, %v]", d, i, low, high)
			require.EqualValues(t, 2, n)
		})
	}
}

func TestTheEdgesAreCounted(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Second, math.MaxInt64} {
		h.Add(d, 1, report.TaskID{}, 0)
	}
	sum, native := 0.0, h.Zero
	for _, n := range h.Fixed {
		sum += n
	}
	h.Native(func(_ int, n float64) { native += n })
	require.EqualValues(t, 5, sum)
	require.EqualValues(t, 5, native)
	require.EqualValues(t, 2, h.Zero)
}

func BenchmarkAdd(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	for i := range b.N {
		h.Add(time.Duration(i%1000)*time.Millisecond, 1, report.TaskID{}, 0)
	}
}
