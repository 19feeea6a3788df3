package adaptivesampler

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

// overhead measures how much of all cores the processor uses, and lets it take in
// fewer new traces when that is more than it may.
type overhead struct {
	target float64
	busy   atomic.Int64  // nanoseconds since the last look
	share  atomic.Uint64 // of the last look, a float64
	last   time.Time
	rate   float64 // of new traces that are taken in
}

func (o *overhead) spent(since time.Time) { o.busy.Add(int64(time.Since(since))) }

// look sets the shedding threshold for the next interval. The rate follows the excess
// in proportion, so that it settles and does not swing.
func (o *overhead) look(now time.Time, s *sampler) {
	if o.last.IsZero() {
		o.last, o.rate = now, 1
	}
	dt := now.Sub(o.last)
	if dt <= 0 {
		return
	}
	o.last = now
	share := float64(o.busy.Swap(0)) / (float64(dt) * float64(runtime.GOMAXPROCS(0)))
	o.share.Store(math.Float64bits(share))
	if o.target == 0 {
		return
	}
	o.rate = nextRate(o.rate, share, o.target)
	s.shedding.Store(min(threshold.Of(o.rate), threshold.Total-1))
}

// nextRate goes to where the share would be the target: halfway down, and up to the
// double at most.
func nextRate(rate, share, target float64) float64 {
	if share <= 0 {
		return min(1, rate*2+0.001)
	}
	wanted := rate * target / share
	if wanted < rate {
		return max(1e-6, (rate+wanted)/2)
	}
	return min(1, wanted, rate*2+0.001)
}

func (o *overhead) lastShare() float64 { return math.Float64frombits(o.share.Load()) }
