package taskstate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/histogram"
	"github.com/asyncinspect/asyncinspect/internal/plausible"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// unknownService is what OpenTelemetry calls a service without a name.
const unknownService = "unknown_service"

// statistics are totals by service, task name, wait kind and resource. Their number is
// bounded, each service has its share, and what comes after has the name "other". The
// series of a service that is gone are removed after a while.
type statistics struct {
	names, resources room
	weightsCapped    atomic.Int64
	timesCorrected   atomic.Int64

	// stored says that totals are written to a storage. Readers then see what has been
	// written, and nothing that a crash could take back. It is set before the first batch.
	stored bool
	// restored says that it had some. It is set before the first batch, too.
	restored bool

	mu       sync.RWMutex // guards services
	services map[string]*serviceStatistics
	count    atomic.Int64 // of services

	removing sync.Mutex // guards removed
	removed  []int      // records of series that are no more
}

// serviceStatistics are the series of one service; mu guards all of them.
type serviceStatistics struct {
	name  string
	owner *statistics
	mu    sync.Mutex
	tasks map[string]*taskStatistics
	waits map[waitKey]*waitStatistics
	// Those with a name, in the order in which they were made.
	taskOrder []*taskStatistics
	waitOrder []*waitStatistics

	gone   bool      // it was removed: who has found it looks again
	active bool      // something was counted since seen
	seen   time.Time // when something was counted, or a process reported, as expire knows

	activityCounts
	stored[activityCounts]
	processes     bool  // of the SDK have been there
	processesLost int64 // since the start of the collector

	// Those that have changed since they were last written, if there is a storage.
	changedTasks    []*taskStatistics
	changedWaits    []*waitStatistics
	changedActivity bool
}

// activityCounts are about the processes of one service.
type activityCounts struct {
	events  int64            // inspection points that heartbeats tell of
	dropped map[string]int64 // by the SDKs, by reason
}

type waitKey struct {
	kind     taskspan.Kind
	resource string
}

// taskStatistics is one series. service and name never change.
type taskStatistics struct {
	service, name string
	gone          bool // it was removed
	taskCounts
	running, blocked int64
	sampled          histogram.Sample // of the tasks whose durations heartbeats carry
	stored[taskCounts]
}

// taskCounts are what only grows.
type taskCounts struct {
	started   float64
	ended     [len(endStates)]float64
	durations histogram.Histogram
	blockedIn float64
}

// totals are counts of tasks.
type totals struct {
	started          float64
	ended            [len(endStates)]float64
	running, blocked int64
}

func (t *totals) add(o totals) {
	t.started += o.started
	for i, n := range o.ended {
		t.ended[i] += n
	}
	t.running += o.running
	t.blocked += o.blocked
}

// waitStatistics is one series. service, kind and resource never change.
type waitStatistics struct {
	service string
	waitKey
	gone bool // it was removed
	open int64
	waitCounts
	stored[waitCounts]
}

// waitCounts are what only grows.
type waitCounts struct{ stuck, sampled histogram.Histogram }

// endState is a state that a task can end in, as an index of endStates.
type endState uint8

const (
	completed endState = iota
	failed
	cancelled
	lost
)

var endStates = [...]taskspan.State{taskspan.Completed, taskspan.Failed, taskspan.Cancelled, taskspan.Lost}

func endStateOf(s taskspan.State) endState {
	switch s {
	case taskspan.Failed:
		return failed
	case taskspan.Cancelled:
		return cancelled
	case taskspan.Lost:
		return lost
	default:
		return completed
	}
}

func newStatistics(maxNames, maxResources int) *statistics {
	return &statistics{
		names: room{limit: int64(maxNames)}, resources: room{limit: int64(maxResources)},
		services: make(map[string]*serviceStatistics),
	}
}

// lock finds or makes the series of a service, and locks them. A service that would be
// one more than there may be names shares those of "other".
func (s *statistics) lock(name string) *serviceStatistics {
	for {
		svc := s.service(name)
		svc.mu.Lock()
		if !svc.gone {
			svc.active = true
			return svc
		}
		svc.mu.Unlock()
	}
}

