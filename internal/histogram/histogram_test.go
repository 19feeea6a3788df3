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

func durations(seconds float64, buckets map[int]int64) *report.Durations {
	d := &report.Durations{Seconds: seconds}
	for i, n := range buckets {
		d.Buckets[i] = n
	}
	return d
}

func native(h *Histogram) map[int]float64 {
	at := make(map[int]float64)
	h.Native(func(i int, n float64) { at[i] = n })
	return at
}

func TestCountsByBucketAreExactAndTheirExponentialBucketsAnEstimate(t *testing.T) {
	tenToThirty, second := 12, 8
	for name, c := range map[string]struct {
		sampled []time.Duration
		add     []*report.Durations
		count   float64
		sum     float64
		fixed   map[int]float64
		native  map[int]float64
	}{
		"nothing": {},
		"without a sample they go to the middle": {
			add:   []*report.Durations{durations(372, map[int]int64{tenToThirty: 30, 0: 2, 16: 5})},
			count: 37, sum: 372,
			fixed:  map[int]float64{tenToThirty: 30, 0: 2, 16: 5},
			native: map[int]float64{nativeIndex(17.3): 30, nativeIndex(0.0005): 2, nativeIndex(600): 5},
		},
		"a sample of another bucket is no sample": {
			sampled: []time.Duration{700 * time.Millisecond},
			add:     []*report.Durations{durations(24, map[int]int64{tenToThirty: 2})},
			count:   2, sum: 24,
			fixed:  map[int]float64{tenToThirty: 2},
			native: map[int]float64{nativeIndex(17.3): 2},
		},
		"a sample leads them": {
			sampled: []time.Duration{12 * time.Second, 12 * time.Second, 25 * time.Second, 800 * time.Millisecond, 0},
			add:     []*report.Durations{durations(99, map[int]int64{tenToThirty: 6, second: 7})},
			count:   13, sum: 99,
			fixed:  map[int]float64{tenToThirty: 6, second: 7},
			native: map[int]float64{nativeIndex(12): 4, nativeIndex(25): 2, nativeIndex(0.8): 7},
		},
		"one at a time takes turns": {
			sampled: []time.Duration{12 * time.Second, 25 * time.Second},
			add: []*report.Durations{
				durations(1, map[int]int64{tenToThirty: 1}), durations(2, map[int]int64{tenToThirty: 1}),
				durations(3, map[int]int64{tenToThirty: 1}), durations(4, map[int]int64{tenToThirty: 1}),
			},
			count: 4, sum: 10,
			fixed:  map[int]float64{tenToThirty: 4},
			native: map[int]float64{nativeIndex(12): 2, nativeIndex(25): 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				h    Histogram
				like Sample
			)
			for _, d := range c.sampled {
				like.Add(d)
			}
			for _, d := range c.add {
				h.AddBuckets(d, &like)
			}
			require.Equal(t, c.count, h.Count)
			require.Equal(t, c.sum, h.Sum)
			for i, n := range h.Fixed {
				require.Equal(t, c.fixed[i], n, "fixed bucket %d", i)
			}
			if c.native == nil {
				c.native = map[int]float64{}
			}
			require.Equal(t, c.native, native(&h))
		})
	}
}

// The old durations make room for the new ones.
func TestASampleIsOfTheNewest(t *testing.T) {
	var (
		h    Histogram
		like Sample
	)
	for range 3 * sampled {
		like.Add(11 * time.Second)
	}
	for range sampled - 1 {
		like.Add(25 * time.Second)
	}
	h.AddBuckets(durations(0, map[int]int64{12: 5 * sampled}), &like)
	require.Equal(t, map[int]float64{nativeIndex(11): 5, nativeIndex(25): 5 * (sampled - 1)}, native(&h))
}

// Whatever is sampled in between, no bucket shrinks and all of them add up.
func TestExponentialBucketsOnlyGrow(t *testing.T) {
	var (
		h    Histogram
		like Sample
		rnd  = rand.New(rand.NewSource(2))
	)
	before := native(&h)
	for range 2000 {
		like.Add(time.Duration(math.Exp(rnd.Float64()*25) * 1000))
		var d report.Durations
		d.Buckets[rnd.Intn(len(d.Buckets))] = rnd.Int63n(70)
		h.AddBuckets(&d, &like)
		after := native(&h)
		for i, n := range before {
			require.GreaterOrEqual(t, after[i], n)
		}
		before = after
	}
	fixed, exponential := 0.0, 0.0
	for _, n := range h.Fixed {
		fixed += n
	}
	for _, n := range before {
		exponential += n
	}
	require.Equal(t, h.Count, fixed)
	require.Equal(t, h.Count, exponential)
}

func TestAnExemplarCountsNothing(t *testing.T) {
	var h Histogram
	id := report.TaskID{Trace: [16]byte{3}, Span: [8]byte{4}}
	h.Exemplify(12*time.Second, id, 99)
	require.Equal(t, Exemplar{Task: id, Value: 12 * time.Second, AtUnixNano: 99}, h.Exemplars[12])
	h.Exemplars[12] = Exemplar{}
	require.Equal(t, Histogram{}, h)
}
