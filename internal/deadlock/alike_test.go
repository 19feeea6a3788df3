package deadlock

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// twice is a task that takes a lock twice, at a line of a file.
func (s *speaker) twice(n, line int, since float64, change ...func(*report.Report)) *report.Report {
	r := s.stuck(n, since, since+1, taskspan.WaitMutex, fmt.Sprint("lock ", n), nil, n)
	r.Wait.Place = report.Place{Function: "shop.buy", File: "/src/shop/buy.go", Line: line}
	for _, c := range change {
		c(r)
	}
	return r
}

func closed(r *report.Report) { r.Wait.Open = false }

// Deadlocks of one process by the same places are one, which is told once and counted. It
// ends with the last of them.
func TestDeadlocksThatAreAlikeAreOne(t *testing.T) {
	d := New(roomy, skew)
	s, other := newSpeaker("shop"), newSpeaker("bank")
	d.Apply(s.twice(1, 41, 0), at(2))
	d.Apply(s.mutex(21, "till", 1), at(2)) // behind the first
	found, _ := d.Evaluate(at(2))
	require.Len(t, found, 1)
	require.Equal(t, 1, found[0].Count)
	first := found[0].ID

	d.Apply(s.twice(2, 41, 2), at(4))
	d.Apply(s.twice(3, 41, 2), at(4))
	d.Apply(s.twice(4, 42, 2), at(4)) // at another line
	d.Apply(other.twice(5, 41, 2), at(4))
	for n := range 2 {
		d.Apply(s.mutex(22+n, "till", 3), at(4)) // behind the third
	}
	found, ended := d.Evaluate(at(4))
	require.Empty(t, ended)
	news, added := 0, map[report.TaskID]bool{}
	for _, dl := range found {
		if dl.Added == nil {
			news++
			require.NotEqual(t, first, dl.ID)
			require.Equal(t, 1, dl.Count)
			continue
		}
		require.Equal(t, first, dl.ID)
		require.Equal(t, 3, dl.Count)
		require.Equal(t, dl.Core, dl.Added)
		require.NotEmpty(t, dl.Waits[dl.Added[0].ID], "it says what they wait for")
		added[dl.Added[0].ID] = true
	}
	require.Equal(t, 2, news)
	require.Equal(t, map[report.TaskID]bool{id(2): true, id(3): true}, added)
	standing := func() *Deadlock {
		require.Len(t, d.Standing(nil), 3)
		for _, dl := range d.Standing(nil) {
			if dl.ID == first {
				return dl
			}
		}
		return nil
	}
	require.Equal(t, 3, standing().Count)
	require.Equal(t, 3, standing().Victims)
	require.Equal(t, id(1), standing().Core[0].ID)
	require.Len(t, standing().Members(), 3)
	require.Contains(t, standing().Story(at(5)), "2 more deadlocks like this one stand")
	require.NotNil(t, d.Deadlocked(id(3)))

	// The one that stands for them ends: the next one does, under the same name.
	d.Apply(s.twice(1, 41, 0, closed), at(6))
	d.Apply(s.twice(3, 41, 2, closed), at(6))
	found, ended = d.Evaluate(at(10))
	require.Empty(t, found)
	require.Empty(t, ended)
	require.Equal(t, 1, standing().Count)
	require.Equal(t, id(2), standing().Core[0].ID)
	require.Zero(t, standing().Victims)
	require.Equal(t, at(2), standing().Found)
	require.NotContains(t, standing().Story(at(5)), "like this one")

	d.Apply(s.twice(2, 41, 2, closed), at(11))
	_, ended = d.Evaluate(at(11))
	require.Len(t, ended, 1)
	require.Equal(t, first, ended[0].ID)
	require.Len(t, d.Standing(nil), 2)
	// And once more, later: it is another one.
	d.Apply(s.twice(9, 41, 12), at(13))
	found, _ = d.Evaluate(at(13))
	require.Len(t, found, 1)
	require.Nil(t, found[0].Added)
	require.NotEqual(t, first, found[0].ID)
}

// A collector that starts and sees all at once gives them the name of the one that has
// stood for longest, which is that of the one that was found first before.
func TestDeadlocksThatAreAlikeHaveOneIdentity(t *testing.T) {
	for _, order := range [][]int{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}} {
		s := newSpeaker("shop")
		alone, _ := detect(t, s.twice(1, 41, 1))
		var reports []*report.Report
		for _, n := range order {
			reports = append(reports, s.twice(n, 41, float64(n)))
		}
		all, found := detect(t, reports...)
		require.Len(t, found, 3)
		require.Len(t, all.Standing(nil), 1)
		require.Equal(t, alone.Standing(nil)[0].ID, all.Standing(nil)[0].ID, "%v", order)
	}
}