func (s *statistics) service(name string) *serviceStatistics {
	s.mu.RLock()
	svc, ok := s.services[name]
	s.mu.RUnlock()
	if ok {
		return svc
	}
	name = shorten(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if svc, ok := s.services[name]; ok {
		return svc
	}
	if int64(len(s.services)) >= s.names.limit {
		name = taskspan.OtherNames
		if svc, ok := s.services[name]; ok {
			return svc
		}
	}
	name = strings.Clone(name)
	svc = &serviceStatistics{
		name: name, owner: s,
		tasks: make(map[string]*taskStatistics), waits: make(map[waitKey]*waitStatistics),
	}
	s.services[name] = svc
	s.count.Add(1)
	return svc
}

// task finds or makes a series; mu is held.
func (svc *serviceStatistics) task(name string) *taskStatistics {
	if t, ok := svc.tasks[name]; ok {
		return t
	}
	if short := shorten(name); short != name {
		return svc.task(short)
	}
	t := &taskStatistics{service: svc.name, name: strings.Clone(name)}
	if name != taskspan.OtherNames {
		if !svc.owner.names.take(int64(len(svc.taskOrder)), svc.owner.count.Load()) {
			return svc.task(taskspan.OtherNames)
		}
		svc.taskOrder = append(svc.taskOrder, t)
	}
	svc.tasks[t.name] = t
	return t
}

// wait finds or makes a series; mu is held.
func (svc *serviceStatistics) wait(kind taskspan.Kind, resource string) *waitStatistics {
	key := waitKey{kind, resource}
	if w, ok := svc.waits[key]; ok {
		return w
	}
	if short := (waitKey{taskspan.Kind(shorten(string(kind))), shorten(resource)}); short != key {
		return svc.wait(short.kind, short.resource)
	}
	w := &waitStatistics{service: svc.name, waitKey: waitKey{taskspan.Kind(strings.Clone(string(kind))), strings.Clone(resource)}}
	if other := (waitKey{taskspan.OtherNames, taskspan.OtherNames}); key != other {
		if !svc.owner.resources.take(int64(len(svc.waitOrder)), svc.owner.count.Load()) {
			return svc.wait(other.kind, other.resource)
		}
		svc.waitOrder = append(svc.waitOrder, w)
	}
	svc.waits[w.waitKey] = w
	return w
}

// knownWait is the series that counts a wait, or nil; mu is held.
func (svc *serviceStatistics) knownWait(kind taskspan.Kind, resource string) *waitStatistics {
	if w, ok := svc.waits[waitKey{taskspan.Kind(shorten(string(kind))), shorten(resource)}]; ok {
		return w
	}
	return svc.waits[waitKey{taskspan.OtherNames, taskspan.OtherNames}]
}

// add applies the spans of one resource.
func (s *statistics) add(service string, b *batch) {
	s.weightsCapped.Add(b.capped)
	s.timesCorrected.Add(b.corrected)
	s.with(service, func(svc *serviceStatistics) { svc.add(b) })
}

// with calls change with a service that is locked, and makes room afterwards.
func (s *statistics) with(service string, change func(*serviceStatistics)) {
	svc := s.lock(service)
	change(svc)
	svc.mu.Unlock()
	s.trim()
}

func (svc *serviceStatistics) add(b *batch) {
	for i := range b.tasks {
		t := &b.tasks[i]
		stats := svc.task(t.name)
		t.stats = stats
		if !t.reported {
			stats.started += t.weight
			stats.ended[t.state] += t.weight
		}
		if d := time.Duration(t.end - t.start); t.timed {
			stats.durations.Exemplify(d, t.id, t.end)
			stats.sampled.Add(d)
		} else {
			stats.durations.Add(d, t.weight, t.id, t.end)
		}
		stats.blockedIn += t.blocked.Seconds() * t.weight
		svc.taskChanged(stats)
	}
	for i := range b.waits {
		w := &b.waits[i]
		stats := svc.wait(w.kind, w.resource)
		stats.sampled.Add(w.duration, w.weight, w.task, w.end)
		svc.waitChanged(stats)
	}
}

// advance applies what a heartbeat adds.
func (s *statistics) advance(service, name string, d fleet.Delta) {
	s.with(service, func(svc *serviceStatistics) { svc.advance(name, d) })
}

func (svc *serviceStatistics) advance(name string, d fleet.Delta) {
	t := svc.task(name)
	t.started += float64(d.Started)
	t.ended[completed] += float64(d.Completed)
	t.ended[failed] += float64(d.Failed)
	t.ended[cancelled] += float64(d.Cancelled)
	t.ended[lost] += float64(d.Lost)
	t.running += d.Running
	t.blocked += d.Blocked
	t.durations.AddBuckets(&d.Durations, &t.sampled)
	svc.taskChanged(t)
}

// activity applies what a heartbeat adds beside the counts of tasks.
func (s *statistics) activity(service string, a fleet.Activity) {
	svc := s.lock(service)
	defer svc.mu.Unlock()
	svc.events += a.Events
	for reason, n := range a.Dropped {
		if _, known := svc.dropped[reason]; !known && len(svc.dropped) >= report.MaxDropReasons {
			reason = taskspan.OtherNames
		}
		if svc.dropped == nil {
			svc.dropped = make(map[string]int64)
		}
		svc.dropped[strings.Clone(reason)] += n
	}
	svc.changedActivity = true
}

// process notes that a process was found, or has ended.
func (s *statistics) process(e fleet.Event) {
	svc := s.service(e.Process.Service)
	svc.mu.Lock()
	defer svc.mu.Unlock()
	svc.processes = true
	if e.Kind == fleet.ProcessEnded && e.Status == fleet.Lost {
		svc.processesLost++
	}
}

// longest says how long the longest open wait of each series has lasted.
func (s *statistics) longest(tasks []*fleet.Task, now time.Time) map[*waitStatistics]time.Duration {
	longest := make(map[*waitStatistics]time.Duration)
	for _, t := range tasks {
		if len(t.Waits) == 0 {
			continue
		}
		svc := s.service(t.Process.Service)
		svc.mu.Lock()
		for _, w := range t.Waits {
			if series := svc.knownWait(w.Kind, w.ResourceName); series != nil {
				longest[series] = max(longest[series], now.Sub(w.Since.Add(-t.Ahead)))
			}
		}
		svc.mu.Unlock()
	}
	return longest
}

// stuck applies the begin and end of waits that were reported.
func (s *statistics) stuck(e fleet.Event) {
	s.with(e.Process.Service, func(svc *serviceStatistics) { svc.waited(e) })
}

func (svc *serviceStatistics) waited(e fleet.Event) {
	w := svc.wait(e.Wait.Kind, e.Wait.ResourceName)
	if e.Kind == fleet.WaitOpened {
		w.open++
		return
	}
	w.open--
	w.stuck.Add(plausible.Duration(e.At.Sub(e.Wait.Since)), 1, e.Wait.Task, e.At.UnixNano())
	svc.waitChanged(w)
}

// of finds or makes the series of a task's name.
func (s *statistics) of(service, name string) (t *taskStatistics) {
	s.with(service, func(svc *serviceStatistics) { t = svc.task(name) })
	return t
}

// all returns the services, sorted. Each is then read under its own lock.
func (s *statistics) all() []*serviceStatistics {
	s.mu.RLock()
	out := make([]*serviceStatistics, 0, len(s.services))
	for _, svc := range s.services {
		out = append(out, svc)
	}
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *serviceStatistics) int { return strings.Compare(a.name, b.name) })
	return out
}

