package taskstate

import (
	"encoding/json"
	"errors"
	"maps"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/histogram"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// stored is what the storage has of a series whose counts are a T.
type stored[T any] struct {
	record  int // its number in the storage, plus 1; 0: none yet
	changed bool
	shown   *T // as written; nil: not yet
}

// restored notes the counts that are in the storage after a record more of them was read.
func (s *stored[T]) restored(record int, counts *T) (surplus bool) {
	s.shown = counts
	if s.record != 0 {
		return true
	}
	s.record = record + 1
	return false
}

// store makes readers see what has been written.
func (s *statistics) store() { s.stored = true }

func (svc *serviceStatistics) taskChanged(t *taskStatistics) {
	if svc.owner.stored && !t.changed {
		t.changed = true
		svc.changedTasks = append(svc.changedTasks, t)
	}
}

func (svc *serviceStatistics) waitChanged(w *waitStatistics) {
	if svc.owner.stored && !w.changed {
		w.changed = true
		svc.changedWaits = append(svc.changedWaits, w)
	}
}

// shownTask returns the counts that readers see; mu is held.
func (svc *serviceStatistics) shownTask(t *taskStatistics) *taskCounts {
	return shown(svc, &t.taskCounts, t.shown)
}

func (svc *serviceStatistics) shownWait(w *waitStatistics) *waitCounts {
	return shown(svc, &w.waitCounts, w.shown)
}

func (svc *serviceStatistics) shownActivity() *activityCounts {
	return shown(svc, &svc.activityCounts, svc.shown)
}

func shown[T any](svc *serviceStatistics, now, written *T) *T {
	switch {
	case !svc.owner.stored:
		return now
	case written == nil:
		return new(T)
	default:
		return written
	}
}

// saved is one record in the storage. One of its fields is set.
type saved struct {
	// Since is when the storage began to be used, in unix nanoseconds: what started
	// later has been counted by nobody else.
	Since    int64          `json:",omitempty"`
	Task     *savedTask     `json:",omitempty"`
	Wait     *savedWait     `json:",omitempty"`
	Activity *savedActivity `json:",omitempty"`
	Process  *fleet.Record  `json:",omitempty"`
}

type savedTask struct {
	Service, Name string
	Started       float64
	Ended         map[taskspan.State]float64
	Durations     histogram.Saved
	BlockedIn     float64
}

type savedWait struct {
	Service        string
	Kind           taskspan.Kind
	Resource       string
	Stuck, Sampled histogram.Saved
}

type savedActivity struct {
	Service string
	Events  int64
	Dropped map[string]int64
}

func (t *taskStatistics) save() saved {
	ended := make(map[taskspan.State]float64, len(endStates))
	for i, state := range endStates {
		ended[state] = t.ended[i]
	}
	return saved{Task: &savedTask{
		Service: t.service, Name: t.name, Started: t.started, Ended: ended, Durations: t.durations.Save(), BlockedIn: t.blockedIn,
	}}
}

func (w *waitStatistics) save() saved {
	return saved{Wait: &savedWait{Service: w.service, Kind: w.kind, Resource: w.resource, Stuck: w.stuck.Save(), Sampled: w.sampled.Save()}}
}

func (svc *serviceStatistics) saveActivity() saved {
	return saved{Activity: &savedActivity{Service: svc.name, Events: svc.events, Dropped: maps.Clone(svc.dropped)}}
}

// change is a record that is to be written.
type change struct {
	record int
	value  saved
	// written is called when it has been written; nil: nobody wants to know.
	written func()
}

// changes copies the series that have changed since the last call. Those without a record
// get one, under the lock, so that whoever removes a series sees its record.
func (s *statistics) changes(out []change, newRecord func() int) []change {
	for _, svc := range s.all() {
		svc.mu.Lock()
		if svc.gone {
			svc.mu.Unlock()
			continue
		}
		for _, t := range svc.changedTasks {
			t.changed = false
			if t.gone {
				continue
			}
			out = append(out, changeOf(svc, &t.stored, t.taskCounts, t.save(), newRecord))
		}
		for _, w := range svc.changedWaits {
			w.changed = false
			if w.gone {
				continue
			}
			out = append(out, changeOf(svc, &w.stored, w.waitCounts, w.save(), newRecord))
		}
		if svc.changedActivity {
			svc.changedActivity = false
			counts := activityCounts{svc.events, maps.Clone(svc.dropped)}
			out = append(out, changeOf(svc, &svc.stored, counts, svc.saveActivity(), newRecord))
		}
		clear(svc.changedTasks)
		clear(svc.changedWaits)
		svc.changedTasks, svc.changedWaits = svc.changedTasks[:0], svc.changedWaits[:0]
		svc.mu.Unlock()
	}
	return out
}

// changeOf is the change of one series of a service; mu is held.
func changeOf[T any](svc *serviceStatistics, of *stored[T], counts T, value saved, newRecord func() int) change {
	if of.record == 0 {
		of.record = newRecord() + 1
	}
	return change{
		record: of.record - 1, value: value,
		written: func() {
			svc.mu.Lock()
			defer svc.mu.Unlock()
			of.shown = &counts
		},
	}
}

// restore continues a series from its record. surplus says that another record of the
// same series was restored before: names that found no room are one series. The record is
// then to be removed, for the first one will have its counts.
func (s *statistics) restore(record int, r *saved) (surplus bool) {
	switch {
	case r.Task != nil:
		return s.restoreTask(record, r.Task)
	case r.Wait != nil:
		return s.restoreWait(record, r.Wait)
	default:
		return s.restoreActivity(record, r.Activity)
	}
}

func (s *statistics) restoreTask(record int, r *savedTask) (surplus bool) {
	svc := s.lock(r.Service)
	defer svc.mu.Unlock()
	t := svc.task(r.Name)
	t.started += r.Started
	for i, state := range endStates {
		t.ended[i] += r.Ended[state]
	}
	durations := r.Durations.Histogram()
	t.durations.Merge(&durations)
	t.blockedIn += r.BlockedIn
	counts := t.taskCounts
	if t.restored(record, &counts) {
		svc.taskChanged(t)
		return true
	}
	return false
}

func (s *statistics) restoreWait(record int, r *savedWait) (surplus bool) {
	svc := s.lock(r.Service)
	defer svc.mu.Unlock()
	w := svc.wait(r.Kind, r.Resource)
	stuck, sampled := r.Stuck.Histogram(), r.Sampled.Histogram()
	w.waitCounts.stuck.Merge(&stuck)
	w.waitCounts.sampled.Merge(&sampled)
	counts := w.waitCounts
	if w.restored(record, &counts) {
		svc.waitChanged(w)
		return true
	}
	return false
}

func (s *statistics) restoreActivity(record int, r *savedActivity) (surplus bool) {
	s.activity(r.Service, fleet.Activity{Events: r.Events, Dropped: r.Dropped})
	svc := s.lock(r.Service)
	defer svc.mu.Unlock()
	svc.changedActivity = svc.restored(record, &activityCounts{svc.events, maps.Clone(svc.dropped)})
	return svc.changedActivity
}

func (s *saved) encode() ([]byte, error) { return json.Marshal(s) }

// decodeSaved reads a record, and checks it so that it can be restored.
func decodeSaved(value []byte) (s saved, err error) {
	if err := json.Unmarshal(value, &s); err != nil {
		return s, err
	}
	switch {
	case s.Task != nil:
		return s, s.Task.Durations.Check()
	case s.Wait != nil:
		return s, errors.Join(s.Wait.Stuck.Check(), s.Wait.Sampled.Check())
	case s.Since == 0 && s.Activity == nil && s.Process == nil:
		return s, errors.New("unknown kind of record")
	}
	return s, nil
}
