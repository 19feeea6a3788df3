package taskstate

import (
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// room bounds the series of one kind, of tasks or of waits, over all services. A service
// may have as many as find room. When no room is left, a service with less than its
// share gets some nevertheless, and the service that has most loses its newest series:
// what they counted so far is gone from the metrics, and what comes is counted under
// "other". So increase() of Prometheus counts nothing twice.
type room struct {
	limit  int64
	used   atomic.Int64 // the limit and, until trim, what services below their share took
	merged atomic.Int64 // counted under other
	cut    atomic.Int64 // series removed for those of other services
}

// take takes room for one more series of a service that has own of them.
func (r *room) take(own, services int64) bool {
	if r.used.Add(1) <= r.limit || own < r.limit/max(1, services) {
		return true
	}
	r.used.Add(-1)
	r.merged.Add(1)
	return false
}

func (r *room) over() bool { return r.used.Load() > r.limit }

// trim cuts series until none is too many. No lock is held.
func (s *statistics) trim() {
	for s.names.over() {
		svc, _ := s.loudest(func(svc *serviceStatistics) int { return len(svc.taskOrder) })
		if svc == nil || !svc.cutTask() {
			return
		}
	}
	for s.resources.over() {
		svc, _ := s.loudest(func(svc *serviceStatistics) int { return len(svc.waitOrder) })
		if svc == nil || !svc.cutWait() {
			return
		}
	}
}

// loudest returns the service with the most series.
func (s *statistics) loudest(count func(*serviceStatistics) int) (loudest *serviceStatistics, most int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, svc := range s.services {
		svc.mu.Lock()
		n := count(svc)
		svc.mu.Unlock()
		if n > most || n == most && loudest != nil && svc.name > loudest.name {
			loudest, most = svc, n
		}
	}
	return loudest, most
}

// cutTask removes the newest series of tasks. What is live is counted under other.
func (svc *serviceStatistics) cutTask() bool {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	last := len(svc.taskOrder) - 1
	if last < 0 {
		return false
	}
	t := svc.taskOrder[last]
	svc.taskOrder[last] = nil
	svc.taskOrder = svc.taskOrder[:last]
	delete(svc.tasks, t.name)
	svc.owner.names.used.Add(-1)
	svc.owner.names.cut.Add(1)
	svc.owner.remove(&t.gone, t.record)
	if t.running != 0 || t.blocked != 0 {
		other := svc.task(taskspan.OtherNames)
		other.running += t.running
		other.blocked += t.blocked
	}
	return true
}

// cutWait removes the newest series of waits. What is open is counted under other.
func (svc *serviceStatistics) cutWait() bool {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	last := len(svc.waitOrder) - 1
	if last < 0 {
		return false
	}
	w := svc.waitOrder[last]
	svc.waitOrder[last] = nil
	svc.waitOrder = svc.waitOrder[:last]
	delete(svc.waits, w.waitKey)
	svc.owner.resources.used.Add(-1)
	svc.owner.resources.cut.Add(1)
	svc.owner.remove(&w.gone, w.record)
	if w.open != 0 {
		svc.wait(taskspan.OtherNames, taskspan.OtherNames).open += w.open
	}
	return true
}

// expire removes the series of services that have had no process, and sent no span, for
// the retention. reporting are the services that have a process.
func (s *statistics) expire(now time.Time, retention time.Duration, reporting map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, svc := range s.services {
		svc.mu.Lock()
		if svc.active || reporting[name] || svc.seen.IsZero() {
			svc.active, svc.seen = false, now
		}
		if now.Sub(svc.seen) > retention {
			svc.removeAll()
			delete(s.services, name)
			s.count.Add(-1)
		}
		svc.mu.Unlock()
	}
}

// removeAll removes the series and the records of a service; mu is held.
func (svc *serviceStatistics) removeAll() {
	svc.gone = true
	s := svc.owner
	s.names.used.Add(-int64(len(svc.taskOrder)))
	s.resources.used.Add(-int64(len(svc.waitOrder)))
	for _, t := range svc.tasks {
		s.remove(&t.gone, t.record)
	}
	for _, w := range svc.waits {
		s.remove(&w.gone, w.record)
	}
	s.remove(new(bool), svc.record)
}

// remove notes a series that is no more, and the record that it has, if any.
func (s *statistics) remove(gone *bool, record int) {
	*gone = true
	if record == 0 {
		return
	}
	s.removing.Lock()
	defer s.removing.Unlock()
	s.removed = append(s.removed, record-1)
}

// takeRemoved returns the records of series that are no more.
func (s *statistics) takeRemoved() []int {
	s.removing.Lock()
	defer s.removing.Unlock()
	removed := s.removed
	s.removed = nil
	return removed
}

// byShare sorts series so that of any first part no service has more than its share if
// another one has less: the oldest of each service, then the second oldest of each.
func byShare(series []taskTotals) []taskTotals {
	slices.SortStableFunc(series, func(a, b taskTotals) int { return a.rank - b.rank })
	return series
}

// warnShares says that names have found no room since the last call, and which service
// has most.
func (p *taskState) warnShares() {
	for _, table := range []struct {
		name, setting string
		room          *room
		told          *int64
		count         func(*serviceStatistics) int
	}{
		{"task_names", "max_task_names", &p.stats.names, &p.toldNames, func(svc *serviceStatistics) int { return len(svc.taskOrder) }},
		{"resources", "max_resources", &p.stats.resources, &p.toldResources, func(svc *serviceStatistics) int { return len(svc.waitOrder) }},
	} {
		gone := table.room.merged.Load() + table.room.cut.Load()
		if gone == *table.told {
			continue
		}
		svc, most := p.stats.loudest(table.count)
		if svc == nil {
			continue
		}
		p.logger.Warn("Names found no room and are counted as \"other\"; the service with most of them should use low-cardinality names",
			zap.String("service", svc.name), zap.Int("names", most), zap.Int64("limit", table.room.limit),
			zap.String("table", table.name), zap.String("setting", table.setting))
		*table.told = gone
	}
}
