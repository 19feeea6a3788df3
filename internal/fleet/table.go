package fleet

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Table merges reports. It is not safe for concurrent use.
type Table struct {
	limits   Limits
	counters Counters
	// emit is called for every change, in order. It must not call the table.
	emit func(Event)

	processes map[report.Process]*process
	newest    map[instance]start // the newest of each instance that has a record
	reporting int
	gone      []*process       // records of ended processes, in the order of their end
	goneNames int              // task names in them
	older     []report.Process // older starts that run on, since the last TakeOlder
	leaks     []report.Process // that began to miss reports since the last TakeLeaks

	// strangers are processes of which everything has been refused for its time.
	strangers map[report.Process]*clock

	tasks map[report.TaskID]*Task
	slots []*Task // live tasks by their slots; nil: free
	free  []int   // slots of tasks that have ended
	// ended remembers tasks that a span or a report has ended.
	ended *tombstones[report.TaskID]

	waits  int // open ones
	edges  int // holders of all open waits
	listed int // wait ids in all kept heartbeats
	// Who has most of the waits, of the live tasks, and of those that do not wait.
	byWaits, byTasks, byRunning crowd
	since                       time.Time // see CountSince

	listening listening

	remember bool // see Remember
	changed  []*process
}

// instance is a process without the epoch.
type instance struct{ service, name string }

func instanceOf(p report.Process) instance { return instance{p.Service, p.Instance} }

// NewTable returns an empty table that tells its changes to emit.
func NewTable(limits Limits, emit func(Event)) *Table {
	return &Table{
		limits: limits, emit: emit,
		byWaits:   crowd{of: func(p *process) *ranked { return &p.byWaits }},
		byTasks:   crowd{of: func(p *process) *ranked { return &p.byTasks }},
		byRunning: crowd{of: func(p *process) *ranked { return &p.byRunning }},
		processes: make(map[report.Process]*process), newest: make(map[instance]start),
		tasks: make(map[report.TaskID]*Task), ended: newTombstones[report.TaskID](limits.Tasks),
		listening: listening{step: cmp.Or(limits.Step, defaultStep)},
	}
}

// Apply merges one report that came at now. It returns a reason other than
// [report.Used] if there is no room for its process, or another one has its task.
func (t *Table) Apply(r *report.Report, now time.Time) report.Drop {
	t.listening.heard(now)
	p := t.process(r, now)
	if p == nil {
		return report.DropNewProcess
	}
	lostBefore := p.sequences.lost
	newest, fresh := p.sequences.add(r.Sequence)
	t.counters.LostSpans += p.sequences.lost - lostBefore
	if !fresh {
		t.counters.Duplicates++
		return report.Used
	}
	p.clock.report(now.Sub(r.Observed))
	if newest {
		t.heard(p, now)
	}
	switch {
	case r.Heartbeat != nil:
		t.noteOlder(p, r)
		t.heartbeat(p, r, now)
	case p.status != Reporting:
		// It is over: what comes late may be counted, but opens nothing.
		t.counters.LateReports++
	case r.Task != nil && t.claimed(p, r):
		return report.DropClaimed
	case r.Wait != nil:
		t.wait(p, r, now)
	case r.Task != nil:
		t.task(p, r, now)
	}
	return report.Used
}

// claimed reports whether the task of a report is that of another process, or its wait
// that of another task: who was first keeps it.
func (t *Table) claimed(p *process, r *report.Report) bool {
	if task, known := t.tasks[r.Task.ID]; known && task.Process != p.id {
		return true
	}
	if r.Wait == nil {
		return false
	}
	w, known := p.waits[r.Wait.ID]
	return known && w.Task != r.Task.ID
}

// EndTask ends a task whose own span has come. Unknown tasks are remembered for
// a while, for their reports may come later than their span.
func (t *Table) EndTask(id report.TaskID, state taskspan.State, at, now time.Time) {
	t.bury(id, now)
	if task, ok := t.tasks[id]; ok {
		t.endTask(task, state, ByTask, at)
	}
}

// bury leaves a tombstone for a task, for three heartbeats of any process.
func (t *Table) bury(id report.TaskID, now time.Time) {
	t.ended.expire(now)
	if t.ended.add(id, now.Add(MissedHeartbeats*defaultInterval), t.limits.Tasks) {
		t.counters.TombstonesEarly++
	}
}

