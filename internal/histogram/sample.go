package histogram

import (
	"math"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// sampled is how many durations a Sample keeps in each fixed bucket.
const sampled = 32

// Sample is the newest durations seen in each fixed bucket, as indexes of exponential
// buckets. Counts that come by fixed bucket only are spread like them. The zero value
// is empty.
type Sample struct {
	indexes [len(Bounds) + 1][sampled]int8
	size    [len(Bounds) + 1]uint8
	next    [len(Bounds) + 1]uint8 // where the next one is kept
	turn    [len(Bounds) + 1]uint8 // whose turn it is to get a count that is left over
}

// Add keeps a duration in the place of the oldest one in its bucket.
func (s *Sample) Add(d time.Duration) {
	if d <= 0 {
		return // no exponential bucket can hold it
	}
	i := fixedIndex(d.Seconds())
	s.indexes[i][s.next[i]] = int8(boundedIndex(d.Seconds()))
	s.next[i] = (s.next[i] + 1) % sampled
	s.size[i] = min(s.size[i]+1, sampled)
}

// AddBuckets adds counts that are exact by fixed bucket. In the exponential buckets they
// are an estimate: they follow the sample of their fixed bucket or, without one, go to
// its middle. They never leave their fixed bucket's range by more than the exponential
// bucket at its edge, and no bucket ever decreases.
func (h *Histogram) AddBuckets(d *report.Durations, like *Sample) {
	h.Sum += d.Seconds
	for i, n := range d.Buckets {
		if n <= 0 {
			continue
		}
		h.Count += float64(n)
		h.Fixed[i] += float64(n)
		size := int64(like.size[i])
		if size == 0 {
			h.native[middle(i)-nativeLow] += float64(n)
			continue
		}
		// Whole counts only: a fraction could round to a bucket that shrinks, which
		// Prometheus takes for a restart.
		for j := range size {
			h.native[int(like.indexes[i][j])-nativeLow] += float64(n / size)
		}
		for range n % size {
			like.turn[i] = (like.turn[i] + 1) % like.size[i]
			h.native[int(like.indexes[i][like.turn[i]])-nativeLow]++
		}
	}
}

// Exemplify notes a task as an exemplar without counting it.
func (h *Histogram) Exemplify(d time.Duration, exemplar report.TaskID, atUnixNano int64) {
	h.Exemplars[fixedIndex(d.Seconds())] = Exemplar{Task: exemplar, Value: d, AtUnixNano: atUnixNano}
}

// middle is an exponential bucket in the middle of a fixed one.
func middle(fixed int) int {
	switch fixed {
	case 0:
		return nativeIndex(Bounds[0] / 2)
	case len(Bounds):
		return nativeIndex(Bounds[len(Bounds)-1] * 2)
	default:
		return nativeIndex(math.Sqrt(Bounds[fixed-1] * Bounds[fixed]))
	}
}
