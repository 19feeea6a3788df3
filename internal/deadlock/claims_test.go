package deadlock

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// The index agrees with a slow one that searches all claims. A resource of which a claim
// found no room has no known holders.
func TestClaimsAgreeWithASearch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		c := newClaims()
		slow := make(map[int][]report.Hold)
		for range 60 {
			task := rnd.IntN(6)
			var holds []report.Hold
			for range rnd.IntN(4) {
				h := report.Hold{Resource: fmt.Sprint("ext:", rnd.IntN(5)), UntilReleased: true}
				holds = append(slices.DeleteFunc(holds, func(o report.Hold) bool { return o == h }), h)
			}
			differ := make(map[string]bool)
			for _, h := range slices.Concat(slow[task], holds) {
				if slices.Contains(slow[task], h) != slices.Contains(holds, h) {
					differ[h.Resource] = true
				}
			}
			changed := make(map[string]bool)
			c.set(id(task), holds, math.MaxInt32, func(resource string) { changed[resource] = true })
			slow[task] = holds
			require.Equal(t, differ, changed)
			total := 0
			for _, all := range slow {
				total += len(all)
			}
			require.Equal(t, total, c.len)
			for resource := range 5 {
				name := fmt.Sprint("ext:", resource)
				want := make(map[report.TaskID]bool)
				for task, all := range slow {
					if slices.ContainsFunc(all, func(h report.Hold) bool { return h.Resource == name }) {
						want[id(task)] = true
					}
				}
				got := make(map[report.TaskID]bool)
				if of := c.holders(name); of != nil {
					for task := range of.all() {
						got[task] = true
					}
				}
				require.Equal(t, want, got, name)
			}
		}
		for task := range 6 {
			c.set(id(task), nil, math.MaxInt32, func(string) {})
		}
		require.Zero(t, c.len)
		require.Empty(t, c.by)
		require.Empty(t, c.of)
	}
}

// A claim that finds no room is counted once. Until it is gone somebody unknown holds the
// resource, which can hide a deadlock; afterwards the deadlock is found.
func TestClaimsWithoutRoom(t *testing.T) {
	limits := roomy
	limits.Edges = 7
	d := New(limits, skew)
	s := newSpeaker("a")
	forever := func(resource string) report.Hold { return report.Hold{Resource: resource, UntilReleased: true} }
	d.Apply(s.runs(9, 1, forever("ext:1"), forever("ext:2"), forever("ext:3")), at(1))
	d.Apply(s.wants(1, "ext:y", holds(forever("ext:x"))), at(4))
	d.Apply(s.wants(2, "ext:x", holds(forever("ext:y"))), at(4))
	require.Equal(t, 5, d.Table().Edges())
	// Of these two find room.
	for range 3 {
		d.Apply(s.runs(8, 4, forever("ext:4"), forever("ext:5"), forever("ext:y"), forever("ext:6")), at(4))
	}
	require.Equal(t, 7, d.Table().Edges())
	require.EqualValues(t, 2, d.Counters().ClaimsRefused)
	d.Apply(s.stuck(5, 1, 4, taskspan.WaitMutex, "m", nil, 6), at(4))
	require.EqualValues(t, 1, d.Table().Counters().EdgesRefused, "holders and claims have one limit")
	found, _ := d.Evaluate(at(4))
	require.Empty(t, found, "a task that runs holds y, too")

	d.Apply(s.runs(8, 5, forever("ext:4")), at(5))
	found, _ = d.Evaluate(at(5))
	require.Len(t, found, 1)
	require.Len(t, found[0].Core, 2)
	require.EqualValues(t, 2, d.Counters().ClaimsRefused)
	require.Equal(t, 6, d.Table().Edges())
}

