package fleet

import "github.com/asyncinspect/asyncinspect/internal/report"

// olderNeeded is how many heartbeats of an older start must have been sent beside a newer
// one before it is news. A process that is replaced sends one while it shuts down.
const olderNeeded = 2

// noteOlder notes a heartbeat of a start that a newer one of its instance has replaced. If
// it was sent well after the newer start began, it did not come late: two processes use one
// service.instance.id, and all but the counts of the older one is ignored.
func (t *Table) noteOlder(p *process, r *report.Report) {
	newest, seen := t.newest[instanceOf(p.id)]
	if p.status == Reporting || !seen || newest.epoch == p.id.Epoch {
		return
	}
	// A clock that seems to be behind may be right, and its words late.
	if sent := earlier(r.Observed, r.Observed.Add(-p.clock.shift())); !sent.After(newest.at.Add(p.lease())) {
		return
	}
	t.counters.OlderStart++
	p.olderBeats++
	if p.olderBeats == olderNeeded {
		t.older = append(t.older, p.id)
	}
}

// TakeOlder returns the older starts that have turned out to run beside a newer one of their
// instance since the last call.
func (t *Table) TakeOlder() []report.Process {
	older := t.older
	t.older = nil
	return older
}