// Of those that are alike, the surest one stands for all, and that one is certain now is
// told once.
func TestTheSurestStandsForAll(t *testing.T) {
	d := New(roomy, skew)
	s := newSpeaker("shop")
	guess := func(n int, is bool, revision int64, seen float64) {
		d.Apply(guessed(s.twice(n, 41, float64(n)), is, revision, seen), at(seen))
	}
	for n := 1; n <= 3; n++ {
		guess(n, true, 1, 5)
	}
	found, _ := d.Evaluate(at(5))
	require.Len(t, found, 3)
	require.Len(t, d.Standing(nil), 1)
	require.Equal(t, Suspected, d.Standing(nil)[0].Confidence)
	guess(2, false, 2, 6)
	found, _ = d.Evaluate(at(6))
	require.Len(t, found, 1)
	require.True(t, found[0].Raised)
	require.Equal(t, d.Standing(nil)[0].ID, found[0].ID)
	require.Equal(t, Certain, d.Standing(nil)[0].Confidence)
	require.Equal(t, id(2), d.Standing(nil)[0].Core[0].ID)
	require.Equal(t, 3, d.Standing(nil)[0].Count)
	guess(3, false, 2, 7)
	found, _ = d.Evaluate(at(7))
	require.Empty(t, found, "it is known")
	d.Apply(s.twice(2, 41, 2, closed, func(r *report.Report) { r.Wait.Revision = 2 }), at(8))
	d.Apply(s.twice(3, 41, 3, closed, func(r *report.Report) { r.Wait.Revision = 2 }), at(8))
	_, ended := d.Evaluate(at(8))
	require.Empty(t, ended)
	require.Equal(t, Suspected, d.Standing(nil)[0].Confidence)
	require.Equal(t, id(1), d.Standing(nil)[0].Core[0].ID)
}

// A full list takes in a new deadlock at the cost of the service that has most. What is
// not listed still stands, ends, and is listed again when there is room. It is proved and
// counted once.
func TestEachServiceHasItsShareOfTheList(t *testing.T) {
	limits := roomy
	limits.Deadlocks = 5
	d := New(limits, skew)
	noisy, small := newSpeaker("noisy"), newSpeaker("small")
	listed := func() (of map[string]int) {
		of = make(map[string]int)
		for _, dl := range d.Standing(nil) {
			of[dl.Services[0]]++
		}
		_, size, _, _ := d.Sizes()
		require.Equal(t, len(d.Standing(nil)), size)
		return of
	}
	for n := range 9 {
		d.Apply(noisy.twice(n, 100+n, float64(n)/10), at(2))
		found, _ := d.Evaluate(at(2))
		require.Len(t, found, 1, "each is told")
	}
	require.Equal(t, map[string]int{"noisy": 5}, listed())
	require.Equal(t, 4, d.NotKept())
	oldest := at(9)
	for _, dl := range d.Standing(nil) {
		if dl.Since.Before(oldest) {
			oldest = dl.Since
		}
	}
	require.Equal(t, at(0.4), oldest, "the oldest have made room")
	proofs := d.Counters().Proofs
	for n := range 3 {
		d.Apply(small.twice(50+n, 200+n, 0), at(3))
		d.Evaluate(at(3))
	}
	require.Equal(t, map[string]int{"noisy": 2, "small": 3}, listed())
	d.Apply(small.twice(60, 300, 0), at(3))
	d.Evaluate(at(3))
	require.Equal(t, map[string]int{"noisy": 2, "small": 3}, listed(), "now it has most itself")
	require.Equal(t, 8, d.NotKept())
	require.EqualValues(t, 8, d.Counters().DeadlocksGivenUp)
	for sec := 10.0; sec < 40; sec += 5 {
		d.Apply(noisy.beat(sec, 0, 1, 2, 3, 4, 5, 6, 7, 8), at(sec))
		found, ended := d.Evaluate(at(sec))
		require.Empty(t, found)
		require.Empty(t, ended)
	}
	require.Equal(t, proofs+4, d.Counters().Proofs)
	require.EqualValues(t, 8, d.Counters().DeadlocksGivenUp)

	// One that is not listed ends, and is told.
	d.Apply(noisy.twice(0, 100, 0, closed), at(41))
	_, ended := d.Evaluate(at(41))
	require.Len(t, ended, 1)
	require.Equal(t, 7, d.NotKept())
	// Two that are listed end: others take their places.
	for n := range 2 {
		d.Apply(small.twice(51+n, 201+n, 0, closed), at(42))
	}
	_, ended = d.Evaluate(at(42))
	require.Len(t, ended, 2)
	require.Equal(t, 5, listed()["noisy"]+listed()["small"])
	require.Equal(t, 5, d.NotKept())
	for _, s := range []*speaker{noisy, small} {
		r := s.beat(43)
		r.Heartbeat.Final = true
		d.Apply(r, at(43))
	}
	_, ended = d.Evaluate(at(43))
	require.Len(t, ended, 10)
	require.Empty(t, listed())
	require.Zero(t, d.NotKept())
	require.Empty(t, d.kinds.byPattern)
	require.Empty(t, d.kinds.of)
	require.Empty(t, d.kinds.shares)
}
