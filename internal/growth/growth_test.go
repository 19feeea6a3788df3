package growth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestExponent(t *testing.T) {
	for _, c := range []struct {
		name  string
		times [sizes]time.Duration
		want  float64
	}{
		{"flat", [sizes]time.Duration{7, 7, 7}, 0},
		{"linear", [sizes]time.Duration{3, 12, 48}, 1},
		{"quadratic", [sizes]time.Duration{5, 80, 1280}, 2},
		{"linear, with noise in the middle", [sizes]time.Duration{3, 40, 48}, 1},
		{"the square root", [sizes]time.Duration{10, 20, 40}, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) { require.InDelta(t, c.want, exponent(c.times), 1e-9) })
	}
}
