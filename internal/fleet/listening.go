package fleet

import (
	"time"
)

const (
	// defaultStep stands for Limits.Step.
	defaultStep = time.Second
	// maxDeaf bounds how long silence of all processes counts as our own deafness. All of
	// them may have ended at once.
	maxDeaf = 2 * time.Minute
)

// listening measures the time in which we did not listen, which no lease is charged for:
// while our owner was stopped or waited for a lock, and while nobody was heard. One process
// that falls silent has probably ended. When all do, something on the way probably refuses
// what they send, such as a memory_limiter that is over its limit.
type listening struct {
	step     time.Duration
	deaf     time.Duration // in all, until last
	last     time.Time     // when a report of anybody came
	advanced time.Time     // when time was looked at
	stalled  time.Duration // since last, time in which nobody looked
	// quiet is how long nobody may be heard before that counts as deafness; 0: any time,
	// for there are not two processes to be heard.
	quiet time.Duration
}

// heard notes that a report has come.
func (l *listening) heard(now time.Time) {
	l.deaf = l.until(now)
	l.stalled = 0
	l.last = later(l.last, now)
}

// until returns for how long we did not listen, until now.
func (l *listening) until(now time.Time) time.Duration {
	deaf := l.stalled
	if l.quiet > 0 {
		deaf = max(deaf, min(now.Sub(l.last)-l.quiet, maxDeaf))
	}
	return l.deaf + max(0, deaf)
}

// advance notes that time is looked at. It is called every step.
func (l *listening) advance(now time.Time) {
	if gap := now.Sub(later(l.advanced, l.last)); !l.advanced.IsZero() && gap > 2*l.step {
		l.stalled += gap - l.step
	}
	l.advanced = now
}

// expect learns the interval of heartbeats that is the second shortest of all processes
// that report; 0: there are not two. If any one of them ends, another one is heard within
// that.
func (l *listening) expect(secondShortest time.Duration) {
	l.quiet = secondShortest + secondShortest/2
}

// secondShortest finds the second shortest of intervals, as they are added.
type secondShortest struct{ first, second time.Duration }

func (s *secondShortest) add(d time.Duration) {
	switch {
	case s.first == 0 || d < s.first:
		s.first, s.second = d, s.first
	case s.second == 0 || d < s.second:
		s.second = d
	}
}

// silent is for how long a process has been silent while we listened.
func (t *Table) silent(p *process, now time.Time) time.Duration {
	return now.Sub(p.lastHeard) - (t.listening.until(now) - p.deaf)
}
