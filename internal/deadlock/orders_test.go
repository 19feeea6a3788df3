package deadlock

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// taking is "held>taken", with a mode and guards.
func (o *Orders) taking(service, held, taken, mode string, guards ...string) *Inversion {
	o.Add(report.Process{Service: service, Instance: "1", Epoch: 1},
		&report.LockOrder{Task: id(1), Held: held, Taken: taken, Mode: mode, Guards: guards})
	return o.completed()
}

// completed is the inversion that the newest order completes, or nil.
func (o *Orders) completed() *Inversion {
	s := o.Search()
	if s == nil {
		return nil
	}
	found := s.Run(epoch)
	o.Done(s)
	if len(found) == 0 {
		return nil
	}
	return found[0]
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
	require.NotZero(t, o.Counters().Evicted)
}

// When the table is full, the oldest orders make room for new ones, so that contradictions
// are found also after years of deploys.
func TestOldOrdersMakeRoom(t *testing.T) {
	o := NewOrders(20)
	require.Nil(t, o.taking("a", "first", "second", ""))
	for i := range 19 {
		require.Nil(t, o.taking("a", fmt.Sprint("l", i), fmt.Sprint("m", i), ""))
	}
	require.Zero(t, o.Counters().Evicted)
	require.Nil(t, o.taking("a", "x", "y", ""))
	require.EqualValues(t, 1, o.Counters().Evicted)
	require.Nil(t, o.taking("a", "second", "first", ""), "it was forgotten")
	require.NotNil(t, o.taking("a", "y", "x", ""), "the newest is known")
	require.NotNil(t, o.taking("a", "m5", "l5", ""))
	require.Equal(t, 20, o.Len())
	require.Len(t, o.locks, 20)
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

// However the orders are spread over searches, the same inversions are found.
func TestOrdersInBatchesGiveTheSame(t *testing.T) {
	inversions := 0
	for seed := range uint64(1000) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		one, many := NewOrders(1000), NewOrders(1000)
		var want, got []string
		text := func(v *Inversion) string { return fmt.Sprint(v.Names()) }
		search := func() {
			if s := many.Search(); s != nil {
				for _, v := range s.Run(epoch) {
					got = append(got, text(v))
				}
				many.Done(s)
			}
		}
		for range 12 {
			held, taken := rnd.IntN(6), rnd.IntN(6)
			if v := one.taking("a", fmt.Sprint(held), fmt.Sprint(taken), ""); v != nil {
				want = append(want, text(v))
			}
			many.Add(report.Process{Service: "a", Instance: "1", Epoch: 1}, &report.LockOrder{Task: id(1), Held: fmt.Sprint(held), Taken: fmt.Sprint(taken)})
			if rnd.IntN(5) == 0 {
				search()
			}
		}
		search()
		require.Equal(t, want, got, "seed %d", seed)
		inversions += len(want)
	}
	require.Greater(t, inversions, 1000)
}

// consistent is n classes of locks that are taken in the order of their numbers: all pairs,
// in an order of their own.
func consistent(n int) *Orders {
	o := NewOrders(n * n)
	for _, i := range rand.New(rand.NewPCG(uint64(n), 8)).Perm(n * n) {
		if held, taken := i/n, i%n; held < taken {
			o.Add(report.Process{Service: "a", Instance: "1", Epoch: 1}, &report.LockOrder{Held: fmt.Sprint(held), Taken: fmt.Sprint(taken)})
		}
	}
	return o
}

// Many locks that are taken in a consistent order are in no ring. Nothing is searched for
// them, and the one order that contradicts them is found.
func TestAContradictionAmongManyConsistentOrders(t *testing.T) {
	const n = 120
	o := consistent(n)
	s := o.Search()
	require.Empty(t, s.Run(epoch))
	require.Equal(t, maxWork, s.work)
	o.Done(s)
	require.Zero(t, o.Counters().CutShort)
	require.Nil(t, o.Search(), "all have been looked at")
	// Every other lock lies between these two, and only the direct way back is a ring of two.
	v := o.taking("a", fmt.Sprint(n-1), "0", "")
	require.NotNil(t, v)
	require.Equal(t, []string{fmt.Sprint(n - 1), "0"}, v.Names())
	require.Zero(t, o.Counters().CutShort)
}

