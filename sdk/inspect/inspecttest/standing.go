package inspecttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// standing remembers since when each deadlock has been seen without a break.
type standing struct{ since map[string]time.Time }

// look updates what stands at now, and returns the deadlocks that have stood for
// longer than the grace, certain and suspected ones.
func (s *standing) look(found []inspect.Deadlock, now time.Time, grace time.Duration) (certain, suspected []inspect.Deadlock) {
	next := make(map[string]time.Time, len(found))
	for _, d := range found {
		key := keyOf(d)
		since, stood := s.since[key]
		if !stood {
			since = now
		}
		next[key] = since
		switch {
		case now.Sub(since) < grace:
		case d.Confidence == taskspan.Certain:
			certain = append(certain, d)
		default:
			suspected = append(suspected, d)
		}
	}
	s.since = next
	return certain, suspected
}

// settle waits until the deadlocks that stand now are over, and returns those that are
// not when their time is up. Later ones are of other tests.
func (s *standing) settle(grace time.Duration) []inspect.Deadlock {
	began := time.Now()
	s.look(inspect.Deadlocks(), began, grace)
	mine := maps.Clone(s.since)
	for len(mine) > 0 {
		now := time.Now()
		found := slices.DeleteFunc(inspect.Deadlocks(), func(d inspect.Deadlock) bool {
			_, is := mine[keyOf(d)]
			return !is
		})
		certain, suspected := s.look(found, now, grace)
		if len(certain) > 0 || len(suspected) > 0 && now.Sub(began) >= suspicion*grace {
			return append(certain, suspected...)
		}
		if len(found) == 0 {
			return nil
		}
		time.Sleep(poll)
	}
	return nil
}

// keyOf names a deadlock by its waits: one that is the same is the same deadlock.
func keyOf(d inspect.Deadlock) string {
	waits := make([]string, 0, len(d.Cycle))
	for _, t := range d.Cycle {
		waits = append(waits, waitKey(t))
	}
	slices.Sort(waits)
	return string(d.Confidence) + strings.Join(waits, ",")
}

// waitKey names the wait of a goroutine.
func waitKey(t inspect.TaskInfo) string {
	return fmt.Sprintf("%d/%d/%s", t.Goroutine, t.Wait.Since.UnixNano(), t.Wait.ResourceID)
}
