package deadlockdetector

import (
	"errors"
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/durations"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
)

// Config is the configuration of the deadlock_detector processor.
type Config struct {
	// EvaluateInterval is how often it is looked whether what has been reported since
	// is a deadlock.
	EvaluateInterval time.Duration `mapstructure:"evaluate_interval"`
	// MaxClockSkew is by how much the clocks of two processes may differ. The waits of
	// a deadlock over several processes must have stood together for longer than twice
	// that before it is reported.
	MaxClockSkew time.Duration `mapstructure:"max_clock_skew"`
	// MaxTasks bounds the blocked and long tasks that are known at a time.
	MaxTasks int `mapstructure:"max_tasks"`
	// MaxEdges bounds the edges of the graph: the holders of all waits, and the calls and
	// external locks that tasks hold.
	MaxEdges int `mapstructure:"max_edges"`
	// MaxProcesses bounds the processes that report, and separately the records of
	// those that are gone.
	MaxProcesses int `mapstructure:"max_processes"`
	// MaxDeadlocks bounds the standing deadlocks that are listed, and separately those that
	// are over and remembered. Deadlocks of the same processes at the same lines are one.
	MaxDeadlocks int `mapstructure:"max_deadlocks"`
	// ProcessTimeout is after how long without a sign of life a process is lost; 0 is
	// after three missed heartbeats of its own.
	ProcessTimeout time.Duration `mapstructure:"process_timeout"`
	// Storage is the id of a storage extension, such as file_storage, that keeps the counts
	// of deadlocks over a restart. Without it, they begin at 0 with each start.
	Storage *component.ID `mapstructure:"storage"`
	// Potential is about orders of locks that could become a deadlock.
	Potential Potential `mapstructure:"potential"`
	// ForwardReports says whether report spans go on to the next component, which
	// task_state needs. Those of deadlocked tasks always do.
	ForwardReports bool `mapstructure:"forward_reports"`
}

// Potential is about orders of locks that could become a deadlock.
type Potential struct {
	Enabled bool `mapstructure:"enabled"`
	// MaxOrders bounds the pairs of locks that are known.
	MaxOrders int `mapstructure:"max_orders"`
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		EvaluateInterval: 250 * time.Millisecond,
		MaxClockSkew:     500 * time.Millisecond,
		MaxTasks:         100_000,
		MaxEdges:         1_000_000,
		MaxProcesses:     10_000,
		MaxDeadlocks:     1_000,
		Potential:        Potential{Enabled: true, MaxOrders: 65_536},
		ForwardReports:   true,
	}
}

// Validate reports every field that cannot be used, by its name in the YAML.
func (c *Config) Validate() error {
	errs := durations.Check(c, createDefaultConfig())
	for _, limit := range []struct {
		field string
		value int
	}{
		{"max_tasks", c.MaxTasks},
		{"max_edges", c.MaxEdges},
		{"max_processes", c.MaxProcesses},
		{"max_deadlocks", c.MaxDeadlocks},
		{"potential::max_orders", c.Potential.MaxOrders},
	} {
		if limit.value <= 0 || limit.value > math.MaxInt32 {
			errs = append(errs, fmt.Errorf("%s: must be between 1 and %d, is %d", limit.field, math.MaxInt32, limit.value))
		}
	}
	if c.EvaluateInterval < 10*time.Millisecond || c.EvaluateInterval > time.Minute {
		errs = append(errs, fmt.Errorf("evaluate_interval: must be between 10ms and 1m, is %v", c.EvaluateInterval))
	}
	if c.MaxClockSkew < 0 || c.MaxClockSkew > time.Hour {
		errs = append(errs, fmt.Errorf("max_clock_skew: must be between 0s and 1h, is %v", c.MaxClockSkew))
	}
	if c.ProcessTimeout != 0 && c.ProcessTimeout < time.Second {
		errs = append(errs, fmt.Errorf("process_timeout: must be 0 (three missed heartbeats) or at least 1s, is %v", c.ProcessTimeout))
	}
	return errors.Join(errs...)
}

func (c *Config) limits() deadlock.Limits {
	return deadlock.Limits{
		Limits: fleet.Limits{
			Processes: c.MaxProcesses, Tasks: c.MaxTasks, Waits: c.MaxTasks, Edges: c.MaxEdges, Silence: c.ProcessTimeout,
			Step: max(advanceEvery, c.EvaluateInterval),
		},
		Deadlocks: c.MaxDeadlocks,
	}
}
