package report

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Limits of the decoder, beside those in taskspan that both sides know.
const (
	// MaxClockError is how far the time of an observation may be from what the clock of
	// its process shows.
	MaxClockError = 24 * time.Hour
	// MaxParts bounds the parts of one heartbeat: 65,536 waits.
	MaxParts = 16
	// MaxHolds bounds the external resources that one task is said to hold.
	MaxHolds = 64
	// MaxDropReasons bounds the reasons in async_inspect.dropped.
	MaxDropReasons = 64
	// maxNameElements bounds the elements of tasks.by_name that are read.
	maxNameElements = 4 * taskspan.MaxNames
	// maxSeconds bounds a sum of durations as maxCount does counts.
	maxSeconds = maxCount
	// maxCount is above any honest counter, and sums of it do not overflow.
	maxCount = 1 << 50
)

// Process names one start of one process. It is comparable.
type Process struct {
	Service  string
	Instance string
	Epoch    int64 // start in unix nanoseconds, as the process says
}

// TaskID is the span context of a task's span. The zero value is no task.
type TaskID struct {
	Trace [16]byte
	Span  [8]byte
}

// IsZero reports whether id names no task.
func (id TaskID) IsZero() bool { return id == TaskID{} }

// String is "<trace>/<span>" in hex, as remote_parent is written.
func (id TaskID) String() string {
	return hex.EncodeToString(id.Trace[:]) + "/" + hex.EncodeToString(id.Span[:])
}

// RemoteCall reads the client span that a resource is named for.
func RemoteCall(resource string) (id TaskID, ok bool) {
	text, ok := strings.CutPrefix(resource, taskspan.ResourceSpan)
	if !ok || len(text) != 2*(len(id.Trace)+len(id.Span))+1 {
		return id, false
	}
	_, errTrace := hex.Decode(id.Trace[:], []byte(text[:2*len(id.Trace)]))
	_, errSpan := hex.Decode(id.Span[:], []byte(text[2*len(id.Trace)+1:]))
	return id, errTrace == nil && errSpan == nil
}

// Place is a place in the source of a process.
type Place struct {
	Function string
	File     string
	Line     int
	Stack    string // only if the process takes backtraces
}

// Caller writes the place as an element of taskspan.WaitCallers.
func (p Place) Caller() string { return p.Function + " " + p.File + ":" + strconv.Itoa(p.Line) }

// IsZero reports whether the place is unknown.
func (p Place) IsZero() bool { return p == Place{} }

// Report is one decoded report span. A wait report sets Task and Wait, every
// other kind exactly one of the pointers.
type Report struct {
	Process  Process
	Sequence int64 // of this span among all report spans of the process
	// Observed is when the process saw this, in its own clock.
	Observed time.Time
	// Shortened says that something was cut to its limit.
	Shortened bool

	Task      *Task
	Wait      *Wait
	Heartbeat *Heartbeat
	LockOrder *LockOrder
}

// Kind returns the kind of the report.
func (r *Report) Kind() taskspan.ReportKind {
	switch {
	case r.Wait != nil:
		return taskspan.ReportWait
	case r.Task != nil:
		return taskspan.ReportTask
	case r.Heartbeat != nil:
		return taskspan.ReportHeartbeat
	default:
		return taskspan.ReportLockOrder
	}
}

// Task is what a wait or task report says about its task.
type Task struct {
	ID           TaskID
	Name         string
	State        taskspan.State
	Start        time.Time
	ParentSpan   [8]byte
	RemoteParent TaskID // zero: no remote ancestor known
	Holds        []Hold // external resources
	Thread       int64
	Place        Place // where it was started; only task reports say it
	// Deadlock is how sure a detector on the way is that the task is in a deadlock; ""
	// if none says so.
	Deadlock taskspan.Confidence
}

// Hold is an external resource that a task holds.
type Hold struct {
	Resource string
	// Ends is when the hold ends by itself, by the process's clock; zero: it does not, or
	// that is not declared.
	Ends time.Time
	// UntilReleased says that only its release ends the hold.
	UntilReleased bool
}

