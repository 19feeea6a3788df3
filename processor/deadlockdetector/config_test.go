package deadlockdetector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
)

func TestTheDefaultConfigIsValid(t *testing.T) {
	require.NoError(t, createDefaultConfig().(*Config).Validate())
}

func TestEveryFieldIsRead(t *testing.T) {
	cfg, storage := createDefaultConfig().(*Config), component.MustNewIDWithName("file_storage", "here")
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"evaluate_interval": "1s", "max_clock_skew": "2s", "max_tasks": 1, "max_edges": 2, "max_processes": 3,
		"max_deadlocks": 4, "process_timeout": "1m", "potential": map[string]any{"enabled": false, "max_orders": 5}, "forward_reports": false,
		"storage": "file_storage/here",
	}).Unmarshal(cfg))
	require.Equal(t, &Config{
		EvaluateInterval: time.Second, MaxClockSkew: 2 * time.Second, MaxTasks: 1, MaxEdges: 2, MaxProcesses: 3,
		MaxDeadlocks: 4, ProcessTimeout: time.Minute, Potential: Potential{MaxOrders: 5},
		Storage: &storage,
	}, cfg)
	require.NoError(t, cfg.Validate())
}

func TestAnErrorNamesItsField(t *testing.T) {
	for field, breakIt := range map[string]func(*Config){
		"max_tasks":             func(c *Config) { c.MaxTasks = 0 },
		"max_edges":             func(c *Config) { c.MaxEdges = -1 },
		"max_processes":         func(c *Config) { c.MaxProcesses = 1 << 40 },
		"max_deadlocks":         func(c *Config) { c.MaxDeadlocks = 0 },
		"potential::max_orders": func(c *Config) { c.Potential.MaxOrders = 0 },
		"evaluate_interval":     func(c *Config) { c.EvaluateInterval = time.Millisecond },
		"max_clock_skew":        func(c *Config) { c.MaxClockSkew = -1 },
		"process_timeout":       func(c *Config) { c.ProcessTimeout = time.Millisecond },
	} {
		cfg := createDefaultConfig().(*Config)
		breakIt(cfg)
		require.ErrorContains(t, cfg.Validate(), field+": ")
	}
}
