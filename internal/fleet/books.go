package fleet

import (
	"maps"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// books are the counts of the tasks of one process, by name. What is told on always
// balances: every task that was told as started is told as ended once, or is live. Tasks
// that were live when the process was taken over have been told as started elsewhere.
type books struct {
	byName map[string]account
	sum    Delta // of all names, without durations
}

// account is about the tasks of one name.
type account struct {
	// said are the highest counts that heartbeats carried, and the newest gauges.
	said report.NameCounts
	// writtenOff are the tasks whose end nobody reported: they were told as lost, or as
	// cancelled by a goodbye. If the process reports an end after all, because it was not
	// gone or its last words come late, that end is not told again.
	writtenOff int64
}

// open is how many tasks have started and are told neither as ended nor written off.
func (a *account) open() int64 {
	return max(0, a.said.Started-ends(a.said.Counts)-a.writtenOff)
}

func ends(c report.Counts) int64 { return c.Completed + c.Failed + c.Cancelled }

// advance takes in what a heartbeat says and returns what is to be told. Every counter
// is a maximum, so order and repetition do not matter. gauges says that running and
// blocked are of the present.
func (a *account) advance(n *report.NameCounts, gauges bool) (d Delta) {
	grow := func(said *int64, now int64) int64 {
		by := max(0, now-*said)
		*said += by
		return by
	}
	d.Started = grow(&a.said.Started, n.Started)
	d.Completed = grow(&a.said.Completed, n.Completed)
	d.Failed = grow(&a.said.Failed, n.Failed)
	d.Cancelled = grow(&a.said.Cancelled, n.Cancelled)
	for _, ended := range []*int64{&d.Cancelled, &d.Completed, &d.Failed} {
		known := min(*ended, a.writtenOff)
		*ended -= known
		a.writtenOff -= known
	}
	d.Durations = grown(&n.Durations, &a.said.Durations)
	a.said.Durations.Add(&d.Durations)
	if gauges {
		d.Running, d.Blocked = n.Running-a.said.Running, n.Blocked-a.said.Blocked
		a.said.Running, a.said.Blocked = n.Running, n.Blocked
	}
	return d
}

// count advances the totals to what a heartbeat says.
func (t *Table) count(p *process, r *report.Report, now time.Time) {
	h := r.Heartbeat
	t.mark(p)
	newest := r.Sequence > p.gaugesFrom
	live := newest && p.status == Reporting
	merged := t.mergeNames(p, h)
	if !p.counted {
		p.counted, p.acknowledged = true, h.Acknowledged != nil && *h.Acknowledged
		if t.countedBefore(r, now) {
			t.takeOver(p, h, merged)
		}
	}
	for name, n := range merged {
		t.settle(p, name, func(a *account) Delta { return a.advance(&n, live) })
	}
	if live {
		for name, a := range p.books.byName {
			if _, still := merged[name]; !still && (a.said.Running != 0 || a.said.Blocked != 0) {
				t.settle(p, name, func(a *account) Delta { return a.advance(&report.NameCounts{}, true) })
			}
		}
	}
	t.tellActivity(p, h)
	if newest {
		p.gaugesFrom = r.Sequence
		p.interval = h.Interval
		p.dropped, p.overhead, p.rate, p.memory = maps.Clone(h.Dropped), h.Overhead, h.Rate, h.Memory
	}
}

// mergeNames returns the counts of a heartbeat by the names under which they are kept.
func (t *Table) mergeNames(p *process, h *report.Heartbeat) map[string]report.NameCounts {
	if h.ByName == nil {
		return map[string]report.NameCounts{taskspan.OtherNames: {Counts: h.Counts, Running: h.Running, Blocked: h.Blocked}}
	}
	merged := make(map[string]report.NameCounts, len(h.ByName))
	names := len(p.books.byName)
	for name, n := range h.ByName {
		if _, known := p.books.byName[name]; !known && name != taskspan.OtherNames {
			if names >= maxNames {
				t.counters.NamesMerged++
				name = taskspan.OtherNames
			} else {
				names++
			}
		}
		sum := merged[name]
		sum.Add(n)
		merged[name] = sum
	}
	return merged
}

// writeOff tells the ends of the tasks of a process that is over: those that were open
// at its goodbye are cancelled, any others are lost.
func (t *Table) writeOff(p *process) {
	for name := range p.books.byName {
		t.settle(p, name, func(a *account) Delta {
			d := Delta{NameCounts: report.NameCounts{Running: -a.said.Running, Blocked: -a.said.Blocked}}
			open := a.open()
			if p.status == Goodbye {
				d.Cancelled = open
			} else {
				d.Lost = open
			}
			a.writtenOff += open
			a.said.Running, a.said.Blocked = 0, 0
			return d
		})
	}
}

// settle changes the account of a name, and tells what that comes to.
func (t *Table) settle(p *process, name string, change func(*account) Delta) {
	a, known := p.books.byName[name]
	d := change(&a)
	if d == (Delta{}) && !known {
		return
	}
	if p.books.byName == nil {
		p.books.byName = make(map[string]account)
	}
	if !known && p.status != Reporting {
		t.goneNames++
	}
	p.books.byName[name] = a
	if d == (Delta{}) {
		return
	}
	sum := &p.books.sum
	sum.Counts.Add(d.Counts)
	sum.Running += d.Running
	sum.Blocked += d.Blocked
	sum.Lost += d.Lost
	t.emit(Event{Kind: CountsAdvanced, Process: p.id, Name: name, Delta: d})
}

// grown is by how much durations have grown.
func grown(n, told *report.Durations) (d report.Durations) {
	d.Seconds = max(0, n.Seconds-told.Seconds)
	for i, in := range n.Buckets {
		d.Buckets[i] = max(0, in-told.Buckets[i])
	}
	return d
}

// tellActivity tells by how much the inspection points and the drops have grown.
func (t *Table) tellActivity(p *process, h *report.Heartbeat) {
	a := Activity{Events: max(0, h.Events-p.events)}
	p.events += a.Events
	for reason, n := range h.Dropped {
		grown := p.noteDropped(reason, n)
		if grown == 0 {
			continue
		}
		if a.Dropped == nil {
			a.Dropped = make(map[string]int64)
		}
		a.Dropped[reason] = grown
	}
	if a.Events > 0 || a.Dropped != nil {
		t.emit(Event{Kind: ActivityAdvanced, Process: p.id, Activity: a})
	}
}

// noteDropped notes a count of drops as told, and returns by how much it has grown.
func (p *process) noteDropped(reason string, n int64) (grown int64) {
	told, known := p.droppedTold[reason]
	if n <= told || !known && len(p.droppedTold) >= report.MaxDropReasons {
		return 0
	}
	if p.droppedTold == nil {
		p.droppedTold = make(map[string]int64)
	}
	p.droppedTold[reason] = n
	return n - told
}