// What one search leaves is for the next one: nothing is lost.
func TestASearchLeavesWhatIsTooMuch(t *testing.T) {
	o := NewOrders(10_000)
	add := func(held, taken int) {
		o.Add(report.Process{Service: "a", Instance: "1", Epoch: 1}, &report.LockOrder{Held: fmt.Sprint(held), Taken: fmt.Sprint(taken)})
	}
	const pairs = 2*maxFound + 5
	for i := range pairs {
		add(2*i, 2*i+1)
		add(2*i+1, 2*i)
	}
	var found []int
	for s := o.Search(); s != nil; s = o.Search() {
		found = append(found, len(s.Run(epoch)))
		add(0, 5000+len(found)) // while it runs
		o.Done(s)
		if len(found) > 3 {
			break
		}
	}
	require.Equal(t, []int{maxFound, maxFound, 5, 0}, found)
	require.Zero(t, o.Counters().CutShort)
}

// Only rings that a gate does not close count, however many there are; a longer one that
// is open is found behind shorter ones that are not.
func TestALongerRingBehindAShorterOne(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "x", "y", "", "gate"))
	require.Nil(t, o.taking("a", "x", "z", ""))
	require.Nil(t, o.taking("a", "z", "y", ""))
	v := o.taking("a", "y", "x", "", "gate")
	require.NotNil(t, v)
	require.Equal(t, []string{"y", "x", "z"}, v.Names())
}

// The longest ring that is looked for has maxInversion locks.
func TestHowLongARingMayBe(t *testing.T) {
	for _, locks := range []int{maxInversion, maxInversion + 1} {
		o := NewOrders(100)
		for i := range locks - 1 {
			require.Nil(t, o.taking("a", fmt.Sprint(i), fmt.Sprint(i+1), ""))
		}
		v := o.taking("a", fmt.Sprint(locks-1), "0", "")
		require.Equal(t, locks <= maxInversion, v != nil, "%d locks", locks)
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

func TestLocksOutsideAreOneForAllServices(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "ext:x", "ext:y", ""))
	v := o.taking("b", "ext:y", "ext:x", "")
	require.NotNil(t, v)
	require.ElementsMatch(t, []string{"x", "y"}, v.Names())
	require.Equal(t, []string{"a", "b"}, v.Services())
	require.Contains(t, v.Story(), "a and b take the locks")
	require.Contains(t, v.Story(), "in           a")
	require.Nil(t, o.taking("c", "ext:x", "ext:y", "", "ext:z"), "once")
	// A lock of a service between them.
	require.Nil(t, o.taking("d", "ext:p", "own", ""))
	require.Nil(t, o.taking("e", "own", "ext:p", ""), "another service has a lock of its own of that name")
	require.NotNil(t, o.taking("d", "own", "ext:p", ""))
}

func TestAGateOfOneServiceIsNoneOfAnother(t *testing.T) {
	o := NewOrders(100)
	require.Nil(t, o.taking("a", "ext:x", "ext:y", "", "gate"))
	require.NotNil(t, o.taking("b", "ext:y", "ext:x", "", "gate"), "each has a lock of that name")
	o = NewOrders(100)
	require.Nil(t, o.taking("a", "ext:x", "ext:y", "", "ext:gate"))
	require.Nil(t, o.taking("b", "ext:y", "ext:x", "", "ext:gate"))
}

// call is how a call between processes is named in orders.
func call(n int) string { return taskspan.ResourceSpan + id(n).String() }

// through is an order with a call in it.
func (o *Orders) through(service, held, heldName, taken, takenName string) *Inversion {
	o.Add(report.Process{Service: service, Instance: "1", Epoch: 1},
		&report.LockOrder{Task: id(1), Held: held, HeldName: heldName, Taken: taken, TakenName: takenName})
	return o.completed()
}

