package deadlock

import (
	"maps"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// Limits bound a Detector. All counts must be positive.
type Limits struct {
	fleet.Limits
	// Deadlocks bounds those that stand and are listed, and separately those that are over
	// and remembered. Those that are alike are one.
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
	// touched are the slots of tasks with which a new deadlock may begin, and resources
	// the shared ones whose holders have changed.
	touched   slotSet
	resources map[string]struct{}
	// unproven are the cores that lack evidence so far.
	unproven unproven

	standing  map[ID]*Deadlock
	of        map[report.TaskID]*Deadlock // the standing deadlock of a core task
	kinds     kinds                       // of all that stand
	broken    map[ID]Ending               // standing ones of which a wait has ended, and how
	unjudged  map[ID]struct{}             // standing ones of which a task holds something else now
	past      []*Deadlock                 // oldest first
	victims   map[report.TaskID]struct{}  // behind any that stands, and in none; never changed once made
	victimsAt time.Time
}

// Counters are what a detector has seen and refused since its start.
type Counters struct {
	Evaluations      int64
	Proofs           int64 // searches for the evidence of a core
	DeadlocksGivenUp int64 // standing ones that were taken off the list to make room
	ClaimsRefused    int64 // resources that a task says it holds and that found no room
	SearchesCutShort int64 // evaluations that have not looked at all stuck tasks
}

// New returns a detector that knows nothing yet.
func New(limits Limits, skew time.Duration) *Detector {
	d := &Detector{
		limits: limits, skew: skew,
		left: make(leftBehind), resources: make(map[string]struct{}), unproven: newUnproven(), claims: newClaims(),
		standing: make(map[ID]*Deadlock), of: make(map[report.TaskID]*Deadlock), broken: make(map[ID]Ending),
		unjudged: make(map[ID]struct{}), kinds: newKinds(limits.Deadlocks),
	}
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
		d.unproven.changed(e.Task.ID)
		d.leave(e.Wait, true)
	case fleet.WaitsConfirmed:
		if d.unproven.confirmed(e.Process) {
			d.dirty = true
		}
	case fleet.WaitClosed:
		d.dirty = true
		d.unproven.changed(e.Wait.Task)
		d.leave(e.Wait, false)
		if dl := d.of[e.Wait.Task]; dl != nil && dl.waitsFor(e.Wait) {
			d.breakUp(dl, e)
		}
	case fleet.TaskEnded:
		d.dirty = true
		if dl := d.of[e.Task.ID]; dl != nil && e.State == taskspan.Cancelled && d.broken[dl.ID] == Released {
			d.broken[dl.ID] = Cancelled
		}
		d.setClaims(e.Task.ID, nil)
	}
}

