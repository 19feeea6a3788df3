// Package histogram counts durations in the buckets that async-inspect shows:
// fixed ones for classic histograms, with an exemplar each, and exponential ones
// for native histograms.
package histogram

import (
	"math"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Bounds are the upper bounds of the fixed buckets in seconds: those in which the SDK
// counts.
var Bounds = taskspan.DurationBounds

const (
	// Schema is the schema of the exponential buckets: bucket i counts what is
	// above 2^((i-1)/4) seconds and at most 2^(i/4).
	Schema = 2
	// nativeLow and nativeHigh bound the indexes that are told apart: about a
	// microsecond and about 12 days. What is outside counts in the outermost.
	nativeLow  = -20 << Schema
	nativeHigh = 20 << Schema
)

// Exemplar is the newest task that fell into a bucket.
type Exemplar struct {
	Task       report.TaskID
	Value      time.Duration
	AtUnixNano int64
}

// Histogram counts durations with weights. The zero value is empty. It is a
// value: copying it is taking a snapshot.
type Histogram struct {
	Count     float64
	Sum       float64 // seconds
	Fixed     [len(Bounds) + 1]float64
	Exemplars [len(Bounds) + 1]Exemplar
	// Zero counts durations that are not positive, which no exponential bucket
	// can hold.
	Zero   float64
	native [nativeHigh - nativeLow + 1]float64
}

// Add counts a duration that stands for weight of them.
func (h *Histogram) Add(d time.Duration, weight float64, exemplar report.TaskID, atUnixNano int64) {
	seconds := d.Seconds()
	h.Count += weight
	h.Sum += seconds * weight
	i := fixedIndex(seconds)
	h.Fixed[i] += weight
	h.Exemplars[i] = Exemplar{Task: exemplar, Value: d, AtUnixNano: atUnixNano}
	if d <= 0 {
		h.Zero += weight
		return
	}
	h.native[boundedIndex(seconds)-nativeLow] += weight
}

// fixedIndex is the index of the fixed bucket of a duration.
func fixedIndex(seconds float64) int {
	i := 0
	for i < len(Bounds) && seconds > Bounds[i] {
		i++
	}
	return i
}

// boundedIndex is the index of the exponential bucket in which a duration is counted.
func boundedIndex(seconds float64) int { return min(max(nativeIndex(seconds), nativeLow), nativeHigh) }

// Merge adds what another one has counted. Of two exemplars the newer stays.
func (h *Histogram) Merge(o *Histogram) {
	h.Count += o.Count
	h.Sum += o.Sum
	h.Zero += o.Zero
	for i, n := range o.Fixed {
		h.Fixed[i] += n
		if o.Exemplars[i].AtUnixNano > h.Exemplars[i].AtUnixNano {
			h.Exemplars[i] = o.Exemplars[i]
		}
	}
	for i, n := range o.native {
		h.native[i] += n
	}
}

// Quantile returns the upper bound in seconds of the exponential bucket that holds
// the q-quantile, which is at most 19 % above it; 0 if nothing has been counted.
func (h *Histogram) Quantile(q float64) float64 {
	if h.Count <= 0 || h.Zero >= q*h.Count {
		return 0
	}
	seen, last := h.Zero, 0.0
	for i, n := range h.native {
		if n == 0 {
			continue
		}
		seen += n
		last = math.Exp2(float64(i+nativeLow) / (1 << Schema))
		if seen >= q*h.Count {
			break
		}
	}
	return last
}

// nativeIndex is the index of the exponential bucket of a positive value.
func nativeIndex(v float64) int {
	frac, exp := math.Frexp(v) // v = frac * 2^exp, 0.5 <= frac < 1
	i := (exp - 1) << Schema
	switch {
	case frac <= 0.5:
		return i
	case frac <= 0.5946035575013605: // 0.5 * 2^(1/4)
		return i + 1
	case frac <= math.Sqrt2/2:
		return i + 2
	case frac <= 0.8408964152537145: // 0.5 * 2^(3/4)
		return i + 3
	default:
		return i + 4
	}
}

// Native calls yield for every exponential bucket that is not empty, by index.
func (h *Histogram) Native(yield func(index int, count float64)) {
	for i, n := range h.native {
		if n != 0 {
			yield(i+nativeLow, n)
		}
	}
}
