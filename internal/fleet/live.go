package fleet

// Live are counts of live tasks by state.
type Live struct{ Running, Blocked, Deadlocked int64 }

// LiveOf splits the counts of heartbeats by what is known of deadlocks, so that each task
// is counted in one state. Heartbeats know of no deadlock: they count its tasks as blocked
// or, if they are older than the waits, as running.
func LiveOf(running, blocked, deadlocked int64) Live {
	running, blocked = max(0, running), max(0, blocked)
	fromBlocked := min(blocked, deadlocked)
	fromRunning := min(running, deadlocked-fromBlocked)
	return Live{Running: running - fromRunning, Blocked: blocked - fromBlocked, Deadlocked: deadlocked}
}

// Add adds other counts.
func (l *Live) Add(o Live) {
	l.Running += o.Running
	l.Blocked += o.Blocked
	l.Deadlocked += o.Deadlocked
}
