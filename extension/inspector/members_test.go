package inspector

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

// ringOf is a standing deadlock of so many tasks, each with some waits.
func ringOf(number, size, waits int) *deadlock.Deadlock {
	now := time.Now().Add(-time.Minute)
	dl := &deadlock.Deadlock{
		ID: deadlock.ID{byte(number), byte(number >> 8), 1}, Kind: deadlock.Local, Count: 1, Cycle: min(size, 3), Services: []string{"shop"},
		Since: now, Found: now, Waits: make(map[report.TaskID][]*fleet.Wait),
	}
	for i := range size {
		id := report.TaskID{Trace: [16]byte{byte(number), byte(i), byte(i >> 8), 1}, Span: [8]byte{1}}
		dl.Core = append(dl.Core, &fleet.Task{Task: report.Task{ID: id, Name: fmt.Sprint("task ", i)}, Process: report.Process{Service: "shop"}})
		for w := range waits {
			dl.Waits[id] = append(dl.Waits[id], &fleet.Wait{Task: id, Wait: report.Wait{ID: int64(w), ResourceName: "m", Since: now, Complete: true}})
		}
	}
	return dl
}

// An answer has a bounded number of the members of a deadlock, those of the cycle first,
// and counts the rest.
func TestMembersAreBounded(t *testing.T) {
	for _, c := range []struct{ size, waits, members, more, moreWaits int }{
		{1, 1, 1, 0, 0},
		{maxMembers, maxMemberWaits, maxMembers, 0, 0},
		{maxMembers + 1, maxMemberWaits + 1, maxMembers, 1, 1},
		{9500, 12, maxMembers, 9400, 4},
	} {
		x := unstarted(t, testConfig())
		dl := ringOf(7, c.size, c.waits)
		x.RegisterDeadlockDetector("d", &fakeDetector{standing: []*deadlock.Deadlock{dl}})
		for _, a := range []deadlockAnswer{
			answers[deadlockList](t, x, "/api/v1/deadlocks").Deadlocks[0],
			answers[deadlockAnswer](t, x, "/api/v1/deadlocks/"+dl.ID.String()),
		} {
			require.Len(t, a.Members, c.members)
			require.Equal(t, c.more, a.MoreMembers)
			require.Equal(t, c.size, a.Size)
			for i, m := range a.Members {
				require.Equal(t, i < dl.Cycle, m.InCycle)
				require.Len(t, m.Waits, c.waits-c.moreWaits)
				require.Equal(t, c.moreWaits, m.MoreWaits)
			}
		}
	}
}

// All deadlocks of an answer have one bound together, and each has some members.
func TestMembersOfManyDeadlocksAreBounded(t *testing.T) {
	x := unstarted(t, testConfig())
	d := new(fakeDetector)
	const full = maxMembersInAll / maxMembers
	for n := range full + 5 {
		d.standing = append(d.standing, ringOf(n, 150+n, 1))
	}
	x.RegisterDeadlockDetector("d", d)
	list := answers[deadlockList](t, x, "/api/v1/deadlocks?limit=1000")
	require.Len(t, list.Deadlocks, full+5)
	short := 0
	for _, a := range list.Deadlocks {
		require.Equal(t, a.Size, len(a.Members)+a.MoreMembers)
		if len(a.Members) != maxMembers {
			require.Len(t, a.Members, fewMembers)
			short++
		}
	}
	require.Equal(t, 5, short)
	require.Less(t, x.get("/api/v1/deadlocks?limit=1000").Body.Len(), 3<<20)
}

// The tasks of all deadlocks that are alike are deadlocked, not only those of the one that
// stands for them.
func TestTasksOfDeadlocksThatAreAlike(t *testing.T) {
	x := unstarted(t, testConfig())
	one, other := ringOf(1, 2, 1), ringOf(2, 2, 1)
	one.Count, one.Others = 2, other.Core
	x.RegisterDeadlockDetector("d", &fakeDetector{standing: []*deadlock.Deadlock{one}})
	require.Equal(t, 2, answers[deadlockList](t, x, "/api/v1/deadlocks").Deadlocks[0].Count)
	require.Equal(t, 4, answers[overviewAnswer](t, x, "/api/v1/overview").Deadlocks.Tasks)
	p := x.picture.get()
	require.Equal(t, one, p.in[other.Core[0].ID].deadlock)
	require.False(t, p.in[other.Core[0].ID].inCycle())
}
