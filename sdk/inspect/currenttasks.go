package inspect

// currentTasks knows the innermost task of each goroutine of a shard. Nearly always a
// goroutine has the slot of its id for itself, which costs a third of a map; one that
// finds it taken is in the map. Entries are few as goroutines with open tasks are.
// The zero value is empty; the shard guards it.
type currentTasks struct {
	slots [currentSlots]innermostTask
	more  map[uint64]*Task // never a goroutine that has a slot
}

// currentSlots is how many of a shard's goroutines, with ids that follow each other,
// need no map.
const currentSlots = 8

type innermostTask struct {
	goroutine uint64 // 0: the slot is free
	task      *Task
}

func (c *currentTasks) slot(goroutine uint64) *innermostTask {
	return &c.slots[goroutine/shards%currentSlots]
}

// of returns the task of a goroutine, or nil.
func (c *currentTasks) of(goroutine uint64) *Task {
	if s := c.slot(goroutine); s.goroutine == goroutine {
		return s.task
	}
	return c.more[goroutine]
}

// put makes t the task of a goroutine, and returns which was before.
func (c *currentTasks) put(goroutine uint64, t *Task) (before *Task) {
	s := c.slot(goroutine)
	if s.goroutine == goroutine {
		before, s.task = s.task, t
		return before
	}
	if len(c.more) > 0 {
		before = c.more[goroutine]
	}
	if s.goroutine == 0 && before == nil {
		*s = innermostTask{goroutine, t}
		return nil
	}
	if c.more == nil {
		c.more = make(map[uint64]*Task)
	}
	c.more[goroutine] = t
	return before
}

// replace puts another task, or none, in the place of t, if t is the goroutine's task.
func (c *currentTasks) replace(goroutine uint64, t, by *Task) {
	if s := c.slot(goroutine); s.goroutine == goroutine {
		switch {
		case s.task != t:
		case by != nil:
			s.task = by
		default:
			*s = innermostTask{}
		}
		return
	}
	switch {
	case c.more[goroutine] != t:
	case by != nil:
		c.more[goroutine] = by
	default:
		delete(c.more, goroutine)
	}
}