// taskTotals are the counts of one series.
type taskTotals struct {
	service, name string
	rank          int // the place among those of the service by age; "other" is the oldest
	totals
}

// series copies the counts of every series, sorted by service and name.
func (s *statistics) series() []taskTotals {
	var out []taskTotals
	for _, svc := range s.all() {
		from := len(out)
		svc.mu.Lock()
		copyOf := func(rank int, t *taskStatistics) {
			shown := svc.shownTask(t)
			out = append(out, taskTotals{t.service, t.name, rank, totals{shown.started, shown.ended, t.running, t.blocked}})
		}
		if other := svc.tasks[taskspan.OtherNames]; other != nil {
			copyOf(0, other)
		}
		for i, t := range svc.taskOrder {
			copyOf(1+i, t)
		}
		svc.mu.Unlock()
		slices.SortFunc(out[from:], func(a, b taskTotals) int { return strings.Compare(a.name, b.name) })
	}
	return out
}

// copied is how many series are copied under one lock: 150 kB, some 20 µs.
const copied = 64

// snapshot copies the statistics. longest says how long open waits have lasted.
func (s *statistics) snapshot(longest map[*waitStatistics]time.Duration) view.Statistics {
	out := view.Statistics{Restored: s.restored}
	for _, svc := range s.all() {
		svc.mu.Lock()
		tasks := slices.Collect(maps.Values(svc.tasks))
		waits := slices.Collect(maps.Values(svc.waits))
		if a := svc.shownActivity(); svc.processes || a.events > 0 || a.dropped != nil {
			out.Services = append(out.Services, view.ServiceStatistics{
				Service: svc.name, Events: a.events, Dropped: maps.Clone(a.dropped), ProcessesLost: svc.processesLost,
			})
		}
		svc.mu.Unlock()
		out.Tasks = svc.copyTasks(out.Tasks, tasks)
		out.Waits = svc.copyWaits(out.Waits, waits, longest)
	}
	return out
}