func TestAnOrderThroughTwoServicesIsAnOrder(t *testing.T) {
	for name, orders := range map[string]func(o *Orders) *Inversion{
		"the answer takes what the caller has, in the same service": func(o *Orders) *Inversion {
			require.Nil(t, o.through("shop", "stock", "", call(7), "POST bank"))
			require.Nil(t, o.through("bank", call(7), "pay", call(8), "GET shop"))
			return o.through("shop", call(8), "price", "stock", "")
		},
		"the other order is taken elsewhere": func(o *Orders) *Inversion {
			require.Nil(t, o.through("shop", "ext:x", "", call(7), "POST bank"))
			require.Nil(t, o.through("bank", call(7), "pay", "ext:y", ""))
			return o.through("jobs", "ext:y", "", "ext:x", "")
		},
		"the answer comes first": func(o *Orders) *Inversion {
			require.Nil(t, o.through("bank", call(7), "pay", "ext:y", ""))
			require.Nil(t, o.through("jobs", "ext:y", "", "ext:x", ""))
			return o.through("shop", "ext:x", "", call(7), "POST bank")
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := orders(NewOrders(100))
			require.NotNil(t, v)
			for _, want := range []string{`calls "POST bank"`, `while it answers a call in "pay"`} {
				require.Contains(t, v.CycleText(), want)
			}
			require.Contains(t, v.Suggestion(), "before the call")
			require.NotContains(t, v.Story(), "span:")
		})
	}
	o := NewOrders(100)
	require.Nil(t, o.through("shop", "ext:x", "", call(7), "POST bank"))
	require.Nil(t, o.through("bank", call(8), "pay", "ext:y", ""), "another call")
	require.Nil(t, o.through("jobs", "ext:y", "", "ext:x", ""))
	// The same two services again, with other calls: once.
	require.NotNil(t, o.through("bank", call(7), "pay", "ext:y", ""))
	require.Nil(t, o.through("shop", "ext:x", "", call(9), "POST bank"))
	require.Nil(t, o.through("bank", call(9), "pay", "ext:y", ""))
}

func TestOldCallsMakeRoom(t *testing.T) {
	o := NewOrders(40)
	for i := range 30 {
		require.Nil(t, o.taking("a", fmt.Sprint("l", i), fmt.Sprint("m", i), ""))
	}
	for i := range 1000 {
		require.Nil(t, o.through("a", fmt.Sprint("l", i%7), "", call(i+1), "GET"))
	}
	require.Equal(t, 40, o.Len())
	require.Len(t, o.calls, 10)
	require.EqualValues(t, 990, o.Counters().Forgotten)
	require.Zero(t, o.Counters().Evicted)
	// The newest are known, and the oldest are not.
	require.Nil(t, o.through("b", call(1), "answer", "l0", ""))
	require.NotNil(t, o.through("a", call(1000), "answer", "l5", ""), "that is %d", 999%7)
}

func TestAReadLockTakenTwice(t *testing.T) {
	o := NewOrders(100)
	twice := func(service, held, mode string, same bool) *Inversion {
		o.Add(report.Process{Service: service, Instance: "1", Epoch: 1}, &report.LockOrder{
			Task: id(1), Held: held, HeldName: "the read lock", Taken: held, TakenName: "the read lock", Mode: mode, Recursive: same,
		})
		return o.completed()
	}
	require.Nil(t, twice("a", "r1@x", "read/read", false), "two locks of one class")
	require.Nil(t, twice("a", "r1@x", "write/write", true), "that is a deadlock already")
	v := twice("a", "r1@x", "read/read", true)
	require.NotNil(t, v)
	require.True(t, v.Recursive())
	require.Equal(t, []string{"the read lock"}, v.Names())
	for _, want := range []string{"twice", "a writer that arrives in between", "while holding read lock", "Take the read lock once"} {
		require.Contains(t, v.Story(), want)
	}
	require.NotContains(t, v.Story(), "r1@x")
	require.Nil(t, twice("a", "r1@x", "read/read", true), "once")
	require.NotNil(t, twice("b", "r1@x", "read/read", true))
}
