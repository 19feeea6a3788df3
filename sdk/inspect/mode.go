package inspect

import (
	"fmt"
)

// Mode is a set of defaults.
type Mode int

// The modes. What each costs is measured by `make bench-overhead`.
const (
	// Development is the default: it records every trace, with the stacks of waits,
	// the allocations of tasks and the orders of locks.
	Development Mode = iota
	// Analysis records one trace in ten, with the stacks of waits and the orders of
	// locks.
	Analysis
	// Production records one trace in a hundred, without any of these.
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
