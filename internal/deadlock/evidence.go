package deadlock

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

// maxInstants bounds the instants that are tried for one core.
const maxInstants = 64

// proof is a core whose waits and holds all stood at one instant.
type proof struct {
	core  []*fleet.Task
	cycle []*fleet.Task // a shortest one through the first
	waits map[report.TaskID][]*fleet.Wait
	// closed is when its last wait began: since then nobody in it can go on.
	closed time.Time
}

// prove looks for an instant at which a core, or a part of it, was a deadlock. The
// reports of a wait say from when to when it stood, without a break, with the same
// holders in the same acquisitions: the wait's id, its revision and the generations
// in it are the same at both ends. If there is an instant at which a set of tasks
// were all stuck on each other, they are still: none of them can do anything.
//
// One process has one clock, so any common instant will do. The clocks of two may
// differ by skew each way, so the waits must overlap for longer than twice that.
//
// Loss, delay and disorder of reports make the known intervals shorter and never
// longer, so they cannot make a proof.
//
// (Distributed detectors that join what they know of different moments report
// phantoms; see R. Obermarck, "Distributed deadlock detection algorithm", ACM TODS
// 7(2), 1982, and the discussion in E. Knapp, ACM Computing Surveys 19(4), 1987.)
func (d *Detector) prove(core []*fleet.Task) []proof {
	d.counters.Proofs++
	parts := byProcess(core)
	if len(parts) == 1 {
		return d.trial(core).search(0)
	}
	proofs := d.trial(core).search(2 * d.skew)
	if len(proofs) > 0 {
		return proofs
	}
	for _, part := range parts { // may be a deadlock of one process
		proofs = append(proofs, d.trial(part).search(0)...)
	}
	return proofs
}

// byProcess splits tasks by their processes, in the order of the tasks.
func byProcess(tasks []*fleet.Task) (parts [][]*fleet.Task) {
	at := make(map[report.Process]int)
	for _, t := range tasks {
		i, known := at[t.Process]
		if !known {
			i = len(parts)
			at[t.Process] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], t)
	}
	return parts
}

func waitsLonger(a, b *fleet.Task) int {
	return cmp.Or(oldest(a).Compare(oldest(b)), bytes.Compare(a.ID.Trace[:], b.ID.Trace[:]), bytes.Compare(a.ID.Span[:], b.ID.Span[:]))
}

// oldest is since when a task has been waiting.
func oldest(t *fleet.Task) time.Time {
	since := t.Waits[0].Since
	for _, w := range t.Waits[1:] {
		if w.Since.Before(since) {
			since = w.Since
		}
	}
	return since
}

// trial is the graph of a core, in which only the waits of an instant count.
type trial struct {
	d     *Detector
	g     *subgraph
	waits []trialWait
	// single says that every node waits for one other, so that all waits are needed.
	single bool
}

// trialWait is a wait that holds its task up.
type trialWait struct {
	task     *fleet.Task
	wait     *fleet.Wait
	group    int
	from, to time.Time // see stood
}

func (d *Detector) trial(core []*fleet.Task) *trial {
	// What is told begins with who waits for longest, and is the same for everybody.
	core = slices.SortedFunc(slices.Values(core), waitsLonger)
	tr := &trial{d: d, g: new(subgraph), single: true}
	number := make(map[report.TaskID]waitgraph.Task, len(core))
	for _, t := range core {
		number[t.ID] = tr.g.add(t)
	}
	inside := func(id report.TaskID) waitgraph.Task {
		if n, in := number[id]; in {
			return n
		}
		return waitgraph.Unknown
	}
	for i, t := range core {
		groups := 0
		for _, w := range t.Waits {
			group := d.addWait(tr.g, waitgraph.Task(i), w, inside)
			if group < 0 {
				continue
			}
			from, to := d.stood(t, w)
			tr.waits = append(tr.waits, trialWait{t, w, group, from, to})
			groups++
			tr.single = tr.single && len(tr.g.holders) == 1
		}
		tr.single = tr.single && groups == 1
	}
	for i, name := range tr.g.names {
		d.addClaims(tr.g, waitgraph.Task(len(core)+i), name, inside)
		tr.single = tr.single && len(tr.g.holders) == 1
	}
	return tr
}

