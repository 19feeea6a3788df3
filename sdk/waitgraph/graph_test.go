package waitgraph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// spec is a graph as a test writes it.
type spec struct {
	tasks int
	waits []waitSpec
}

type waitSpec struct {
	waiter  Task
	need    int64
	holders []Holder
}

func (s spec) String() string { return fmt.Sprintf("%d tasks %+v", s.tasks, s.waits) }

func (s spec) graph() *Graph {
	g := new(Graph)
	s.build(g)
	return g
}

func (s spec) build(g *Graph) {
	for range s.tasks {
		g.AddTask()
	}
	for _, w := range s.waits {
		g.Wait(w.waiter, w.need, w.holders...)
	}
	g.Solve()
}

func (s spec) stuck() []Task {
	g := s.graph()
	var stuck []Task
	for t := range s.tasks {
		if g.Stuck(Task(t)) {
			stuck = append(stuck, Task(t))
		}
	}
	return stuck
}

// bruteForce says the same from the definition: the union of all sets of tasks in
// which everyone has a group that the others outside of the set cannot satisfy.
func (s spec) bruteForce() []Task {
	union := 0
	for set := range 1 << s.tasks {
		if s.closed(set) {
			union |= set
		}
	}
	var stuck []Task
	for t := range s.tasks {
		if union&(1<<t) != 0 {
			stuck = append(stuck, Task(t))
		}
	}
	return stuck
}

func (s spec) closed(set int) bool {
	for t := range s.tasks {
		if set&(1<<t) != 0 && !s.held(Task(t), set) {
			return false
		}
	}
	return true
}

func (s spec) held(t Task, set int) bool {
	for _, w := range s.waits {
		if w.waiter != t {
			continue
		}
		var outside, total int64
		for _, h := range w.holders {
			weight := max(h.Weight, 1)
			total += weight
			if h.Task < 0 || set&(1<<h.Task) == 0 {
				outside += weight
			}
		}
		need := w.need
		if need <= 0 || need > total {
			need = total
		}
		if outside < need {
			return true
		}
	}
	return false
}

func one(t Task) []Holder { return []Holder{{Task: t}} }

func each(tasks ...Task) []Holder {
	var h []Holder
	for _, t := range tasks {
		h = append(h, Holder{Task: t})
	}
	return h
}

