package deadlockdetector

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// told is what the last spans said of each standing deadlock.
type told map[deadlock.ID]taskspan.Confidence

// changed returns the standing deadlocks of which the last spans say another confidence, and
// that found does not tell of. What was certain may be in doubt by now, as when the holder
// of an external lock gives it an end: then its tasks are no longer deadlocked.
func (t *told) changed(standing, found []*deadlock.Deadlock) (changed []*deadlock.Deadlock) {
	next := make(told, len(standing))
	for _, dl := range standing {
		next[dl.ID] = dl.Confidence
		before, known := (*t)[dl.ID]
		tells := func(f *deadlock.Deadlock) bool { return f.ID == dl.ID && f.Added == nil }
		if known && before != dl.Confidence && !slices.ContainsFunc(found, tells) {
			changed = append(changed, dl)
		}
	}
	*t = next
	return changed
}
