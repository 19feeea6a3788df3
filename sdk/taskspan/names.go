package taskspan

// Version is the protocol version, sent as the version of [ScopeReport].
const Version = "1"

// Instrumentation scopes.
const (
	// ScopeReport holds report spans and nothing else, so that a collector finds
	// them by looking at scopes.
	ScopeReport = "async_inspect/report"
	// ScopeDetector holds what the collector side adds.
	ScopeDetector = "async_inspect/detector"
)

// Names of report and detector spans. The name of a wait report is the one of
// the wait span: [WaitSpanPrefix], the kind, a space, the resource's name.
const (
	SpanHeartbeat         = "async_inspect.heartbeat"
	SpanTaskReport        = "async_inspect.task"
	SpanLockOrder         = "async_inspect.lock_order"
	SpanDeadlock          = "deadlock"
	SpanDeadlockResolved  = "deadlock.resolved"
	SpanPotentialDeadlock = "potential_deadlock"
	WaitSpanPrefix        = "wait "
)

// Resource attributes. A process is service.name + service.instance.id + epoch.
const (
	// ProcessEpoch is the start of the process in unix nanoseconds. It tells
	// restarts of one instance id apart, and says that this process sends
	// heartbeats: its tasks are counted from those and never from its spans.
	ProcessEpoch = "async_inspect.process.epoch"
	// ProcessDurations says that the heartbeats of the process carry the durations
	// of its tasks, which are therefore never taken from its spans. It is a resource
	// attribute, and an attribute of the instrumentation scope of task spans.
	ProcessDurations = "async_inspect.process.durations" // bool, true
	// TasksMarked says that it has been decided which spans of an instrumentation scope
	// are tasks: those that carry TaskState, and no others. It is an attribute of the
	// scope.
	TasksMarked = "async_inspect.tasks.marked" // bool, true
)

// Attributes of every report span.
const (
	Report         = "async_inspect.report"          // string, a ReportKind
	ReportSequence = "async_inspect.report.sequence" // int, +1 per report span of a process
)

// Attributes of tasks, on task spans and on reports.
const (
	TaskName                = "async_inspect.task.name"
	TaskState               = "async_inspect.task.state" // string, a State
	TaskStart               = "async_inspect.task.start_unix_nano"
	TaskParentSpanID        = "async_inspect.task.parent_span_id"
	TaskRemoteParent        = "async_inspect.task.remote_parent" // "<trace id>/<span id>"
	TaskBlockedNS           = "async_inspect.task.blocked_ns"
	TaskWaits               = "async_inspect.task.waits"
	TaskLongestWaitNS       = "async_inspect.task.longest_wait_ns"
	TaskLongestWaitResource = "async_inspect.task.longest_wait_resource"
	TaskAllocatedBytes      = "async_inspect.task.allocated_bytes"   // of the whole process, while the task ran
	TaskAllocatedObjects    = "async_inspect.task.allocated_objects" // of the whole process, while the task ran
)

// Attributes of waits, on wait spans and on wait reports.
const (
	WaitID              = "async_inspect.wait.id"
	WaitRevision        = "async_inspect.wait.revision"
	WaitOpen            = "async_inspect.wait.open"
	WaitKind            = "async_inspect.wait.kind" // string, a Kind
	WaitResourceID      = "async_inspect.wait.resource.id"
	WaitResourceName    = "async_inspect.wait.resource.name"
	WaitNeed            = "async_inspect.wait.need"
	WaitHoldersComplete = "async_inspect.wait.holders.complete"
	WaitDeadline        = "async_inspect.wait.deadline_unix_nano"
	WaitInferred        = "async_inspect.wait.inferred"
	WaitCancellable     = "async_inspect.wait.cancellable"
	WaitCallers         = "async_inspect.wait.callers"         // string[], "<function> <file>:<line>": who called the place, the nearest first
	Holds               = "async_inspect.holds"                // string[]
	HoldsEnds           = "async_inspect.holds.ends_unix_nano" // int[], as long as Holds
)

// Values of [HoldsEnds] that are no times.
const (
	EndsUnknown   = 0  // it is not declared what ends the hold
	EndsByRelease = -1 // only its release ends the hold
)

// Events of tasks, with the attributes [WaitResourceID], [WaitResourceName] and, if
// the hold had one, [HoldEnds].
const (
	EventHoldExpired = "async_inspect.hold.expired" // an external lock ended while its holder went on
	EventHoldLost    = "async_inspect.hold.lost"    // the holder says that an external lock is gone
)

// HoldEnds is when a hold ends, or has ended, by itself.
const HoldEnds = "async_inspect.hold.ends_unix_nano" // int

// Attributes of the links of a wait report: one link per holder.
const (
	HoldGeneration = "async_inspect.hold.generation"
	HoldSince      = "async_inspect.hold.since_unix_nano" // 0: unknown
	HoldWeight     = "async_inspect.hold.weight"          // absent: 1
	HoldTaskName   = "async_inspect.hold.task_name"       // of the linked task
	HoldEnded      = "async_inspect.hold.ended"           // bool; true: who took it has ended
)