func TestSolve(t *testing.T) {
	for _, c := range []struct {
		name string
		spec spec
		want []Task
	}{
		{"nobody waits", spec{tasks: 2}, nil},
		{"a chain ends at somebody who runs", spec{3, []waitSpec{{0, 0, one(1)}, {1, 0, one(2)}}}, nil},
		{"two locks in opposite orders", spec{2, []waitSpec{{0, 0, one(1)}, {1, 0, one(0)}}}, []Task{0, 1}},
		{"three in a ring", spec{3, []waitSpec{{0, 0, one(1)}, {1, 0, one(2)}, {2, 0, one(0)}}}, []Task{0, 1, 2}},
		{"a lock taken twice", spec{1, []waitSpec{{0, 0, one(0)}}}, []Task{0}},
		{"a bystander waits behind a cycle", spec{3, []waitSpec{{0, 0, one(1)}, {1, 0, one(0)}, {2, 0, one(0)}}}, []Task{0, 1, 2}},
		{"a writer waits for two readers, one of them stuck with it", spec{3, []waitSpec{{0, 0, each(1, 2)}, {1, 0, one(0)}}}, []Task{0, 1}},
		{"a select with a way out", spec{3, []waitSpec{{0, 1, each(1, 2)}, {1, 0, one(0)}}}, nil},
		{"a select without one", spec{3, []waitSpec{{0, 1, each(1, 2)}, {1, 0, one(0)}, {2, 0, one(0)}}}, []Task{0, 1, 2}},
		{"a semaphore with one of two permits in a cycle", spec{3, []waitSpec{{0, 1, each(1, 2)}, {1, 0, one(0)}}}, nil},
		{"a semaphore with both permits in cycles", spec{3, []waitSpec{{0, 1, each(1, 2)}, {1, 0, one(0)}, {2, 0, one(0)}}}, []Task{0, 1, 2}},
		{"a need of three, and weights of two and one", spec{3, []waitSpec{{0, 3, []Holder{{1, 2}, {2, 1}}}, {2, 0, one(0)}}}, []Task{0, 2}},
		{"a need of two, met by the one who runs", spec{3, []waitSpec{{0, 2, []Holder{{1, 2}, {2, 1}}}, {2, 0, one(0)}}}, nil},
		{"two things at once, one of them in a cycle", spec{3, []waitSpec{{0, 0, one(1)}, {0, 0, one(2)}, {2, 0, one(0)}}}, []Task{0, 2}},
		{"an unknown holder can proceed", spec{2, []waitSpec{{0, 1, each(1, Unknown)}, {1, 0, one(0)}}}, nil},
		{"a holder that is not in the graph can proceed", spec{2, []waitSpec{{0, 1, each(1, 2)}, {1, 0, one(0)}}}, nil},
		{"an unknown holder of a lock with all readers named", spec{2, []waitSpec{{0, 0, each(1, Unknown)}, {1, 0, one(0)}}}, []Task{0, 1}},
		{"a wait that names nobody", spec{1, []waitSpec{{0, 0, nil}}}, nil},
		{"a need that nobody can meet is cut to all", spec{2, []waitSpec{{0, 99, one(1)}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.spec.stuck(); !slices.Equal(got, c.want) {
				t.Errorf("stuck are %v, want %v", got, c.want)
			}
			if got := c.spec.bruteForce(); !slices.Equal(got, c.want) {
				t.Errorf("brute force disagrees with the test: %v, want %v", got, c.want)
			}
		})
	}
}

// random returns a graph of up to n tasks with AND, OR and k-of-n waits.
func random(r *rand.Rand, n int) spec {
	s := spec{tasks: 1 + r.IntN(n)}
	for t := range s.tasks {
		for range r.IntN(3) {
			w := waitSpec{waiter: Task(t)}
			for range 1 + r.IntN(3) {
				w.holders = append(w.holders, Holder{Task: Task(r.IntN(s.tasks+1) - 1), Weight: int64(r.IntN(3))})
			}
			w.need = int64(r.IntN(4))
			s.waits = append(s.waits, w)
		}
	}
	return s
}

func TestSolveAgreesWithBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	stuck := 0
	g := new(Graph) // its memory is used again each time
	for range 20_000 {
		s := random(r, 9)
		want := s.bruteForce()
		g.Reset()
		s.build(g)
		for i := range s.tasks {
			if g.Stuck(Task(i)) != slices.Contains(want, Task(i)) {
				t.Fatalf("%v: task %d: Stuck is %v, brute force says %v", s, i, g.Stuck(Task(i)), want)
			}
		}
		if len(want) > 0 {
			stuck++
		}
		checkCores(t, s, g, want)
	}
	if stuck < 2000 || stuck > 18_000 {
		t.Errorf("%d of 20000 graphs have stuck tasks: the generator tests little", stuck)
	}
}

// checkCores holds the cores against their definition.
func checkCores(t *testing.T, s spec, g *Graph, stuck []Task) {
	t.Helper()
	cores := g.Cores()
	if (len(cores) > 0) != (len(stuck) > 0) {
		t.Fatalf("%v: stuck are %v, cores %v", s, stuck, cores)
	}
	seen := make(map[Task]bool)
	explained := make(map[Task]bool) // in a core, or behind one
	for _, core := range cores {
		set := 0
		for _, task := range core {
			if seen[task] {
				t.Fatalf("%v: task %d is in two cores: %v", s, task, cores)
			}
			seen[task] = true
			set |= 1 << task
		}
		if !s.closed(set) {
			t.Fatalf("%v: core %v is not stuck by itself", s, core)
		}
		cycle := g.Cycle(core)
		if len(cycle) == 0 || cycle[0] != core[0] {
			t.Fatalf("%v: core %v has no cycle: %v", s, core, cycle)
		}
		for i, task := range cycle {
			if next := cycle[(i+1)%len(cycle)]; !s.waitsFor(task, next) {
				t.Fatalf("%v: in the cycle %v, %d does not wait for %d", s, cycle, task, next)
			}
			if slices.Index(cycle, task) != i || !slices.Contains(core, task) {
				t.Fatalf("%v: the cycle %v has %d twice, or from outside of the core %v", s, cycle, task, core)
			}
		}
		behind := g.Behind(core)
		slices.Sort(behind)
		if want := s.behind(core, stuck); !slices.Equal(behind, want) {
			t.Fatalf("%v: behind the core %v are %v, want %v", s, core, behind, want)
		}
		for _, task := range slices.Concat(core, behind) {
			explained[task] = true
		}
	}
	// All at once give the same as each by itself. The weights tell the tasks apart.
	for i, n := range g.CountBehind(cores, func(t Task) int { return 1 << t }) {
		want := 0
		for _, task := range s.behind(cores[i], stuck) {
			want += 1 << task
		}
		if n != want {
			t.Fatalf("%v: behind the core %v the sum of weights is %b, want %b", s, cores[i], n, want)
		}
	}
	// A stuck task waits, in the end, for a core.
	if len(explained) != len(stuck) {
		t.Fatalf("%v: stuck are %v, and in a core or behind one %v", s, stuck, explained)
	}
}

