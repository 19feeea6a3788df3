package inspector

import (
	"cmp"
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
	processes  []view.Process // also those that are gone
	deadlocked map[string]int64
	dropped    []componentDrops
	totals     []view.DetectorTotals
	standing   []*deadlock.Deadlock
	inversions int
	samplers   []samplerNumbers
	tables     []componentTables
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

type samplerNumbers struct {
	id string
	view.Sampling
}

// readNumbers asks every component once.
func (r *registry) readNumbers(now time.Time) *numbers {
	n := &numbers{at: now, deadlocked: make(map[string]int64)}
	for _, src := range r.taskStates.list() {
		n.addTaskState(src.id, src.reader)
	}
	seen := make(map[deadlock.ID]bool)
	for _, src := range r.detectors.list() {
		totals := src.reader.DetectorTotals()
		n.totals = append(n.totals, totals)
		n.dropped = append(n.dropped, componentDrops{src.id, totals.Dropped})
		standing, _ := src.reader.Deadlocks()
		for _, dl := range standing {
			if !seen[dl.ID] {
				seen[dl.ID] = true
				n.standing = append(n.standing, dl)
			}
		}
		n.inversions += len(src.reader.Inversions())
		n.tables = append(n.tables, componentTables{src.id, isDetector, src.reader.DetectorTables()})
	}
	for _, src := range r.samplers.list() {
		s := src.reader.Sampling()
		n.samplers = append(n.samplers, samplerNumbers{src.id, s})
		n.tables = append(n.tables, componentTables{src.id, isSampler, s.Tables})
	}
	return n
}

func (n *numbers) addTaskState(id string, reader view.Reader) {
	summary := reader.Summary()
	n.dropped = append(n.dropped, componentDrops{id, summary.Dropped})
	n.tables = append(n.tables, componentTables{id, isTaskState, summary.Tables})
	if summary.Live[taskspan.Deadlocked] > 0 {
		stuck, _ := reader.Tasks(view.TaskQuery{States: []taskspan.State{taskspan.Deadlocked}, Live: true})
		for i := range stuck {
			n.deadlocked[stuck[i].Service]++
		}
	}
	processes, _ := reader.Processes(view.ProcessQuery{Gone: true})
	n.processes = mergeProcesses(n.processes, processes)
	s := reader.Statistics()
	if n.tasks == nil && n.waits == nil {
		n.tasks, n.waits, n.services = s.Tasks, s.Waits, s.Services
		return
	}
	n.tasks = mergeTasks(append(n.tasks, s.Tasks...))
	n.waits = mergeWaits(append(n.waits, s.Waits...))
	n.services = mergeServices(append(n.services, s.Services...))
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

func mergeTasks(all []view.TaskStatistics) []view.TaskStatistics {
	slices.SortStableFunc(all, func(a, b view.TaskStatistics) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Name, b.Name))
	})
	merged := all[:0]
	for _, t := range all {
		if i := len(merged) - 1; i >= 0 && merged[i].Service == t.Service && merged[i].Name == t.Name {
			addTasks(&merged[i], &t)
			continue
		}
		merged = append(merged, t)
	}
	return merged
}

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

func mergeWaits(all []view.WaitStatistics) []view.WaitStatistics {
	slices.SortStableFunc(all, func(a, b view.WaitStatistics) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Resource, b.Resource))
	})
	merged := all[:0]
	for _, w := range all {
		if i := len(merged) - 1; i >= 0 && merged[i].Service == w.Service && merged[i].Kind == w.Kind && merged[i].Resource == w.Resource {
			addWaits(&merged[i], &w)
			continue
		}
		merged = append(merged, w)
	}
	return merged
}

// addWaits adds the counts of o to w.
func addWaits(w, o *view.WaitStatistics) {
	w.Open += o.Open
	w.Stuck.Merge(&o.Stuck)
	w.Sampled.Merge(&o.Sampled)
}

func mergeServices(all []view.ServiceStatistics) []view.ServiceStatistics {
	slices.SortStableFunc(all, func(a, b view.ServiceStatistics) int { return strings.Compare(a.Service, b.Service) })
	merged := all[:0]
	for _, s := range all {
		if i := len(merged) - 1; i >= 0 && merged[i].Service == s.Service {
			merged[i].Events += s.Events
			merged[i].Dropped = sum(merged[i].Dropped, s.Dropped)
			continue
		}
		merged = append(merged, s)
	}
	return merged
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

// deadlockedIn is how many live tasks of a service are deadlocked: as the detectors
// here say, or as reports do that another one has marked.
func (n *numbers) deadlockedIn() map[string]int64 {
	byDetector := make(map[string]int64)
	for _, dl := range n.standing {
		for _, t := range dl.Core {
			byDetector[t.Process.Service]++
		}
	}
	for service, count := range n.deadlocked {
		byDetector[service] = max(byDetector[service], count)
	}
	return byDetector
}
