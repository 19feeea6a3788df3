package inspect

import (
	"math"
	"time"
)

// adaptive steers the sampling rate so that the SDK uses its target share of the
// CPU and no more. It is a pure controller: step is called once an interval.
//
// The cost of the SDK is a part that does not depend on the rate and a part that
// grows with it. The rate is multiplied by (target/measured)^gain. In logarithms
// that is an integrating controller of a plant whose gain is between 0 and 1, so
// with a gain below 1 it comes nearer with each step and never overshoots, and a
// single odd measurement, such as one with a garbage collection in it, moves the rate
// by a fraction of its size only. Within the dead band nothing moves at all.
type adaptive struct {
	AdaptiveConfig
	rate float64
}

const (
	adaptiveGain = 0.4
	adaptiveBand = 0.1 // measured shares this near the target are as good as it
	adaptiveStep = 2   // the rate at most doubles or halves in one step
)

func newAdaptive(c AdaptiveConfig) *adaptive {
	return &adaptive{AdaptiveConfig: c, rate: c.MaxRate}
}

// step takes the share that was measured over the last interval and returns the
// rate for the next.
func (a *adaptive) step(share float64) float64 {
	if math.Abs(share/a.TargetOverhead-1) <= adaptiveBand {
		return a.rate
	}
	factor := math.Pow(a.TargetOverhead/max(share, math.SmallestNonzeroFloat64), adaptiveGain)
	factor = min(max(factor, 1/float64(adaptiveStep)), adaptiveStep)
	a.rate = min(max(a.rate*factor, a.MinRate), a.MaxRate)
	return a.rate
}

const (
	steeringInterval = time.Second
	// leastCPU is how much a process must do in an interval for a share of it to mean
	// anything.
	leastCPU = 10 * time.Millisecond
)

// steering runs an adaptive sampler: a goroutine that wakes once an interval.
type steering struct{ stopping, done chan struct{} }

func startSteering(ins *Inspector) *steering {
	s := &steering{stopping: make(chan struct{}), done: make(chan struct{})}
	go s.run(ins)
	return s
}

func (s *steering) run(ins *Inspector) {
	defer close(s.done)
	ticker := time.NewTicker(steeringInterval)
	defer ticker.Stop()
	controller := newAdaptive(*ins.config.adaptive)
	var meter costMeter
	meter.read(ins.overhead.spentNS.Load(), processCPU())
	for {
		select {
		case <-s.stopping:
			return
		case <-ticker.C:
		}
		if share, used := meter.read(ins.overhead.spentNS.Load(), processCPU()); used >= leastCPU {
			ins.head.setRate(controller.step(share))
		}
	}
}

// stop ends the goroutine, if there is one.
func (s *steering) stop() {
	if s != nil {
		close(s.stopping)
		<-s.done
	}
}
