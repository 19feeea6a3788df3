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

func TestMergingIsCountingInOne(t *testing.T) {
	var a, b, both Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		both.Add(d, 2, report.TaskID{}, int64(i))
		if i%3 == 0 {
			a.Add(d, 2, report.TaskID{}, int64(i))
		} else {
			b.Add(d, 2, report.TaskID{}, int64(i))
		}
	}
	a.Merge(&b)
	require.InDelta(t, both.Sum, a.Sum, 1e-9)
	a.Sum = both.Sum
	require.Equal(t, both, a)
}

func TestAQuantileIsCloseAbove(t *testing.T) {
	var h Histogram
	require.Zero(t, h.Quantile(0.5))
	for i := 1; i <= 1000; i++ {
		h.Add(time.Duration(i)*time.Millisecond, 1, report.TaskID{}, 0)
	}
	for _, q := range []float64{0.01, 0.5, 0.95, 1} {
		require.GreaterOrEqual(t, h.Quantile(q), q*0.999)
		require.Less(t, h.Quantile(q), q*1.2)
	}
	h.Add(0, 3000, report.TaskID{}, 0)
	require.Zero(t, h.Quantile(0.5))
}
