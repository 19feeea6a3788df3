package inspect

import (
	"fmt"
	"strings"
)

// Mode is a set of defaults.
type Mode int

// The modes. What they cost is measured in the repository's bench directory.
const (
	// Development is the default: it records every trace, with the stacks of waits
	// and the allocations of tasks.
	Development Mode = iota
	// Analysis records one trace in ten, with the stacks of waits.
	Analysis
	// Production records one trace in a hundred, without either.
	Production
)

// String returns the name under which ASYNC_INSPECT_MODE knows the mode.
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
		if strings.EqualFold(s, m.String()) {
			return m, nil
		}
	}
	return Development, fmt.Errorf("%q is not a mode; there are development, analysis and production", s)
}

// apply sets what the mode decides, in a configuration that nothing else has
// changed yet.
func (m Mode) apply(c *config) {
	c.mode = m
	switch m {
	case Development:
		c.rate, c.backtraces, c.allocations = 1, true, true
	case Analysis:
		c.rate, c.backtraces = 0.1, true
	case Production:
		c.rate = 0.01
	}
}