// behind returns who waits for a core in a group that the stuck tasks keep from being
// satisfied, or for another one behind it.
func (s spec) behind(core, stuck []Task) []Task {
	all := 0
	for _, t := range stuck {
		all |= 1 << t
	}
	var behind []Task
	for grows := true; grows; {
		grows = false
		for _, w := range s.waits {
			alone := spec{s.tasks, []waitSpec{w}}
			if slices.Contains(core, w.waiter) || slices.Contains(behind, w.waiter) || !alone.held(w.waiter, all) {
				continue
			}
			if slices.ContainsFunc(w.holders, func(h Holder) bool { return slices.Contains(core, h.Task) || slices.Contains(behind, h.Task) }) {
				behind, grows = append(behind, w.waiter), true
			}
		}
	}
	slices.Sort(behind)
	return behind
}

func (s spec) waitsFor(waiter, holder Task) bool {
	return slices.ContainsFunc(s.waits, func(w waitSpec) bool {
		return w.waiter == waiter && slices.ContainsFunc(w.holders, func(h Holder) bool { return h.Task == holder })
	})
}

func TestSomebodyWhoRunsChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		s := random(r, 9)
		more := spec{tasks: s.tasks + 1, waits: s.waits}
		if a, b := s.stuck(), more.stuck(); !slices.Equal(a, b) {
			t.Fatalf("%v: stuck are %v, with one more running task %v", s, a, b)
		}
	}
}

func TestNumberingDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		s := random(r, 9)
		to := r.Perm(s.tasks)
		renamed := spec{tasks: s.tasks}
		for _, i := range r.Perm(len(s.waits)) {
			w := s.waits[i]
			v := waitSpec{waiter: Task(to[w.waiter]), need: w.need}
			for _, h := range w.holders {
				if h.Task >= 0 {
					h.Task = Task(to[h.Task])
				}
				v.holders = append(v.holders, h)
			}
			renamed.waits = append(renamed.waits, v)
		}
		var want []Task
		for _, t := range s.stuck() {
			want = append(want, Task(to[t]))
		}
		slices.Sort(want)
		if got := renamed.stuck(); !slices.Equal(got, want) {
			t.Fatalf("%v: stuck are %v, renamed %v", s, want, got)
		}
	}
}

func TestAVictimIsNoCore(t *testing.T) {
	s := spec{5, []waitSpec{
		{0, 0, one(1)}, {1, 0, one(0)}, // the core
		{2, 0, one(0)}, {3, 0, one(2)}, // a chain behind it
		{4, 0, nil},
	}}
	g := s.graph()
	if got := fmt.Sprint(g.Cores()); got != "[[0 1]]" {
		t.Errorf("cores are %s, want [[0 1]]", got)
	}
}

func TestACycleBehindADeadlockIsAVictim(t *testing.T) {
	// 0 and 1 wait for each other, but 0 would also be freed by 2, which is in a
	// deadlock with 3: that one is the cause.
	s := spec{4, []waitSpec{{0, 1, each(1, 2)}, {1, 0, one(0)}, {2, 0, one(3)}, {3, 0, one(2)}}}
	g := s.graph()
	if got := fmt.Sprint(g.Cores()); got != "[[2 3]]" {
		t.Errorf("cores are %s, want [[2 3]]", got)
	}
}

// The sets need not be cores: a deadlock that has grown has several in it.
func TestCountBehindAnySetsOfStuckTasks(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 5000 {
		s := random(r, 12)
		g := s.graph()
		sets := make([][]Task, 1+r.IntN(3))
		for _, task := range s.stuck() {
			if i := r.IntN(len(sets) + 1); i < len(sets) {
				sets[i] = append(sets[i], task)
			}
		}
		got := g.CountBehind(sets, func(t Task) int { return 1 << t })
		for i, set := range sets {
			want := 0
			for _, task := range g.Behind(set) {
				want += 1 << task
			}
			if got[i] != want {
				t.Fatalf("%v: behind %v of %v the sum of weights is %b, want %b", s, set, sets, got[i], want)
			}
		}
	}
}

