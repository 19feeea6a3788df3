package fleet

import (
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

const (
	// regularBeats is how many heartbeats in a row must be late by the same time before
	// a clock is taken to be wrong by that.
	regularBeats = 4
	// longestDelay is how long a heartbeat may be on its way. A process that is late by
	// less may be slow to send, or its collector slow to receive.
	longestDelay = time.Minute
	// maxStrangers bounds the processes that are watched although all they send is
	// refused for its time.
	maxStrangers = 1024
)

// clock is what is known of the clock of a process, compared with ours.
//
// What a process has seen it has seen before we heard of it, so a report from the
// future proves that its clock is ahead. That its clock is behind cannot be proved: a
// report that comes late may have been late on its way. Delays differ, though, and a
// queue that has filled up empties faster than it filled, so the heartbeats in it catch up. A clock that
// is wrong makes every heartbeat late by the same time. Evidence for deadlocks rests on
// what is proved (ahead) alone; what is shown, and whether a report is refused for its
// time, also on what is probable (behind).
type clock struct {
	ahead  time.Duration // at least
	behind time.Duration // 0, or more than longestDelay
	lags   [regularBeats]time.Duration
	beats  int       // that have been noted, of which lags has the last
	newest time.Time // the observation of the last of them
}

// shift is what to take off the times of the process.
func (c *clock) shift() time.Duration {
	if c.behind > 0 {
		return -c.behind
	}
	return c.ahead
}

// report notes that something came so long after it was observed.
func (c *clock) report(lag time.Duration) {
	c.ahead = max(c.ahead, -lag)
	if c.behind > lag {
		c.setBehind(lag) // nothing comes before it is sent
	}
}

func (c *clock) setBehind(d time.Duration) {
	if c.behind = 0; d > longestDelay {
		c.behind = d
		c.ahead = 0 // of an earlier setting of this clock
	}
}

// heartbeat notes the same of a heartbeat. Heartbeats are interval apart; those that
// follow each other faster were made on demand, and tell nothing of how regular they come.
func (c *clock) heartbeat(observed, now time.Time, interval time.Duration) {
	if since := observed.Sub(c.newest); since >= 0 && since < interval/2 {
		return
	}
	lag := now.Sub(observed)
	c.newest = observed
	c.lags[c.beats%regularBeats] = lag
	c.beats++
	if c.beats < regularBeats {
		return
	}
	least, most := slices.Min(c.lags[:]), slices.Max(c.lags[:])
	if most-least > interval/2 {
		return
	}
	c.ahead = max(c.ahead, -least)
	c.setBehind(least)
}

// setBack forgets by how much the clock was ahead: it has been set back, and this is
// the lag of a heartbeat since then.
func (c *clock) setBack(lag time.Duration) {
	c.ahead = max(0, -lag)
}

// Present is what the clock of a process shows now, as far as that is known. A
// process that nobody knows has our time.
func (t *Table) Present(id report.Process, now time.Time) time.Time {
	return now.Add(t.Ahead(id))
}

// Ahead is how far the clock of a process is ahead of ours; below 0: how far it is
// behind, probably.
func (t *Table) Ahead(id report.Process) time.Duration {
	if p, ok := t.processes[id]; ok {
		return p.clock.shift()
	}
	if c, ok := t.strangers[id]; ok && c.beats >= regularBeats {
		return c.shift()
	}
	return 0
}

// ProvedAhead is how far the clock of a process is ahead of ours at least.
func (t *Table) ProvedAhead(id report.Process) time.Duration {
	if p, ok := t.processes[id]; ok {
		return p.clock.ahead
	}
	return 0
}

// Refused notes a report that was refused for its time, and says whether the clock of
// its process is thought to show another time now. Heartbeats that are all off by the
// same time tell what it shows; so does any report that is near our own time.
func (t *Table) Refused(r *report.Report, now time.Time) bool {
	t.listening.heard(now)
	before := t.Ahead(r.Process)
	c := t.clockOf(r.Process)
	switch h := r.Heartbeat; {
	case r.Observed.Sub(now).Abs() <= report.MaxClockError:
		if c != nil { // it has been set right since
			*c = clock{}
			c.report(now.Sub(r.Observed))
		}
	case h == nil || h.Part != 1:
	default:
		if c == nil {
			c = t.stranger(r.Process)
		}
		c.heartbeat(r.Observed, now, h.Interval)
	}
	return t.Ahead(r.Process) != before
}

// clockOf returns the clock of a process or a stranger, or nil.
func (t *Table) clockOf(id report.Process) *clock {
	if p, ok := t.processes[id]; ok {
		return &p.clock
	}
	return t.strangers[id]
}

// stranger makes room for the clock of a process that the table does not know.
func (t *Table) stranger(id report.Process) *clock {
	if len(t.strangers) >= maxStrangers {
		for other := range t.strangers { // any
			delete(t.strangers, other)
			t.counters.ClocksForgotten++
			break
		}
	}
	if t.strangers == nil {
		t.strangers = make(map[report.Process]*clock)
	}
	c := new(clock)
	t.strangers[id] = c
	return c
}

// met is the clock of a process that is new in the table.
func (t *Table) met(id report.Process) clock {
	c, ok := t.strangers[id]
	if !ok {
		return clock{}
	}
	delete(t.strangers, id)
	return *c
}

// setBack handles a clock that was set back between two heartbeats. What was observed
// before that has times that are still to come, which no heartbeat could ever close or
// confirm. A wait that the heartbeat lists stands now; any other has ended, or is told
// again with a new revision.
func (t *Table) setBack(p *process, b *beat, now time.Time) {
	p.clock.setBack(now.Sub(b.observed))
	for id := range p.tasks {
		old := t.tasks[id]
		if old.Sequence >= b.base || !old.LastSeen.After(b.observed) {
			continue
		}
		task := *old
		task.LastSeen, task.FirstSeen = b.observed, earlier(task.FirstSeen, b.observed)
		t.change(p, old, &task, b.observed)
	}
	for _, w := range p.waits {
		if w.Sequence >= b.base || !w.Last.After(b.observed) {
			continue
		}
		rev, listed := b.revision(w.ID)
		if !listed || rev != w.Revision {
			t.closeWait(p, w, ByHeartbeat, b.observed)
			continue
		}
		next := *w
		next.First, next.Last = b.observed, b.observed
		next.confirm(b, rev, listed)
		next.Since = earlier(w.Since, b.observed)
		t.putWait(p, &next)
	}
}
