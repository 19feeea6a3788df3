package histogram

import (
	"fmt"
	"math"
)

// Saved is a histogram as it is stored, without its exemplars: they name traces, which a
// backend may have forgotten when they are read again.
type Saved struct {
	Count  float64
	Sum    float64
	Zero   float64         `json:",omitempty"`
	Fixed  []float64       `json:",omitempty"`
	Native map[int]float64 `json:",omitempty"` // by index; those that are not empty
}

// Save returns what is to be stored.
func (h *Histogram) Save() Saved {
	s := Saved{Count: finite(h.Count), Sum: finite(h.Sum), Zero: finite(h.Zero)}
	if h.Count == 0 {
		return s
	}
	s.Fixed, s.Native = make([]float64, len(h.Fixed)), make(map[int]float64)
	for i, n := range h.Fixed {
		s.Fixed[i] = finite(n)
	}
	h.Native(func(index int, n float64) { s.Native[index] = finite(n) })
	return s
}

// Check returns an error if the buckets are not those of today.
func (s *Saved) Check() error {
	if fixed := len(Histogram{}.Fixed); len(s.Fixed) != 0 && len(s.Fixed) != fixed {
		return fmt.Errorf("histogram of %d buckets, want %d", len(s.Fixed), fixed)
	}
	for index := range s.Native {
		if index < nativeLow || index > nativeHigh {
			return fmt.Errorf("histogram with bucket %d, want %d to %d", index, nativeLow, nativeHigh)
		}
	}
	return nil
}

// Histogram returns the histogram of a Saved that has been checked.
func (s *Saved) Histogram() (h Histogram) {
	h.Count, h.Sum, h.Zero = s.Count, s.Sum, s.Zero
	copy(h.Fixed[:], s.Fixed)
	for index, n := range s.Native {
		h.native[index-nativeLow] = n
	}
	return h
}

// finite is v, or the nearest number that JSON has.
func finite(v float64) float64 {
	switch {
	case math.IsNaN(v):
		return 0
	case math.IsInf(v, 0):
		return math.Copysign(math.MaxFloat64, v)
	}
	return v
}
