package fleet

// Live are counts of live tasks by state.
type Live struct{ Running, Blocked, Deadlocked int64 }

// LiveOf splits the counts of heartbeats by what is known of deadlocks, so that each task
// is counted in one state: deadlocked if that is certain, and blocked if it is in doubt.
// Heartbeats know of no deadlock: they count its tasks as blocked or, if they are older
// than the waits, as running.
func LiveOf(running, blocked, deadlocked, doubtful int64) Live {
	l := Live{Running: max(0, running), Blocked: max(0, blocked)}
	l.Deadlocked = deadlocked
	fromBlocked := min(l.Blocked, deadlocked)
	l.Blocked -= fromBlocked
	l.Running -= min(l.Running, deadlocked-fromBlocked)
	if more := doubtful - l.Blocked; more > 0 {
		l.Blocked += more
		l.Running -= min(l.Running, more)
	}
	return l
}

// Add adds other counts.
func (l *Live) Add(o Live) {
	l.Running += o.Running
	l.Blocked += o.Blocked
	l.Deadlocked += o.Deadlocked
}