// A group that is not enabled is as if it had never been added.
func TestEnable(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 5000 {
		s := random(r, 9)
		g := s.graph()
		for range 3 {
			less := spec{tasks: s.tasks}
			for i, w := range s.waits {
				on := r.IntN(4) > 0
				g.Enable(i, on)
				if on {
					less.waits = append(less.waits, w)
				}
			}
			if g.AnyStuck() {
				t.Fatal("a graph that has changed is not solved")
			}
			g.Solve()
			if got, want := fmt.Sprint(g.Cores()), fmt.Sprint(less.graph().Cores()); got != want {
				t.Fatalf("%v of %v: cores are %s, want %s", less, s, got, want)
			}
		}
	}
}

// nested is a graph in which each round of the search for cores finds one, and frees one
// task of those that are left. Of each pair, the first waits for itself and for the second
// of the pair before, and the second for the first or for the second of the next pair.
func nested(pairs Task) *Graph {
	g := new(Graph)
	for range 2 * pairs {
		g.AddTask()
	}
	for i := range pairs {
		first, second := 2*i, 2*i+1
		g.Wait(first, 0, Holder{Task: first})
		if i > 0 {
			g.Wait(first, 0, Holder{Task: second - 2})
		}
		g.Wait(second, 1, Holder{Task: first}, Holder{Task: min(second+2, 2*pairs-1)})
	}
	g.Solve()
	return g
}

// The search for cores ends where it would take too long, and says what it has left out.
func TestTheSearchForCoresIsBounded(t *testing.T) {
	for _, c := range []struct {
		pairs  Task
		whole  bool
		atMost int
	}{{1, true, 1}, {maxRounds, true, maxRounds}, {20 * maxRounds, false, 3 * maxRounds}} {
		g := nested(c.pairs)
		cores, left := len(g.Cores()), g.CutShort()
		if c.whole && (cores != int(c.pairs) || left != 0) {
			t.Errorf("%d pairs: %d cores, %d tasks left out", c.pairs, cores, left)
		}
		if !c.whole && (cores < maxRounds || cores > c.atMost || left != 2*int(c.pairs)-2*cores) {
			t.Errorf("%d pairs: %d cores, %d tasks left out", c.pairs, cores, left)
		}
	}
}

// A task that only waits because somebody behind another deadlock is stuck is in no core:
// what those outside of its component would release counts.
func TestWhatOthersWouldReleaseCounts(t *testing.T) {
	for _, need := range []int64{2, 3} {
		s := spec{5, []waitSpec{
			{0, need, each(1, 2, 3)}, {1, 0, one(0)}, {2, 1, each(0, 3)}, // a component
			{3, 0, one(4)}, {4, 0, one(3)},
		}}
		want := "[[3 4]]"
		if need == 3 { // 0 needs 1, which needs 0
			want = "[[0 1] [3 4]]"
		}
		if got := fmt.Sprint(s.graph().Cores()); got != want {
			t.Errorf("a need of %d: cores are %s, want %s", need, got, want)
		}
	}
}

func TestAVeryLongCycle(t *testing.T) {
	const n = 1_000_000
	g := new(Graph)
	for range n {
		g.AddTask()
	}
	for i := range Task(n) {
		g.Wait(i, 0, Holder{Task: (i + 1) % n})
	}
	g.Solve()
	if cores := g.Cores(); len(cores) != 1 || len(cores[0]) != n {
		t.Errorf("%d cores", len(cores))
	}
}

func FuzzSolve(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		s := random(rand.New(rand.NewPCG(a, b)), 12)
		want := s.bruteForce()
		if got := s.stuck(); !slices.Equal(got, want) {
			t.Fatalf("%v: stuck are %v, brute force says %v", s, got, want)
		}
		g := s.graph()
		checkCores(t, s, g, want)
	})
}

// BenchmarkSolve is one evaluation with memory that is used again: 95 % of the
// tasks wait, each for one other.
func BenchmarkSolve(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(7, 8))
			holders := make([]Holder, n)
			for i := range holders {
				holders[i].Task = Task(r.IntN(n))
			}
			g := new(Graph)
			b.ReportAllocs()
			for b.Loop() {
				g.Reset()
				for range n {
					g.AddTask()
				}
				for i := range n * 95 / 100 {
					g.Wait(Task(i), 0, holders[i])
				}
				g.Solve()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/task")
		})
	}
}