// copyTasks appends copies of series, sorted by name. Each is consistent in itself.
// The lock is held for a few at a time, so that no batch of spans waits for all.
func (svc *serviceStatistics) copyTasks(out []view.TaskStatistics, series []*taskStatistics) []view.TaskStatistics {
	slices.SortFunc(series, func(a, b *taskStatistics) int { return strings.Compare(a.name, b.name) })
	out = slices.Grow(out, len(series))
	var ended [copied][len(endStates)]float64
	for few := range slices.Chunk(series, copied) {
		from := len(out)
		svc.mu.Lock()
		for i, t := range few {
			shown := svc.shownTask(t)
			ended[i] = shown.ended
			out = append(out, view.TaskStatistics{
				Service: t.service, Name: t.name, Started: shown.started,
				Running: t.running, Blocked: t.blocked, Durations: shown.durations, BlockedIn: shown.blockedIn,
			})
		}
		svc.mu.Unlock()
		for i := range few {
			byState := make(map[taskspan.State]float64, len(endStates))
			for j, state := range endStates {
				byState[state] = ended[i][j]
			}
			out[from+i].Ended = byState
		}
	}
	return out
}

// copyWaits appends copies of series, sorted by kind and resource, as copyTasks does.
func (svc *serviceStatistics) copyWaits(out []view.WaitStatistics, series []*waitStatistics, longest map[*waitStatistics]time.Duration) []view.WaitStatistics {
	slices.SortFunc(series, func(a, b *waitStatistics) int {
		return cmp.Or(strings.Compare(string(a.kind), string(b.kind)), strings.Compare(a.resource, b.resource))
	})
	out = slices.Grow(out, len(series))
	for few := range slices.Chunk(series, copied) {
		svc.mu.Lock()
		for _, w := range few {
			shown := svc.shownWait(w)
			out = append(out, view.WaitStatistics{
				Service: w.service, Kind: w.kind, Resource: w.resource, Open: w.open, Longest: longest[w], Stuck: shown.stuck, Sampled: shown.sampled,
			})
		}
		svc.mu.Unlock()
	}
	return out
}
