package fleet

import (
	"maps"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// Record is what has been counted of a process: enough to go on counting it after a
// restart. Its tasks and waits are not in it; they are reported again.
type Record struct {
	Process    report.Process
	Status     Status
	LastHeard  time.Time
	Interval   time.Duration
	GaugesFrom int64
	Sum        Delta
	Names      map[string]Account `json:",omitempty"`
	Events     int64
	Dropped    map[string]int64 `json:",omitempty"`
}

// Account is the part of a Record that is about one task name.
type Account struct {
	Said       report.NameCounts
	WrittenOff int64
}

// Remember makes the table note which processes change, for Changed.
func (t *Table) Remember() { t.remember = true }

// mark notes that the record of a process has changed.
func (t *Table) mark(p *process) {
	if t.remember && !p.changed {
		p.changed = true
		t.changed = append(t.changed, p)
	}
}

// Changed calls yield for each process that has changed since the last call, with its
// record, or with nil if the table has forgotten it.
func (t *Table) Changed(yield func(report.Process, *Record)) {
	for _, p := range t.changed {
		p.changed = false
		if t.processes[p.id] != p {
			yield(p.id, nil)
			continue
		}
		if !p.counted {
			continue // there is nothing to go on from
		}
		yield(p.id, p.record())
	}
	clear(t.changed)
	t.changed = t.changed[:0]
}

func (p *process) record() *Record {
	r := &Record{
		Process: p.id, Status: p.status, LastHeard: p.lastHeard, Interval: p.interval, GaugesFrom: p.gaugesFrom,
		Sum: p.books.sum, Names: make(map[string]Account, len(p.books.byName)), Events: p.events, Dropped: maps.Clone(p.droppedTold),
	}
	for name, a := range p.books.byName {
		r.Names[name] = Account{Said: a.said, WrittenOff: a.writtenOff}
	}
	return r
}

// Restore continues from records, at now. A process that was reporting has one lease to
// speak again before it is lost. Records beyond the limits are forgotten, the oldest first.
// A table that remembers notes all of them as changed.
func (t *Table) Restore(records []Record, now time.Time) {
	t.listening.heard(now)
	slices.SortStableFunc(records, func(a, b Record) int { return a.LastHeard.Compare(b.LastHeard) })
	for i := range records {
		r := &records[i]
		if t.processes[r.Process] != nil {
			continue // it is there twice
		}
		p := r.process(now)
		t.processes[p.id] = p
		t.mark(p)
		if newest, seen := t.newest[instanceOf(p.id)]; !seen || newest.before(r.start()) {
			t.newest[instanceOf(p.id)] = r.start()
		}
		if r.Status != Reporting {
			p.firstHeard, p.lastHeard = r.LastHeard, r.LastHeard
			t.retire(p, r.Status)
			continue
		}
		t.reporting++
		t.emit(Event{Kind: ProcessFound, Process: p.id, At: now})
		t.tellLive(p)
		if t.reporting > t.limits.Processes {
			t.endProcess(p, Lost)
		}
	}
}

// process is what the record was made from, as a process heard at now.
func (r *Record) process(now time.Time) *process {
	p := newProcess(r.Process, now)
	p.counted, p.gaugesFrom, p.events, p.droppedTold = true, r.GaugesFrom, r.Events, r.Dropped
	p.books = books{byName: make(map[string]account, len(r.Names)), sum: r.Sum}
	for name, a := range r.Names {
		p.books.byName[name] = account{said: a.Said, writtenOff: a.WrittenOff}
	}
	if r.Interval > 0 {
		p.interval = r.Interval
	}
	return p
}

// tellLive tells how many tasks of a restored process run, as far as is known. Their
// counts have been told before.
func (t *Table) tellLive(p *process) {
	for name, a := range p.books.byName {
		if a.said.Running != 0 || a.said.Blocked != 0 {
			t.emit(Event{Kind: CountsAdvanced, Process: p.id, Name: name, Delta: Delta{
				NameCounts: report.NameCounts{Running: a.said.Running, Blocked: a.said.Blocked},
			}})
		}
	}
}
