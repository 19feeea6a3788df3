package deadlock

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/growth"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// hall has room for n tasks, each with a wait and a hold.
func hall(n int) *Detector {
	return New(Limits{
		Limits:    fleet.Limits{Processes: 10, Tasks: n, Waits: n, Edges: 10 * n},
		Deadlocks: 100,
	}, skew)
}

// BenchmarkClaims is a resource that n tasks wait for and as many hold: all reports of
// them, the search for deadlocks, and a goodbye.
func BenchmarkClaims(b *testing.B) {
	growth.Benchmark(b, 1000, func(n int) func() {
		return func() {
			d, s := hall(2*n), newSpeaker("a")
			for i := range n {
				r := s.wants(0, "ext:x")
				r.Task.ID, r.Wait.ID = bigID(i), int64(i)
				d.Apply(r, at(4))
				r = s.runs(0, 4, report.Hold{Resource: "ext:x", UntilReleased: true})
				r.Task.ID = bigID(n + i)
				d.Apply(r, at(4))
			}
			d.Evaluate(at(4))
			r := s.beat(5)
			r.Heartbeat.Final = true
			d.Apply(r, at(5))
			d.Evaluate(at(5))
		}
	})
}

// BenchmarkAllClaimWhatAllWaitFor is a deadlock of n tasks over one resource, of which
// each changes what it holds besides.
func BenchmarkAllClaimWhatAllWaitFor(b *testing.B) {
	growth.Benchmark(b, 500, func(n int) func() {
		return func() {
			d, s := hall(n), newSpeaker("a")
			for round := range 2 {
				for i := range n {
					r := s.wants(0, "ext:x", holds(report.Hold{Resource: "ext:x", UntilReleased: true}))
					if round > 0 {
						r.Task.Holds = append(r.Task.Holds, report.Hold{Resource: "ext:y", UntilReleased: true})
					}
					r.Task.ID, r.Wait.ID = bigID(i), int64(i)
					d.Apply(r, at(4))
				}
				d.Evaluate(at(4))
			}
			if len(d.standing) != 1 {
				b.Fatal("no deadlock")
			}
		}
	})
}

// BenchmarkAbandoned is n tasks that wait for a lock whose holder has ended, and give up.
func BenchmarkAbandoned(b *testing.B) {
	growth.Benchmark(b, 500, func(n int) func() {
		return func() {
			d, s := hall(n), newSpeaker("a")
			for _, open := range []bool{true, false} {
				for i := range n {
					r := s.stuck(0, 0, 1, taskspan.WaitMutex, "m", leftBy("x"), 60_000)
					r.Task.ID, r.Wait.ID, r.Wait.Open = bigID(i), int64(i), open
					d.Apply(r, at(1))
				}
				d.Evaluate(at(2))
			}
		}
	})
}

// ring is a ring of n tasks of two processes, whose waits did not stand together.
func ring(n int) (d *Detector, a, b *speaker) {
	d, a, b = hall(n+10), newSpeaker("a"), newSpeaker("b") // room for some more
	for i := range n {
		s, since := a, 0.0
		if i%2 == 0 {
			s, since = b, 1.5
		}
		r := s.stuck(0, since, since+1, taskspan.WaitMutex, "m", nil, 0)
		r.Task.ID, r.Wait.ID, r.Wait.Holders[0].Task = bigID(i), int64(i), bigID((i+1)%n)
		d.Apply(r, at(3))
	}
	return d, a, b
}

// BenchmarkUnproven is an evaluation while a ring over two processes lacks evidence: one
// of the processes has confirmed its waits, but not for long enough.
func BenchmarkUnproven(b *testing.B) {
	growth.Benchmark(b, 1000, func(n int) func() {
		d, s, _ := ring(n)
		if found, _ := d.Evaluate(at(3)); len(found) > 0 {
			b.Fatal("they did not stand together")
		}
		r := s.beat(3.4)
		for i := 1; i < n; i += 2 {
			r.Heartbeat.WaitIDs, r.Heartbeat.Revisions = append(r.Heartbeat.WaitIDs, int64(i)), append(r.Heartbeat.Revisions, 1)
		}
		d.Apply(r, at(3))
		return func() {
			if found, _ := d.Evaluate(at(3)); len(found) > 0 {
				b.Fatal("they did not stand together for long enough")
			}
		}
	})
}

// BenchmarkPartlyStuck searches for the cores of triples of which two tasks wait for each
// other, and for a third one that somebody outside of the triple would free.
func BenchmarkPartlyStuck(b *testing.B) {
	growth.Benchmark(b, 800, func(n int) func() {
		g := new(waitgraph.Graph)
		outside := g.AddTask()
		g.Wait(outside, 0, waitgraph.Holder{Task: outside})
		for range n {
			one, two, three := g.AddTask(), g.AddTask(), g.AddTask()
			g.Wait(one, 0, waitgraph.Holder{Task: two}, waitgraph.Holder{Task: three})
			g.Wait(two, 0, waitgraph.Holder{Task: one})
			g.Wait(three, 1, waitgraph.Holder{Task: outside}, waitgraph.Holder{Task: one})
		}
		return func() {
			g.Solve()
			if cores := g.Cores(); len(cores) != n+1 {
				b.Fatalf("%d cores", len(cores))
			}
		}
	})
}

// BenchmarkVictims counts who is behind each of many deadlocks: chains of tasks, each of
// which also waits for the deadlock of the next chain.
func BenchmarkVictims(b *testing.B) {
	const chain = 20
	growth.Benchmark(b, 56, func(n int) func() {
		g := new(waitgraph.Graph)
		cores := make([][]waitgraph.Task, n)
		for i := range cores {
			t := g.AddTask()
			g.Wait(t, 0, waitgraph.Holder{Task: t})
			cores[i] = []waitgraph.Task{t}
		}
		for i := range cores {
			before := cores[i][0]
			for range chain {
				t := g.AddTask()
				g.Wait(t, 0, waitgraph.Holder{Task: before}, waitgraph.Holder{Task: cores[(i+1)%n][0]})
				before = t
			}
		}
		return func() {
			g.Solve()
			for _, count := range g.CountBehind(cores, func(waitgraph.Task) int { return 1 }) {
				if count != 2*chain {
					b.Fatalf("%d victims", count)
				}
			}
		}
	})
}

// BenchmarkOrders is n orders of locks that are taken in a consistent order, and a search
// after each tenth of them.
func BenchmarkOrders(b *testing.B) {
	growth.Benchmark(b, 3200, func(n int) func() {
		classes := 1
		for classes*(classes-1)/2 < n {
			classes++
		}
		var all []report.LockOrder
		for held := range classes {
			for taken := held + 1; taken < classes; taken++ {
				all = append(all, report.LockOrder{Held: fmt.Sprint(held), Taken: fmt.Sprint(taken)})
			}
		}
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return func() {
			o := NewOrders(len(all))
			for i := range all {
				o.Add(report.Process{Service: "a"}, &all[i])
				if i%(len(all)/10) == 0 {
					s := o.Search()
					if len(s.Run(epoch)) > 0 {
						b.Fatal("the order is consistent")
					}
					o.Done(s)
				}
			}
		}
	})
}
