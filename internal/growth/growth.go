// Package growth measures how the cost of an operation grows with its input. It is for
// benchmarks: an operation at three sizes, and the exponent that fits them. An exponent
// of 1 is linear, of 2 quadratic.
package growth

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const (
	sizes  = 3
	factor = 4 // from one size to the next
	// shortest is how long an operation is measured in one round at least.
	shortest = 20 * time.Millisecond
)

// Benchmark reports the time of an operation at the sizes n, 4n and 16n and the exponent
// of its growth. prepare makes an input of a size and returns the operation on it, which
// is called once and need not leave the input as it was. Making the input is not measured.
func Benchmark(b *testing.B, n int, prepare func(n int) (operation func())) {
	b.Helper()
	var fastest [sizes]time.Duration
	for range b.N {
		for i, size := 0, n; i < sizes; i, size = i+1, size*factor {
			for spent := time.Duration(0); spent < shortest; {
				operation := prepare(size)
				began := time.Now()
				operation()
				took := max(time.Since(began), 1)
				spent += took
				if fastest[i] == 0 || took < fastest[i] {
					fastest[i] = took
				}
			}
		}
	}
	for i, size := 0, n; i < sizes; i, size = i+1, size*factor {
		b.ReportMetric(float64(fastest[i].Nanoseconds())/1e3, fmt.Sprintf("µs@%d", size))
	}
	b.ReportMetric(exponent(fastest), "exponent")
}

// exponent is the slope of the least-squares line through the logarithms of the times
// over those of the sizes. The sizes are evenly spaced, so the middle one drops out.
func exponent(times [sizes]time.Duration) float64 {
	return math.Log(float64(times[sizes-1])/float64(times[0])) / ((sizes - 1) * math.Log(factor))
}
