package taskstate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/internal/durations"
)

// Config is the configuration of the task_state processor.
type Config struct {
	// MaxTasks bounds the tasks that are kept, live and ended together. Ended
	// tasks are evicted first, the least interesting of them before the others; a
	// new live task is refused only when live tasks fill the table.
	MaxTasks int `mapstructure:"max_tasks"`
	// MaxEvents bounds the events (changes of state, inspection points) of all
	// kept tasks together.
	MaxEvents int `mapstructure:"max_events"`
	// TaskRetention is how long an ended task is kept, and how long the names of a service
	// that has no process and sends no span.
	TaskRetention time.Duration `mapstructure:"task_retention"`
	// CleanupInterval is how often ended tasks past TaskRetention are removed.
	CleanupInterval time.Duration `mapstructure:"cleanup_interval"`
	// MaxProcesses bounds the processes that send heartbeats, and separately the
	// records of those that are gone.
	MaxProcesses int `mapstructure:"max_processes"`
	// MaxTaskNames bounds the pairs of service and task name that statistics tell
	// apart. Tasks beyond it are counted under the name "other".
	MaxTaskNames int `mapstructure:"max_task_names"`
	// MaxResources bounds the triples of service, wait kind and resource name that
	// statistics tell apart. Waits beyond it are counted under "other".
	MaxResources int `mapstructure:"max_resources"`
	// Storage is the id of a storage extension, such as file_storage, that keeps the totals
	// over a restart. Without it, totals begin at 0 with each start.
	Storage *component.ID `mapstructure:"storage"`
	// TaskSpans says which spans of plain OTLP applications are tasks. A span that
	// carries async_inspect.task.state always is one.
	TaskSpans TaskSpans `mapstructure:"task_spans"`
	// ForwardReports says which report spans go on to the next component.
	ForwardReports ForwardReports `mapstructure:"forward_reports"`
	// ExpectReports says whether the reports of a process whose spans arrive here must
	// arrive here, too; if they do not, it is a warning. Set it to false where another
	// collector gets the reports, as in a gateway.
	ExpectReports bool `mapstructure:"expect_reports"`
	// LogInterval is how often a picture of the live tasks is logged; 0 is never.
	LogInterval time.Duration `mapstructure:"log_interval"`
}

// TaskSpans says which spans of plain OTLP applications are tasks.
type TaskSpans struct {
	// Kinds of spans that are tasks: server, consumer, client, producer, internal.
	Kinds []string `mapstructure:"kinds"`
	// Roots says whether a span without a parent is a task whatever its kind.
	Roots bool `mapstructure:"roots"`
}

// ForwardReports says which report spans go on to the next component.
type ForwardReports string

// The values of ForwardReports. Reports of deadlocked tasks and what the
// detector adds always go on.
const (
	ForwardNone         ForwardReports = "none"
	ForwardFirstAndLast ForwardReports = "first_and_last"
	ForwardAll          ForwardReports = "all"
)

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		MaxTasks:        10_000,
		MaxEvents:       100_000,
		TaskRetention:   5 * time.Minute,
		CleanupInterval: time.Minute,
		MaxProcesses:    10_000,
		MaxTaskNames:    2_000,
		MaxResources:    2_000,
		TaskSpans:       TaskSpans{Kinds: slices.Clone(classify.DefaultKinds), Roots: classify.DefaultRoots},
		ForwardReports:  ForwardNone,
		ExpectReports:   true,
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
		{"max_events", c.MaxEvents},
		{"max_processes", c.MaxProcesses},
		{"max_task_names", c.MaxTaskNames},
		{"max_resources", c.MaxResources},
	} {
		if limit.value <= 0 || limit.value > math.MaxInt32 {
			errs = append(errs, fmt.Errorf("%s: must be between 1 and %d, is %d", limit.field, math.MaxInt32, limit.value))
		}
	}
	if c.TaskRetention <= 0 {
		errs = append(errs, fmt.Errorf("task_retention: must be positive, is %v", c.TaskRetention))
	}
	if c.CleanupInterval <= 0 {
		errs = append(errs, fmt.Errorf("cleanup_interval: must be positive, is %v", c.CleanupInterval))
	}
	for i, kind := range c.TaskSpans.Kinds {
		if !classify.IsKind(kind) {
			errs = append(errs, fmt.Errorf("task_spans::kinds[%d]: %q is not a span kind, use server, consumer, client, producer or internal", i, kind))
		}
	}
	switch c.ForwardReports {
	case ForwardNone, ForwardFirstAndLast, ForwardAll:
	default:
		errs = append(errs, fmt.Errorf("forward_reports: %q is not one of %s", c.ForwardReports,
			strings.Join([]string{string(ForwardNone), string(ForwardFirstAndLast), string(ForwardAll)}, ", ")))
	}
	if c.LogInterval != 0 && c.LogInterval < time.Second {
		errs = append(errs, fmt.Errorf("log_interval: must be 0 (off) or at least 1s, is %v", c.LogInterval))
	}
	return errors.Join(errs...)
}
