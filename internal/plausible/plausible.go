// Package plausible bounds what a span says of its weight and its times. Anybody may send
// a span, and sums never forget: one that claims to stand for 2^56 tasks, or to have ended
// before it began, would be in each counter until a restart.
package plausible

import (
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

const (
	// MaxWeight is for how many spans one may stand: a sampling rate of 1 in a million.
	MaxWeight = 1 << 20
	// MaxDuration is how long a span may have taken.
	MaxDuration = 365 * 24 * time.Hour
)

// Weight returns how many spans a span with this tracestate stands for, at most
// [MaxWeight], and whether it claimed more. It does not allocate.
func Weight(tracestate string) (weight float64, capped bool) {
	weight = threshold.AdjustedCount(tracestate)
	return min(weight, MaxWeight), weight > MaxWeight
}

// Times returns the times of a span in unix nanoseconds, from at most to and at most
// [MaxDuration] apart, and whether they had to be corrected for that. A time that is
// missing is taken for the other one. The end stays, for it is the more recent
// reading of the clock, and the start gives way.
func Times(start, end pcommon.Timestamp) (from, to int64, corrected bool) {
	from, to = nanoseconds(start), nanoseconds(end)
	switch {
	case from == 0:
		from = to
	case to == 0:
		to = from
	}
	from = min(max(from, to-int64(MaxDuration)), to)
	return from, to, uint64(from) != uint64(start) || uint64(to) != uint64(end)
}

func nanoseconds(t pcommon.Timestamp) int64 { return int64(min(t, math.MaxInt64)) }

// Duration bounds a duration of which only the length is known, such as a sum that a
// span carries.
func Duration(d time.Duration) time.Duration { return min(max(d, 0), MaxDuration) }
