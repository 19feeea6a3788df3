package deadlock

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A core that lacks evidence is looked at again when one of its processes has confirmed
// waits, and not because something else was reported.
func TestACoreIsProvedAgainOnlyWithNewEvidence(t *testing.T) {
	d, a, b := ring(100)
	other := newSpeaker("c")
	confirm := func(s *speaker, sec float64, first int64) {
		var ids []int64
		for id := first; id < 100; id += 2 {
			ids = append(ids, id)
		}
		d.Apply(s.beat(sec, ids...), at(sec))
	}
	evaluate := func(sec float64, proofs int64, found int) {
		t.Helper()
		got, ended := d.Evaluate(at(sec))
		require.Len(t, got, found)
		require.Empty(t, ended)
		require.Equal(t, proofs, d.Counters().Proofs)
	}
	evaluate(3, 1, 0)
	for i := range 5 {
		d.Apply(other.stuck(200+i, 0, 3, taskspan.WaitMutex, "q", nil, 300), at(3))
		d.Apply(other.beat(3.5, 200), at(3.5))
		evaluate(3.5, 1, 0)
	}
	_, _, _, unproven := d.Sizes()
	require.Equal(t, 1, unproven)
	confirm(a, 3.4, 1) // 0.9 s together, of more than 1 s
	evaluate(4, 2, 0)
	evaluate(4, 2, 0)
	confirm(b, 4, 0)
	evaluate(4, 3, 0)
	confirm(a, 3.6, 1) // 1.1 s
	evaluate(4, 4, 1)
	// It is known: that somebody else waits behind it proves nothing again.
	d.Apply(a.stuck(201, 3, 4, taskspan.WaitMutex, "m", func(r *report.Report) { r.Wait.Holders[0].Task = bigID(7) }, 0), at(4))
	evaluate(4, 4, 0)
	_, _, _, unproven = d.Sizes()
	require.Zero(t, unproven)
}

// A detector that has evaluated often has found at least what one finds that sees the same
// reports at once.
func TestNothingIsMissedByLookingOnlyAtWhatChanged(t *testing.T) {
	found := 0
	for seed := range uint64(1500) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		speakers := []*speaker{newSpeaker("a"), newSpeaker("b")}
		often, once := New(roomy, skew), New(roomy, skew)
		n := 2 + rnd.IntN(5)
		claims := make([][]report.Hold, n)
		for i := range claims {
			if rnd.IntN(2) == 0 {
				claims[i] = []report.Hold{{Resource: fmt.Sprint("ext:", rnd.IntN(2)), UntilReleased: true}}
			}
		}
		open := make([]*report.Wait, n)
		now := 1.0
		var story []string
		apply := func(r *report.Report) {
			for _, d := range []*Detector{often, once} {
				again := *r
				require.Equal(t, report.Used, d.Apply(&again, at(now)))
			}
			if r.Wait != nil {
				var hs []int
				for _, h := range r.Wait.Holders {
					hs = append(hs, number(h.Task))
				}
				story = append(story, fmt.Sprintf("%.1f %s wait %d rev %d %s need %d %v holds %v", now, r.Process.Service, r.Wait.ID, r.Wait.Revision, r.Wait.ResourceID, r.Wait.Need, hs, r.Task.Holds))
			} else {
				story = append(story, fmt.Sprintf("%.1f %s beat %v %v", now, r.Process.Service, r.Heartbeat.WaitIDs, r.Heartbeat.Revisions))
			}
		}
		for range 30 {
			now += 0.3
			task := rnd.IntN(n)
			s := speakers[task%2]
			switch w := open[task]; rnd.IntN(5) {
			case 0, 1: // it waits, for something else than before
				r := s.stuck(task, now-0.2, now, taskspan.WaitMutex, "m", nil, rnd.IntN(n+1), rnd.IntN(n+1))
				if rnd.IntN(3) == 0 {
					r = s.stuck(task, now-0.2, now, taskspan.WaitExternal, fmt.Sprint("ext:", rnd.IntN(2)), nil)
				}
				r.Wait.Need, r.Task.Holds = int64(rnd.IntN(2)), claims[task]
				if w != nil {
					r.Wait.Revision, r.Wait.Since = w.Revision+1, w.Since
				}
				open[task] = r.Wait
				apply(r)
			case 2: // a report comes again
				if w != nil {
					r := s.stuck(task, 0, now, w.Kind, w.ResourceID, nil)
					r.Wait, r.Task.Holds = w, claims[task]
					apply(r)
				}
			default: // a heartbeat confirms all waits of its process
				r := s.beat(now)
				for i := task % 2; i < n; i += 2 {
					if open[i] != nil {
						r.Heartbeat.WaitIDs = append(r.Heartbeat.WaitIDs, open[i].ID)
						r.Heartbeat.Revisions = append(r.Heartbeat.Revisions, open[i].Revision)
					}
				}
				apply(r)
			}
			if rnd.IntN(2) == 0 {
				f, e := often.Evaluate(at(now))
				story = append(story, fmt.Sprint("evaluate: ", len(f), len(e)))
				for _, dl := range often.Standing(nil) {
					story = append(story, fmt.Sprint("    ", core(dl)))
				}
			}
		}
		often.Evaluate(at(now))
		once.Evaluate(at(now))
		for _, dl := range once.Standing(nil) {
			found++
			for _, task := range dl.Core {
				if often.Deadlocked(task.ID) == nil {
					t.Log(strings.Join(story, "\n"))
				}
				require.NotNil(t, often.Deadlocked(task.ID), "seed %d: %s of %v", seed, task.ID, dl.CycleText())
			}
		}
	}
	require.Greater(t, found, 150, "the reports are too easy")
}

// An instant that proves a core is found as by trying all of them, each with a graph of
// its own.
func TestProofsAgreeWithASlowSearch(t *testing.T) {
	proved, not := 0, 0
	for seed := range uint64(1500) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		speakers := []*speaker{newSpeaker("a"), newSpeaker("b")}
		d := New(roomy, skew)
		n := 2 + rnd.IntN(4)
		for task := range n {
			s := speakers[rnd.IntN(2)*(task%2)]
			for wait := range 1 + rnd.IntN(2) {
				since := float64(rnd.IntN(20)) / 10
				first := s.stuck(task, since, since, taskspan.WaitMutex, "m", func(r *report.Report) {
					r.Wait.ID = int64(10*task + wait)
				}, (task+1)%n, rnd.IntN(n))
				d.Apply(first, at(5))
				again := *first
				s.sequence++
				again.Sequence, again.Observed = s.sequence, at(since+float64(rnd.IntN(30))/10)
				d.Apply(&again, at(5))
			}
		}
		g := d.explore(d.allSlots(), nil)
		g.Solve()
		for _, core := range g.Cores() {
			members := g.members(core)
			parts := byProcess(members)
			want := false
			for tenth := range 60 {
				when := at(float64(tenth) / 10)
				if len(parts) > 1 {
					want = want || len(d.trial(members).at(when, 2*skew)) > 0
				}
				for _, part := range parts {
					want = want || len(d.trial(part).at(when, 0)) > 0
				}
			}
			require.Equal(t, want, len(d.prove(members)) > 0, "seed %d", seed)
			if want {
				proved++
			} else {
				not++
			}
		}
	}
	require.Greater(t, proved, 40)
	require.Greater(t, not, 40)
}
