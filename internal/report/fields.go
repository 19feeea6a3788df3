package report

import (
	"encoding/hex"
	"math"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// The attributes whose absence matters.
const (
	hasSequence = 1 << iota
	hasTaskName
	hasTaskState
	hasTaskStart
	hasWaitID
	hasRevision
	hasOpen
	hasKind
	hasResource
	hasInterval
)

// fields are the attributes of a report span, read in one pass. The first thing
// wrong stays in drop.
type fields struct {
	seen      uint32
	drop      Drop
	shortened bool

	report   taskspan.ReportKind
	sequence int64

	taskName     string
	taskState    taskspan.State
	deadlock     taskspan.Confidence
	taskStart    int64
	parentSpan   [8]byte
	remoteParent TaskID
	holds        []string
	holdsAt      []int // where each of holds was in the list that came
	holdsCame    int
	holdsEnds    []int64
	thread       int64
	place        Place
	callers      []Place

	waitID, revision         int64
	open, complete, inferred bool
	cancellable              bool
	kind                     taskspan.Kind
	resourceID, resourceName string
	resourceCut              bool
	need, deadline           int64

	intervalMS         int64
	final              bool
	acknowledged       *bool
	part, parts        int64
	waitIDs, revisions []int64
	running, blocked   int64
	counts             Counts
	byName             map[string]NameCounts
	badNames           bool // not all of the counts by name could be used
	events             int64
	dropped            map[string]int64
	overhead, rate     float64
	memory             string

	held, taken, mode   string
	heldName, takenName string
	recursive           bool
	guards              []string
	heldPlace           Place
}

func (f *fields) has(mask uint32) bool { return f.seen&mask == mask }

func (f *fields) refuse(d Drop) {
	if f.drop == Used {
		f.drop = d
	}
}

func (f *fields) read(attrs pcommon.Map) {
	for key, v := range attrs.All() {
		switch key {
		case taskspan.Report:
			f.report = taskspan.ReportKind(f.str(v, 0))
		case taskspan.ReportSequence:
			f.seen |= hasSequence
			f.sequence = f.tally(v)
		case taskspan.ThreadID:
			f.thread = f.integer(v)
		default:
			if !f.readTask(key, v) && !f.readWait(key, v) && !f.readHeartbeat(key, v) {
				f.readLockOrder(key, v)
			}
		}
		if f.drop != Used {
			return
		}
	}
}

func (f *fields) readTask(key string, v pcommon.Value) bool {
	switch key {
	case taskspan.TaskName:
		f.taskName = f.str(v, hasTaskName)
	case taskspan.TaskState:
		f.taskState = taskspan.State(f.str(v, hasTaskState))
		switch f.taskState {
		case taskspan.Running, taskspan.Blocked, taskspan.Deadlocked,
			taskspan.Completed, taskspan.Failed, taskspan.Cancelled:
		default:
			f.refuse(DropValue)
		}
	case taskspan.DeadlockConfidence:
		if v.Type() == pcommon.ValueTypeStr {
			f.deadlock = taskspan.ConfidenceOf(v.Str())
		}
	case taskspan.TaskStart:
		f.taskStart = f.time(v, hasTaskStart)
	case taskspan.TaskParentSpanID:
		f.hexID(f.parentSpan[:], f.str(v, 0))
	case taskspan.TaskRemoteParent:
		trace, span, ok := strings.Cut(f.str(v, 0), "/")
		if !ok {
			f.refuse(DropValue)
			return true
		}
		f.hexID(f.remoteParent.Trace[:], trace)
		f.hexID(f.remoteParent.Span[:], span)
	case taskspan.Holds:
		f.holds, f.holdsAt, f.holdsCame = f.strsAt(v, MaxHolds)
	case taskspan.HoldsEnds:
		f.holdsEnds = f.ends(v)
	default:
		return readPlace(&f.place, key, v, f)
	}
	return true
}

func (f *fields) readWait(key string, v pcommon.Value) bool {
	switch key {
	case taskspan.WaitID:
		f.waitID = f.count(v, hasWaitID)
	case taskspan.WaitRevision:
		f.revision = f.count(v, hasRevision)
	case taskspan.WaitOpen:
		f.open = f.boolean(v, hasOpen)
	case taskspan.WaitKind:
		f.kind = taskspan.Kind(f.str(v, hasKind))
		if !f.kind.Known() {
			f.refuse(DropValue)
		}
	case taskspan.WaitResourceID:
		before := f.shortened
		f.shortened = false
		f.resourceID = f.str(v, hasResource)
		f.resourceCut = f.shortened
		f.shortened = f.shortened || before
	case taskspan.WaitResourceName:
		f.resourceName = f.str(v, 0)
	case taskspan.WaitNeed:
		f.need = f.count(v, 0)
	case taskspan.WaitHoldersComplete:
		f.complete = f.boolean(v, 0)
	case taskspan.WaitDeadline:
		f.deadline = f.time(v, 0)
	case taskspan.WaitInferred:
		f.inferred = f.boolean(v, 0)
	case taskspan.WaitCancellable:
		f.cancellable = f.boolean(v, 0)
	case taskspan.WaitCallers:
		f.callers = f.places(v)
	default:
		return false
	}
	return true
}

func (f *fields) readHeartbeat(key string, v pcommon.Value) bool {
	switch key {
	case taskspan.HeartbeatIntervalMS:
		f.intervalMS = f.count(v, hasInterval)
		if f.intervalMS < 1 || f.intervalMS > 3_600_000 {
			f.refuse(DropValue)
		}
	case taskspan.HeartbeatFinal:
		f.final = f.boolean(v, 0)
	case taskspan.HeartbeatAcknowledged:
		acknowledged := f.boolean(v, 0)
		f.acknowledged = &acknowledged
	case taskspan.HeartbeatPart:
		f.part = f.partNumber(v)
	case taskspan.HeartbeatParts:
		f.parts = f.partNumber(v)
	case taskspan.WaitsIDs:
		f.waitIDs = f.ints(v)
	case taskspan.WaitsRevisions:
		f.revisions = f.ints(v)
	case taskspan.TasksRunning:
		f.running = f.tally(v)
	case taskspan.TasksBlocked:
		f.blocked = f.tally(v)
	case taskspan.TasksStarted:
		f.counts.Started = f.tally(v)
	case taskspan.TasksCompleted:
		f.counts.Completed = f.tally(v)
	case taskspan.TasksFailed:
		f.counts.Failed = f.tally(v)
	case taskspan.TasksCancelled:
		f.counts.Cancelled = f.tally(v)
	case taskspan.TasksByName:
		f.byName = f.names(v)
	case taskspan.Events:
		f.events = f.tally(v)
	case taskspan.Dropped:
		f.dropped = f.reasons(v)
	case taskspan.Overhead:
		f.overhead = f.number(v, math.MaxFloat64)
	case taskspan.SamplingRate:
		f.rate = f.number(v, 1)
	case taskspan.Memory:
		f.memory = f.document(v)
	default:
		return false
	}
	return true
}

func (f *fields) readLockOrder(key string, v pcommon.Value) {
	switch key {
	case taskspan.LockOrderHeld:
		f.held = f.identity(v)
	case taskspan.LockOrderTaken:
		f.taken = f.identity(v)
	case taskspan.LockOrderHeldName:
		f.heldName = f.str(v, 0)
	case taskspan.LockOrderTakenName:
		f.takenName = f.str(v, 0)
	case taskspan.LockOrderRecursive:
		f.recursive = f.boolean(v, 0)
	case taskspan.LockOrderMode:
		f.mode = f.str(v, 0)
		if !knownMode(f.mode) {
			f.refuse(DropValue)
		}
	case taskspan.LockOrderHeldFunction:
		f.heldPlace.Function = f.str(v, 0)
	case taskspan.LockOrderHeldFile:
		f.heldPlace.File = f.str(v, 0)
	case taskspan.LockOrderHeldLine:
		f.heldPlace.Line = f.line(v)
	case taskspan.LockOrderGuards:
		f.guards = f.strs(v, MaxHolds)
	}
}

// linkFields are the attributes of a link to a holder.
type linkFields struct {
	generation, since, weight int64
	place                     Place
	taskName                  string
	ended                     bool
}

func (l *linkFields) read(attrs pcommon.Map) Drop {
	var f fields
	for key, v := range attrs.All() {
		switch key {
		case taskspan.HoldGeneration:
			l.generation = f.count(v, 0)
		case taskspan.HoldSince:
			l.since = f.count(v, 0)
		case taskspan.HoldWeight:
			l.weight = f.count(v, 0)
		case taskspan.HoldTaskName:
			l.taskName = f.str(v, 0)
		case taskspan.HoldEnded:
			l.ended = f.boolean(v, 0)
		default:
			readPlace(&l.place, key, v, &f)
		}
	}
	return f.drop
}

func readPlace(p *Place, key string, v pcommon.Value, f *fields) bool {
	switch key {
	case taskspan.CodeFunctionName:
		p.Function = f.str(v, 0)
	case taskspan.CodeFilePath:
		p.File = f.str(v, 0)
	case taskspan.CodeLineNumber:
		p.Line = f.line(v)
	case taskspan.CodeStacktrace:
		if v.Type() != pcommon.ValueTypeStr {
			f.refuse(DropType)
			return true
		}
		p.Stack = f.cut(v.Str(), taskspan.MaxStackBytes)
	default:
		return false
	}
	return true
}

func (f *fields) line(v pcommon.Value) int {
	n := f.count(v, 0)
	if n > math.MaxInt32 {
		f.refuse(DropValue)
		return 0
	}
	return int(n)
}

func knownMode(mode string) bool {
	switch mode {
	case "write/write", "write/read", "read/write", "read/read":
		return true
	}
	return false
}

func (f *fields) hexID(dst []byte, s string) {
	if len(s) != 2*len(dst) {
		f.refuse(DropValue)
		return
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		f.refuse(DropValue)
	}
}

// cut makes s a text that can be shown and be a label: valid UTF-8 of at most limit
// bytes. What it leaves out or replaces counts as shortened.
func (f *fields) cut(s string, limit int) string {
	short := Text(s, limit)
	if short != s {
		f.shortened = true
	}
	return short
}

// Text returns s as valid UTF-8 of at most limit bytes. A character is not split, and
// U+FFFD stands for bytes that are no UTF-8. Prometheus refuses a whole scrape because
// of one label that is not UTF-8.
func Text(s string, limit int) string {
	if len(s) > limit {
		// The clone lets go of the rest.
		s = strings.Clone(s[:boundary(s, limit)])
	}
	if utf8.ValidString(s) {
		return s
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	return s[:boundary(s, limit)]
}

// boundary returns the largest length of at most limit that splits no character of s.
func boundary(s string, limit int) int {
	if len(s) <= limit {
		return len(s)
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return limit
}
