package intake

import (
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

// Fullness says once for each table that it is more than nine tenths full, and again if
// that happens after it was not. It has one user at a time.
type Fullness struct {
	logger *zap.Logger
	full   map[string]bool // tables that have been warned about
}

// NewFullness returns a Fullness that has warned of nothing yet.
func NewFullness(logger *zap.Logger) *Fullness {
	return &Fullness{logger: logger, full: make(map[string]bool)}
}

// Look warns about the tables that are nearly full and have a setting.
func (f *Fullness) Look(tables []view.Table) {
	for _, t := range tables {
		if t.Setting == "" {
			continue
		}
		full := t.NearlyFull()
		if full && !f.full[t.Name] {
			f.logger.Warn("A table is more than 90 % full; past its limit new entries are refused, or counted as \"other\"",
				zap.String("table", t.Name), zap.Int("size", t.Size), zap.Int("limit", t.Limit), zap.String("setting", t.Setting))
		}
		f.full[t.Name] = full
	}
}

// Eviction counts what found no room in a table, or was removed from it before its time.
type Eviction struct {
	Table, Reason string
	Count         int64
}

// Evictions are those of the intake itself and of a table of the fleet.
func (in *Intake) Evictions(c fleet.Counters) []Eviction {
	return []Eviction{
		{"tasks", "refused", c.TasksRefused},
		{"tasks", "evicted", c.TasksEvicted},
		{"waits", "refused", c.WaitsRefused},
		{"waits", "evicted", c.WaitsEvicted},
		{"waits", "task_full", c.WaitsOfTask},
		{"processes", "record_forgotten", c.ProcessesGone},
		{"processes", "clock_forgotten", c.ClocksForgotten},
		{"processes", "names_merged", c.NamesMerged},
		{"tombstones", "dropped_early", c.TombstonesEarly},
		{"heartbeats", "incomplete", c.PartsGivenUp},
		{"reports", "shortened", in.shortened.Load()},
		{"reports", "duplicate", c.Duplicates},
		{"reports", "process_over", c.LateReports},
		{"heartbeats", "older_start", c.OlderStart},
	}
}
