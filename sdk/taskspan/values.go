package taskspan

// State is the value of [TaskState].
type State string

// The states of a task. A process itself tells the first five; lost and
// deadlocked are found on the collector side.
const (
	Running    State = "running"
	Blocked    State = "blocked"
	Completed  State = "completed"
	Failed     State = "failed"
	Cancelled  State = "cancelled"
	Lost       State = "lost"       // its process went away without a goodbye
	Deadlocked State = "deadlocked" // it can never proceed
)

// Ended reports whether a task in this state will never run again.
func (s State) Ended() bool {
	return s == Completed || s == Failed || s == Cancelled || s == Lost
}

// Confidence is the value of [DeadlockConfidence].
type Confidence string

// The confidences.
const (
	// Certain: every waiter declared its wait, and every hold is of a kind that has been
	// released before, always by the goroutine that took it. This history is evidence
	// and no proof: a program that hands over a hold of that kind for the first time is
	// misjudged until the hand-over.
	Certain Confidence = "certain"
	// Suspected: part of it is inferred. An open client span was taken for a wait,
	// another goroutine may release a hold, or an external lock may end by other means.
	Suspected Confidence = "suspected"
	// Transient: a wait in it has a deadline, or a hold in it ends by itself.
	Transient Confidence = "transient"
)

// ConfidenceOf returns the confidence that a text says, or "" if it says none.
func ConfidenceOf(text string) Confidence {
	switch c := Confidence(text); c {
	case Certain, Suspected, Transient:
		return c
	}
	return ""
}

// ReportKind is the value of [Report].
type ReportKind string

// The kinds of report spans.
const (
	ReportWait      ReportKind = "wait"
	ReportTask      ReportKind = "task"
	ReportHeartbeat ReportKind = "heartbeat"
	ReportLockOrder ReportKind = "lock_order"
)

// Kind is the value of [WaitKind]: what a task waits for.
type Kind string

// The wait kinds.
const (
	WaitMutex          Kind = "mutex"
	WaitRWMutexRead    Kind = "rwmutex.read"
	WaitRWMutexWrite   Kind = "rwmutex.write"
	WaitSemaphore      Kind = "semaphore"
	WaitChannelSend    Kind = "channel.send"
	WaitChannelReceive Kind = "channel.receive"
	WaitSelect         Kind = "select"
	WaitCond           Kind = "cond"
	WaitJoin           Kind = "join"
	WaitSingleflight   Kind = "singleflight"
	WaitOnce           Kind = "once"
	WaitRemote         Kind = "remote"
	WaitExternal       Kind = "external"
	WaitSleep          Kind = "sleep"
	WaitIO             Kind = "io"
)

// Known reports whether k is one of the kinds above. A collector refuses a wait of
// any other.
func (k Kind) Known() bool {
	switch k {
	case WaitMutex, WaitRWMutexRead, WaitRWMutexWrite, WaitSemaphore, WaitChannelSend, WaitChannelReceive,
		WaitSelect, WaitCond, WaitJoin, WaitSingleflight, WaitOnce, WaitRemote, WaitExternal, WaitSleep, WaitIO:
		return true
	}
	return false
}
