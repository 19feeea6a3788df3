// Package seldom thins out what would be logged for every request: it counts what
// happens, and tells the count at most once a minute.
package seldom

import (
	"sync"
	"time"
)

// every is the least time between two tellings.
const every = time.Minute

// Count counts since it was last told. The zero value is ready.
type Count struct {
	mu    sync.Mutex // guards all below
	last  time.Time
	count int64
}

// Add counts one, and returns what has come together if it is time to tell; otherwise 0.
func (c *Count) Add(now time.Time) (count int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if !c.last.IsZero() && now.Sub(c.last) < every {
		return 0
	}
	count, c.count, c.last = c.count, 0, now
	return count
}
