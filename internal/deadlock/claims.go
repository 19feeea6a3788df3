package deadlock

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// claims is the index of who holds a resource that other processes wait for: the
// tasks that answer a remote call, and those that hold something outside.
type claims struct {
	by      map[string][]report.TaskID
	of      map[report.TaskID][]string
	len     int
	limit   int
	refused int64
}

func newClaims(limit int) claims {
	return claims{by: make(map[string][]report.TaskID), of: make(map[report.TaskID][]string), limit: limit}
}

func (c *claims) has(id report.TaskID, resources []string) bool {
	return slices.Equal(c.of[id], resources)
}

// set replaces what a task claims, and returns the tasks that claim what it no longer
// does.
func (c *claims) set(id report.TaskID, resources []string) (left []report.TaskID) {
	for _, r := range c.of[id] {
		c.len--
		others := slices.DeleteFunc(c.by[r], func(o report.TaskID) bool { return o == id })
		if len(others) == 0 {
			delete(c.by, r)
		} else {
			c.by[r] = others
		}
		if !slices.Contains(resources, r) {
			left = append(left, others...)
		}
	}
	delete(c.of, id)
	if room := c.limit - c.len; len(resources) > room {
		c.refused += int64(len(resources) - room)
		resources = resources[:room]
	}
	for _, r := range resources {
		c.len++
		c.by[r] = append(c.by[r], id)
	}
	if len(resources) > 0 {
		c.of[id] = resources
	}
	return left
}

// holders returns who claims a resource.
func (c *claims) holders(resource string) []report.TaskID { return c.by[resource] }

// resourcesOf are the shared resources that a task claims.
func resourcesOf(t *fleet.Task) []string {
	var resources []string
	if !t.RemoteParent.IsZero() {
		resources = append(resources, taskspan.ResourceSpan+t.RemoteParent.String())
	}
	return append(resources, t.Holds...)
}
