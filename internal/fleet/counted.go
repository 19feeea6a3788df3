package fleet

import (
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// A heartbeat carries totals since the start of its process, and the table tells on by
// how much they grow. The first heartbeat of a process is the question: its totals are
// new if nobody has counted the process before. They are not if a table before this one
// has, in the same collector before a restart or in another collector. Then the process
// is taken over: the first heartbeat is what later ones are compared with.
//
// To count such a process from its start would count its tasks twice for whoever adds up
// what both tables have told, as increase() of Prometheus does.

// firstSequence is the highest number that the first report of a process has.
const firstSequence = 1

// CountSince says that tables before this one may have counted processes that started
// before since. Without it the table is the first, and counts every process from its
// start unless the process says that it has been counted.
func (t *Table) CountSince(since time.Time) { t.since = since }

// countedBefore reports whether somebody has counted the process of r, its first
// heartbeat in this table. What cannot be known counts as yes.
func (t *Table) countedBefore(r *report.Report, now time.Time) bool {
	if told := r.Heartbeat.Acknowledged; told != nil {
		return *told
	}
	if t.since.IsZero() || r.Sequence <= firstSequence {
		return false
	}
	// The clock of the process may be ahead, but its age is right, unless it was set back.
	epoch := time.Unix(0, r.Process.Epoch)
	if epoch.After(r.Observed) {
		return true
	}
	return earlier(epoch, now.Add(epoch.Sub(r.Observed))).Before(t.since)
}

// Counted reports whether a heartbeat of a process has come, and whether the first that did
// said that an earlier one had been acknowledged: then somebody has had its reports before.
func (t *Table) Counted(id report.Process) (counted, before bool) {
	p, ok := t.processes[id]
	if !ok {
		return false, false
	}
	return p.counted, p.acknowledged
}

// takeOver notes totals as told without telling them on.
func (t *Table) takeOver(p *process, h *report.Heartbeat, byName map[string]report.NameCounts) {
	if p.status != Reporting {
		t.goneNames += len(byName) - len(p.books.byName)
	}
	p.books.byName = make(map[string]account, len(byName))
	for name, n := range byName {
		p.books.byName[name] = account{said: report.NameCounts{Counts: n.Counts, Durations: n.Durations}}
		p.books.sum.Counts.Add(n.Counts)
		t.emit(Event{Kind: CountsAdvanced, Process: p.id, Name: name}) // the series begins now
	}
	p.events = h.Events
	for reason, n := range h.Dropped {
		p.noteDropped(reason, n)
	}
	t.counters.TakenOver++
}