// search returns the cores of the first instant that has some.
func (tr *trial) search(margin time.Duration) []proof {
	for _, at := range tr.instants(margin) {
		if proofs := tr.at(at, margin); len(proofs) > 0 {
			return proofs
		}
	}
	return nil
}

// instants are the beginnings of the core's known intervals, the latest first: if
// there is an instant that all of some waits share, the latest of their beginnings
// is one. If all waits are needed, there is only one instant to try, and none if one of
// the waits did not stand then.
func (tr *trial) instants(margin time.Duration) []time.Time {
	if len(tr.waits) == 0 {
		return nil
	}
	all := make([]time.Time, 0, len(tr.waits))
	end := tr.waits[0].to
	for i := range tr.waits {
		all = append(all, tr.waits[i].from)
		if tr.waits[i].to.Before(end) {
			end = tr.waits[i].to
		}
	}
	slices.SortFunc(all, func(a, b time.Time) int { return b.Compare(a) })
	if tr.single {
		if !reaches(end, all[0], margin) {
			return nil
		}
		return all[:1]
	}
	all = slices.CompactFunc(all, time.Time.Equal)
	return all[:min(len(all), maxInstants)]
}

// reaches reports whether what stood until to stood at an instant, and for longer than
// margin from it.
func reaches(to, at time.Time, margin time.Duration) bool {
	return !to.Before(at) && (margin == 0 || to.Sub(at) > margin)
}

// at returns the cores that stood at an instant, and for longer than margin from it.
func (tr *trial) at(at time.Time, margin time.Duration) []proof {
	g := tr.g
	for i := range tr.waits {
		g.Enable(tr.waits[i].group, tr.waits[i].stands(at, margin))
	}
	g.Solve()
	cores := g.Cores()
	if len(cores) == 0 {
		return nil
	}
	proofs := make([]proof, len(cores))
	in := make([]int, len(g.tasks)) // 1 + the core of each node
	for i, core := range cores {
		for _, n := range core {
			in[n] = i + 1
		}
		proofs[i] = proof{
			core: g.members(core), cycle: g.members(g.Cycle(core)),
			waits: make(map[report.TaskID][]*fleet.Wait, len(core)),
		}
	}
	for i := range tr.waits {
		tw := &tr.waits[i]
		core := 0
		for waiter, holder := range g.Holders(tw.group) {
			if in[waiter] > 0 && in[waiter] == in[holder] {
				core = in[waiter]
			}
		}
		if core == 0 || !tw.stands(at, margin) {
			continue
		}
		p := &proofs[core-1]
		p.waits[tw.task.ID] = append(p.waits[tw.task.ID], tw.wait)
		if began := tw.wait.Since.Add(-tr.d.table.Ahead(tw.task.Process)); began.After(p.closed) {
			p.closed = began
		}
	}
	return proofs
}

func (tw *trialWait) stands(at time.Time, margin time.Duration) bool {
	return !tw.from.After(at) && reaches(tw.to, at, margin)
}

// stood returns the interval in which a wait is known to have stood with its
// holders, by the collector's clock as far as that is known.
func (d *Detector) stood(t *fleet.Task, w *fleet.Wait) (from, to time.Time) {
	from, to = w.First, w.Confirmed()
	if held, known := heldSince(w); known && held.Before(from) {
		from = held
	}
	if !w.Deadline.IsZero() && w.Deadline.Before(to) {
		to = w.Deadline // it ends by itself
	}
	ahead := d.table.ProvedAhead(t.Process) // one shift for all tasks of a process
	return from.Add(-ahead), to.Add(-ahead)
}

// heldSince is since when the holders of a wait have held what it waits for, while
// it waited. Who claims a shared resource is stuck itself while it is in a core, and
// so has claimed it for as long as it waits.
func heldSince(w *fleet.Wait) (since time.Time, known bool) {
	since = w.Since
	if shared(w) {
		return since, true
	}
	for i := range w.Holders {
		h := &w.Holders[i]
		if h.Since.IsZero() {
			return since, false
		}
		if h.Since.After(since) {
			since = h.Since
		}
	}
	return since, true
}
