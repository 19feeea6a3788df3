package inspector

import (
	"maps"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Components of one type may get the same spans: a receiver in two pipelines gives each
// of them a copy, and two detectors may stand in one pipeline. Such twins count the same
// tasks, so the inspector takes the larger count of them, and not the sum. A count that
// only rises in each of them only rises so, too.

const (
	// heardTogether is how far apart twins may have first heard a process. A process
	// that has moved from one receiver to another was heard at different times.
	heardTogether = 5 * time.Second
	// tasksCompared is how many of the newest tasks are looked for in the other one.
	tasksCompared = 8
)

// groups puts the twins of a list together, by their indexes. Twins stay twins for as
// long as both run: pipelines do not change.
func (s *sources[R]) groups(list []*source[R], shared func(i, j int) bool) [][]int {
	var groups [][]int
next:
	for j := range list {
		for g, members := range groups {
			for _, i := range members {
				if s.twin(list[i], list[j], func() bool { return shared(i, j) }) {
					groups[g] = append(groups[g], j)
					continue next
				}
			}
		}
		groups = append(groups, []int{j})
	}
	return groups
}

func (s *sources[R]) twin(a, b *source[R], shared func() bool) bool {
	pair := [2]*source[R]{a, b}
	s.mu.RLock()
	known := s.twins[pair]
	s.mu.RUnlock()
	if known || !shared() {
		return known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.twins == nil {
		s.twins = make(map[[2]*source[R]]bool)
	}
	s.twins[pair] = true
	return true
}

// sharedProcess reports whether two components hear a process at the same time.
func sharedProcess(a, b []view.Process) bool {
	first := make(map[report.Process]time.Time, len(a))
	for i := range a {
		first[a[i].Process] = a[i].FirstHeard
	}
	for i := range b {
		if at, known := first[b[i].Process]; known && b[i].FirstHeard.Sub(at).Abs() < heardTogether {
			return true
		}
	}
	return false
}

// sharedTask reports whether one of the newest ended tasks of a component is known to
// the other one: services without the SDK have no processes.
func sharedTask(a, b view.Reader) bool {
	return knowsOneOf(a, b) || knowsOneOf(b, a)
}

var endedStates = []taskspan.State{taskspan.Completed, taskspan.Failed, taskspan.Cancelled}

func knowsOneOf(a, b view.Reader) bool {
	newest, _ := b.Tasks(view.TaskQuery{States: endedStates, Limit: tasksCompared})
	for i := range newest {
		if _, known := a.Task(newest[i].ID); known {
			return true
		}
	}
	return false
}

// larger takes the larger of each count of two that count the same.
func larger(a, b stateNumbers) stateNumbers {
	return stateNumbers{
		Statistics: view.Statistics{
			Restored: a.Restored || b.Restored,
			Tasks:    merged(append(a.Tasks, b.Tasks...), compareTasks, largerTasks),
			Waits:    merged(append(a.Waits, b.Waits...), compareWaits, largerWaits),
			Services: merged(append(a.Services, b.Services...), compareServices, largerServices),
		},
	}
}

func largerTasks(t, o *view.TaskStatistics) {
	weight := func(t *view.TaskStatistics) float64 {
		total := t.Started
		for _, n := range t.Ended {
			total += n
		}
		return total
	}
	if weight(o) > weight(t) {
		*t = *o
	}
}

func largerWaits(w, o *view.WaitStatistics) {
	if o.Stuck.Count > w.Stuck.Count {
		w.Stuck = o.Stuck
	}
	if o.Sampled.Count > w.Sampled.Count {
		w.Sampled = o.Sampled
	}
	w.Open, w.Longest = max(w.Open, o.Open), max(w.Longest, o.Longest)
}

func largerServices(s, o *view.ServiceStatistics) {
	s.Events, s.ProcessesLost = max(s.Events, o.Events), max(s.ProcessesLost, o.ProcessesLost)
	s.Dropped = largest(s.Dropped, o.Dropped)
}

func largerTotals(a, b view.DetectorTotals) view.DetectorTotals {
	type sort struct{ kind, confidence string }
	most := make(map[sort]int64)
	t := view.DetectorTotals{Resolved: largest(a.Resolved, b.Resolved), Inversions: max(a.Inversions, b.Inversions)}
	for _, found := range [][]view.FoundTotal{a.Found, b.Found} {
		for _, f := range found {
			of := sort{string(f.Kind), string(f.Confidence)}
			most[of] = max(most[of], f.Count)
		}
	}
	for _, f := range a.Found {
		f.Count = most[sort{string(f.Kind), string(f.Confidence)}]
		t.Found = append(t.Found, f)
	}
	return t
}

// largest takes the larger of two counts for each key.
func largest[K comparable](a, b map[K]int64) map[K]int64 {
	out := maps.Clone(a)
	if out == nil {
		out = make(map[K]int64, len(b))
	}
	for k, n := range b {
		out[k] = max(out[k], n)
	}
	return out
}
