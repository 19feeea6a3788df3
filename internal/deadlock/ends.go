package deadlock

import (
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

// Judgment is how sure a deadlock is, and how it can end. It follows from the waits of
// its core, and changes with the holds that those wait for.
type Judgment struct {
	Confidence Confidence
	// Ends is when the first deadline of its waits, or the first end of a hold in it, is
	// reached, by the collector's clock; zero: nothing in it ends by itself.
	Ends time.Time
	// EndsHold is the external lock whose TTL that is; empty: it is a wait's deadline.
	EndsHold string
	// holdEnds is when the first end of a hold is reached, zero if there is none.
	holdEnds time.Time
	// Undeclared is an external lock in it of which nobody has said what ends its hold.
	Undeclared string
	// Cancellable says that a wait in it ends if a caller gives up.
	Cancellable bool
}

// judge looks at the waits of a core. A deadlock with an end is transient, however much
// of it is guessed; without one it is as sure as its least sure edge.
func (d *Detector) judge(core []*fleet.Task, waits map[report.TaskID][]*fleet.Wait) Judgment {
	j := Judgment{Confidence: Certain}
	in := make(map[report.TaskID]bool, len(core))
	for _, t := range core {
		in[t.ID] = true
	}
	judged := make(map[string]bool) // shared resources
	for _, t := range core {
		for _, w := range waits[t.ID] {
			j.Cancellable = j.Cancellable || w.Cancellable
			if w.Inferred || abandoned(w) { // Go allows that somebody else releases it
				j.Confidence = Suspected
			}
			if !w.Deadline.IsZero() {
				j.endsAt(w.Deadline.Add(-d.table.Ahead(t.Process)), "")
			}
			if !shared(w) || judged[w.ResourceID] {
				continue
			}
			judged[w.ResourceID] = true
			holders := d.claims.holders(w.ResourceID)
			if holders == nil {
				continue
			}
			for id, hold := range holders.all() { // also those that are over: see expire
				switch {
				case !in[id]:
				case !hold.Declared():
					j.Confidence, j.Undeclared = Suspected, w.ResourceName
				case !hold.UntilReleased:
					ends := d.holdEnds(id, hold)
					j.endsAt(ends, w.ResourceName)
					if j.holdEnds.IsZero() || ends.Before(j.holdEnds) {
						j.holdEnds = ends
					}
				}
			}
		}
	}
	if !j.Ends.IsZero() {
		j.Confidence = Transient
	}
	return j
}

func (j *Judgment) endsAt(at time.Time, hold string) {
	if j.Ends.IsZero() || at.Before(j.Ends) {
		j.Ends, j.EndsHold = at, hold
	}
}

// judgeAgain brings standing deadlocks up to date with what their tasks hold now.
func (d *Detector) judgeAgain() {
	for id := range d.unjudged {
		dl := d.standing[id]
		if dl == nil {
			continue
		}
		if j := d.judge(dl.Core, dl.Waits); j != dl.Judgment {
			next := *dl
			next.Judgment = j
			d.stand(&next)
		}
	}
	clear(d.unjudged)
}

// expire ends the standing deadlocks in which the end of a hold has come: nobody has to
// report that. A wait whose deadline has come is over when its process says so, for code
// may be slow to look at its context.
func (d *Detector) expire(now time.Time) {
	for _, dl := range d.standing {
		if !dl.holdEnds.IsZero() && !now.Before(dl.holdEnds) {
			d.dirty = true
			if _, known := d.broken[dl.ID]; !known {
				d.broken[dl.ID] = DeadlineReached
			}
		}
	}
}
