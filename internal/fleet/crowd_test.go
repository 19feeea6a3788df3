package fleet

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/growth"
)

// The largest has as many waits as the most of any, after every change.
func TestTheCrowdKnowsWhoHasMost(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		c := crowd{of: func(p *process) *ranked { return &p.byWaits }}
		require.Nil(t, c.largest())
		processes := make([]*process, 1+rnd.IntN(6))
		for i := range processes {
			processes[i] = new(process)
		}
		for range 300 {
			p := processes[rnd.IntN(len(processes))]
			if p.byWaits.n > 0 && rnd.IntN(2) == 0 {
				c.setTo(p, p.byWaits.n-1)
			} else {
				c.setTo(p, p.byWaits.n+1)
			}
			most := 0
			for _, q := range processes {
				most = max(most, q.byWaits.n)
			}
			if most == 0 {
				require.Nil(t, c.largest())
			} else {
				require.Equal(t, most, c.largest().byWaits.n)
			}
		}
		for _, p := range processes {
			for p.byWaits.n > 0 {
				c.setTo(p, p.byWaits.n-1)
			}
		}
		require.Nil(t, c.largest())
		require.Empty(t, c.lists)
	}
}

// BenchmarkAFullTable refuses waits when no process has more than its share.
func BenchmarkAFullTable(b *testing.B) {
	const refused = 100
	growth.Benchmark(b, 400, func(n int) func() {
		t := NewTable(Limits{Processes: n, Tasks: 2 * n, Waits: n}, func(Event) {})
		var last *speaker
		for i := range n {
			last = newSpeaker(string(rune('a' + i)))
			r := last.wait(0, 1, 0, true, at(1), at(2))
			r.Task.ID.Trace[0], r.Task.ID.Trace[1] = byte(i), byte(i>>8)
			t.Apply(r, at(2))
		}
		return func() {
			for id := range int64(refused) {
				r := last.wait(0, 2+id, 0, true, at(1), at(2))
				r.Task.ID.Trace = [16]byte{byte(n - 1), byte((n - 1) >> 8), 15: 0}
				t.Apply(r, at(2))
			}
			if t.counters.WaitsRefused != refused {
				b.Fatalf("%d waits were refused", t.counters.WaitsRefused)
			}
		}
	})
}
