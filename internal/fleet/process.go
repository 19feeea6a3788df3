package fleet

import (
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// process is what the table keeps of one start of one process. Of one that is
// gone only the counts matter: they keep it from being counted twice if it comes
// back, or if its heartbeats come late.
type process struct {
	id         report.Process
	status     Status
	firstHeard time.Time
	lastHeard  time.Time
	deaf       time.Duration // how long we had not listened when lastHeard was
	interval   time.Duration
	clock      clock
	sequences  sequences
	// marks are the highest sequence numbers at the last heartbeats: what is
	// missing from before the oldest of them is lost.
	marks [MissedHeartbeats]int64
	// losses are those that the marks have settled; leaky says that they were steady.
	losses losses
	leaky  bool
	// olderBeats counts heartbeats that were sent beside a newer start of the instance.
	olderBeats int

	beat    *beat // the newest whole heartbeat
	pending []partial
	waits   map[int64]*Wait
	closed  *tombstones[int64]
	tasks   map[report.TaskID]struct{}
	running map[report.TaskID]struct{} // of tasks, those without open waits
	// Its places by the numbers of these.
	byWaits, byTasks, byRunning ranked

	counted bool // a heartbeat with counts has come
	// acknowledged says that the first of them said so.
	acknowledged bool
	books        books
	changed      bool // since the last call of Changed
	// gaugesFrom is the sequence number of the heartbeat that running, blocked
	// and the rest of the present come from.
	gaugesFrom     int64
	events         int64
	dropped        map[string]int64 // of the newest heartbeat
	droppedTold    map[string]int64 // the most of each reason, as told; bounded by MaxDropReasons
	overhead, rate float64
	memory         string
}

// lease is how long after its last sign of life a process is lost: three
// heartbeats, and half of one for the road.
func (p *process) lease() time.Duration {
	return MissedHeartbeats*p.interval + p.interval/2
}

func (p *process) copy() Process {
	return Process{
		Process: p.id, Status: p.status, FirstHeard: p.firstHeard, LastHeard: p.lastHeard,
		Interval: p.interval, Ahead: p.clock.shift(), Running: p.books.sum.Running, Blocked: p.books.sum.Blocked,
		OpenWaits: len(p.waits), LiveTasks: len(p.tasks), Counts: p.books.sum.Counts, LostTasks: p.books.sum.Lost, Events: p.events,
		Dropped: p.dropped, Overhead: p.overhead, Rate: p.rate, Memory: p.memory,
		LostSpans: p.sequences.lost, Duplicates: p.sequences.again, Missing: p.losses.steady(),
		Untold: p.untold(),
	}
}

// untold counts the waits that the newest heartbeat lists and that are not known as it
// lists them.
func (p *process) untold() int {
	if p.beat == nil {
		return 0
	}
	untold := 0
	for id, revision := range p.beat.lists {
		w, known := p.waits[id]
		if known && w.Revision < revision || !known && !p.closed.has(id) {
			untold++
		}
	}
	return untold
}

func newProcess(id report.Process, now time.Time) *process {
	return &process{
		id: id, firstHeard: now, lastHeard: now, interval: defaultInterval,
		waits: make(map[int64]*Wait), closed: newTombstones[int64](maxClosed),
		tasks: make(map[report.TaskID]struct{}), running: make(map[report.TaskID]struct{}), gaugesFrom: -1,
	}
}

// process finds or makes the record of the process of a report; nil if there is no room.
func (t *Table) process(r *report.Report, now time.Time) *process {
	id := r.Process
	if p, ok := t.processes[id]; ok {
		return p
	}
	p := newProcess(id, now)
	p.clock = t.met(id)
	began := startOf(r, now)
	newest, seen := t.newest[instanceOf(id)]
	if seen && began.before(newest) {
		// A late word from a start that is over: it is counted and no more.
		t.processes[id] = p
		t.retire(p, Replaced)
		return p
	}
	if seen {
		before := report.Process{Service: id.Service, Instance: id.Instance, Epoch: newest.epoch}
		if old := t.processes[before]; old.status == Reporting {
			t.endProcess(old, Replaced)
		}
	}
	if t.reporting >= t.limits.Processes {
		return nil
	}
	t.processes[id] = p
	t.newest[instanceOf(id)] = began
	t.reporting++
	t.emit(Event{Kind: ProcessFound, Process: id, At: now})
	return p
}

// heard notes a sign of life that is newer than all before. A process thought
// lost is back with it.
func (t *Table) heard(p *process, now time.Time) {
	p.lastHeard, p.deaf = later(p.lastHeard, now), t.listening.deaf
	newest, seen := t.newest[instanceOf(p.id)]
	if p.status != Lost || t.reporting >= t.limits.Processes || seen && newest.epoch != p.id.Epoch {
		return
	}
	for i, other := range t.gone {
		if other == p {
			t.gone = append(t.gone[:i], t.gone[i+1:]...)
			t.goneNames -= len(p.books.byName)
			break
		}
	}
	p.status = Reporting
	t.mark(p)
	t.reporting++
	t.emit(Event{Kind: ProcessFound, Process: p.id, At: now})
}

// endProcess ends a process and everything in it.
func (t *Table) endProcess(p *process, status Status) {
	state, reason := taskspan.Lost, ByLoss
	switch status {
	case Goodbye:
		// They end with it, as its context ends.
		state, reason = taskspan.Cancelled, ByGoodbye
	case Replaced:
		reason = ByReplacement
	}
	for id := range p.tasks {
		task := t.tasks[id]
		t.endTask(task, state, reason, task.Seen())
	}
	t.reporting--
	t.retire(p, status)
	t.writeOff(p)
	t.emit(Event{Kind: ProcessEnded, Process: p.id, Status: status, At: p.lastHeard})
}

// retire keeps the counts of an ended process and frees the rest. The oldest
// record makes room: should that process come back, it is taken over.
func (t *Table) retire(p *process, status Status) {
	p.status = status
	t.mark(p)
	if p.beat != nil {
		// Its base still says what is old; its list has no more use.
		t.listed -= len(p.beat.lists)
		p.beat.lists = nil
	}
	for _, part := range p.pending {
		t.listed -= len(part.lists)
	}
	p.pending = nil
	p.closed = newTombstones[int64](maxClosed)
	t.gone = append(t.gone, p)
	t.goneNames += len(p.books.byName)
	t.forget(p.lastHeard)
}

// heartbeat merges a part of a heartbeat.
func (t *Table) heartbeat(p *process, r *report.Report, now time.Time) {
	h := r.Heartbeat
	if h.Part == 1 {
		p.clock.heartbeat(r.Observed, now, h.Interval)
		t.count(p, r, now)
	}
	if p.status != Reporting {
		t.writeOff(p)
		return
	}
	if h.Final {
		t.endProcess(p, Goodbye)
		return
	}
	if h.Part == 1 {
		lostBefore := p.sequences.lost
		p.sequences.settle(min(p.marks[0], p.sequences.newest))
		t.counters.LostSpans += p.sequences.lost - lostBefore
		copy(p.marks[:], p.marks[1:])
		p.marks[len(p.marks)-1] = p.sequences.newest
		p.losses.heartbeat(&p.sequences)
		if leaky := p.losses.steady() > 0; leaky != p.leaky {
			p.leaky = leaky
			if leaky {
				t.leaks = append(t.leaks, p.id)
			}
		}
	}
	b := t.assemble(p, r)
	if b == nil {
		return
	}
	before := p.beat
	if before != nil {
		t.listed -= len(before.lists)
	}
	p.beat = b
	if before != nil && b.observed.Before(before.observed) {
		t.setBack(p, b, now)
	}
	for _, w := range p.waits {
		rev, listed := b.revision(w.ID)
		if !listed && b.newer(w.Sequence, w.Last) {
			// It needs no tombstone: the heartbeat refuses older reports, too.
			t.closeWait(p, w, ByHeartbeat, b.observed)
			continue
		}
		w.confirm(b, rev, listed)
	}
	if len(p.waits) > 0 {
		t.emit(Event{Kind: WaitsConfirmed, Process: p.id, At: b.observed})
	}
}
