package inspect

import (
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/sender"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// reading is what two looks at a wait have in common.
type reading struct {
	view    waitView
	first   holderSet
	second  holderSet
	still   bool          // the wait is open in both
	links   []wire.Holder // the holders that both have, resolved
	moving  bool          // some are not in both
	need    int64
	whole   bool     // complete
	guessed bool     // inferred
	idle    []uint64 // goroutines of links of which it was not seen that they wait
	// looked says that the wait is a guess, and waited when it was last seen to be one.
	looked bool
	waited nanos
}

// observed is the instant at which what was read stood: that of the scan, or an earlier one.
func (one *reading) observed(scan nanos) nanos {
	if one.looked {
		return min(one.waited, scan)
	}
	return scan
}

// forget lets go of what was read, and keeps the memory for the next scan.
func (one *reading) forget() {
	one.view = waitView{}
	clear(one.first.list)
	clear(one.second.list)
}

// toldWait is a wait that the collector has been told of.
type toldWait struct {
	last     wire.Wait // as it was told last
	task     *Task     // whose own goroutine waits, or nil
	tellAt   nanos     // when to repeat it
	sentAt   nanos
	repeated int
	// What is different now, if it is, and since when.
	changed      []wire.Holder
	changedSince nanos
	differs      bool
	seen         bool // in this scan
	moved        bool // the wall clock has stepped since last was made
	looked       bool // it is a guess
	// holders are the goroutines that were not seen to wait, as of the last scan, fateAt
	// is when to look whether they live, and fates how often that was done.
	holders []uint64
	fateAt  nanos
	fates   int

	steadySince nanos // since when nothing about it has changed
	restless    bool  // it is to be read in the next scan
}

// restAfter is how long a wait has been the same when it is no longer read in each scan.
const restAfter = 10 * time.Second

// rests reports whether the wait need not be read in this scan, which no heartbeat follows.
// It has been the same for long, and nothing is due that needs to know more.
//
// To read a wait is to hold the lock and the context of a stuck goroutine. The runtime's
// goroutine leak profile does not find the goroutine if that happens while the garbage
// collector marks, which on a large heap takes longer than it is between two scans.
func (t *toldWait) rests(at nanos) bool {
	steady := !t.differs && !t.looked && !t.moved && !t.restless && at-t.steadySince >= nanos(restAfter)
	fate := len(t.holders) > 0 && at+2*nanos(scanInterval) >= t.fateAt // its holders have to be fresh
	return steady && !fate && at < t.tellAt
}

// follow keeps what the next scan wants to know.
func (t *toldWait) follow(one *reading) {
	t.looked, t.restless = one.looked, false
	t.holders = append(t.holders[:0], one.idle...)
	if t.fateAt == 0 {
		t.fateAt = one.view.start + nanos(fateAfter)
	}
}

// scan looks for stuck waits and long tasks and reports them.
//
// It reads every stuck wait and its holders twice. What is the same in both
// readings stood at the instant between them, all of it together, because a wait id
// and a generation that are seen twice mean that nothing happened in between. That
// instant is the end of all reports of the scan.
func (r *reporter) scan(at nanos) {
	beats := at >= r.beatAt // a heartbeat says that all waits have been read
	resting := r.resting[:0]
	r.views = openWaitsBut(at-nanos(r.config.stuckAfter), r.views[:0], func(w *openWait) bool {
		told := r.waits[w.id]
		if beats || told == nil || !told.rests(at) {
			return false
		}
		resting = append(resting, told)
		return true
	})
	r.resting = resting
	r.views = slices.DeleteFunc(r.views, func(v waitView) bool { return !r.mine(v.task) })
	r.lookAround(at)
	r.views = slices.DeleteFunc(r.views, func(v waitView) bool {
		g := guessOf(v.call)
		if g == nil {
			return false
		}
		_, believed := g.believed(at)
		return !believed
	})
	r.room = r.sender.Free() - reserved
	n := len(r.views)
	if n == 0 && len(r.waits) == 0 {
		r.lastFor = at
		r.longTasks(at)
		return
	}
	r.read = slices.Grow(r.read[:0], n)[:n]
	for i, v := range r.views {
		r.read[i].view = v
		r.read[i].looked = false
		if g := guessOf(v.call); g != nil {
			r.read[i].looked = true
			r.read[i].waited, _ = g.believed(at)
		}
		r.read[i].first.reset()
		v.holders(&r.read[i].first)
	}
	observed := now()
	for i := range r.read {
		one := &r.read[i]
		one.second.reset()
		one.view.holders(&one.second)
		one.still = stillOpen(one.view.id, one.view.goroutine)
		r.agree(one)
	}
	r.lastFor = observed
	for _, told := range r.waits {
		told.seen = false
	}
	for _, told := range r.resting {
		told.seen = true
		told.restless = told.holdsOthers(told.last.Goroutine, at)
	}
	clear(r.resting)
	for i := range r.read {
		if r.read[i].still {
			r.tell(&r.read[i], at, observed)
		}
	}
	for id, told := range r.waits {
		if !told.seen {
			r.close(id, told, observed)
		}
	}
	clear(r.views) // hold on to no task, and to no context
	for i := range r.read {
		r.read[i].forget()
	}
	r.longTasks(at)
}

// mine reports whether a task, or nobody, is this Inspector's.
func (r *reporter) mine(t *Task) bool {
	if t == nil {
		return Default() == r.ins
	}
	return t.ins == r.ins
}

// agree keeps the holders that both readings have.
//
// Of a resource that is out of reach nothing can be read, and nothing about it can have
// changed either, since nobody can use it: what was told stands.
func (r *reporter) agree(one *reading) {
	one.idle = one.idle[:0]
	if told := r.waits[one.view.id]; one.view.lost && told != nil {
		one.links, one.moving = slices.Clone(told.last.Holders), false
		one.need, one.whole, one.guessed = told.last.Need, told.last.Complete, told.last.Inferred
		if told.differs {
			one.links, one.whole = slices.Clone(told.changed), false
		}
		return
	}
	one.links, one.moving = one.links[:0:0], len(one.first.list) != len(one.second.list)
	list, all := r.few(one.second.list, one.second.need)
	changed := notAmong(ofThese(one.first.list, list))
	for _, h := range list {
		if changed(h) {
			one.moving = true
			continue
		}
		if link, idle, ok := r.link(&one.view, h); ok {
			one.links = append(one.links, link)
			if idle != 0 {
				one.idle = append(one.idle, idle)
			}
		} else {
			one.moving = true
		}
	}
	slices.SortFunc(one.links, byNode)
	one.need = max(one.first.need, one.second.need)
	one.whole = all && one.first.complete && one.second.complete && !one.moving && one.first.need == one.second.need
	one.guessed = one.first.inferred || one.second.inferred
}

// tell reports a wait if it is new, if its holders are others and have stayed so, or
// if it is time to repeat it.
func (r *reporter) tell(one *reading, at, observed nanos) {
	told := r.waits[one.view.id]
	if told == nil {
		if r.room <= 0 {
			return // thousands got stuck at once: the rest of them comes a little later
		}
		if len(r.waits) >= maxTold {
			r.ins.drops.add(dropStuckWaits, 1)
			return
		}
		told = &toldWait{seen: true, steadySince: at}
		if _, own := r.node(&one.view); own {
			told.task = one.view.task
		}
		r.waits[one.view.id] = told
		told.last = r.report(one, 1)
		told.follow(one)
		r.send(told, at, one.observed(observed))
		return
	}
	told.seen = true
	told.follow(one)
	observed = one.observed(observed)
	switch {
	case one.looked:
		again := observed.unix() > told.last.Observed || told.moved || told.holdsOthers(one.view.goroutine, at)
		if again && r.room > 0 { // else nobody has looked since
			if told.moved {
				told.last = r.report(one, told.last.Revision)
			}
			told.last.Holds = holdsOf(one.view.goroutine)
			r.send(told, at, observed)
		}
	case same(told.last.Holders, one.links) && told.last.Complete == one.whole && told.last.Need == one.need &&
		told.last.Inferred == one.guessed:
		told.differs, told.changed = false, nil
		again := at >= told.tellAt || told.holdsOthers(one.view.goroutine, at)
		if again && r.room > 0 {
			if told.moved {
				told.last = r.report(one, told.last.Revision)
			}
			told.last.Holds = holdsOf(one.view.goroutine)
			r.send(told, at, observed)
		}
	case !told.differs || !same(told.changed, one.links):
		told.differs, told.changed, told.changedSince, told.steadySince = true, slices.Clone(one.links), at, at
	case at-told.changedSince >= nanos(r.config.stuckAfter) && r.room > 0:
		told.last = r.report(one, told.last.Revision+1)
		told.differs, told.changed, told.repeated, told.steadySince = false, nil, 0, at
		r.send(told, at, observed)
	}
}

// holdsOthers reports whether the goroutine's external locks are not those that were
// told. A lock that is gone is told at once, an end that keeps moving once a second.
func (t *toldWait) holdsOthers(goroutine uint64, at nanos) bool {
	is := holdsOf(goroutine)
	if slices.Equal(is, t.last.Holds) {
		return false
	}
	sameLocks := slices.EqualFunc(is, t.last.Holds, func(a, b wire.Hold) bool { return a.Resource == b.Resource })
	return !sameLocks || at-t.sentAt >= nanos(time.Second)
}

// revision is what a heartbeat lists: one that the collector does not know while the
// holders are others than it was told, so that what it was told is not prolonged.
//
// It knows none of a guess either: what was seen of that counts until then and no longer.
func (t *toldWait) revision() int64 {
	if t.differs || t.looked {
		return t.last.Revision + 1
	}
	return t.last.Revision
}

// same compares what makes a holder: who it is, and which acquisition.
func same(a, b []wire.Holder) bool {
	return slices.EqualFunc(a, b, func(x, y wire.Holder) bool {
		return x.Node == y.Node && x.Generation == y.Generation && x.Weight == y.Weight && x.Ended == y.Ended
	})
}

func byNode(a, b wire.Holder) int {
	if c := slices.Compare(a.Span[:], b.Span[:]); c != 0 {
		return c
	}
	return slices.Compare(a.Trace[:], b.Trace[:])
}

// send sends the report, and sets when to repeat it: after 1, 2, 4 and 8 s more, and
// then every 30 s, so that a collector that has restarted learns of it.
func (r *reporter) send(told *toldWait, at, observed nanos) {
	told.last.Observed = observed.unix()
	told.last.SpanID = newSpanID()
	told.sentAt, told.tellAt = at, at+nanos(backOff(told.repeated))
	told.repeated++
	told.moved = false
	r.room--
	r.sender.Send(sender.Key{Kind: taskspan.ReportWait, ID: told.last.ID}, told.last.Encode())
}

func backOff(repeated int) time.Duration {
	if repeated < 4 {
		return time.Second << repeated
	}
	return 30 * time.Second
}

// close tells that a wait has ended. It has ended between the last look and this one.
func (r *reporter) close(id uint64, told *toldWait, observed nanos) {
	delete(r.waits, id)
	told.last.Open = false
	told.last.State = taskspan.Running
	told.last.Observed = observed.unix()
	told.last.SpanID = newSpanID()
	r.sender.Send(sender.Key{Kind: taskspan.ReportWait, ID: id}, told.last.Encode())
	if told.task != nil {
		r.follow(told.task)
	}
}

// report makes the report of a wait.
func (r *reporter) report(one *reading, revision int64) wire.Wait {
	v := &one.view
	id, name := v.on.name().identity()
	w := wire.Wait{
		Task: r.task(v), ID: v.id, Revision: revision, Open: true, Kind: v.kind,
		ResourceID: id, ResourceName: name, Since: v.start.unix(),
		Need: one.need, Complete: one.whole, Inferred: one.guessed, Cancellable: v.cancellable(), Holders: one.links,
	}
	for _, pc := range v.site.callers {
		w.Callers = append(w.Callers, wirePlace(pc))
	}
	if d := v.deadline(); d != 0 {
		w.Deadline = d.unix()
	}
	return w
}

// toldTask is a task that the collector has been told of, and whose end it will be
// told.
type toldTask struct {
	last     wire.Task
	key      uint64
	tellAt   nanos
	repeated int
}

// longTasks reports tasks that run for long and are not blocked, and the ends of all
// that the collector knows.
func (r *reporter) longTasks(at nanos) {
	for i := range table {
		for _, t := range table[i].longTasks(at - nanos(r.config.longTask)) {
			if t.ins == r.ins {
				r.tellTask(t, at)
			}
		}
	}
	for t, told := range r.tasks {
		if t.ended() {
			delete(r.tasks, t)
			told.last.State = endStates[t.state.Load()]
			r.sendTask(told, at)
		}
	}
}

// follow notes a task so that its end is told. It returns nil if there is no room.
func (r *reporter) follow(t *Task) *toldTask {
	told := r.tasks[t]
	if told == nil {
		if len(r.tasks) >= maxTold {
			r.ins.drops.add(dropLongTasks, 1)
			return nil
		}
		g := t.goroutine.Load()
		told = &toldTask{last: r.longTask(t), key: shardOf(g).nextID(g)}
		r.tasks[t] = told
	}
	return told
}

// longTasks returns the tasks of a shard that began at or before a time.
func (s *shard) longTasks(before nanos) []*Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	var long []*Task
	for t := s.tasks.front; t != nil && t.start <= before; t = t.next {
		long = append(long, t)
	}
	return long
}

func (r *reporter) tellTask(t *Task, at nanos) {
	told := r.follow(t)
	if told == nil || at < told.tellAt || r.room <= 0 {
		return
	}
	if _, waits := glanceAt(t.goroutine.Load()); waits {
		return // a wait report says more
	}
	told.tellAt = at + nanos(backOff(told.repeated))
	told.repeated++
	r.room--
	r.sendTask(told, at)
}

func (r *reporter) sendTask(told *toldTask, at nanos) {
	told.last.Observed = at.unix()
	told.last.SpanID = newSpanID()
	r.sender.Send(sender.Key{Kind: taskspan.ReportTask, ID: told.key}, told.last.Encode())
}
