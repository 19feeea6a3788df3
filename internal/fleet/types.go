package fleet

import (
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Limits bound a Table. The first three must be positive.
type Limits struct {
	Processes int // reporting ones, and separately the records of those that are gone
	Tasks     int // live tasks
	Waits     int // open waits
	Edges     int // holders of all open waits together; 0: as many as waits have
	// Silence is after how long without a sign of life a process is lost; 0: after
	// three missed heartbeats of its own.
	Silence time.Duration
	// Step is how often Advance is called; 0: once a second. Leases are not charged for
	// time in which it is called later than that and no report comes.
	Step time.Duration
}

const (
	// MissedHeartbeats is how many a process may miss before it is lost.
	MissedHeartbeats = 3
	// defaultInterval stands until the first heartbeat says the true one.
	defaultInterval = 5 * time.Second
	// quietAfter is how long a task without an open wait may say nothing. One that
	// runs longer than long_task (30 s) tells it at least every 30 s, so if it is
	// silent for longer it has ended and was not sampled. A task that has only told
	// of waits is given up after three heartbeats: it is found again if it is long.
	quietAfter     = 90 * time.Second
	quietAfterWait = MissedHeartbeats * defaultInterval
	// maxTaskWaits bounds the open waits of one task. Each change of a task copies the
	// list of its waits, so this bounds what one report costs.
	maxTaskWaits = 1024
	// maxNames bounds the task names of one process over its life.
	maxNames = taskspan.MaxNames + 1
)

// Task is a live task. It is immutable.
type Task struct {
	report.Task
	Process    report.Process
	Slot       int       // a number below Table.Slots that no other live task has
	Sequence   int64     // of the newest report about it
	FirstSeen  time.Time // oldest and newest observation, in the process's clock
	LastSeen   time.Time
	HeardAt    time.Time // when its newest report came, in our clock
	Long       bool      // it has sent a task report: it runs for long
	Waits      []*Wait   // open ones, by id
	StateSince time.Time // since when it is in its state, in the process's clock
	// Ahead is how far that clock is ahead of ours, as Table.Ahead says.
	Ahead time.Duration
	deaf  time.Duration // how long we had not listened when HeardAt was
	// found is how sure a detector was at judged, by its clock, that the task is in a
	// deadlock; "" if it is in none.
	found  taskspan.Confidence
	judged time.Time
}

// Wait is an open wait. It is immutable, except that Confirmed advances.
type Wait struct {
	report.Wait
	Task     report.TaskID
	Process  report.Process
	Sequence int64 // of the newest report about it
	// First and Last bound the observations of this revision: between them the
	// same task waited, and the same holders held, all the time.
	// Invariant: First <= Last <= Confirmed.
	First time.Time
	Last  time.Time
	// listed is when the newest heartbeat was made, in unix nanoseconds, if that lists
	// this revision; 0 otherwise. All copies of a revision share it, so that a heartbeat
	// copies neither waits nor tasks. It is atomic because readers outside of the owner's
	// lock keep waits.
	listed *atomic.Int64
}

// Confirmed is Last, or the newest heartbeat if that lists this revision.
func (w *Wait) Confirmed() time.Time {
	if w.listed == nil {
		return w.Last
	}
	if at := w.listed.Load(); at > w.Last.UnixNano() {
		return time.Unix(0, at).UTC()
	}
	return w.Last
}

// Seen is when the task was last known to live, in its process's clock.
func (t *Task) Seen() time.Time {
	seen := t.LastSeen
	for _, w := range t.Waits {
		seen = later(seen, w.Confirmed())
	}
	return seen
}

// Live is the state of a task that has not ended.
func (t *Task) Live() taskspan.State {
	switch {
	case len(t.Waits) == 0:
		return taskspan.Running
	case t.Deadlock() == taskspan.Certain:
		return taskspan.Deadlocked
	default:
		return taskspan.Blocked
	}
}

// Deadlock is how sure a detector is that the task is in a deadlock; "" if none says so.
// Only a task whose deadlock is certain is deadlocked.
func (t *Task) Deadlock() taskspan.Confidence {
	switch {
	case len(t.Waits) == 0:
		return ""
	case t.State == taskspan.Deadlocked: // marked by a detector on the way
		return taskspan.Certain
	case t.found != "":
		return t.found
	default:
		return t.Task.Deadlock
	}
}

// Status is what the table thinks of a process.
type Status uint8

// The statuses of a process.
const (
	Reporting Status = iota
	Lost             // missed its heartbeats
	Replaced         // the same instance started again
	Goodbye          // said so
)

func (s Status) String() string {
	return [...]string{"reporting", "lost", "replaced", "goodbye"}[s]
}

// Process is a copy of what the table knows about a process.
type Process struct {
	report.Process
	Status     Status
	FirstHeard time.Time // our clock
	LastHeard  time.Time
	Interval   time.Duration
	// Ahead is how far its clock is ahead of ours; below 0: how far it is behind.
	Ahead      time.Duration
	Running    int64
	Blocked    int64
	OpenWaits  int
	LiveTasks  int
	Counts     report.Counts // Cancelled with those that were open at its goodbye
	LostTasks  int64         // that were open when it was lost
	Events     int64
	Dropped    map[string]int64 // never changed once published
	Overhead   float64
	Rate       float64
	Memory     string
	LostSpans  int64 // sequence numbers that never came
	Duplicates int64
	// Untold counts open waits that its newest heartbeat lists and whose reports have not
	// come: the collector has started since, or lost them. They are told again.
	Untold int
	// Missing is the share of its reports that do not arrive, if that has been steady
	// over its last heartbeats; else 0.
	Missing float64
}

// EventKind is what happened.
type EventKind uint8

// The kinds of events.
const (
	ProcessFound     EventKind = iota // first report, or the first after it was lost
	ProcessEnded                      // Status says how
	TaskFound                         // a live task became known
	TaskChanged                       // its state, its waits or what is known about it changed
	TaskEnded                         // State and Reason say how
	WaitOpened                        // a stuck wait became known
	WaitRevised                       // its holders changed
	WaitClosed                        // Reason says how, At when
	WaitsConfirmed                    // waits of the process are known to have stood for longer
	CountsAdvanced                    // Delta is to be added to the totals of Service and Name
	ActivityAdvanced                  // Activity is to be added to the totals of Service
)

// Reason says why a wait or a task ended.
type Reason uint8

// The reasons.
const (
	ByReport      Reason = iota // its process reported the end
	ByHeartbeat                 // a newer heartbeat does not list it
	ByTask                      // its task ended
	ByGoodbye                   // its process said goodbye
	ByLoss                      // its process was lost
	ByReplacement               // its process was replaced by a new start
	ByEviction                  // it was pushed out by a limit
	ByQuiet                     // nothing was heard of it any more
)

func (r Reason) String() string {
	return [...]string{"reported", "heartbeat", "task_ended", "goodbye", "process_lost", "process_replaced", "evicted", "quiet"}[r]
}

// Delta is what a heartbeat adds to the totals of one task name. Counts never
// decrease; Running and Blocked may.
type Delta struct {
	report.NameCounts
	Lost int64
}

// Activity is what a heartbeat adds to the totals of a process that are not about
// tasks. It never decreases.
type Activity struct {
	Events  int64
	Dropped map[string]int64 // by reason; only what has grown
}

// Event says what changed. Task and Wait are set as the kind asks for.
type Event struct {
	Kind    EventKind
	Process report.Process
	Status  Status
	Task    *Task
	Wait    *Wait
	State   taskspan.State // of an ended task
	Reason  Reason
	At      time.Time // in the process's clock
	Name    string
	Delta   Delta
	// Activity is set with ActivityAdvanced.
	Activity Activity
}

// Counters are what a table has seen, done and refused since its start.
type Counters struct {
	Duplicates      int64 // reports that came again
	LateReports     int64 // of processes that were over
	OlderStart      int64 // heartbeats of a start beside a newer one of the instance
	LostSpans       int64 // sequence numbers that never came
	ProcessesGone   int64 // records of ended processes forgotten to make room
	TasksRefused    int64 // live tasks that found no room
	TasksEvicted    int64 // live tasks that made room for those of smaller processes, or for blocked ones
	WaitsRefused    int64 // waits of the process that has most, refused at the limit
	WaitsEvicted    int64 // waits that made room for those of smaller processes
	WaitsOfTask     int64 // waits of a task that had as many as are kept of one
	EdgesRefused    int64 // holders that found no room: their waits count as able to end
	NamesMerged     int64 // task names of one process counted as other
	PartsGivenUp    int64 // heartbeats that never became whole
	TakenOver       int64 // processes that had been counted before by another table
	TombstonesEarly int64 // tombstones dropped before their time
	ClocksForgotten int64 // processes with a wrong clock that were forgotten before it was known
}
