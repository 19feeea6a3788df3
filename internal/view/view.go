// Package view is what components of async-inspect show of their state to the
// inspector: own types, and an interface whose methods copy under short locks, so
// that a reader never holds up the pipeline. Nothing in here is shared with the
// component that filled it.
package view

import (
	"time"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/histogram"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Reader reads the state of one task_state processor. Each answer is consistent
// in itself: it was all true at one instant.
type Reader interface {
	// Summary returns totals and how full the tables are.
	Summary() Summary
	// Processes returns the processes that match, sorted by service, instance and
	// epoch.
	Processes(ProcessQuery) ([]Process, int)
	// Tasks returns one page of the tasks that match, without their events, and how
	// many match: those that are stuck for longest first, then the running ones,
	// then the ended ones, the newest of them first.
	Tasks(TaskQuery) ([]Task, int)
	// Task returns a task with its waits and events.
	Task(report.TaskID) (Task, bool)
	// Statistics returns the statistics, sorted by service and name, or service,
	// kind and resource. Here it is each series that is consistent in itself: they
	// are copied a few at a time, for every batch of spans needs their lock.
	Statistics() Statistics
	// Coverage says which processes of the SDK it hears, and which it does not.
	Coverage() Coverage
}

// Coverage says what a component hears of the processes of the SDK.
type Coverage struct {
	// Since is when the component started to hear.
	Since time.Time
	// Reports counts those that the component has understood.
	Reports int64
	// Elsewhere says that reports are meant to go to another collector.
	Elsewhere bool
	// TurnedAway is when a report was last refused because its process found no room;
	// the zero time: never.
	TurnedAway time.Time
	// Unreported are processes whose spans arrive while none of their reports do.
	Unreported []report.Process
}

// Registrar is implemented by the extension that shows the state. A component
// looks for it among the host's extensions when it starts, and calls remove when
// it stops.
type Registrar interface {
	RegisterTaskState(id string, r Reader) (remove func())
}

// Summary is the state in numbers.
type Summary struct {
	Live      map[taskspan.State]int64   // now
	Started   float64                    // since the start of the collector
	Ended     map[taskspan.State]float64 // since the start of the collector
	Processes map[fleet.Status]int
	Tables    []Table
	Reports   map[taskspan.ReportKind]int64
	Dropped   map[report.Drop]int64
	Fleet     fleet.Counters
}

// Table says how full a bounded table is.
type Table struct {
	Name  string
	Size  int
	Limit int
	// Setting is the field of the configuration that sets the limit. It is empty if it
	// does no harm when the table is full.
	Setting string
}

// NearlyFull reports whether a table is more than nine tenths full.
func (t Table) NearlyFull() bool { return t.Size*10 > t.Limit*9 }

// ProcessQuery selects processes; zero fields select all.
type ProcessQuery struct {
	Service string
	Gone    bool // also those that have ended
	Offset  int
	Limit   int // 0: no limit
}

// Process is a process as the fleet knows it.
type Process = fleet.Process

// TaskQuery selects tasks; zero fields select all.
type TaskQuery struct {
	Service string
	Name    string
	States  []taskspan.State
	Trace   [16]byte
	Live    bool // only those that have not ended
	Offset  int
	Limit   int // 0: no limit
}

// Task is a live or ended task.
type Task struct {
	ID           report.TaskID
	Service      string
	Instance     string // empty if its process is not known
	Epoch        int64
	Name         string
	State        taskspan.State
	Deadlock     taskspan.Confidence // of the standing deadlock that it is in; "" if no detector says so
	Reason       string              // why it ended, if that is known from more than its span
	Start        time.Time
	StateSince   time.Time
	End          time.Time // zero while it lives
	LastSeen     time.Time
	ClockAhead   time.Duration // of its process: to be taken off its times
	ParentSpan   [8]byte
	RemoteParent report.TaskID
	Holds        []report.Hold
	Thread       int64
	Place        report.Place
	Blocked      time.Duration // in all its waits; only of ended tasks
	Waits        []*fleet.Wait // open ones
	Events       []Event       // in the order of their times
	EventsCut    int           // events that found no room
}

// Live reports whether the task has not ended.
func (t *Task) Live() bool { return t.End.IsZero() }

// Event is one entry in the history of a task.
type Event struct {
	At     time.Time
	Name   string // a state, or the name of an inspection point
	Detail string
}

// Statistics are totals since the start of the collector. Counts of processes
// that send heartbeats are exact and those of others adjusted by their sampling
// threshold.
type Statistics struct {
	Tasks    []TaskStatistics
	Waits    []WaitStatistics
	Services []ServiceStatistics
	// Restored says that totals from before the start of the collector are among them.
	Restored bool
}

// ServiceStatistics are what the heartbeats of the processes of one service say
// beside the counts of tasks.
type ServiceStatistics struct {
	Service string
	Events  int64 // inspection points
	// ProcessesLost counts processes that fell silent without a goodbye, also those that
	// came back. Unlike the others it is never restored: it begins with the collector.
	ProcessesLost int64
	Dropped       map[string]int64 // by the SDK, by reason
}

// TaskStatistics are about the tasks of one name in one service.
type TaskStatistics struct {
	Service string
	Name    string
	Started float64
	Ended   map[taskspan.State]float64
	Running int64
	Blocked int64
	// Durations of ended tasks: exact if heartbeats carry them, else of the tasks whose
	// spans came, weighted.
	Durations histogram.Histogram
	BlockedIn float64 // seconds that they spent in waits, weighted
}

// WaitStatistics are about the waits of one kind for one resource in one service.
type WaitStatistics struct {
	Service  string
	Kind     taskspan.Kind
	Resource string
	Open     int64               // stuck waits now
	Longest  time.Duration       // how long the longest of them has lasted
	Stuck    histogram.Histogram // ended waits that had been reported: exact
	Sampled  histogram.Histogram // wait spans of sampled tasks, weighted
}

// DeadlockReader reads the state of one deadlock_detector processor.
type DeadlockReader interface {
	// Deadlocks returns those that stand, the oldest first, and those that are over,
	// the newest first.
	Deadlocks() (standing, past []*deadlock.Deadlock)
	// Victims returns the tasks that are stuck behind any standing deadlock and part of
	// none. The map is immutable.
	Victims() map[report.TaskID]struct{}
	// Inversions returns the potential deadlocks, the newest first.
	Inversions() []*deadlock.Inversion
	// Graph returns who waits for whom, at most limit edges, and how many waits there
	// are.
	Graph(limit int) (edges []deadlock.Edge, waits int)
	// DetectorTotals counts what has been found since the start of the collector.
	DetectorTotals() DetectorTotals
	// DetectorTables says how full the bounded tables are.
	DetectorTables() []Table
	// DetectorProcesses returns all processes that are known, in no order.
	DetectorProcesses() []Process
	// DetectorCoverage says which processes of the SDK it hears, and which it does not.
	DetectorCoverage() Coverage
}

// DetectorTotals are counts since the start of the collector. Every kind,
// confidence and ending is there, also with 0.
type DetectorTotals struct {
	Found      []FoundTotal
	Resolved   map[deadlock.Ending]int64
	Inversions int64
	Dropped    map[report.Drop]int64 // report spans
}

// FoundTotal counts found deadlocks.
type FoundTotal struct {
	Kind       deadlock.Kind
	Confidence deadlock.Confidence
	Count      int64
}

// DeadlockRegistrar is implemented by the extension that shows deadlocks; see
// [Registrar].
type DeadlockRegistrar interface {
	RegisterDeadlockDetector(id string, r DeadlockReader) (remove func())
}
