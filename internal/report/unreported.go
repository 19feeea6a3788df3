package report

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	// unreportedAfter is how long spans of a process must arrive without a report
	// before the process counts as unreported: four heartbeats. A process that has
	// reported before may have a longer interval; for it [Listener] decides.
	unreportedAfter = 20 * time.Second
	// spansForgotten is how long after its last span a process is forgotten.
	spansForgotten = time.Minute
)

// Unreported finds processes of the SDK whose spans arrive while none of their reports
// do: a processor before this one takes or drops the reports, or another collector gets
// them. It is safe for concurrent use.
type Unreported struct {
	Limit int // of processes that are watched; positive

	mu      sync.Mutex // guards all below
	seen    map[Process]*spansSeen
	refused int64
}

// spansSeen says when spans of a process came since its last report.
type spansSeen struct {
	first, last time.Time
	unreported  bool
}

// Listener says when a process was last heard, and how long it may then be silent. A
// process that has never reported has the zero time.
type Listener func(Process) (last time.Time, lease time.Duration)

// Spans notes spans of a resource that are no reports. It ignores a resource that does
// not name a process of the SDK.
func (u *Unreported) Spans(resource pcommon.Map, now time.Time) {
	if _, ok := resource.Get(taskspan.ProcessEpoch); !ok {
		return
	}
	p, drop := DecodeProcess(resource)
	if drop != Used {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.seen[p]
	if s == nil {
		if len(u.seen) >= u.Limit {
			u.refused++
			return
		}
		if u.seen == nil {
			u.seen = make(map[Process]*spansSeen)
		}
		s = &spansSeen{first: now}
		u.seen[p] = s
	}
	s.last = now
}

// Check compares the spans with the reports. It returns the processes that have become
// unreported since the last call. Call it about once a second.
func (u *Unreported) Check(now time.Time, heard Listener) (news []Process) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for p, s := range u.seen {
		if now.Sub(s.last) > spansForgotten {
			delete(u.seen, p)
			continue
		}
		last, lease := heard(p)
		if last.After(s.first) {
			*s = spansSeen{first: now, last: s.last} // spans from now on count
			continue
		}
		if s.unreported || s.last.Sub(s.first) < max(unreportedAfter, lease) {
			continue
		}
		s.unreported = true
		news = append(news, p)
	}
	return news
}

// List returns the processes that are unreported now, in no order.
func (u *Unreported) List() []Process {
	u.mu.Lock()
	defer u.mu.Unlock()
	var list []Process
	for p, s := range u.seen {
		if s.unreported {
			list = append(list, p)
		}
	}
	return list
}

// Refused counts the batches of processes that found no room.
func (u *Unreported) Refused() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.refused
}
