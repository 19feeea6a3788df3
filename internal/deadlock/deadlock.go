package deadlock

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// ID names a deadlock for as long as it stands, also across restarts of the
// collector. It is the trace id of the deadlock's own span, too.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Confidence says how sure a deadlock is.
type Confidence = taskspan.Confidence

// The confidences.
const (
	Certain   = taskspan.Certain
	Suspected = taskspan.Suspected
	Transient = taskspan.Transient
)

// Kind says how far a deadlock reaches.
type Kind string

// The kinds.
const (
	Self        Kind = "self"        // one task waits for itself
	Local       Kind = "local"       // tasks of one process
	Distributed Kind = "distributed" // tasks of several processes
	Abandoned   Kind = "abandoned"   // a task waits for what somebody has taken who has ended
)

// MaxNamed bounds the tasks that are named of those behind a deadlock.
const MaxNamed = 100

// Ending says how a deadlock ended.
type Ending string

// The endings.
const (
	Released        Ending = "released"     // a holder has released what it held
	Cancelled       Ending = "cancelled"    // a task of it was cancelled
	DeadlineReached Ending = "deadline"     // a wait of it had a deadline, or a hold a TTL
	ProcessLost     Ending = "process_lost" // a process of it went away
	Evicted         Ending = "evicted"      // a limit has pushed out a wait of it
)

// All kinds, confidences and endings, in the order in which they are listed.
var (
	Kinds       = [...]Kind{Self, Local, Distributed, Abandoned}
	Confidences = [...]Confidence{Certain, Suspected, Transient}
	Endings     = [...]Ending{Released, Cancelled, DeadlineReached, ProcessLost, Evicted}
)

// Deadlock is a set of tasks that wait for each other and cannot go on. It is
// immutable.
type Deadlock struct {
	ID   ID
	Kind Kind
	Judgment
	// Core are the tasks that wait for each other, those of the cycle first.
	Core []*fleet.Task
	// Cycle is how many of Core are a shortest cycle: each waits for the next, and
	// the last for the first. It is for people; the whole core is the proof.
	Cycle int
	// Waits are the waits of each core task that keep it from going on.
	Waits map[report.TaskID][]*fleet.Wait
	// Count is how many deadlocks of the same processes by the same places stand. The record
	// is that of one of them, and Others are the tasks of the others.
	Count  int
	Others []*fleet.Task
	// Victims is how many tasks are stuck behind it and those like it, also those that are in
	// another deadlock or behind one. Behind are at most [MaxNamed] of them, the nearest first.
	Victims  int
	Behind   []report.TaskID
	Services []string
	Since    time.Time // when the last of its waits began
	Found    time.Time
	// Added are the tasks that this record adds to one that was found before.
	Added []*fleet.Task
	// Raised says that this record makes one certain that was suspected before.
	Raised bool

	Ended time.Time // zero while it stands
	How   Ending
}

// TaskState is the state of the tasks of a deadlock that stands. They are deadlocked only
// if that is certain.
func (dl *Deadlock) TaskState() taskspan.State {
	if dl.Confidence == Certain {
		return taskspan.Deadlocked
	}
	return taskspan.Blocked
}

func (p *proof) deadlock(j Judgment, now time.Time) *Deadlock {
	dl := &Deadlock{
		ID: identify(p), Core: slices.Clone(p.cycle), Cycle: len(p.cycle), Waits: p.waits,
		Since: p.closed, Found: now, Judgment: j, Kind: Local, Count: 1,
	}
	inCycle := make(map[report.TaskID]bool, len(p.cycle))
	for _, t := range p.cycle {
		inCycle[t.ID] = true
	}
	for _, t := range p.core {
		if !inCycle[t.ID] {
			dl.Core = append(dl.Core, t)
		}
	}
	parts := byProcess(p.core)
	services := make(map[string]struct{})
	for _, part := range parts {
		services[part[0].Process.Service] = struct{}{}
	}
	dl.Services = slices.Sorted(maps.Keys(services))
	switch {
	case len(dl.Core) == 1 && slices.ContainsFunc(dl.Waits[dl.Core[0].ID], abandoned):
		dl.Kind = Abandoned
	case len(dl.Core) == 1:
		dl.Kind = Self
	case len(parts) > 1:
		dl.Kind = Distributed
	}
	return dl
}

// grown is what becomes of a deadlock when others are found to be in it.
func (dl *Deadlock) grown(by *Deadlock, fresh []*fleet.Task) *Deadlock {
	next := *by
	next.ID, next.Found, next.Victims, next.Added = dl.ID, dl.Found, dl.Victims, fresh
	for _, t := range dl.Core {
		if !next.contains(t.ID) {
			next.Core = append(next.Core, t)
			next.Waits[t.ID] = dl.Waits[t.ID]
		}
	}
	return &next
}

// proved is what becomes of a deadlock when its waits are proved once more, in newer
// revisions.
func (dl *Deadlock) proved(p proof) *Deadlock {
	next := *dl
	next.Added, next.Raised, next.Waits = nil, false, maps.Clone(dl.Waits)
	for id, waits := range p.waits {
		if dl.contains(id) {
			next.Waits[id] = waits
		}
	}
	return &next
}

// outdated reports whether a wait of a task of the core has a newer revision than the
// one that was proved.
func (dl *Deadlock) outdated(t *fleet.Task) bool {
	return slices.ContainsFunc(dl.Waits[t.ID], func(w *fleet.Wait) bool {
		at, open := slices.BinarySearchFunc(t.Waits, w.ID, func(o *fleet.Wait, id int64) int { return cmp.Compare(o.ID, id) })
		return open && t.Waits[at].Revision > w.Revision
	})
}

// contains reports whether a task is in the core: each of them waits.
func (dl *Deadlock) contains(id report.TaskID) bool { return len(dl.Waits[id]) > 0 }

func (dl *Deadlock) waitsFor(w *fleet.Wait) bool {
	return slices.ContainsFunc(dl.Waits[w.Task], func(o *fleet.Wait) bool { return o.ID == w.ID })
}

// next is another id that follows from one.
func (id ID) next() ID {
	sum := sha256.Sum256(id[:])
	return ID(sum[:16])
}

// identify derives the id from the wait of the core that has stood for longest: it
// stays the same when others join, and comes out again after a restart.
func identify(p *proof) ID {
	var (
		oldest *fleet.Wait
		of     *fleet.Task
	)
	for _, t := range p.core {
		for _, w := range p.waits[t.ID] {
			if oldest == nil || w.Since.Before(oldest.Since) ||
				w.Since.Equal(oldest.Since) && t.ID.String() < of.ID.String() {
				oldest, of = w, t
			}
		}
	}
	h := sha256.New()
	for _, s := range []string{of.Process.Service, of.Process.Instance} {
		_ = binary.Write(h, binary.BigEndian, int64(len(s)))
		h.Write([]byte(s))
	}
	_ = binary.Write(h, binary.BigEndian, of.Process.Epoch)
	h.Write(of.ID.Trace[:])
	h.Write(of.ID.Span[:])
	_ = binary.Write(h, binary.BigEndian, oldest.ID)
	return ID(h.Sum(nil)[:16])
}