// Judge notes the word of a detector: how sure it is, at a time of its clock, that a live
// task is in a deadlock, or "" if the task is in none any more. Of words that come out of
// order the newest holds. It holds for as long as the task has open waits.
func (t *Table) Judge(id report.TaskID, confidence taskspan.Confidence, at, now time.Time) {
	old, ok := t.tasks[id]
	if !ok || len(old.Waits) == 0 || at.Before(old.judged) || at.Equal(old.judged) && old.found == confidence {
		return
	}
	task := *old
	task.found, task.judged = confidence, at
	if confidence == "" {
		// Nor does a report that was marked before.
		task.Task.Deadlock = ""
		if task.State == taskspan.Deadlocked {
			task.State = taskspan.Blocked
		}
	}
	t.change(t.processes[old.Process], old, &task, now.Add(old.Ahead))
}

// lease is how long after its last sign of life a process is lost.
func (t *Table) lease(p *process) time.Duration {
	if t.limits.Silence > 0 {
		return t.limits.Silence
	}
	return p.lease()
}

// Advance does what time does: processes that missed their heartbeats are lost,
// silent tasks are given up, tombstones crumble.
func (t *Table) Advance(now time.Time) {
	t.ended.expire(now)
	t.forget(now)
	t.listening.advance(now)
	var intervals secondShortest
	for _, p := range t.processes {
		if p.status != Reporting {
			continue
		}
		intervals.add(p.interval)
		p.closed.expire(now)
		if t.silent(p, now) > t.lease(p) {
			t.endProcess(p, Lost)
		}
	}
	t.listening.expect(intervals.second)
	deaf := t.listening.until(now)
	for _, task := range t.tasks {
		if len(task.Waits) == 0 && now.Sub(task.HeardAt)-(deaf-task.deaf) > task.patience() {
			t.endTask(task, taskspan.Running, ByQuiet, task.LastSeen)
		}
	}
}

// patience is how long a task without open waits may say nothing.
func (t *Task) patience() time.Duration {
	if t.Long {
		return quietAfter
	}
	return quietAfterWait
}

// task merges a task report.
func (t *Table) task(p *process, r *report.Report, now time.Time) {
	if r.Task.State.Ended() {
		known, live := t.tasks[r.Task.ID]
		t.bury(r.Task.ID, now)
		if live {
			t.endTask(known, r.Task.State, ByReport, r.Observed)
		}
		return
	}
	t.mergeTask(p, r, now)
}

// mergeTask merges what a report says about its task and returns the live task,
// or nil if it has ended or finds no room.
func (t *Table) mergeTask(p *process, r *report.Report, now time.Time) *Task {
	if t.ended.has(r.Task.ID) {
		return nil
	}
	old, known := t.tasks[r.Task.ID]
	if !known {
		if !t.roomForTask(p, r.Wait != nil && r.Wait.Open) {
			return nil
		}
		task := &Task{
			Task: *r.Task, Process: p.id, Slot: t.slot(), Sequence: r.Sequence,
			FirstSeen: r.Observed, LastSeen: r.Observed, HeardAt: now, StateSince: r.Task.Start,
			Long: r.Wait == nil, Ahead: p.clock.shift(), deaf: t.listening.deaf,
		}
		t.put(p, task)
		t.emit(Event{Kind: TaskFound, Process: p.id, Task: task, At: r.Observed})
		return task
	}
	task := *old
	if r.Sequence > old.Sequence {
		task.Task, task.Sequence = *r.Task, r.Sequence
		if task.Place.IsZero() {
			task.Place = old.Place
		}
	}
	task.HeardAt, task.Ahead, task.deaf = now, p.clock.shift(), t.listening.deaf
	task.Long = task.Long || r.Wait == nil
	task.FirstSeen = earlier(task.FirstSeen, r.Observed)
	task.LastSeen = later(task.LastSeen, r.Observed)
	t.change(p, old, &task, r.Observed)
	return &task
}

// slot returns a free slot.
func (t *Table) slot() int {
	if n := len(t.free); n > 0 {
		s := t.free[n-1]
		t.free = t.free[:n-1]
		return s
	}
	t.slots = append(t.slots, nil)
	return len(t.slots) - 1
}

// Slots is above every slot of a live task, and at most as many as there may be tasks.
func (t *Table) Slots() int { return len(t.slots) }

