package fleet

const (
	// lossesKept is over how many heartbeats a loss must be steady.
	lossesKept = 16
	// lossesNeeded is how many of them must have come before anything is said.
	lossesNeeded = 4
	// steadyShare is the least share of reports that counts as a steady loss. Two
	// collectors that take turns lose a half each.
	steadyShare = 0.2
)

// losses says how many reports of a process came, and never came, between its last
// heartbeats. One long gap is an outage. Gaps before many of the heartbeats are steady:
// the process has another receiver, or something on the way drops its reports.
type losses struct {
	came, lost                [lossesKept]int64 // rings
	n                         int               // heartbeats that have been noted
	noted                     bool              // whether there was a heartbeat; what follows is of the last
	lostBefore, settledBefore int64
}

// heartbeat notes what has been settled since the last heartbeat.
func (l *losses) heartbeat(s *sequences) {
	lost, settled := s.lost-l.lostBefore, s.settled-l.settledBefore
	first := !l.noted
	l.noted, l.lostBefore, l.settledBefore = true, s.lost, s.settled
	if first || settled <= 0 {
		return
	}
	lost = min(lost, settled)
	l.came[l.n%lossesKept], l.lost[l.n%lossesKept] = settled-lost, lost
	l.n++
}

// steady is the share of the reports that never came, if it is steady, else 0.
func (l *losses) steady() float64 {
	kept := min(l.n, lossesKept)
	if kept < lossesNeeded {
		return 0
	}
	var came, lost int64
	gaps := 0
	for i := range kept {
		came += l.came[i]
		lost += l.lost[i]
		if l.lost[i] > 0 {
			gaps++
		}
	}
	share := float64(lost) / float64(came+lost)
	if share < steadyShare || gaps < max(lossesNeeded-1, (kept+2)/3) {
		return 0
	}
	return share
}
