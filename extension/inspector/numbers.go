package inspector

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// numbers is what all components together have counted at one time. It is immutable.
type numbers struct {
	at         time.Time
	tasks      []view.TaskStatistics // by service and name
	waits      []view.WaitStatistics // by service, kind and resource
	services   []view.ServiceStatistics
	processes  []view.Process           // also those that are gone
	deadlocked map[report.TaskID]string // live tasks of certain deadlocks, with their services
	dropped    []componentDrops
	totals     []view.DetectorTotals
	standing   []*deadlock.Deadlock
	victims    map[report.TaskID]struct{} // stuck behind any of those, and part of none
	inversions int
	samplers   []samplerNumbers
	restored   bool // totals from before the start of the collector are among them
	tables     []componentTables
	components []componentCoverage // task_states and detectors
	twins      []twinComponents
	gaps       []gap
}

// componentDrops are the reports that a component could not use.
type componentDrops struct {
	component string
	dropped   map[report.Drop]int64
}

type componentTables struct {
	component string
	kind      componentKind
	tables    []view.Table
}

type componentKind uint8

const (
	isTaskState componentKind = iota
	isDetector
	isSampler
)

// String is the type of the components.
func (k componentKind) String() string {
	return [...]string{"task_state", "deadlock_detector", "adaptive_sampler"}[k]
}

type samplerNumbers struct {
	id string
	view.Sampling
}

// readNumbers asks every component once.
func (r *registry) readNumbers(now time.Time) *numbers {
	n := &numbers{at: now, deadlocked: make(map[report.TaskID]string), victims: make(map[report.TaskID]struct{})}
	n.addTaskStates(&r.taskStates)
	n.addDetectors(&r.detectors)
	for _, src := range r.samplers.list() {
		s := src.reader.Sampling()
		n.samplers = append(n.samplers, samplerNumbers{src.id, s})
		n.tables = append(n.tables, componentTables{src.id, isSampler, s.Tables})
	}
	n.gaps = n.findGaps()
	return n
}

// stateNumbers are those of one task_state.
type stateNumbers struct {
	view.Statistics
	processes []view.Process
}

func (n *numbers) addTaskStates(sources *sources[view.Reader]) {
	list := sources.list()
	read := make([]stateNumbers, len(list))
	for i, src := range list {
		read[i] = n.readTaskState(src.id, src.reader)
	}
	groups := sources.groups(list, func(i, j int) bool {
		return sharedProcess(read[i].processes, read[j].processes) || sharedTask(list[i].reader, list[j].reader)
	})
	for _, group := range groups {
		one := read[group[0]]
		for _, i := range group[1:] {
			one = larger(one, read[i])
		}
		n.addState(one)
		noteTwins(n, isTaskState, list, group)
	}
}

func (n *numbers) readTaskState(id string, reader view.Reader) stateNumbers {
	summary := reader.Summary()
	n.dropped = append(n.dropped, componentDrops{id, summary.Dropped})
	n.tables = append(n.tables, componentTables{id, isTaskState, summary.Tables})
	s := stateNumbers{Statistics: reader.Statistics()}
	n.restored = n.restored || s.Restored
	if summary.Live[taskspan.Deadlocked] > 0 {
		stuck, _ := reader.Tasks(view.TaskQuery{States: []taskspan.State{taskspan.Deadlocked}, Live: true})
		for i := range stuck {
			n.deadlocked[stuck[i].ID] = stuck[i].Service
		}
	}
	s.processes, _ = reader.Processes(view.ProcessQuery{Gone: true})
	n.processes = mergeProcesses(n.processes, s.processes)
	n.components = append(n.components, componentCoverage{id, isTaskState, s.processes, reader.Coverage()})
	return s
}

// addState adds the numbers of a task_state, or of several that get the same spans.
func (n *numbers) addState(s stateNumbers) {
	if n.tasks == nil && n.waits == nil {
		n.tasks, n.waits, n.services = s.Tasks, s.Waits, s.Services
		return
	}
	n.tasks = merged(append(n.tasks, s.Tasks...), compareTasks, addTasks)
	n.waits = merged(append(n.waits, s.Waits...), compareWaits, addWaits)
	n.services = merged(append(n.services, s.Services...), compareServices, addServices)
}

func (n *numbers) addDetectors(sources *sources[view.DeadlockReader]) {
	list := sources.list()
	totals := make([]view.DetectorTotals, len(list))
	processes := make([][]view.Process, len(list))
	seen := make(map[deadlock.ID]bool)
	for i, src := range list {
		totals[i], processes[i] = src.reader.DetectorTotals(), src.reader.DetectorProcesses()
		n.dropped = append(n.dropped, componentDrops{src.id, totals[i].Dropped})
		maps.Copy(n.victims, src.reader.Victims())
		standing, _ := src.reader.Deadlocks()
		for _, dl := range standing {
			if !seen[dl.ID] {
				seen[dl.ID] = true
				n.standing = append(n.standing, dl)
				n.noteDeadlocked(dl)
			}
		}
		n.tables = append(n.tables, componentTables{src.id, isDetector, src.reader.DetectorTables()})
		n.processes = mergeProcesses(n.processes, processes[i])
		n.components = append(n.components, componentCoverage{src.id, isDetector, processes[i], src.reader.DetectorCoverage()})
	}
	n.inversions = len(inversionsOf(list))
	for _, group := range sources.groups(list, func(i, j int) bool { return sharedProcess(processes[i], processes[j]) }) {
		one := totals[group[0]]
		for _, i := range group[1:] {
			one = largerTotals(one, totals[i])
		}
		n.totals = append(n.totals, one)
		noteTwins(n, isDetector, list, group)
	}
}