// InSlot returns the live task that has a slot, or nil.
func (t *Table) InSlot(slot int) *Task { return t.slots[slot] }

func (t *Table) put(p *process, task *Task) {
	t.tasks[task.ID] = task
	t.slots[task.Slot] = task
	p.tasks[task.ID] = struct{}{}
	t.byTasks.setTo(p, len(p.tasks))
	if len(task.Waits) == 0 {
		p.running[task.ID] = struct{}{}
	} else {
		delete(p.running, task.ID)
	}
	t.byRunning.setTo(p, len(p.running))
}

// change replaces a task and tells it if its state changed.
func (t *Table) change(p *process, old, task *Task, at time.Time) {
	was, is := old.Live(), task.Live()
	if was != is {
		task.StateSince = at
		if is == taskspan.Blocked && len(task.Waits) > 0 {
			task.StateSince = task.Waits[0].Since
		}
	}
	t.put(p, task)
	if was != is {
		t.emit(Event{Kind: TaskChanged, Process: p.id, Task: task, State: is, At: task.StateSince})
	}
}

// endTask closes a live task and its waits. The event shows it as it was.
func (t *Table) endTask(task *Task, state taskspan.State, reason Reason, at time.Time) {
	p := t.processes[task.Process]
	why := reason
	if reason == ByReport {
		why = ByTask
	}
	delete(t.tasks, task.ID)
	delete(p.tasks, task.ID)
	delete(p.running, task.ID)
	t.byTasks.setTo(p, len(p.tasks))
	t.byRunning.setTo(p, len(p.running))
	t.slots[task.Slot] = nil
	t.free = append(t.free, task.Slot)
	for _, w := range task.Waits {
		t.closeWait(p, w, why, at)
	}
	t.emit(Event{Kind: TaskEnded, Process: p.id, Task: task, State: state, Reason: reason, At: at})
}

// Tasks appends the live tasks to dst, in no order. They are immutable.
func (t *Table) Tasks(dst []*Task) []*Task {
	dst = slices.Grow(dst, len(t.tasks))
	for _, task := range t.tasks {
		dst = append(dst, task)
	}
	return dst
}

// Task returns a live task, or nil.
func (t *Table) Task(id report.TaskID) *Task { return t.tasks[id] }

// Heard says when a process was last heard, and how long it may then be silent while we
// listen. It is a [report.Listener].
func (t *Table) Heard(id report.Process) (last time.Time, lease time.Duration) {
	p, ok := t.processes[id]
	if !ok {
		return time.Time{}, 0
	}
	return p.lastHeard, t.lease(p)
}

// TakeLeaks returns the processes whose reports have begun to be missing steadily since
// the last call.
func (t *Table) TakeLeaks() []Process {
	var leaks []Process
	for _, id := range t.leaks {
		if p, ok := t.processes[id]; ok && p.leaky {
			leaks = append(leaks, p.copy())
		}
	}
	t.leaks = nil
	return leaks
}

// Processes appends copies of the processes to dst, in no order.
func (t *Table) Processes(dst []Process) []Process {
	dst = slices.Grow(dst, len(t.processes))
	for _, p := range t.processes {
		dst = append(dst, p.copy())
	}
	return dst
}

// Services returns the services that have a process which reports.
func (t *Table) Services() map[string]bool {
	services := make(map[string]bool)
	for _, p := range t.processes {
		if p.status == Reporting {
			services[p.id.Service] = true
		}
	}
	return services
}

// Edges returns how many holders all open waits have together, and what Charge has added.
func (t *Table) Edges() int { return t.edges }

// EdgeRoom returns how many more there may be.
func (t *Table) EdgeRoom() int {
	if t.limits.Edges == 0 {
		return math.MaxInt32
	}
	return t.limits.Edges - t.edges
}

// Charge counts n edges that the owner of the table keeps beside it; below 0: they are
// gone.
func (t *Table) Charge(n int) { t.edges += n }

// Sizes says how full the table is: processes that report, records of those that
// are gone, live tasks, open waits.
func (t *Table) Sizes() (reporting, gone, tasks, waits int) {
	return t.reporting, len(t.gone), len(t.tasks), t.waits
}

// Counters returns what the table has seen and refused.
func (t *Table) Counters() Counters { return t.counters }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
