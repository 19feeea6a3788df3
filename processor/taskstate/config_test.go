package taskstate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
)

func TestTheDefaultConfigIsValid(t *testing.T) {
	require.NoError(t, defaultConfig().Validate())
}

func TestEveryFieldIsRead(t *testing.T) {
	cfg, storage := defaultConfig(), component.MustNewIDWithName("file_storage", "here")
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"max_tasks": 1, "max_events": 2, "task_retention": "3s", "cleanup_interval": "4s", "max_processes": 5,
		"max_task_names": 6, "max_resources": 7, "forward_reports": "first_and_last", "log_interval": "8s",
		"expect_reports": false, "storage": "file_storage/here",
		"task_spans": map[string]any{"kinds": []any{"client"}, "roots": false},
	}).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	require.Equal(t, &Config{
		MaxTasks: 1, MaxEvents: 2, TaskRetention: 3 * time.Second, CleanupInterval: 4 * time.Second, MaxProcesses: 5,
		MaxTaskNames: 6, MaxResources: 7, ForwardReports: ForwardFirstAndLast, LogInterval: 8 * time.Second,
		TaskSpans: TaskSpans{Kinds: []string{"client"}}, Storage: &storage,
	}, cfg)
}

func TestAnErrorNamesItsField(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"max_tasks: must be between":                func(c *Config) { c.MaxTasks = 0 },
		"max_events: must be between":               func(c *Config) { c.MaxEvents = -1 },
		"max_processes: must be between":            func(c *Config) { c.MaxProcesses = 1 << 40 },
		"max_task_names: must be between":           func(c *Config) { c.MaxTaskNames = 0 },
		"max_resources: must be between":            func(c *Config) { c.MaxResources = 0 },
		"task_retention: must be positive":          func(c *Config) { c.TaskRetention = 0 },
		"cleanup_interval: must be positive":        func(c *Config) { c.CleanupInterval = -time.Second },
		`task_spans::kinds[1]: "servr" is not`:      func(c *Config) { c.TaskSpans.Kinds = []string{"server", "servr"} },
		`forward_reports: "some" is not one of`:     func(c *Config) { c.ForwardReports = "some" },
		"log_interval: must be 0 (off) or at least": func(c *Config) { c.LogInterval = time.Millisecond },
	} {
		cfg := defaultConfig()
		edit(cfg)
		require.ErrorContains(t, cfg.Validate(), name)
	}
	all := &Config{}
	err := all.Validate()
	for _, field := range []string{"max_tasks", "max_events", "max_processes", "task_retention", "cleanup_interval", "forward_reports"} {
		require.ErrorContains(t, err, field, "all errors are told at once")
	}
}
