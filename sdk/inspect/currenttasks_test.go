package inspect

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// all lists the innermost tasks by goroutine.
func (c *currentTasks) all() map[uint64]*Task {
	all := maps.Clone(c.more)
	if all == nil {
		all = make(map[uint64]*Task)
	}
	for _, s := range c.slots {
		if s.goroutine != 0 {
			all[s.goroutine] = s.task
		}
	}
	return all
}

// Slots and map together do what a map does, for goroutines of which several want the
// same slot, whatever their order.
func TestCurrentTasksAreAsInAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	overflowed := false
	for round := range 200 {
		var c currentTasks
		want := make(map[uint64]*Task)
		goroutines := make([]uint64, 1+round%13)
		for i := range goroutines {
			goroutines[i] = 7 + shards*random.Uint64N(3*currentSlots)
		}
		var tasks [5]Task
		for step := range 300 {
			g, task := goroutines[random.IntN(len(goroutines))], &tasks[random.IntN(len(tasks))]
			if random.IntN(2) == 0 {
				if before := c.put(g, task); before != want[g] {
					t.Fatalf("round %d, step %d: put says that %p was before, want %p", round, step, before, want[g])
				}
				want[g] = task
			} else {
				var by *Task
				if random.IntN(3) == 0 {
					by = &tasks[random.IntN(len(tasks))]
				}
				c.replace(g, task, by)
				if want[g] == task {
					if want[g] = by; by == nil {
						delete(want, g)
					}
				}
			}
			overflowed = overflowed || len(c.more) > 0
			if got := c.all(); !maps.Equal(got, want) {
				t.Fatalf("round %d, step %d: %v, want %v", round, step, got, want)
			}
			for _, g := range append(goroutines, 0, 7, 7+shards*100) {
				if got := c.of(g); got != want[g] {
					t.Fatalf("round %d, step %d: goroutine %d has %p, want %p", round, step, g, got, want[g])
				}
			}
			for g := range c.more {
				if c.slot(g).goroutine == g {
					t.Fatalf("round %d, step %d: goroutine %d is in both places", round, step, g)
				}
			}
		}
		for g, task := range want {
			c.replace(g, task, nil)
		}
		if left := c.all(); len(left) > 0 {
			t.Fatalf("round %d: %v is left", round, left)
		}
	}
	if !overflowed {
		t.Error("no goroutine found its slot taken")
	}
}
