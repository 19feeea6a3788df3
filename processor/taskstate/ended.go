package taskstate

import (
	"slices"
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// interest is how much an ended task is worth keeping. The least interesting is
// evicted first, and of equals the oldest.
type interest uint8

const (
	interestCompleted interest = iota
	interestCancelled
	interestFailed
	interestStuck // it was reported: it had been stuck, or ran for long
	interestLost
	interests
)

// endedTask is the record of an ended task. Records are reused, so the ones that
// plain spans leave cost no allocation.
type endedTask struct {
	prev, next *endedTask
	// older and newer link the records that have events; both are nil otherwise.
	older, newer *endedTask
	stats        *taskStatistics // says service and name
	reported     *reportedEnd    // what was reported of it, if anything
	events       []view.Event
	cut          int
	id           report.TaskID
	parent       [8]byte
	start, end   int64 // unix nanoseconds
	added        int64 // the same, in our clock
	blocked      time.Duration
	interest     interest
	state        endState
}

// reportedEnd is what is known of the end of a task that was live.
type reportedEnd struct {
	task   *fleet.Task
	state  taskspan.State
	reason fleet.Reason
}

// endedTasks keeps ended tasks in the room that live ones leave.
type endedTasks struct {
	limit int

	mu   sync.Mutex // guards all below
	live int        // tasks that are live now
	size int
	// lists are rings with a sentinel, oldest first, by interest.
	lists [interests]endedTask
	// histories are rings of those that have events, in the same order.
	histories [interests]endedTask
	free      *endedTask // records to reuse, linked by next
	// evicted counts records removed before their time, dropped those that found
	// no room at all.
	evicted, dropped int64
	events           eventBudget
}

// eventBudget bounds the events of all tasks. Those of live tasks are counted
// here, too, so it has its own place under the lock of endedTasks.
type eventBudget struct {
	limit   int
	kept    int
	evicted int64 // with the history of a task that was less interesting
	refused int64 // no room, or too many of one task
}

func newEndedTasks(limit, events int) *endedTasks {
	e := &endedTasks{limit: limit, events: eventBudget{limit: events}}
	for i := range e.lists {
		e.lists[i].prev, e.lists[i].next = &e.lists[i], &e.lists[i]
		e.histories[i].older, e.histories[i].newer = &e.histories[i], &e.histories[i]
	}
	return e
}

// setLive says how many live tasks there are; ended ones give way to them.
func (e *endedTasks) setLive(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live = n
	for e.size > 0 && e.live+e.size > e.limit {
		e.evict()
	}
}

// addSpans records the tasks of a batch.
func (e *endedTasks) addSpans(tasks []taskSpan, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range tasks {
		t := &tasks[i]
		if t.stats == nil {
			continue // it was live, and has been recorded as such
		}
		rec := e.record(interestOf(t.state))
		if rec == nil {
			continue
		}
		rec.id, rec.parent, rec.stats, rec.state = t.id, t.parent, t.stats, t.state
		rec.start, rec.end, rec.added, rec.blocked = t.start, t.end, now.UnixNano(), t.blocked
		if t.events != nil {
			e.events.refused += int64(t.events.cut)
			rec.events, rec.cut = e.keep(nil, t.events.kept, t.events.cut)
			e.linkEvents(rec)
		}
	}
}

// addReported records a task that had been live, with the events of its life,
// which are already in the budget.
func (e *endedTasks) addReported(ev fleet.Event, stats *taskStatistics, history *history, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	class := interestStuck
	if ev.State == taskspan.Lost {
		class = interestLost
	}
	rec := e.record(class)
	if rec == nil {
		e.events.kept -= len(history.events)
		return
	}
	rec.id, rec.parent, rec.stats, rec.state = ev.Task.ID, ev.Task.ParentSpan, stats, endStateOf(ev.State)
	rec.start, rec.end, rec.added = ev.Task.Start.UnixNano(), ev.At.UnixNano(), now.UnixNano()
	rec.reported = &reportedEnd{ev.Task, ev.State, ev.Reason}
	rec.blocked = history.blocked
	rec.events, rec.cut = history.events, history.cut
	e.linkEvents(rec)
}

// forget gives back what the events of a history take.
func (e *endedTasks) forget(h *history) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events.kept -= len(h.events)
}

