package deadlock

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// One task waits for a task of each of two deadlocks: it is behind both, and is one victim.
// A task of the second waits for the first as well: it is behind that, and no victim.
func TestATaskBehindTwoDeadlocksIsOneVictim(t *testing.T) {
	s := newSpeaker("a")
	second := s.mutex(3, "z", 4)
	also := s.stuck(3, 0, 1, taskspan.WaitMutex, "y", nil, 1)
	also.Wait.ID = 33
	d, found := detect(t,
		s.mutex(1, "x", 2), s.mutex(2, "y", 1), second, s.mutex(4, "w", 3), also,
		s.stuck(5, 0, 1, taskspan.WaitJoin, "all", nil, 1, 3),
		s.mutex(6, "v", 5),
	)
	require.Len(t, found, 2)
	behind := make(map[report.TaskID][]report.TaskID)
	for _, dl := range found {
		require.Len(t, dl.Behind, dl.Victims)
		behind[dl.Core[0].ID] = dl.Behind
	}
	require.ElementsMatch(t, []report.TaskID{id(3), id(4), id(5), id(6)}, behind[id(1)])
	require.ElementsMatch(t, []report.TaskID{id(5), id(6)}, behind[id(3)])
	require.Equal(t, map[report.TaskID]struct{}{id(5): {}, id(6): {}}, d.Victims())

	// When the second is over, those behind it are still behind the first.
	for _, r := range []*report.Report{second, also} {
		over := *r
		wait := *r.Wait
		wait.Open = false
		s.sequence++
		over.Wait, over.Sequence, over.Observed = &wait, s.sequence, at(2)
		d.Apply(&over, at(2))
	}
	_, ended := d.Evaluate(at(2))
	require.Len(t, ended, 1)
	require.Nil(t, ended[0].Behind)
	require.Equal(t, map[report.TaskID]struct{}{id(5): {}, id(6): {}}, d.Victims())
	require.Equal(t, 2, d.Standing(nil)[0].Victims, "counted anew, with what is over")

	// When nothing stands, nobody is a victim.
	over := s.mutex(1, "x", 2)
	over.Wait.Open, over.Observed = false, at(3)
	d.Apply(over, at(3))
	_, ended = d.Evaluate(at(3))
	require.Len(t, ended, 1)
	require.Empty(t, d.Victims())
}

func TestTheVictimsThatAreNamedAreBounded(t *testing.T) {
	for _, n := range []int{MaxNamed - 1, MaxNamed, MaxNamed + 1} {
		s := newSpeaker("a")
		reports := []*report.Report{s.mutex(1, "x", 2), s.mutex(2, "y", 1)}
		for i := range n {
			reports = append(reports, s.mutex(10+i, "y", 1))
		}
		d, found := detect(t, reports...)
		require.Len(t, found, 1)
		require.Equal(t, n, found[0].Victims)
		require.Len(t, found[0].Behind, min(n, MaxNamed))
		require.Len(t, d.Victims(), n)
	}
}
