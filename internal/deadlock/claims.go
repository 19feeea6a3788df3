package deadlock

import (
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// claims is the index of who holds a resource that other processes wait for: the
// tasks that answer a remote call, and those that hold something outside.
type claims struct {
	by      map[string][]claim
	of      map[report.TaskID][]report.Hold
	len     int
	limit   int
	refused int64
}

// claim is that a task holds a resource.
type claim struct {
	task report.TaskID
	hold report.Hold
}

func newClaims(limit int) claims {
	return claims{by: make(map[string][]claim), of: make(map[report.TaskID][]report.Hold), limit: limit}
}

func (c *claims) has(id report.TaskID, holds []report.Hold) bool {
	return slices.Equal(c.of[id], holds)
}

// set replaces what a task claims, and returns the tasks that claim what it no longer
// does.
func (c *claims) set(id report.TaskID, holds []report.Hold) (left []report.TaskID) {
	for _, old := range c.of[id] {
		c.len--
		others := slices.DeleteFunc(c.by[old.Resource], func(o claim) bool { return o.task == id })
		if len(others) == 0 {
			delete(c.by, old.Resource)
		} else {
			c.by[old.Resource] = others
		}
		if !slices.ContainsFunc(holds, func(h report.Hold) bool { return h.Resource == old.Resource }) {
			for _, o := range others {
				left = append(left, o.task)
			}
		}
	}
	delete(c.of, id)
	if room := c.limit - c.len; len(holds) > room {
		c.refused += int64(len(holds) - room)
		holds = holds[:room]
	}
	for _, h := range holds {
		c.len++
		c.by[h.Resource] = append(c.by[h.Resource], claim{id, h})
	}
	if len(holds) > 0 {
		c.of[id] = holds
	}
	return left
}

// holders returns who claims a resource.
func (c *claims) holders(resource string) []claim { return c.by[resource] }

// holdsOf are the shared resources that a task claims.
func holdsOf(t *fleet.Task) []report.Hold {
	var holds []report.Hold
	if !t.RemoteParent.IsZero() {
		holds = append(holds, report.Hold{Resource: taskspan.ResourceSpan + t.RemoteParent.String(), UntilReleased: true})
	}
	return append(holds, t.Holds...)
}

// claimed reports whether a task claims a resource.
func claimed(t *fleet.Task, resource string) bool {
	return slices.ContainsFunc(holdsOf(t), func(h report.Hold) bool { return h.Resource == resource })
}

// over reports whether a claim's hold has ended by itself at a time of our clock.
func (d *Detector) over(c claim, at time.Time) bool {
	return !c.hold.Ends.IsZero() && !at.Before(d.holdEnds(c))
}

// holdEnds is when a hold ends by itself, by our clock; zero if it does not.
func (d *Detector) holdEnds(c claim) time.Time {
	if c.hold.Ends.IsZero() {
		return time.Time{}
	}
	if t := d.table.Task(c.task); t != nil {
		return c.hold.Ends.Add(-d.table.Ahead(t.Process))
	}
	return c.hold.Ends
}
