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
	margin := time.Duration(0)
	if len(processes(core)) > 1 {
		margin = 2 * d.skew
	}
	// What is told begins with who waits for longest, and is the same for everybody.
	core = slices.SortedFunc(slices.Values(core), waitsLonger)
	instants := d.instants(core)
	for _, at := range instants {
		if proofs := d.proofsAt(core, at, margin); len(proofs) > 0 {
			return proofs
		}
	}
	if margin == 0 {
		return nil
	}
	// A part of it may be in one process.
	for _, at := range instants {
		proofs := slices.DeleteFunc(d.proofsAt(core, at, 0), func(p proof) bool { return len(processes(p.core)) > 1 })
		if len(proofs) > 0 {
			return proofs
		}
	}
	return nil
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

// instants are the beginnings of the core's known intervals, the latest first: if
// there is an instant that all of some waits share, the latest of their beginnings
// is one.
func (d *Detector) instants(core []*fleet.Task) []time.Time {
	var all []time.Time
	for _, t := range core {
		for _, w := range t.Waits {
			from, _ := d.stood(t, w)
			all = append(all, from)
		}
	}
	slices.SortFunc(all, func(a, b time.Time) int { return b.Compare(a) })
	all = slices.CompactFunc(all, time.Time.Equal)
	return all[:min(len(all), maxInstants)]
}

// proofsAt returns the cores that stood at an instant, and for longer than margin
// from it.
func (d *Detector) proofsAt(tasks []*fleet.Task, at time.Time, margin time.Duration) []proof {
	g, number := new(subgraph), make(map[report.TaskID]waitgraph.Task, len(tasks))
	for _, t := range tasks {
		number[t.ID] = g.add(t)
	}
	inside := func(id report.TaskID) waitgraph.Task {
		if n, in := number[id]; in {
			return n
		}
		return waitgraph.Unknown
	}
	standing := func(t *fleet.Task, w *fleet.Wait) bool {
		from, to := d.stood(t, w)
		if from.After(at) || to.Before(at) {
			return false
		}
		return margin == 0 || to.Sub(at) > margin
	}
	for i, t := range g.tasks {
		for _, w := range t.Waits {
			if standing(t, w) {
				d.addWait(g, waitgraph.Task(i), w, inside)
			}
		}
	}
	g.Solve()
	var proofs []proof
	for _, core := range g.Cores() {
		p := proof{
			core: g.members(core), cycle: g.members(g.Cycle(core)),
			waits: make(map[report.TaskID][]*fleet.Wait, len(core)),
		}
		in := make(map[report.TaskID]bool, len(core))
		for _, t := range p.core {
			in[t.ID] = true
		}
		for _, t := range p.core {
			for _, w := range t.Waits {
				held := false
				d.eachObstacle(w, func(id report.TaskID, _ int64) { held = held || in[id] })
				if !held || !standing(t, w) {
					continue
				}
				p.waits[t.ID] = append(p.waits[t.ID], w)
				if began := w.Since.Add(-d.table.Ahead(t.Process)); began.After(p.closed) {
					p.closed = began
				}
			}
		}
		proofs = append(proofs, p)
	}
	return proofs
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

func processes(tasks []*fleet.Task) map[report.Process]struct{} {
	set := make(map[report.Process]struct{})
	for _, t := range tasks {
		set[t.Process] = struct{}{}
	}
	return set
}