// mergeProcesses takes a process that several instances know from the one that has
// heard of it last.
func mergeProcesses(a, b []view.Process) []view.Process {
	all := append(a, b...)
	slices.SortStableFunc(all, func(a, b view.Process) int {
		return cmp.Or(compareProcesses(&a, &b), b.LastHeard.Compare(a.LastHeard))
	})
	return slices.CompactFunc(all, func(a, b view.Process) bool { return compareProcesses(&a, &b) == 0 })
}

func compareProcesses(a, b *view.Process) int {
	return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Instance, b.Instance), cmp.Compare(a.Epoch, b.Epoch))
}

// merged combines entries that compare as equal.
func merged[T any](all []T, compare func(a, b *T) int, combine func(into, other *T)) []T {
	slices.SortStableFunc(all, func(a, b T) int { return compare(&a, &b) })
	kept := all[:0]
	for i := range all {
		if last := len(kept) - 1; last >= 0 && compare(&kept[last], &all[i]) == 0 {
			combine(&kept[last], &all[i])
			continue
		}
		kept = append(kept, all[i])
	}
	return kept
}

func compareTasks(a, b *view.TaskStatistics) int {
	return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Name, b.Name))
}

func compareWaits(a, b *view.WaitStatistics) int {
	return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Resource, b.Resource))
}

func compareServices(a, b *view.ServiceStatistics) int { return strings.Compare(a.Service, b.Service) }

// addTasks adds the counts of o to t.
func addTasks(t, o *view.TaskStatistics) {
	t.Started += o.Started
	t.Running += o.Running
	t.Blocked += o.Blocked
	t.BlockedIn += o.BlockedIn
	t.Durations.Merge(&o.Durations)
	ended := make(map[taskspan.State]float64, len(t.Ended))
	for _, from := range []map[taskspan.State]float64{t.Ended, o.Ended} {
		for state, n := range from {
			ended[state] += n
		}
	}
	t.Ended = ended
}

// addWaits adds the counts of o to w.
func addWaits(w, o *view.WaitStatistics) {
	w.Open += o.Open
	w.Longest = max(w.Longest, o.Longest)
	w.Stuck.Merge(&o.Stuck)
	w.Sampled.Merge(&o.Sampled)
}

// addServices adds the counts of o to s.
func addServices(s, o *view.ServiceStatistics) {
	s.Events += o.Events
	s.ProcessesLost += o.ProcessesLost
	s.Dropped = sum(s.Dropped, o.Dropped)
}

// sum adds maps of counts.
func sum(a, b map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(a)+len(b))
	for _, from := range []map[string]int64{a, b} {
		for k, n := range from {
			out[k] += n
		}
	}
	return out
}

// statuses counts processes.
func (n *numbers) statuses() (counts [fleet.Goodbye + 1]int) {
	for i := range n.processes {
		counts[n.processes[i].Status]++
	}
	return counts
}

// noteDeadlocked adds the tasks of a deadlock that a detector here knows. Their states
// travel with its spans, which may go to a task_state elsewhere.
func (n *numbers) noteDeadlocked(dl *deadlock.Deadlock) {
	if dl.TaskState() != taskspan.Deadlocked {
		return
	}
	for _, t := range dl.Members() {
		n.deadlocked[t.ID] = t.Process.Service
	}
}

// live counts the live tasks of each service.
func (n *numbers) live() map[string]fleet.Live {
	running, blocked := make(map[string]int64), make(map[string]int64)
	deadlocked, doubtful := make(map[string]int64), make(map[string]int64)
	for i := range n.tasks {
		t := &n.tasks[i]
		running[t.Service] += t.Running
		blocked[t.Service] += t.Blocked
	}
	for _, service := range n.deadlocked {
		deadlocked[service]++
		running[service] += 0 // also one of which no heartbeat is known
	}
	for service, in := range n.inDeadlock() {
		doubtful[service] = in[taskspan.Suspected] + in[taskspan.Transient]
		running[service] += 0
	}
	live := make(map[string]fleet.Live, len(running))
	for service := range running {
		live[service] = fleet.LiveOf(running[service], blocked[service], deadlocked[service], doubtful[service])
	}
	return live
}

// inDeadlock counts the tasks in standing deadlocks by service and confidence.
func (n *numbers) inDeadlock() map[string]map[taskspan.Confidence]int64 {
	counts := make(map[string]map[taskspan.Confidence]int64)
	for _, dl := range n.standing {
		for _, t := range dl.Members() {
			of := counts[t.Process.Service]
			if of == nil {
				of = make(map[taskspan.Confidence]int64)
				counts[t.Process.Service] = of
			}
			of[dl.Confidence]++
		}
	}
	return counts
}
