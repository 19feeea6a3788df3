package deadlock

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

var (
	graphs = flag.Int("graphs", 20_000, "random wait-for graphs that are compared with brute force")
	fleets = flag.Int("fleets", 60, "simulated minutes of a fleet, with and without a deadlock each")
)

// Random AND, OR and k-of-n graphs: what is stuck is what no order of letting go can
// free. The oracle tries all sets of tasks.
func TestRandomGraphsAgainstBruteForce(t *testing.T) {
	stuckOnes := 0
	for seed := range *graphs {
		rnd := rand.New(rand.NewPCG(uint64(seed), 2))
		n := 2 + rnd.IntN(7)
		if seed%100 == 0 {
			n = 12
		}
		s := newSpeaker("a")
		d := New(roomy, skew)
		g := oracle{tasks: n}
		// Shared resources, and who claims them; n claims some and runs.
		claims := make([][]report.Hold, n+1)
		claimants := make(map[string][]int)
		for task := range n + 1 {
			for resource := range 3 {
				if rnd.IntN(n) == 0 {
					name := fmt.Sprint(taskspan.ResourceExternal, resource)
					claims[task] = append(claims[task], report.Hold{Resource: name, UntilReleased: true})
					claimants[name] = append(claimants[name], task)
				}
			}
		}
		for task := range n + 1 {
			d.Apply(s.runs(task, 1, claims[task]...), at(1))
		}
		for task := range n {
			for wait := range rnd.IntN(3) {
				w := oracleWait{waiter: task}
				if rnd.IntN(4) == 0 {
					name := fmt.Sprint(taskspan.ResourceExternal, rnd.IntN(3))
					w.need, w.holders = 1, claimants[name]
					w.weights = slices.Repeat([]int64{1}, len(w.holders))
					if len(w.holders) > 0 {
						g.waits = append(g.waits, w)
					}
					d.Apply(s.stuck(task, 0, 1, taskspan.WaitExternal, name, func(r *report.Report) {
						r.Wait.ID, r.Task.Holds = int64(task*10+wait), claims[task]
					}), at(1))
					continue
				}
				for range 1 + rnd.IntN(3) {
					w.holders = append(w.holders, rnd.IntN(n+1)) // n runs
					w.weights = append(w.weights, int64(1+rnd.IntN(2)))
				}
				w.need = int64(rnd.IntN(4))
				unknown := rnd.IntN(10) == 0
				if !unknown {
					g.waits = append(g.waits, w)
				}
				d.Apply(s.stuck(task, 0, 1, taskspan.WaitSemaphore, "s", func(r *report.Report) {
					r.Wait.ID, r.Wait.Need, r.Wait.Complete, r.Task.Holds = int64(task*10+wait), w.need, !unknown, claims[task]
					for i, h := range w.holders {
						r.Wait.Holders = append(r.Wait.Holders, report.Holder{Task: id(h), Generation: 1, Weight: w.weights[i]})
					}
				}), at(1))
			}
		}
		found, _ := d.Evaluate(at(1))
		want := g.stuck()
		got := make(map[int]bool)
		all := d.explore(d.allSlots(), nil)
		all.Solve()
		for _, dl := range found {
			var core []waitgraph.Task
			for _, t := range dl.Core {
				got[number(t.ID)] = true
				core = append(core, d.number(t.ID))
			}
			// Through the nodes of resources, too.
			behind := all.members(all.Behind(core))
			named := make(map[report.TaskID]bool)
			for _, t := range behind {
				got[number(t.ID)] = true
				named[t.ID] = true
			}
			if dl.Count == 1 { // else they are those behind all that are alike
				require.Equal(t, len(behind), dl.Victims, "seed %d", seed)
				require.Len(t, dl.Behind, len(behind), "seed %d", seed)
				for _, id := range dl.Behind {
					require.True(t, named[id], "seed %d", seed)
				}
			}
		}
		// Each stuck task has one role: it is part of a deadlock or a victim.
		for id := range d.Victims() {
			require.Nil(t, d.Deadlocked(id), "seed %d", seed)
			require.Contains(t, want, number(id), "seed %d", seed)
		}
		require.Len(t, d.Victims(), len(want)-len(d.of), "seed %d", seed)
		require.Equal(t, want, got, "seed %d: %+v", seed, g)
		if len(want) > 0 {
			stuckOnes++
		}
	}
	require.Greater(t, stuckOnes, *graphs/20, "the graphs are too easy")
}

