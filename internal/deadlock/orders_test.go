package deadlock

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// taking is "held>taken", with a mode and guards.
func (o *Orders) taking(service, held, taken, mode string, guards ...string) *Inversion {
	return o.Add(report.Process{Service: service, Instance: "1", Epoch: 1},
		&report.LockOrder{Task: id(1), Held: held, Taken: taken, Mode: mode, Guards: guards}, epoch)
}

func TestOrdersThatContradictEachOther(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "x", "y", ""))
	require.Nil(t, o.taking("b", "y", "x", ""), "another service has locks of its own")
	v := o.taking("a", "y", "x", "")
	require.NotNil(t, v)
	require.Equal(t, []string{"y", "x"}, v.Names())
	require.Contains(t, v.Story(), `"x"`)
	require.Contains(t, v.Suggestion(), `"x" before "y"`)
	require.Nil(t, o.taking("a", "y", "x", ""), "once")
	require.Nil(t, o.taking("a", "x", "y", "write/write", "z"), "once")
}

func TestOrdersOverThreeLocks(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "x", "y", ""))
	require.Nil(t, o.taking("a", "y", "z", ""))
	require.Nil(t, o.taking("a", "x", "z", ""))
	v := o.taking("a", "z", "x", "")
	require.NotNil(t, v)
}

func TestAGateLockKeepsItHarmless(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "x", "y", "", "gate"))
	require.Nil(t, o.taking("a", "y", "x", "", "gate", "other"))
	require.NotNil(t, o.taking("a", "y", "x", ""), "and once without the gate")
}

func TestAGateThatIsPartOfTheRingIsNone(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "x", "y", "", "z"))
	require.Nil(t, o.taking("a", "y", "z", "", "x"))
	require.NotNil(t, o.taking("a", "z", "x", "", "y"))
}

func TestReadersDoNotWaitForEachOther(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "x", "y", "read/read"))
	require.Nil(t, o.taking("a", "y", "x", "read/read"))
	require.Nil(t, o.taking("a", "y", "x", "write/read"), "x is only read by both")
	require.NotNil(t, o.taking("a", "y", "x", "write/write"), "writes x, which the other has, and has y, which it reads")
}

func TestOrdersOfOneClassSayNothing(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "x", "x", ""))
	require.Zero(t, o.Len())
}

func TestOrdersAreBounded(t *testing.T) {
	o := NewOrders(50)
	for i := range 1000 {
		o.taking("a", fmt.Sprint("l", i%40), fmt.Sprint("l", i%37), "", fmt.Sprint("g", i))
	}
	require.Equal(t, 50, o.Len())
	require.NotZero(t, o.Counters().Refused)
}

// Random orders against a search over all rings of different locks.
func TestRandomOrdersAgainstBruteForce(t *testing.T) {
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		o := NewOrders(1000)
		var all []Order
		modes := []string{"write/write", "read/write", "write/read", "read/read"}
		warned := false
		for range 1 + rnd.IntN(6) {
			held, taken := rnd.IntN(4), rnd.IntN(4)
			if held == taken {
				continue
			}
			mode := modes[rnd.IntN(len(modes))]
			var guards []string
			if rnd.IntN(2) == 0 {
				guards = append(guards, fmt.Sprint("g", rnd.IntN(2)))
			}
			lo := &report.LockOrder{Mode: mode}
			h, k := lo.Reads()
			all = append(all, Order{Held: fmt.Sprint(held), Taken: fmt.Sprint(taken), HeldReads: h, TakenReads: k, Guards: guards})
			warned = o.taking("a", fmt.Sprint(held), fmt.Sprint(taken), mode, guards...) != nil || warned
		}
		require.Equal(t, anyRing(all, nil), warned, "seed %d: %+v", seed, all)
	}
}

// anyRing tries all sequences of orders through different locks.
func anyRing(all, ring []Order) bool {
	if n := len(ring); n > 1 && ring[n-1].Taken == ring[0].Held {
		common := ring[0].Guards
		for i, r := range ring {
			if r.TakenReads && ring[(i+1)%n].HeldReads {
				return false
			}
			common = intersect(common, r.Guards)
		}
		return len(common) == 0
	}
	for _, next := range all {
		if len(ring) > 0 && ring[len(ring)-1].Taken != next.Held {
			continue
		}
		again := false
		for _, r := range ring {
			again = again || r.Held == next.Held
		}
		if !again && anyRing(all, append(ring[:len(ring):len(ring)], next)) {
			return true
		}
	}
	return false
}
