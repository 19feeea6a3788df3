package intake

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

// Gaps finds the processes of the SDK whose reports do not arrive, or only in part: what
// is not heard must not look like a fleet in which all is well. It is safe for concurrent
// use.
type Gaps struct {
	guard      sync.Locker
	table      *fleet.Table // guarded by guard
	expected   bool
	logger     *zap.Logger
	unreported report.Unreported
}

// NewGaps returns a Gaps that watches at most limit processes. guard guards the table.
// If expected is false, another collector gets the reports, and spans without reports
// are no gap.
func NewGaps(guard sync.Locker, table *fleet.Table, limit int, expected bool, logger *zap.Logger) *Gaps {
	return &Gaps{guard: guard, table: table, expected: expected, logger: logger, unreported: report.Unreported{Limit: limit}}
}

// Spans notes the processes whose spans are in a batch, and reports whether there is a
// report scope. It is all that happens to a batch of ordinary spans.
func (g *Gaps) Spans(resources ptrace.ResourceSpansSlice, now time.Time) (reports bool) {
	for _, rs := range resources.All() {
		spans := false
		for _, scope := range rs.ScopeSpans().All() {
			switch classify.ScopeOf(scope.Scope()) {
			case classify.Reports:
				reports = true
			case classify.Application:
				spans = true
			case classify.Detector: // not from the process itself
			}
		}
		if spans && g.expected {
			g.unreported.Spans(rs.Resource().Attributes(), now)
		}
	}
	return reports
}

// Look logs each gap once. Call it about once a second, without the guard.
func (g *Gaps) Look(now time.Time) {
	g.guard.Lock()
	news, leaks, older := g.unreported.Check(now, g.table.Heard), g.table.TakeLeaks(), g.table.TakeOlder()
	g.guard.Unlock()
	if len(news) > 0 {
		g.logger.Warn("Spans of a process arrive, but none of its reports; its tasks are not counted and its deadlocks not found. "+
			"The order of the processors must be deadlock_detector, task_state, then those that sample or filter",
			who(news[0], len(news)-1)...)
	}
	if len(leaks) > 0 {
		g.logger.Warn("A part of the reports of a process does not arrive; it may be taken for lost, and its deadlocks found late. "+
			"Another collector gets reports of it, too, or a processor before this one samples or drops them",
			append(who(leaks[0].Process, len(leaks)-1), zap.Float64("missing", leaks[0].Missing))...)
	}
	if len(older) > 0 {
		g.logger.Warn("Two processes use one service.instance.id; only the one that started last is watched, and the deadlocks of the other are not found. "+
			"Give each replica an id of its own", who(older[0], len(older)-1)...)
	}
}

func who(p report.Process, more int) []zap.Field {
	return append(identity(p), zap.Int("more_processes", more))
}

// identity are the fields by which a log names a process.
func identity(p report.Process) []zap.Field {
	return []zap.Field{zap.String("service", p.Service), zap.String("instance", p.Instance), zap.Int64("epoch", p.Epoch)}
}

// Unreported returns the processes whose spans arrive while none of their reports do.
func (g *Gaps) Unreported() []report.Process { return g.unreported.List() }

// Evictions are those of the table of processes that are watched.
func (g *Gaps) Evictions() []Eviction {
	return []Eviction{{"processes", "spans_unwatched", g.unreported.Refused()}}
}