// Every one that claims a resource may release it, so none is left out: the deadlock
// begins when the last of them that could has ended.
func TestTheLastHolderThatRunsEnds(t *testing.T) {
	s := newSpeaker("a")
	forever := func(resource string) report.Hold { return report.Hold{Resource: resource, UntilReleased: true} }
	d := New(roomy, skew)
	for n := range 20 {
		d.Apply(s.runs(50+n, 1, forever("ext:y")), at(1))
	}
	d.Apply(s.wants(1, "ext:y", holds(forever("ext:x"))), at(4))
	d.Apply(s.wants(2, "ext:x", holds(forever("ext:y"))), at(4))
	for n := range 20 {
		found, _ := d.Evaluate(at(5 + float64(n)/10))
		require.Empty(t, found)
		end := s.runs(50+n, 5)
		end.Task.State = taskspan.Completed
		d.Apply(end, at(5))
		require.Equal(t, []string{"ext:y"}, slices.Collect(maps.Keys(d.resources)))
	}
	found, _ := d.Evaluate(at(8))
	require.Len(t, found, 1)
}

// Another one that holds the resource may release it: the deadlock is none any more.
func TestAnotherHolderThatRuns(t *testing.T) {
	s := newSpeaker("a")
	forever := func(resource string) report.Hold { return report.Hold{Resource: resource, UntilReleased: true} }
	d, found := detect(t, s.wants(1, "ext:y", holds(forever("ext:x"))), s.wants(2, "ext:x", holds(forever("ext:y"))))
	require.Len(t, found, 1)
	d.Apply(s.runs(3, 5, forever("ext:z")), at(5))
	_, ended := d.Evaluate(at(5))
	require.Empty(t, ended)
	d.Apply(s.runs(3, 6, forever("ext:y")), at(6))
	found, ended = d.Evaluate(at(6))
	require.Empty(t, found)
	require.Len(t, ended, 1)
	require.Equal(t, Released, ended[0].How)
	// It has ended after all without releasing anything that they need.
	end := s.runs(3, 7)
	end.Task.State = taskspan.Completed
	d.Apply(end, at(7))
	found, _ = d.Evaluate(at(7))
	require.Len(t, found, 1)
}

// However many wait for a shared resource, and however many hold it, each adds one edge.
func TestASharedResourceIsOneNode(t *testing.T) {
	s := newSpeaker("a")
	d := New(roomy, skew)
	const waiters, claimants = 300, 40
	for n := range waiters {
		r := s.wants(n, "ext:x")
		if n < claimants {
			r.Task.Holds = []report.Hold{{Resource: "ext:x", UntilReleased: true}}
		}
		d.Apply(r, at(4))
	}
	g := d.explore(d.allSlots(), nil)
	require.Equal(t, waiters+claimants, g.Edges())
	require.Equal(t, claimants, d.Table().Edges())
	found, _ := d.Evaluate(at(4))
	require.Len(t, found, 1)
	require.Len(t, found[0].Core, claimants)
	require.Equal(t, waiters-claimants, found[0].Victims)
	edges, waits := d.Edges(1000)
	require.Len(t, edges, 1000)
	require.Equal(t, waiters, waits)

	// Their process says goodbye: one resource is left behind, once.
	r := s.beat(5)
	r.Heartbeat.Final = true
	d.Apply(r, at(5))
	require.Len(t, d.resources, 1)
	require.Zero(t, d.Table().Edges())
	_, ended := d.Evaluate(at(5))
	require.Len(t, ended, 1)
}

// A hold whose TTL has passed while its task took another one is over all the same.
func TestATTLThatPassesBetweenTwoEvaluations(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	d, found := detect(t, a.wants(1, "ext:y", holds(until("ext:x", 7))), b.wants(2, "ext:x", holds(until("ext:y", 9))))
	require.Len(t, found, 1)
	again := a.wants(1, "ext:y", holds(until("ext:x", 7), until("ext:z", 20)))
	again.Observed = at(6)
	require.Equal(t, report.Used, d.Apply(again, at(6)))
	_, ended := d.Evaluate(at(8))
	require.Len(t, ended, 1)
	require.Equal(t, DeadlineReached, ended[0].How)
}