// runs reports a task that runs for long, and what it holds.
func (s *speaker) runs(n int, sec float64, holds ...report.Hold) *report.Report {
	s.sequence++
	return &report.Report{
		Process: s.process, Sequence: s.sequence, Observed: at(sec),
		Task: &report.Task{ID: id(n), Name: fmt.Sprint("task ", n), State: taskspan.Running, Start: at(0), Holds: holds},
	}
}

func number(id report.TaskID) int { return int(id.Trace[0]) | int(id.Trace[1])<<8 }

type oracle struct {
	tasks int
	waits []oracleWait
}

type oracleWait struct {
	waiter  int
	need    int64 // 0: all
	holders []int
	weights []int64
}

// stuck is the union of all sets in which everybody has a wait that those outside of
// the set cannot end.
func (g oracle) stuck() map[int]bool {
	union := 0
	for set := range 1 << g.tasks {
		if set&^union != 0 && g.closed(set) {
			union |= set
		}
	}
	in := make(map[int]bool)
	for t := range g.tasks {
		if union&(1<<t) != 0 {
			in[t] = true
		}
	}
	return in
}

func (g oracle) closed(set int) bool {
	held := 0
	for _, w := range g.waits {
		if set&(1<<w.waiter) == 0 || held&(1<<w.waiter) != 0 {
			continue
		}
		var total, outside int64
		for i, h := range w.holders {
			total += w.weights[i]
			if h >= g.tasks || set&(1<<h) == 0 {
				outside += w.weights[i]
			}
		}
		need := w.need
		if need == 0 || need > total {
			need = total
		}
		if outside < need {
			held |= 1 << w.waiter
		}
	}
	return held == set
}

// world is a fleet of processes with one task each, which take locks that all of
// them share, and a network between them and the detector.
type world struct {
	rnd       *rand.Rand
	now       time.Duration
	locks     []simLock
	processes []*simProcess
	network   []delivery
	maxDelay  time.Duration
	loss      float64
}

type simLock struct {
	holder     int // process, -1: free
	generation int64
	queue      []int
}

type simProcess struct {
	speaker  *speaker
	offset   time.Duration // of its clock
	n        int
	task     int // its task's number; it does one thing after the other
	want     []int
	has      []int
	until    time.Duration // holds on or rests until then
	wait     int64
	since    time.Duration
	told     map[int64]*simTold
	beat     time.Duration
	inverted bool // takes its locks in the wrong order
}

type simTold struct {
	revision   int64
	holder     int
	generation int64
	repeat     time.Duration
}

type delivery struct {
	at     time.Duration
	report *report.Report
}

const (
	simTick      = 100 * time.Millisecond
	simStuck     = 200 * time.Millisecond
	simHeartbeat = time.Second
)

func newWorld(seed uint64, offset, delay time.Duration) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 3)), locks: make([]simLock, 5), maxDelay: delay, loss: 0.1}
	for i := range w.locks {
		w.locks[i].holder = -1
	}
	for i := range 12 {
		p := &simProcess{n: i, task: i, speaker: newSpeaker(fmt.Sprint("p", i)), told: make(map[int64]*simTold)}
		if offset > 0 {
			p.offset = time.Duration(w.rnd.Int64N(2*int64(offset))) - offset
		}
		w.processes = append(w.processes, p)
	}
	return w
}

// step lets a tick pass.
func (w *world) step() {
	w.now += simTick
	for _, i := range w.rnd.Perm(len(w.processes)) {
		w.act(w.processes[i])
	}
	for _, p := range w.processes {
		w.report(p)
	}
}

