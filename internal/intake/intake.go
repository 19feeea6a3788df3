package intake

import (
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Kinds are the kinds of reports, in the order of counts.
var Kinds = [...]taskspan.ReportKind{
	taskspan.ReportWait, taskspan.ReportTask, taskspan.ReportHeartbeat, taskspan.ReportLockOrder,
}

// Learn merges a report that came at now. forward says whether its span goes on to the
// next component. It is called with the guard of the intake held.
type Learn func(r *report.Report, span ptrace.Span, now time.Time) (forward bool, drop report.Drop)

// Intake takes reports in. It is safe for concurrent use: reports are decoded side by
// side, and merged one at a time, so nobody waits for a whole batch of another.
type Intake struct {
	guard  sync.Locker
	clocks report.Clocks // guarded by guard
	learn  Learn
	logger *zap.Logger

	reports    [len(Kinds)]atomic.Int64
	dropped    [report.Drops]atomic.Int64
	shortened  atomic.Int64
	turnedAway atomic.Int64 // when a process last found no room, in Unix nanoseconds; 0: never
	refusals   report.Refusals
}

// New returns an intake whose reports are merged by learn. guard guards the clocks and
// whatever learn uses.
func New(guard sync.Locker, clocks report.Clocks, learn Learn, logger *zap.Logger) *Intake {
	return &Intake{guard: guard, clocks: clocks, learn: learn, logger: logger}
}

// Take merges the reports of a batch and removes those that do not go on, and what is
// empty without them.
func (in *Intake) Take(resources ptrace.ResourceSpansSlice, now time.Time) {
	resources.RemoveIf(func(rs ptrace.ResourceSpans) bool {
		removed := false
		rs.ScopeSpans().RemoveIf(func(scope ptrace.ScopeSpans) bool {
			if classify.ScopeOf(scope.Scope()) != classify.Reports {
				return false
			}
			in.takeScope(rs.Resource().Attributes(), scope, now)
			empty := scope.Spans().Len() == 0
			removed = removed || empty
			return empty
		})
		return removed && rs.ScopeSpans().Len() == 0
	})
}

func (in *Intake) takeScope(resource pcommon.Map, scope ptrace.ScopeSpans, now time.Time) {
	process, drop := report.DecodeProcess(resource)
	if scope.Scope().Version() != taskspan.Version {
		drop = report.DropVersion
	}
	if drop != report.Used {
		in.refuse(resource, drop, scope.Spans().Len(), now)
		scope.Spans().RemoveIf(func(ptrace.Span) bool { return true })
		return
	}
	scope.Spans().RemoveIf(func(span ptrace.Span) bool {
		forward, drop := in.take(process, span, now)
		if drop != report.Used {
			in.refuse(resource, drop, 1, now)
			return true
		}
		return !forward
	})
}

func (in *Intake) take(process report.Process, span ptrace.Span, now time.Time) (forward bool, drop report.Drop) {
	r, drop := report.DecodeBy(guarded{in.guard, in.clocks}, process, span, now)
	if drop != report.Used {
		return false, drop
	}
	in.guard.Lock()
	forward, drop = in.learn(&r, span, now)
	in.guard.Unlock()
	if drop != report.Used {
		return false, drop
	}
	in.reports[kindIndex(r.Kind())].Add(1)
	if r.Shortened {
		in.shortened.Add(1)
	}
	return forward, drop
}

// refuse counts refused reports, and logs the first of each process.
func (in *Intake) refuse(resource pcommon.Map, drop report.Drop, spans int, now time.Time) {
	in.dropped[drop].Add(int64(spans))
	if drop == report.DropNewProcess {
		in.turnedAway.Store(now.UnixNano())
	}
	if process := report.Claimed(resource); in.refusals.News(process, now) {
		in.logger.Warn("Refused a report of a process; its live tasks, waits and counts may be incomplete. "+
			"Further refusals of this process are only counted",
			append(identity(process), zap.Stringer("reason", drop))...)
	}
}

// TurnedAway returns when a process last found no room, or the zero time.
func (in *Intake) TurnedAway() time.Time {
	if at := in.turnedAway.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Reports returns how many reports were used, by kind.
func (in *Intake) Reports() map[taskspan.ReportKind]int64 {
	counts := make(map[taskspan.ReportKind]int64, len(Kinds))
	for i, kind := range Kinds {
		counts[kind] = in.reports[i].Load()
	}
	return counts
}

// Total returns how many reports were used.
func (in *Intake) Total() (total int64) {
	for i := range in.reports {
		total += in.reports[i].Load()
	}
	return total
}

// Dropped returns how many reports were not used, by reason; only those that occurred.
func (in *Intake) Dropped() map[report.Drop]int64 {
	counts := make(map[report.Drop]int64)
	for d := report.Used + 1; d < report.Drops; d++ {
		if n := in.dropped[d].Load(); n > 0 {
			counts[d] = n
		}
	}
	return counts
}

func kindIndex(k taskspan.ReportKind) int {
	for i, known := range Kinds {
		if k == known {
			return i
		}
	}
	return len(Kinds) - 1
}

// guarded are clocks that are asked while a report is decoded.
type guarded struct {
	guard  sync.Locker
	clocks report.Clocks
}

func (g guarded) Present(p report.Process, now time.Time) time.Time {
	g.guard.Lock()
	defer g.guard.Unlock()
	return g.clocks.Present(p, now)
}

func (g guarded) Refused(r *report.Report, now time.Time) bool {
	g.guard.Lock()
	defer g.guard.Unlock()
	return g.clocks.Refused(r, now)
}
