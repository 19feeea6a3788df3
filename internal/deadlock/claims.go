package deadlock

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// claims is the index of who holds a resource that other processes wait for: the
// tasks that answer a remote call, and those that hold something outside.
type claims struct {
	by      map[string]*ordered[report.TaskID, report.Hold]
	of      map[report.TaskID]claimed
	len     int
	refused int64
	// unknown counts the claims that found no room, by a hash of their resource. Somebody
	// unknown holds such a resource and may release it.
	unknown  [4096]int32
	unknowns int
	seed     maphash.Seed
}

// claimed is what a task claims. Only the first kept holds found room.
type claimed struct {
	holds []report.Hold
	kept  int
}

func newClaims() claims {
	return claims{
		by: make(map[string]*ordered[report.TaskID, report.Hold]), of: make(map[report.TaskID]claimed), seed: maphash.MakeSeed(),
	}
}

// has reports whether a task is known to claim just that, as far as there is room.
func (c *claims) has(id report.TaskID, holds []report.Hold, room int) bool {
	known := c.of[id]
	return (known.kept == len(known.holds) || room <= 0) && slices.Equal(known.holds, holds)
}

// set replaces what a task claims, as far as there is room. It calls changed for each
// resource of which other holders may be known than before.
func (c *claims) set(id report.TaskID, holds []report.Hold, room int, changed func(resource string)) {
	old := c.of[id]
	for _, h := range old.holds[:old.kept] {
		if of := c.by[h.Resource]; of != nil { // nil: it was listed twice
			of.remove(id)
			if of.len() == 0 {
				delete(c.by, h.Resource)
			}
		}
		if !slices.Contains(holds, h) {
			changed(h.Resource)
		}
	}
	for _, h := range old.holds[old.kept:] {
		c.unknown[c.hash(h.Resource)]--
		changed(h.Resource)
	}
	refused := len(old.holds) - old.kept
	if c.unknowns -= refused; c.unknowns == 0 && refused > 0 {
		for resource := range c.by { // any of them may have had the same hash
			changed(resource)
		}
	}
	c.len -= old.kept
	delete(c.of, id)
	if len(holds) == 0 {
		return
	}
	kept := min(len(holds), max(0, room+old.kept))
	for _, h := range holds[:kept] {
		of := c.by[h.Resource]
		if of == nil {
			of = new(ordered[report.TaskID, report.Hold])
			c.by[h.Resource] = of
		}
		if !slices.Contains(old.holds[:old.kept], h) {
			changed(h.Resource)
		}
		if before, again := of.get(id); !again || before.Declared() && lastsLonger(h, before) {
			of.put(id, h)
		}
	}
	for _, h := range holds[kept:] {
		c.unknown[c.hash(h.Resource)]++
		changed(h.Resource)
	}
	c.unknowns += len(holds) - kept
	c.refused += int64(max(0, len(holds)-kept-refused)) // once, however often it is reported
	c.len += kept
	c.of[id] = claimed{holds, kept}
}

// lastsLonger reports whether hold a ends after hold b, as far as that is declared.
func lastsLonger(a, b report.Hold) bool {
	return !b.Ends.IsZero() && (a.Ends.IsZero() || a.Ends.After(b.Ends))
}

func (c *claims) hash(resource string) uint64 {
	return maphash.String(c.seed, resource) % uint64(len(c.unknown))
}

// holders returns who claims a resource, or nil if nobody does or not all of them are
// known.
func (c *claims) holders(resource string) *ordered[report.TaskID, report.Hold] {
	of := c.by[resource]
	if of == nil || c.unknown[c.hash(resource)] > 0 {
		return nil
	}
	return of
}

// holdsOf are the shared resources that a task claims.
func holdsOf(t *fleet.Task) []report.Hold {
	var holds []report.Hold
	if !t.RemoteParent.IsZero() {
		holds = append(holds, report.Hold{Resource: taskspan.ResourceSpan + t.RemoteParent.String(), UntilReleased: true})
	}
	return append(holds, t.Holds...)
}

// claimsResource reports whether a task claims a resource.
func claimsResource(t *fleet.Task, resource string) bool {
	return slices.ContainsFunc(holdsOf(t), func(h report.Hold) bool { return h.Resource == resource })
}

// over reports whether the hold of a task has ended by itself at a time of our clock.
func (d *Detector) over(task report.TaskID, hold report.Hold, at time.Time) bool {
	return !hold.Ends.IsZero() && !at.Before(d.holdEnds(task, hold))
}

// holdEnds is when a hold ends by itself, by our clock; zero if it does not.
func (d *Detector) holdEnds(task report.TaskID, hold report.Hold) time.Time {
	if hold.Ends.IsZero() {
		return time.Time{}
	}
	if t := d.table.Task(task); t != nil {
		return hold.Ends.Add(-d.table.Ahead(t.Process))
	}
	return hold.Ends
}