// leave notes whether a wait is for what somebody has left behind. The waits of all who
// wait for that have another holder if another task stands for it.
func (d *Detector) leave(w *fleet.Wait, open bool) {
	if next, changed := d.left.set(w, open); changed {
		d.touch(next)
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

// breakUp notes that a deadlock is over because a wait of it has ended.
func (d *Detector) breakUp(dl *Deadlock, e fleet.Event) {
	if _, known := d.broken[dl.ID]; !known {
		d.broken[dl.ID] = dl.howEnded(e, d.table.Ahead(e.Process))
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
	if d.claims.has(id, holds, d.table.EdgeRoom()) {
		return
	}
	d.touch(id)
	d.setClaims(id, holds)
	if dl := d.of[id]; dl != nil {
		d.unjudged[dl.ID] = struct{}{}
	}
}

// setClaims replaces what a task claims. A new deadlock may contain whoever still claims
// what it no longer does.
func (d *Detector) setClaims(id report.TaskID, holds []report.Hold) {
	before := d.claims.len
	d.claims.set(id, holds, d.table.EdgeRoom(), func(resource string) {
		d.dirty = true
		d.resources[resource] = struct{}{}
	})
	d.table.Charge(d.claims.len - before)
}

// Evaluate looks at what has changed since it was called last. Found deadlocks that
// stood before have grown, and Added says by whom, or are certain now, and Raised says
// so.
func (d *Detector) Evaluate(now time.Time) (found, ended []*Deadlock) {
	d.now = now
	d.judgeAgain()
	d.expire(now)
	if !d.dirty {
		return nil, nil
	}
	d.dirty = false
	d.counters.Evaluations++
	over := d.takeBroken()
	for _, id := range d.unproven.retry() {
		d.touch(id)
	}
	if !d.touched.empty() || len(d.resources) > 0 {
		g := d.exploreTouched()
		if released := d.takeReleased(g); len(released) > 0 {
			over = append(over, released...)
			g = d.exploreTouched()
		}
		d.touched, d.resources = slotSet{}, make(map[string]struct{})
		rests := restsOf(over)
		for _, core := range g.oldestFirst(g.Cores()) {
			found = append(found, d.examine(core, rests, now)...)
		}
		if g.CutShort() > 0 {
			d.counters.SearchesCutShort++
		}
	}
	for _, o := range over {
		if !o.goesOn {
			ended = d.end(ended, o, now)
		}
	}
	if len(found) > 0 || len(ended) > 0 || len(d.standing) > 0 && now.Sub(d.victimsAt) >= victimsEvery {
		d.victimsAt = now
		d.countVictims(found)
	}
	return found, ended
}

// exploreTouched reduces the part of the graph that may have changed.
func (d *Detector) exploreTouched() *subgraph {
	g := d.explore(d.touched.all(), slices.Sorted(maps.Keys(d.resources)))
	g.Solve()
	return g
}

// oldestFirst are the tasks of cores, the core first that has the longest wait: of those
// that are alike it gives the name, also after a restart of the collector.
func (g *subgraph) oldestFirst(cores [][]waitgraph.Task) [][]*fleet.Task {
	members := make([][]*fleet.Task, len(cores))
	first := make(map[*fleet.Task]*fleet.Task, len(cores)) // by the first member
	for i, core := range cores {
		members[i] = g.members(core)
		first[members[i][0]] = slices.MinFunc(members[i], waitsLonger)
	}
	slices.SortFunc(members, func(a, b []*fleet.Task) int { return waitsLonger(first[a[0]], first[b[0]]) })
	return members
}

// examine reports what can be proved of a core, and remembers the rest.
func (d *Detector) examine(core []*fleet.Task, rests map[report.TaskID]*broken, now time.Time) (found []*Deadlock) {
	if d.known(core) {
		return nil
	}
	for _, p := range d.prove(core) {
		if dl := d.report(p, rests, now); dl != nil {
			found = append(found, dl)
		}
	}
	if !d.known(core) {
		for _, id := range d.unproven.add(core) {
			if d.unproven.of[id] == 0 {
				d.touch(id)
			}
		}
	}
	return found
}

// known reports whether a core is a part of standing deadlocks, by the newest of what its
// tasks have told.
func (d *Detector) known(core []*fleet.Task) bool {
	return !slices.ContainsFunc(core, func(t *fleet.Task) bool {
		dl := d.of[t.ID]
		return dl == nil || dl.outdated(t)
	})
}

// report makes a deadlock of a proof, or lets one that stands grow. It returns the record
// that tells what is new, or nil if nothing is.
func (d *Detector) report(p proof, rests map[report.TaskID]*broken, now time.Time) *Deadlock {
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
	if known == nil {
		known, fresh = d.goOn(p, rests)
		if known == nil {
			return d.begin(p, now)
		}
		if raised := d.again(known, p); len(fresh) == 0 {
			return raised
		}
		return d.added(d.of[p.core[0].ID], fresh)
	}
	if len(fresh) == 0 {
		return d.again(known, p)
	}
	dl := known.grown(p.deadlock(d.judge(p.core, p.waits), now), fresh)
	d.stand(dl)
	return d.added(dl, fresh)
}

// begin makes a deadlock of a proof. If others like it stand, it is told as tasks that are
// added to those.
func (d *Detector) begin(p proof, now time.Time) *Deadlock {
	dl := p.deadlock(d.judge(p.core, p.waits), now)
	for d.kinds.of[dl.ID] != nil || d.kinds.byID[dl.ID] != nil {
		dl.ID = dl.ID.next() // of a part of it that stood before
	}
	if !d.stand(dl) {
		return d.added(dl, dl.Core)
	}
	record := *dl
	return &record
}

// added tells tasks that have been added to what stands.
func (d *Detector) added(dl *Deadlock, tasks []*fleet.Task) *Deadlock {
	record := *dl
	record.ID, record.Added = d.kinds.of[dl.ID].id, tasks
	return &record
}

// again takes in a newer proof of a deadlock that stands: what was a guess may be known
// by now, or the other way round. It returns the deadlock if it is certain now and neither
// it nor one like it was before.
func (d *Detector) again(known *Deadlock, p proof) *Deadlock {
	_, before := d.kinds.of[known.ID].first()
	next := known.proved(p)
	next.Judgment = d.judge(next.Core, next.Waits)
	d.stand(next)
	if before != Suspected || next.Confidence != Certain {
		return nil
	}
	record := *next
	record.ID, record.Raised = d.kinds.of[next.ID].id, true
	return &record
}

// stand puts a deadlock, or a newer record of it, in its place. It reports whether none
// like it stood before.
func (d *Detector) stand(dl *Deadlock) (news bool) {
	d.standing[dl.ID] = dl
	for _, t := range dl.Core {
		d.of[t.ID] = dl
	}
	_, news = d.kinds.put(dl)
	return news
}

// broken is a deadlock of which a wait has ended, or a task can proceed.
type broken struct {
	*Deadlock
	how    Ending
	goesOn bool // some of its tasks are stuck without the others
}

// takeBroken takes away the deadlocks of which a wait has ended.
func (d *Detector) takeBroken() (over []*broken) {
	for id, how := range d.broken {
		if dl := d.standing[id]; dl != nil {
			over = append(over, d.take(dl, how))
		}
	}
	clear(d.broken)
	return over
}

// takeReleased takes away the deadlocks of which a task that was touched could proceed.
func (d *Detector) takeReleased(g *subgraph) (over []*broken) {
	if len(d.standing) == 0 {
		return nil
	}
	check := func(t *fleet.Task) {
		if t == nil || d.of[t.ID] == nil {
			return
		}
		if n := d.number(t.ID); n != waitgraph.Unknown && !g.Stuck(n) {
			over = append(over, d.take(d.of[t.ID], Released))
		}
	}
	for slot := range d.touched.all() {
		check(d.table.InSlot(slot))
	}
	for name := range d.resources {
		for id := range d.claimants(name) {
			check(d.table.Task(id))
		}
	}
	return over
}

// take takes a deadlock away. Some of its tasks may still be stuck without the others, so
// they are looked at again.
func (d *Detector) take(dl *Deadlock, how Ending) *broken {
	delete(d.standing, dl.ID)
	for _, t := range dl.Core {
		delete(d.of, t.ID)
		d.touch(t.ID)
	}
	return &broken{Deadlock: dl, how: how}
}

// restsOf says which of the deadlocks that are over a task was part of.
func restsOf(over []*broken) map[report.TaskID]*broken {
	rests := make(map[report.TaskID]*broken)
	for _, o := range over {
		for _, t := range o.Core {
			rests[t.ID] = o
		}
	}
	return rests
}

// goOn lets a deadlock from which some tasks have gone stand again without them, if a
// proof is for the rest of it. joined are those that were not part of it. If several parts
// of one are left, the first goes on and the others are new.
func (d *Detector) goOn(p proof, rests map[report.TaskID]*broken) (rest *Deadlock, joined []*fleet.Task) {
	at := slices.IndexFunc(p.core, func(t *fleet.Task) bool { o := rests[t.ID]; return o != nil && !o.goesOn })
	if at < 0 {
		return nil, nil
	}
	o := rests[p.core[at].ID]
	o.goesOn = true
	for _, t := range p.core {
		if rests[t.ID] != o {
			joined = append(joined, t)
		}
	}
	rest = p.deadlock(o.Judgment, o.Found)
	rest.ID, rest.Victims = o.ID, o.Victims
	d.stand(rest)
	return rest, joined
}

// end remembers a deadlock that is over, and appends it to ended, if it was the last of
// those that are alike.
func (d *Detector) end(ended []*Deadlock, o *broken, now time.Time) []*Deadlock {
	a := d.kinds.remove(o.ID)
	if a.len() > 0 {
		return ended
	}
	over := *o.Deadlock
	over.ID, over.Found, over.Victims = a.id, a.found, a.victims
	over.Ended, over.How, over.Added, over.Behind = now, o.how, nil, nil
	if len(d.past) >= d.limits.Deadlocks {
		d.past = append(d.past[:0], d.past[1:]...)
	}
	d.past = append(d.past, &over)
	return append(ended, &over)
}

// Deadlocked returns the standing deadlock that a task is part of, or nil.
func (d *Detector) Deadlocked(id report.TaskID) *Deadlock { return d.of[id] }

// Standing appends the deadlocks that stand and are listed to dst, in no order. Those that
// are alike are one. They are immutable.
func (d *Detector) Standing(dst []*Deadlock) []*Deadlock {
	for _, a := range d.kinds.byID {
		if a.kept {
			dst = append(dst, d.record(a))
		}
	}
	return dst
}

// Active counts the deadlocks that stand, listed or not, by how sure they are. Those that
// are alike are one.
func (d *Detector) Active() map[Confidence]int {
	active := make(map[Confidence]int)
	for _, a := range d.kinds.byID {
		_, sure := a.first()
		active[sure]++
	}
	return active
}

// CoreTasks returns how many tasks are part of deadlocks that stand.
func (d *Detector) CoreTasks() int { return len(d.of) }

// NotKept returns how many more stand than are listed.
func (d *Detector) NotKept() int { return d.kinds.unkept.len() }

// Past appends the deadlocks that are over to dst, oldest first. They are immutable.
func (d *Detector) Past(dst []*Deadlock) []*Deadlock { return append(dst, d.past...) }

// Table returns what is known of the fleet.
func (d *Detector) Table() *fleet.Table { return d.table }

// Counters returns what the detector has seen and refused.
func (d *Detector) Counters() Counters {
	c := d.counters
	c.ClaimsRefused, c.DeadlocksGivenUp = d.claims.refused, d.kinds.givenUp
	return c
}

// Sizes says how much the detector keeps beside the fleet: claims, standing and past
// deadlocks, and cores that lack evidence.
func (d *Detector) Sizes() (claims, standing, past, unproven int) {
	return d.claims.len, d.kinds.kept, len(d.past), d.unproven.len()
}
