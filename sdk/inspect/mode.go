package inspect

import "fmt"

// Mode is a set of defaults.
type Mode int

// The modes.
const (
	// Development records every task, with stacks and allocations.
	Development Mode = iota
	// Analysis records one trace in ten, with stacks.
	Analysis
	// Production records one trace in a hundred, without stacks.
	Production
)

func (m Mode) String() string {
	switch m {
	case Development:
		return "development"
	case Analysis:
		return "analysis"
	case Production:
		return "production"
	default:
		return fmt.Sprintf("Mode(%d)", int(m))
	}
}

func parseMode(s string) (Mode, error) {
	for _, m := range []Mode{Development, Analysis, Production} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%q is not a mode; there are development, analysis and production", s)
}

// apply sets what the mode decides, in a configuration that nothing else has
// changed yet.
func (m Mode) apply(c *config) {
	c.mode = m
	c.rate = map[Mode]float64{Development: 1, Analysis: 0.1, Production: 0.01}[m]
	c.backtraces = m != Production
	c.allocations = m == Development
}