func (w *world) act(p *simProcess) {
	if p.wait%2 == 1 || w.now < p.until {
		return
	}
	if len(p.want) == 0 && len(p.has) == 0 {
		p.want = w.rnd.Perm(len(w.locks))[:2+w.rnd.IntN(3)]
		if !p.inverted {
			slices.Sort(p.want) // the same order everywhere: there is no deadlock
		}
	}
	if len(p.want) == 0 {
		for _, l := range p.has {
			w.release(l)
		}
		p.has, p.until = nil, w.now+time.Duration(w.rnd.Int64N(int64(300*time.Millisecond)))
		return
	}
	l := &w.locks[p.want[0]]
	if l.holder < 0 {
		w.grant(p, p.want[0])
	} else {
		p.wait++ // odd: waits
		p.since = w.now
		l.queue = append(l.queue, p.n)
	}
}

func (w *world) grant(p *simProcess, lock int) {
	w.locks[lock].holder = p.n
	w.locks[lock].generation++
	p.want, p.has = p.want[1:], append(p.has, lock)
	p.until = w.now + time.Duration(w.rnd.Int64N(int64(600*time.Millisecond)))
}

func (w *world) release(lock int) {
	l := &w.locks[lock]
	l.holder = -1
	if len(l.queue) > 0 {
		next := w.processes[l.queue[0]]
		l.queue = l.queue[1:]
		next.wait++
		w.grant(next, lock)
	}
}

// report does what the SDK does after a scan.
func (w *world) report(p *simProcess) {
	clock := at((w.now + p.offset).Seconds())
	seen := func(revision int64, holder int, generation int64, wait int64, open bool, lock int) *report.Report {
		return p.speaker.stuck(p.task, 0, 0, taskspan.WaitMutex, fmt.Sprint("lock ", lock), func(r *report.Report) {
			r.Observed, r.Task.Start = clock, clock.Add(-time.Minute)
			r.Wait.ID, r.Wait.Revision, r.Wait.Open = wait, revision, open
			r.Wait.Since = at((p.since + p.offset).Seconds())
			r.Wait.Holders = []report.Holder{{Task: id(w.processes[holder].task), Generation: generation, Weight: 1}}
		})
	}
	for wait, told := range p.told {
		if wait != p.wait {
			w.send(seen(told.revision, told.holder, told.generation, wait, false, 0))
			delete(p.told, wait)
		}
	}
	if p.wait%2 == 1 && w.now-p.since >= simStuck {
		lock := p.want[0]
		l := w.locks[lock]
		told := p.told[p.wait]
		switch {
		case told == nil || told.holder != l.holder || told.generation != l.generation:
			next := &simTold{revision: 1, holder: l.holder, generation: l.generation}
			if told != nil {
				next.revision = told.revision + 1
			}
			told, p.told[p.wait] = next, next
		case w.now < told.repeat:
			told = nil // nothing new
		}
		if told != nil {
			told.repeat = w.now + 5*time.Second
			w.send(seen(told.revision, told.holder, told.generation, p.wait, true, lock))
		}
	}
	if w.now >= p.beat {
		p.beat = w.now + simHeartbeat
		b := p.speaker.beat(0)
		b.Observed, b.Heartbeat.Interval = clock, simHeartbeat
		b.Heartbeat.WaitIDs, b.Heartbeat.Revisions = nil, nil
		for wait, told := range p.told {
			b.Heartbeat.WaitIDs = append(b.Heartbeat.WaitIDs, wait)
			b.Heartbeat.Revisions = append(b.Heartbeat.Revisions, told.revision)
		}
		w.send(b)
	}
}

func (w *world) send(r *report.Report) {
	for range 1 + w.rnd.IntN(10)/9 { // one in ten comes twice
		if w.rnd.Float64() < w.loss {
			continue
		}
		w.network = append(w.network, delivery{w.now + time.Duration(w.rnd.Int64N(int64(w.maxDelay))), r})
	}
}