// Attributes of heartbeats.
const (
	HeartbeatIntervalMS = "async_inspect.heartbeat.interval_ms"
	HeartbeatFinal      = "async_inspect.heartbeat.final"
	HeartbeatPart       = "async_inspect.heartbeat.part"  // 1-based
	HeartbeatParts      = "async_inspect.heartbeat.parts" // absent: 1
	WaitsIDs            = "async_inspect.waits.ids"
	WaitsRevisions      = "async_inspect.waits.revisions"
	TasksRunning        = "async_inspect.tasks.running"
	TasksBlocked        = "async_inspect.tasks.blocked"
	TasksStarted        = "async_inspect.tasks.started"
	TasksCompleted      = "async_inspect.tasks.completed"
	TasksFailed         = "async_inspect.tasks.failed"
	TasksCancelled      = "async_inspect.tasks.cancelled"
	TasksByName         = "async_inspect.tasks.by_name" // string[], each a JSON object [NameCounts]
	Events              = "async_inspect.events"
	Dropped             = "async_inspect.dropped" // string[], each "reason=count"
	Overhead            = "async_inspect.overhead"
	SamplingRate        = "async_inspect.sampling.rate"
	Memory              = "async_inspect.memory" // JSON object

	// HeartbeatAcknowledged says whether an earlier heartbeat of the process has been
	// acknowledged. While it is false, no collector has counted the process.
	HeartbeatAcknowledged = "async_inspect.heartbeat.acknowledged"
)

// OtherNames is the name under which a heartbeat sums the tasks beyond
// [MaxNames] names.
const OtherNames = "other"

// NameCounts is one element of [TasksByName].
type NameCounts struct {
	Name      string `json:"name"`
	Started   int64  `json:"started"`
	Completed int64  `json:"completed"`
	Failed    int64  `json:"failed"`
	Cancelled int64  `json:"cancelled"`
	Running   int64  `json:"running"`
	Blocked   int64  `json:"blocked"`
	// Durations are those of the tasks that have ended, in any state. Nil: unknown.
	Durations *Durations `json:"durations,omitempty"`
}

// Durations is a histogram of durations since the start of the process.
type Durations struct {
	Seconds float64 `json:"seconds"` // their sum
	// Buckets has one count for each of [DurationBounds] and one for what is longer
	// than all of them. A bucket does not count what those before it count; buckets
	// missing at the end are 0.
	Buckets []int64 `json:"buckets"`
}

// DurationBounds are the upper bounds, inclusive, of the buckets of [Durations], in
// seconds. They go well past ten seconds, or an alert on a p99 above that could
// never fire.
var DurationBounds = [...]float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// DurationBuckets is the number of buckets.
const DurationBuckets = len(DurationBounds) + 1

// Attributes of lock_order reports.
const (
	LockOrderHeld   = "async_inspect.lock_order.held"
	LockOrderTaken  = "async_inspect.lock_order.taken"
	LockOrderGuards = "async_inspect.lock_order.guards"
	LockOrderMode   = "async_inspect.lock_order.mode" // "<held>/<taken>", each read or write

	// The classes of locks without a name are ids of their process. These are for people.
	LockOrderHeldName  = "async_inspect.lock_order.held.name"
	LockOrderTakenName = "async_inspect.lock_order.taken.name"
	// LockOrderRecursive says that the two are one lock, and not two of a class.
	LockOrderRecursive = "async_inspect.lock_order.recursive"

	LockOrderHeldFunction = "async_inspect.lock_order.held.function.name"
	LockOrderHeldFile     = "async_inspect.lock_order.held.file.path"
	LockOrderHeldLine     = "async_inspect.lock_order.held.line.number"
)

// Attributes of detector spans.
const (
	DeadlockID         = "async_inspect.deadlock.id"
	DeadlockConfidence = "async_inspect.deadlock.confidence"
	DeadlockKind       = "async_inspect.deadlock.kind"
	DeadlockSize       = "async_inspect.deadlock.size"
	DeadlockVictims    = "async_inspect.deadlock.victims"
	DeadlockServices   = "async_inspect.deadlock.services"
	DeadlockCycle      = "async_inspect.deadlock.cycle"
	DeadlockSuggestion = "async_inspect.deadlock.suggestion"
	DeadlockResolution = "async_inspect.deadlock.resolution" // how it ended
	// DeadlockCancellable says that it ends if whoever waits for one of its tasks gives up.
	DeadlockCancellable = "async_inspect.deadlock.cancellable"
	// DeadlockEnds is when the first deadline or TTL in it ends it.
	DeadlockEnds = "async_inspect.deadlock.ends_unix_nano"
)

// Values of error.type that async-inspect sets.
const (
	ErrorPanic       = "panic"
	ErrorDeadlock    = "deadlock"
	ErrorProcessLost = "process_lost"
)

// Prefixes of resource ids that mean the same thing in every process. An id
// without one of them is local to its process.
const (
	ResourceSpan     = "span:" // span:<trace id>/<client span id>: a remote call
	ResourceExternal = "ext:"  // ext:<name>: a named thing outside, such as a distributed lock
)

// Attributes of OpenTelemetry's semantic conventions (v1.37.0) that the protocol
// uses. They stand here so that the vocabulary depends on nothing.
const (
	CodeFunctionName  = "code.function.name"
	CodeFilePath      = "code.file.path"
	CodeLineNumber    = "code.line.number"
	CodeStacktrace    = "code.stacktrace"
	ThreadID          = "thread.id"
	ErrorType         = "error.type"
	ServiceName       = "service.name"
	ServiceInstanceID = "service.instance.id"
)

// Limits that both sides know. A sender stays below them; a receiver cuts what
// is above them and counts it.
const (
	MaxHolders        = 32   // links of one wait report; more make the holders incomplete
	MaxHeartbeatWaits = 4096 // waits in one part of a heartbeat
	MaxNames          = 200  // names in TasksByName
	MaxStringBytes    = 256  // an identifying string; stack traces and JSON have their own limit
	MaxCallers        = 2    // of one wait
	MaxStackBytes     = 8192 // CodeStacktrace
	MaxJSONBytes      = 4096 // one element of TasksByName, and Memory
)
