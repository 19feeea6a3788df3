package fleet

import (
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// start is one start of an instance. Its epoch is what the clock of the process showed
// then, and that clock may have been wrong: a machine that boots with its clock a day
// ahead sets it right soon after, and the epoch stays.
type start struct {
	epoch int64
	// at is when it was by our clock, as far as can be told, and at the latest when we
	// heard of it first.
	at time.Time
	// future says that the epoch was still to come when we heard of it first.
	future bool
}

// startOf returns the start of the process of a report, the first of it that came.
func startOf(r *report.Report, now time.Time) start {
	epoch := time.Unix(0, r.Process.Epoch)
	// The age of the process is right also if its clock is wrong. A negative one says
	// that the clock was set back since the start.
	age := max(0, r.Observed.Sub(epoch))
	return start{epoch: r.Process.Epoch, at: now.Add(-age), future: epoch.After(now)}
}

// start is the start of a process that was heard of before. It was before the last time.
func (r *Record) start() start {
	epoch := time.Unix(0, r.Process.Epoch)
	return start{epoch: r.Process.Epoch, at: earlier(epoch, r.LastHeard), future: epoch.After(r.LastHeard)}
}

// before reports whether a start was before another one of its instance. The epochs say so,
// which is right also for what comes late, unless one of them is of the future.
func (s start) before(other start) bool {
	if s.future || other.future {
		return s.at.Before(other.at)
	}
	return s.epoch < other.epoch
}