func interestOf(s endState) interest {
	switch s {
	case failed:
		return interestFailed
	case cancelled:
		return interestCancelled
	case lost:
		return interestLost
	default:
		return interestCompleted
	}
}

// record returns an empty record in the list of class, or nil if live tasks and
// more interesting ones fill the table.
func (e *endedTasks) record(class interest) *endedTask {
	if e.live+e.size >= e.limit {
		if e.least() > class {
			e.dropped++
			return nil
		}
		e.evict()
	}
	rec := e.free
	if rec == nil {
		rec = &endedTask{}
	} else {
		e.free = rec.next
	}
	list := &e.lists[class]
	rec.interest = class
	rec.prev, rec.next = list.prev, list
	rec.prev.next, list.prev = rec, rec
	e.size++
	return rec
}

// least is the class of the least interesting record, interests if there is none.
func (e *endedTasks) least() interest {
	for i := range e.lists {
		if e.lists[i].next != &e.lists[i] {
			return interest(i)
		}
	}
	return interests
}

func (e *endedTasks) evict() {
	e.remove(e.lists[e.least()].next)
	e.evicted++
}

func (e *endedTasks) remove(rec *endedTask) {
	rec.prev.next, rec.next.prev = rec.next, rec.prev
	e.events.kept -= len(rec.events)
	e.unlinkEvents(rec)
	*rec = endedTask{next: e.free}
	e.free = rec
	e.size--
}

// expire removes what ended more than retention ago. That is its time, and no
// eviction.
func (e *endedTasks) expire(now time.Time, retention time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.lists {
		list := &e.lists[i]
		for list.next != list && now.UnixNano()-list.next.added >= int64(retention) {
			e.remove(list.next)
		}
	}
}

// note adds an event to the history of a live task. Of a long history the newer
// half is kept.
func (e *endedTasks) note(h *history, ev view.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(h.events) >= maxTaskEvents {
		half := len(h.events) / 2
		h.events = slices.Clone(h.events[half:])
		h.cut += half
		e.events.kept -= half
		e.events.refused += int64(half)
	}
	h.events, h.cut = e.keep(h.events, []view.Event{ev}, h.cut)
}

// keep appends to a history as far as there is room; at the limit the histories
// of the least interesting ended tasks go first. What is kept is never changed in
// place: readers hold it.
func (e *endedTasks) keep(have, more []view.Event, cut int) ([]view.Event, int) {
	room := min(len(more), maxTaskEvents-len(have))
	for e.events.kept+room > e.events.limit {
		if !e.evictEvents() {
			room = max(0, e.events.limit-e.events.kept)
			break
		}
	}
	e.events.kept += room
	e.events.refused += int64(len(more) - room)
	return append(have, more[:room]...), cut + len(more) - room
}

// evictEvents drops the history of the least interesting task that has one.
func (e *endedTasks) evictEvents() bool {
	for i := range e.histories {
		if rec := e.histories[i].newer; rec != &e.histories[i] {
			e.events.kept -= len(rec.events)
			e.events.evicted += int64(len(rec.events))
			rec.cut += len(rec.events)
			rec.events = nil
			e.unlinkEvents(rec)
			return true
		}
	}
	return false
}

func (e *endedTasks) linkEvents(rec *endedTask) {
	if len(rec.events) == 0 {
		return
	}
	list := &e.histories[rec.interest]
	rec.older, rec.newer = list.older, list
	rec.older.newer, list.older = rec, rec
}

func (e *endedTasks) unlinkEvents(rec *endedTask) {
	if rec.older != nil {
		rec.older.newer, rec.newer.older = rec.newer, rec.older
		rec.older, rec.newer = nil, nil
	}
}
