package deadlock

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

// alike are standing deadlocks of the same processes by the same places: a service that
// takes one lock twice in each request has one of them, with a count. It is told under the
// id of the one that was found first, for as long as any of them stands.
type alike struct {
	id      ID
	pattern pattern
	service string // whose share it takes
	found   time.Time
	by      [len(Confidences)]ordered[ID, struct{}] // those that stand, by how sure they are
	victims int                                     // behind any of them
	behind  []report.TaskID                         // some of those
	kept    bool
	told    *Deadlock // the record that stands for all; nil: it has to be made again
}

// pattern is a hash of what deadlocks that are alike have in common.
type pattern [16]byte

func (a *alike) len() (n int) {
	for i := range a.by {
		n += a.by[i].len()
	}
	return n
}

// first is the deadlock that stands for all: the oldest of the surest.
func (a *alike) first() (id ID, sure Confidence) {
	for _, sure := range []Confidence{Certain, Transient, Suspected} {
		if id, any := a.by[confidenceIndex(sure)].first(); any {
			return id, sure
		}
	}
	return id, sure
}

func confidenceIndex(c Confidence) int { return max(0, slices.Index(Confidences[:], c)) }

// patternOf says what a deadlock has in common with others: of which kind it is, and in
// which processes which places wait. Of a place that is unknown the resource is taken.
func patternOf(dl *Deadlock) pattern {
	places := make([]string, 0, len(dl.Core))
	for _, t := range dl.Core {
		for _, w := range dl.Waits[t.ID] {
			where := cmp.Or(w.Place.File, w.Place.Function)
			if where == "" {
				where = "\x00" + w.ResourceName
			}
			places = append(places, fmt.Sprintf("%q %q %d %q %q %d", t.Process.Service, t.Process.Instance, t.Process.Epoch, w.Kind, where, w.Place.Line))
		}
	}
	slices.Sort(places)
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\n", dl.Kind, len(dl.Core))
	for _, p := range places {
		_, _ = io.WriteString(h, p+"\n")
	}
	return pattern(h.Sum(nil)[:16])
}

// kinds are all deadlocks that stand, by what they have in common. At most limit of them
// are kept in the list. A service with more than others gives up its oldest: it goes on to
// stand, and is counted, but not listed until there is room again.
type kinds struct {
	limit     int
	byPattern map[pattern]*alike
	byID      map[ID]*alike // by the id that is told
	of        map[ID]*alike // by the id of each deadlock
	kept      int
	shares    map[string]*ordered[*alike, struct{}] // those that are kept, by service
	most      int                                   // no service has more
	unkept    ordered[*alike, struct{}]
	givenUp   int64 // how often one was taken off the list
}

func newKinds(limit int) kinds {
	return kinds{
		limit: limit, byPattern: make(map[pattern]*alike), byID: make(map[ID]*alike), of: make(map[ID]*alike),
		shares: make(map[string]*ordered[*alike, struct{}]),
	}
}

// put adds a deadlock that stands, or a newer record of it. news says that none like it
// stood.
func (k *kinds) put(dl *Deadlock) (a *alike, news bool) {
	a = k.of[dl.ID]
	if a == nil {
		p := patternOf(dl)
		if a = k.byPattern[p]; a == nil {
			news = true
			a = &alike{id: dl.ID, pattern: p, service: dl.Services[0], found: dl.Found}
			k.byPattern[p], k.byID[a.id] = a, a
			k.keep(a)
		}
		k.of[dl.ID] = a
	}
	sure := confidenceIndex(dl.Confidence)
	for i := range a.by {
		if i != sure {
			a.by[i].remove(dl.ID)
		}
	}
	a.by[sure].put(dl.ID, struct{}{})
	a.told = nil
	return a, news
}

// remove takes a deadlock out that is over, and returns those that it was alike.
func (k *kinds) remove(id ID) *alike {
	a := k.of[id]
	delete(k.of, id)
	for i := range a.by {
		a.by[i].remove(id)
	}
	a.told = nil
	if a.len() > 0 {
		return a
	}
	delete(k.byPattern, a.pattern)
	delete(k.byID, a.id)
	if !a.kept {
		k.unkept.remove(a)
		return a
	}
	k.unkeep(a)
	if next, any := k.unkept.first(); any {
		k.unkept.remove(next)
		k.keep(next)
	}
	return a
}

// keep lists one. If the list is full, the oldest of the service that has most makes room.
func (k *kinds) keep(a *alike) {
	if k.kept >= k.limit {
		given, _ := k.fullest(a.service).first()
		k.unkeep(given)
		k.unkept.put(given, struct{}{})
		k.givenUp++
	}
	share := k.shares[a.service]
	if share == nil {
		share = new(ordered[*alike, struct{}])
		k.shares[a.service] = share
	}
	share.put(a, struct{}{})
	k.most = max(k.most, share.len())
	a.kept = true
	k.kept++
}

func (k *kinds) unkeep(a *alike) {
	a.kept = false
	k.kept--
	share := k.shares[a.service]
	share.remove(a)
	if share.len() == 0 {
		delete(k.shares, a.service)
	}
}

// fullest is the share of the service that has most, of a given one if it has as many.
func (k *kinds) fullest(service string) *ordered[*alike, struct{}] {
	fullest := k.shares[service]
	if fullest != nil && fullest.len() >= k.most {
		return fullest
	}
	for _, share := range k.shares {
		if fullest == nil || share.len() > fullest.len() {
			fullest = share
		}
	}
	k.most = fullest.len()
	return fullest
}

// record is the deadlock that stands for all that are alike. It is made once for each
// change.
func (d *Detector) record(a *alike) *Deadlock {
	if a.told != nil {
		return a.told
	}
	first, _ := a.first()
	told := *d.standing[first]
	told.ID, told.Found, told.Count = a.id, a.found, a.len()
	told.Victims, told.Behind = a.victims, a.behind
	told.Added, told.Raised = nil, false
	for i := range a.by {
		for id := range a.by[i].all() {
			if id != first {
				told.Others = append(told.Others, d.standing[id].Core...)
			}
		}
	}
	a.told = &told
	return a.told
}

// Members are all tasks of the deadlocks that a record stands for, those of its own core
// first.
func (dl *Deadlock) Members() []*fleet.Task { return slices.Concat(dl.Core, dl.Others) }
