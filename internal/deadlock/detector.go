package deadlock

import (
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// Limits bound a Detector. All counts must be positive.
type Limits struct {
	fleet.Limits
	// Deadlocks bounds those that stand, and separately those that are over and
	// remembered.
	Deadlocks int
}

// victimsEvery is how often the tasks behind standing deadlocks are counted: it
// takes a look at all waits.
const victimsEvery = 5 * time.Second

// Detector finds deadlocks. It is not safe for concurrent use.
type Detector struct {
	limits Limits
	// skew is by how much the clocks of two processes may differ.
	skew     time.Duration
	table    *fleet.Table
	claims   claims
	left     leftBehind
	numbers  numbers
	counters Counters
	now      time.Time // of the last evaluation

	dirty bool // something was reported since the last evaluation
	// touched are the slots of tasks with which a new deadlock may begin.
	touched slotSet
	// unproven holds a task of every core that lacks evidence so far.
	unproven map[report.TaskID]struct{}

	standing  map[ID]*Deadlock
	of        map[report.TaskID]*Deadlock // the standing deadlock of a core task
	broken    map[ID]Ending               // standing ones of which a wait has ended, and how
	past      []*Deadlock                 // oldest first
	victimsAt time.Time
}

// Counters are what a detector has seen and refused since its start.
type Counters struct {
	Evaluations      int64
	DeadlocksRefused int64 // found while max_deadlocks stood
	ClaimsRefused    int64 // resources that a task says it holds and that found no room
}

// New returns a detector that knows nothing yet.
func New(limits Limits, skew time.Duration) *Detector {
	d := &Detector{
		limits: limits, skew: skew,
		left:     make(leftBehind),
		unproven: make(map[report.TaskID]struct{}),
		standing: make(map[ID]*Deadlock), of: make(map[report.TaskID]*Deadlock), broken: make(map[ID]Ending),
	}
	d.claims = newClaims(max(limits.Edges, limits.Tasks))
	d.table = fleet.NewTable(limits.Limits, d.on)
	return d
}

// Apply merges one report that came at now.
func (d *Detector) Apply(r *report.Report, now time.Time) report.Drop {
	drop := d.table.Apply(r, now)
	if drop != report.Used {
		return drop
	}
	d.dirty = true
	if r.Task != nil {
		d.claim(r.Task.ID)
	}
	return drop
}

// Advance does what time does: processes are lost, silent tasks given up.
func (d *Detector) Advance(now time.Time) { d.table.Advance(now) }

// on notes what a change means for the graph. It must not call the table.
func (d *Detector) on(e fleet.Event) {
	switch e.Kind {
	case fleet.WaitOpened, fleet.WaitRevised:
		d.touchTask(e.Task)
		d.leave(e.Wait, true)
	case fleet.WaitClosed:
		d.dirty = true
		d.leave(e.Wait, false)
		if dl := d.of[e.Wait.Task]; dl != nil && dl.waitsFor(e.Wait) {
			d.breakUp(dl, dl.howEnded(e, d.table.Ahead(e.Process)))
		}
	case fleet.TaskEnded:
		d.dirty = true
		if dl := d.of[e.Task.ID]; dl != nil && e.State == taskspan.Cancelled && d.broken[dl.ID] == Released {
			d.broken[dl.ID] = Cancelled
		}
		// Who else claims what it claimed may now be the only one to do so.
		for _, id := range d.claims.set(e.Task.ID, nil) {
			d.touch(id)
		}
	}
}

// leave notes whether a wait is for what somebody has left behind. Who waits for the same
// is looked at again, for one of them stands for it.
func (d *Detector) leave(w *fleet.Wait, open bool) {
	for _, other := range d.left.set(w, open) {
		d.touch(other.task)
	}
}

func (d *Detector) touch(id report.TaskID) {
	if t := d.table.Task(id); t != nil {
		d.touchTask(t)
	}
}

func (d *Detector) touchTask(t *fleet.Task) {
	d.dirty = true
	d.touched.add(t.Slot)
}

func (d *Detector) breakUp(dl *Deadlock, how Ending) {
	if _, known := d.broken[dl.ID]; !known {
		d.broken[dl.ID] = how
	}
}

// howEnded says what the end of a wait means for the deadlock that it is part of.
func (dl *Deadlock) howEnded(e fleet.Event, ahead time.Duration) Ending {
	switch e.Reason {
	case fleet.ByLoss, fleet.ByReplacement:
		return ProcessLost
	case fleet.ByEviction:
		return Evicted
	case fleet.ByGoodbye:
		return Cancelled
	}
	if !dl.holdEnds.IsZero() && !e.At.Add(-ahead).Before(dl.holdEnds) {
		return DeadlineReached
	}
	for _, waits := range dl.Waits {
		for _, w := range waits {
			if !w.Deadline.IsZero() && !e.At.Before(w.Deadline) {
				return DeadlineReached
			}
		}
	}
	return Released
}

// claim brings the index of who holds what up to date with a task.
func (d *Detector) claim(id report.TaskID) {
	task := d.table.Task(id)
	if task == nil {
		return
	}
	holds := holdsOf(task)
	if d.claims.has(id, holds) {
		return
	}
	d.touch(id)
	for _, other := range d.claims.set(id, holds) {
		d.touch(other)
	}
	if dl := d.of[id]; dl != nil {
		d.judgeAgain(dl)
	}
}

// Evaluate looks at what has changed since it was called last. Found deadlocks that
// stood before have grown, and Added says by whom, or are certain now, and Raised says
// so.
func (d *Detector) Evaluate(now time.Time) (found, ended []*Deadlock) {
	d.now = now
	d.expire(now)
	if !d.dirty {
		return nil, nil
	}
	d.dirty = false
	d.counters.Evaluations++
	ended = d.endBroken(nil, now)
	touched := d.touched
	d.touched = slotSet{}
	for id := range d.unproven {
		if t := d.table.Task(id); t != nil {
			touched.add(t.Slot)
		}
	}
	clear(d.unproven)
	if !touched.empty() {
		g := d.explore(touched.all())
		g.Solve()
		for _, core := range g.Cores() {
			found = append(found, d.examine(g.members(core), now)...)
		}
		ended = d.endReleased(g, touched, ended, now)
	}
	if len(d.standing) > 0 && (len(found) > 0 || now.Sub(d.victimsAt) >= victimsEvery) {
		d.victimsAt = now
		d.countVictims(found)
	}
	return found, ended
}

// examine reports what can be proved of a core, and remembers the rest.
func (d *Detector) examine(core []*fleet.Task, now time.Time) (found []*Deadlock) {
	for _, p := range d.prove(core) {
		if dl := d.report(p, now); dl != nil {
			found = append(found, dl)
		}
	}
	for _, t := range core {
		if dl := d.of[t.ID]; dl == nil || dl.outdated(t) {
			d.unproven[t.ID] = struct{}{}
			break
		}
	}
	return found
}

// report makes a deadlock of a proof, or lets one that stands grow. It returns nil if
// there is nothing new.
func (d *Detector) report(p proof, now time.Time) *Deadlock {
	var (
		known *Deadlock
		fresh []*fleet.Task
	)
	for _, t := range p.core {
		if dl := d.of[t.ID]; dl == nil {
			fresh = append(fresh, t)
		} else if known == nil {
			known = dl
		}
	}
	switch {
	case len(fresh) == 0:
		return d.again(known, p)
	case known == nil && len(d.standing) >= d.limits.Deadlocks:
		d.counters.DeadlocksRefused++
		return nil
	}
	dl := p.deadlock(d.judge(p.core, p.waits), now)
	if known != nil {
		dl = known.grown(dl, fresh)
	}
	d.stand(dl)
	return dl
}

// again takes in a newer proof of a deadlock that stands: what was a guess may be known
// by now, or the other way round. It returns the deadlock if it is certain now and was
// not before.
func (d *Detector) again(known *Deadlock, p proof) *Deadlock {
	next := known.proved(p)
	next.Judgment = d.judge(next.Core, next.Waits)
	next.Raised = known.Confidence == Suspected && next.Confidence == Certain
	d.stand(next)
	if next.Raised {
		return next
	}
	return nil
}

// stand puts a deadlock, or a newer record of it, in its place.
func (d *Detector) stand(dl *Deadlock) {
	d.standing[dl.ID] = dl
	for _, t := range dl.Core {
		d.of[t.ID] = dl
	}
}

// endBroken ends the deadlocks of which a wait has ended.
func (d *Detector) endBroken(ended []*Deadlock, now time.Time) []*Deadlock {
	for id, how := range d.broken {
		if dl := d.standing[id]; dl != nil {
			ended = append(ended, d.end(dl, how, now))
		}
	}
	clear(d.broken)
	return ended
}

// endReleased ends the deadlocks of which a task now waits for others and could go on.
func (d *Detector) endReleased(g *subgraph, touched slotSet, ended []*Deadlock, now time.Time) []*Deadlock {
	if len(d.standing) == 0 {
		return ended
	}
	for slot := range touched.all() {
		t := d.table.InSlot(slot)
		if t == nil || d.of[t.ID] == nil {
			continue
		}
		if n := d.number(t.ID); n != waitgraph.Unknown && !g.Stuck(n) {
			ended = append(ended, d.end(d.of[t.ID], Released, now))
		}
	}
	return ended
}

func (d *Detector) end(dl *Deadlock, how Ending, now time.Time) *Deadlock {
	delete(d.standing, dl.ID)
	for _, t := range dl.Core {
		delete(d.of, t.ID)
		d.touch(t.ID) // some of them may still be stuck without the others
	}
	over := *dl
	over.Ended, over.How, over.Added = now, how, nil
	if len(d.past) >= d.limits.Deadlocks {
		d.past = append(d.past[:0], d.past[1:]...)
	}
	d.past = append(d.past, &over)
	return &over
}

// countVictims counts, for every standing deadlock, the tasks that are stuck behind
// it. found are brought up to date, too.
func (d *Detector) countVictims(found []*Deadlock) {
	g := d.explore(d.allSlots())
	g.Solve()
	for id, dl := range d.standing {
		core := make([]waitgraph.Task, 0, len(dl.Core))
		for _, t := range dl.Core {
			if n := d.number(t.ID); n != waitgraph.Unknown {
				core = append(core, n)
			}
		}
		next := *dl
		next.Victims, next.Raised = len(g.Behind(core)), false
		d.standing[id] = &next
		for _, t := range next.Core {
			d.of[t.ID] = &next
		}
		for i := range found {
			if found[i].ID == id {
				found[i].Victims = next.Victims
			}
		}
	}
}

// Deadlocked returns the standing deadlock that a task is part of, or nil.
func (d *Detector) Deadlocked(id report.TaskID) *Deadlock { return d.of[id] }

// Standing appends the deadlocks that stand to dst, in no order. They are immutable.
func (d *Detector) Standing(dst []*Deadlock) []*Deadlock {
	for _, dl := range d.standing {
		dst = append(dst, dl)
	}
	return dst
}

// Past appends the deadlocks that are over to dst, oldest first. They are immutable.
func (d *Detector) Past(dst []*Deadlock) []*Deadlock { return append(dst, d.past...) }

// Table returns what is known of the fleet.
func (d *Detector) Table() *fleet.Table { return d.table }

// Counters returns what the detector has seen and refused.
func (d *Detector) Counters() Counters {
	c := d.counters
	c.ClaimsRefused = d.claims.refused
	return c
}

// Sizes says how much the detector keeps beside the fleet: claims, standing and past
// deadlocks, and cores that lack evidence.
func (d *Detector) Sizes() (claims, standing, past, unproven int) {
	return d.claims.len, len(d.standing), len(d.past), len(d.unproven)
}
