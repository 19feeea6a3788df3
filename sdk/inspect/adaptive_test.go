//go:build !noinspect

package inspect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// A plant has a cost that does not depend on the rate and one that does, in shares of
// the CPU; noise is the relative error of a measurement.
type adaptivePlant struct{ fixed, perRate, noise float64 }

func (p adaptivePlant) measure(rate float64, r *rand.Rand) float64 {
	return (p.fixed + p.perRate*rate) * (1 + p.noise*(2*r.Float64()-1))
}

// settled is the rate at which the plant costs the target, within the bounds.
func (p adaptivePlant) settled(c AdaptiveConfig) float64 {
	return min(max((c.TargetOverhead-p.fixed)/p.perRate, c.MinRate), c.MaxRate)
}

func TestAdaptiveConverges(t *testing.T) {
	c := AdaptiveConfig{MinRate: 0.001, MaxRate: 0.1, TargetOverhead: 0.02}
	for _, p := range []adaptivePlant{
		{perRate: 1},                 // all of it depends on the rate; settles at 0.02
		{fixed: 0.005, perRate: 1},   // 0.015
		{fixed: 0.015, perRate: 0.5}, // mostly not: 0.01
		{fixed: 0.05, perRate: 1},    // cannot be met: the floor
		{perRate: 0.01},              // always met: the ceiling
		{perRate: 20},                // the floor just meets it
		{perRate: 1, noise: 0.3},
		{fixed: 0.005, perRate: 1, noise: 0.3},
	} {
		t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			a, want := newAdaptive(c), p.settled(c)
			var rates []float64
			for range 200 {
				rates = append(rates, a.step(p.measure(a.rate, r)))
			}
			for i, rate := range rates {
				if rate < c.MinRate || rate > c.MaxRate {
					t.Fatalf("step %d: the rate %v is out of bounds", i, rate)
				}
				if p.noise == 0 && rate < want*0.999 {
					t.Fatalf("step %d: it overshoots: %v, settled would be %v", i, rate, want)
				}
				// The target is met within the dead band and the noise; with a fixed part the
				// rate may be off by more than the share is.
				share := p.fixed + p.perRate*rate
				room := (adaptiveBand + p.noise + 0.01) * c.TargetOverhead
				bound := rate == c.MinRate || rate == c.MaxRate
				if i >= 60 && math.Abs(share-c.TargetOverhead) > room && !bound {
					t.Fatalf("step %d: the share is %v at the rate %v", i, share, rate)
				}
			}
			if last := rates[len(rates)-1]; p.noise == 0 && math.Abs(last/want-1) > 0.5 {
				t.Errorf("settled at %v, want about %v", last, want)
			}
		})
	}
}

// Without noise the rate comes to rest: it does not go back and forth.
func TestAdaptiveDoesNotOscillate(t *testing.T) {
	c := AdaptiveConfig{MinRate: 0.001, MaxRate: 0.1, TargetOverhead: 0.02}
	for _, load := range []float64{0.3, 1, 10} {
		p, a := adaptivePlant{perRate: load}, newAdaptive(c)
		turns, direction := 0, 0.0
		last := a.rate
		for range 200 {
			rate := a.step(p.measure(a.rate, rand.New(rand.NewPCG(1, 1))))
			if d := rate - last; d != 0 {
				if direction*d < 0 {
					turns++
				}
				direction = d
			}
			last = rate
		}
		if turns != 0 {
			t.Errorf("at the load %v it changes direction %d times", load, turns)
		}
		if a.step(p.measure(a.rate, rand.New(rand.NewPCG(1, 1)))) != a.rate || last != a.rate {
			t.Errorf("at the load %v it does not come to rest", load)
		}
	}
}

// A step of the load is followed within 20 intervals, up and down, and one odd
// measurement moves the rate by no more than a factor of two.
func TestAdaptiveFollowsAStep(t *testing.T) {
	c := AdaptiveConfig{MinRate: 0.001, MaxRate: 0.1, TargetOverhead: 0.02}
	a := newAdaptive(c)
	r := rand.New(rand.NewPCG(3, 4))
	for i, load := range []float64{1, 10, 0.5, 5} {
		p := adaptivePlant{perRate: load}
		for range 20 {
			a.step(p.measure(a.rate, r))
		}
		share := p.measure(a.rate, r)
		if math.Abs(share/c.TargetOverhead-1) > adaptiveBand+0.01 {
			t.Errorf("step %d: after 20 intervals the share is %v", i, share)
		}
	}
	for _, odd := range []float64{1, 0, math.Inf(1)} {
		before := a.rate
		if after := a.step(odd); after < before/2*0.999 || after > before*2.001 {
			t.Errorf("a share of %v moves the rate from %v to %v", odd, before, after)
		}
	}
}

// The rate that the controller sets is the one that decides, with its threshold.
func TestAdaptiveStartsAtItsCeiling(t *testing.T) {
	ins, _ := newSeen(t, WithAdaptiveSampler(AdaptiveConfig{}))
	if ins.SamplingRate() != 0.1 {
		t.Errorf("it starts at %v", ins.SamplingRate())
	}
	ins.head.setRate(0.001)
	if ins.SamplingRate() != 0.001 || ins.head.threshold.Load().value != newThreshold(0.001).value {
		t.Error("the new rate is not in force")
	}
}