// Declared reports whether it is known what ends the hold.
func (h Hold) Declared() bool { return h.UntilReleased || !h.Ends.IsZero() }

// Wait is one stuck wait, whole in itself.
type Wait struct {
	ID           int64
	Revision     int64
	Open         bool
	Kind         taskspan.Kind
	ResourceID   string
	ResourceName string
	Since        time.Time
	Need         int64 // weight of the holders that must let go; 0: all
	// Complete says that nobody but Holders can end the wait. It is false when
	// anything about the holders is in doubt.
	Complete bool
	Deadline time.Time // zero: none
	Inferred bool
	// Cancellable says that the wait ends if a caller gives up.
	Cancellable bool
	Holders     []Holder
	Place       Place   // where it waits
	Callers     []Place // who called Place, the nearest first, at most taskspan.MaxCallers
}

// Holder is a task that holds what is waited for.
type Holder struct {
	Task       TaskID
	Generation int64
	Since      time.Time // zero: unknown
	Weight     int64
	Place      Place
	TaskName   string // as the process knows it; empty: not told
	// Ended says that who took it has ended without releasing it.
	Ended bool
}

// Counts are tasks by what became of them, since the start of the process.
type Counts struct {
	Started, Completed, Failed, Cancelled int64
}

// NameCounts are the counts of the tasks of one name, and how many are live now.
type NameCounts struct {
	Counts
	Running, Blocked int64
	Durations        Durations
}

// Durations is a histogram of how long ended tasks took. The zero value is empty, as
// from a process that does not report durations.
type Durations struct {
	Seconds float64
	Buckets [taskspan.DurationBuckets]int64 // not cumulative
}

// Add adds the counts of another one.
func (n *NameCounts) Add(o NameCounts) {
	n.Counts.Add(o.Counts)
	n.Running += o.Running
	n.Blocked += o.Blocked
	n.Durations.Add(&o.Durations)
}

// Add adds other counts.
func (c *Counts) Add(o Counts) {
	c.Started += o.Started
	c.Completed += o.Completed
	c.Failed += o.Failed
	c.Cancelled += o.Cancelled
}

// Add adds what another one has counted.
func (d *Durations) Add(o *Durations) {
	d.Seconds += o.Seconds
	for i, in := range o.Buckets {
		d.Buckets[i] += in
	}
}

// Heartbeat is one part of a heartbeat: a lease on the waits that it lists, and
// the counters of the process.
type Heartbeat struct {
	Interval time.Duration
	Final    bool
	// Acknowledged says whether an earlier heartbeat of the process has been
	// acknowledged; nil: the process does not say.
	Acknowledged *bool
	Part         int // 1-based
	Parts        int
	WaitIDs      []int64
	Revisions    []int64 // as long as WaitIDs
	Running      int64
	Blocked      int64
	Counts       Counts
	ByName       map[string]NameCounts // nil: the process does not tell names apart
	Events       int64
	Dropped      map[string]int64 // by reason
	Overhead     float64
	Rate         float64 // sampling rate in force
	Memory       string  // JSON
}

// LockOrder says that one class of lock was held while another was taken.
type LockOrder struct {
	Task  TaskID
	Held  string
	Taken string
	// HeldName and TakenName are for people; empty: the classes are.
	HeldName  string
	TakenName string
	Recursive bool // the two are one lock, and not two of a class
	Guards    []string
	// Mode is "read" or "write" of the lock that was held, a slash, and the same of
	// the one that was taken; empty: both write.
	Mode      string
	HeldPlace Place // where Held was taken
	Place     Place // where Taken was being taken
}

// Reads says which of the two locks were read locks.
func (o *LockOrder) Reads() (held, taken bool) {
	h, t, _ := strings.Cut(o.Mode, "/")
	return h == "read", t == "read"
}