// deliver gives the detector what has arrived, in the order of its arrival.
func (w *world) deliver(d *Detector) {
	var due []delivery
	w.network = slices.DeleteFunc(w.network, func(m delivery) bool {
		if m.at <= w.now {
			due = append(due, m)
		}
		return m.at <= w.now
	})
	slices.SortStableFunc(due, func(a, b delivery) int { return int(a.at - b.at) })
	for _, m := range due {
		d.Apply(m.report, at(w.now.Seconds()))
	}
}

// deadlocked says what is true: which processes wait in a ring.
func (w *world) deadlocked(p *simProcess) bool {
	seen := make(map[int]bool)
	for n := p.n; ; {
		q := w.processes[n]
		if q.wait%2 == 0 {
			return false
		}
		if seen[n] {
			return true
		}
		seen[n] = true
		n = w.locks[q.want[0]].holder
	}
}

// run simulates some time and returns how many deadlocks were reported that were
// none, and when the first real one was reported after it was one.
func (w *world) run(allowed time.Duration, seconds int, restart bool) (phantoms int, latency time.Duration, hadOne bool) {
	d := New(roomy, allowed)
	var began time.Duration
	latency = -1
	for w.now < time.Duration(seconds)*time.Second {
		w.step()
		w.deliver(d)
		if restart && w.now%(7*time.Second) == 0 {
			d = New(roomy, allowed)
		}
		if began == 0 && slices.ContainsFunc(w.processes, w.deadlocked) {
			began, hadOne = w.now, true
		}
		d.Advance(at(w.now.Seconds()))
		found, _ := d.Evaluate(at(w.now.Seconds()))
		for _, dl := range found {
			for _, t := range dl.Core {
				p := slices.IndexFunc(w.processes, func(p *simProcess) bool { return p.speaker.process == t.Process })
				if !w.deadlocked(w.processes[p]) {
					phantoms++
				}
			}
			if latency < 0 && hadOne {
				latency = w.now - began
			}
		}
	}
	return phantoms, latency, hadOne
}

// Whatever the network does and however the clocks differ within what is allowed,
// nothing is reported that is not true.
func TestAFleetWithoutDeadlocksIsNeverAccused(t *testing.T) {
	for seed := range uint64(*fleets) {
		skew, delay := []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond}[seed%3], []time.Duration{50 * time.Millisecond, 3 * time.Second}[seed%2]
		w := newWorld(seed, skew, delay)
		phantoms, _, had := w.run(skew, 60, seed%4 == 0)
		require.False(t, had, "the world is wrong")
		require.Zero(t, phantoms, "seed %d", seed)
	}
}

// And what is true is reported, once delivery works, at the latest a few heartbeats
// after it has become so.
func TestADeadlockInAFleetIsFound(t *testing.T) {
	hadOnes := 0
	for seed := range uint64(*fleets) {
		w := newWorld(seed, 250*time.Millisecond, 500*time.Millisecond)
		w.processes[0].inverted, w.processes[1].inverted, w.processes[2].inverted = true, true, true
		for range 300 {
			w.step()
		}
		w.network = nil // a collector that comes late
		phantoms, latency, had := w.run(250*time.Millisecond, 120, false)
		require.Zero(t, phantoms, "seed %d", seed)
		if !had {
			continue
		}
		hadOnes++
		require.GreaterOrEqual(t, latency, time.Duration(0), "seed %d: not found", seed)
	}
	require.Greater(t, hadOnes, *fleets/2, "the world has too few deadlocks")
}

// The rule has teeth: clocks that differ by more than is allowed do make phantoms.
func TestTooSmallAnAllowanceMakesPhantoms(t *testing.T) {
	phantoms := 0
	for seed := range uint64(400) {
		w := newWorld(seed, 900*time.Millisecond, 3*time.Second)
		n, _, _ := w.run(0, 60, false)
		if phantoms += n; phantoms > 0 {
			return
		}
	}
	t.Error("no phantom in 400 runs: the simulation proves nothing")
}
