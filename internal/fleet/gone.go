package fleet

import "time"

const (
	// MaxGoneNames bounds the task names in the records of all processes that are gone:
	// some 25 MiB. A process has up to 200 names, so a fleet that deploys often would
	// otherwise keep 2 million.
	MaxGoneNames = 1 << 16
	// goneFor is how long a record is kept: what is older than that is refused for its time.
	goneFor = 24 * time.Hour
)

// forget removes the oldest records of processes that are gone until the rest is within
// the limits. Should such a process come back, it is taken over.
func (t *Table) forget(now time.Time) {
	for len(t.gone) > 0 {
		oldest := t.gone[0]
		early := len(t.gone) > t.limits.Processes || t.goneNames > MaxGoneNames
		if !early && now.Sub(oldest.lastHeard) <= goneFor {
			return
		}
		if early {
			t.counters.ProcessesGone++
		}
		t.gone[0] = nil
		t.gone = t.gone[1:]
		t.goneNames -= len(oldest.books.byName)
		t.mark(oldest)
		delete(t.processes, oldest.id)
		if t.newest[instanceOf(oldest.id)].epoch == oldest.id.Epoch {
			delete(t.newest, instanceOf(oldest.id))
		}
	}
}

// GoneNames returns how many task names the records of processes have that are gone.
func (t *Table) GoneNames() int { return t.goneNames }
