package deadlock

import (
	"testing"

	"github.com/asyncinspect/asyncinspect/internal/growth"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

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
