package inspect

import "math"

// adaptive steers the sampling rate so that the SDK uses its target share of the
// CPU and no more. It is a pure controller: step is called once an interval.
//
// The cost of the SDK is a part that does not depend on the rate and a part that
// grows with it, so the rate is multiplied by (target/measured)^gain: below 1 the
// gain damps, so that one step never overshoots even if all of the cost depends on
// the rate, and what is measured is smoothed, so that one garbage collection does
// not look like a change of load.
type adaptive struct {
	AdaptiveConfig
	smoothed float64
	rate     float64
}

const (
	adaptiveGain   = 0.5
	adaptiveSmooth = 0.4 // weight of the newest measurement
	adaptiveStep   = 2   // the rate at most doubles or halves in one step
)

func newAdaptive(c AdaptiveConfig) *adaptive {
	return &adaptive{AdaptiveConfig: c, smoothed: c.TargetOverhead, rate: c.MaxRate}
}

// step takes the share that was measured over the last interval and returns the
// rate for the next.
func (a *adaptive) step(share float64) float64 {
	a.smoothed += adaptiveSmooth * (share - a.smoothed)
	factor := math.Pow(a.TargetOverhead/max(a.smoothed, a.TargetOverhead/100), adaptiveGain)
	factor = min(max(factor, 1/float64(adaptiveStep)), adaptiveStep)
	a.rate = min(max(a.rate*factor, a.MinRate), a.MaxRate)
	return a.rate
}
