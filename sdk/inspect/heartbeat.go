//go:build !noinspect

package inspect

import (
	"cmp"
	"slices"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// heartbeat says what is true of the process after the last scan.
func (r *reporter) heartbeat(final bool) *wire.Heartbeat {
	h := &wire.Heartbeat{
		Trace: r.seed, NewSpanID: newSpanID, Observed: r.lastFor.unix(),
		IntervalMS: r.config.heartbeatInterval.Milliseconds(), Final: final,
		Events: r.ins.events.Load(), Dropped: r.ins.drops.list(),
		Overhead: r.ins.overheadShare(), Rate: r.ins.SamplingRate(), Memory: r.ins.MemoryStats(),
	}
	for id, told := range r.waits {
		h.WaitIDs = append(h.WaitIDs, id)
		h.Revisions = append(h.Revisions, told.revision())
	}
	h.Total, h.ByName = r.ins.counts()
	return h
}

// counts counts the tasks, in all and by name, the most frequent names first and the
// rest summed up.
func (ins *Inspector) counts() (total taskspan.NameCounts, byName []taskspan.NameCounts) {
	blocked := ins.blockedByName()
	for name, e := range *ins.names.known.Load() {
		n := e.counts.sum()
		if n.Started == 0 {
			continue
		}
		n.Name = name
		n.Blocked = min(blocked[e], n.Running)
		n.Running -= n.Blocked
		byName = append(byName, n)
		add(&total, n)
	}
	slices.SortFunc(byName, func(a, b taskspan.NameCounts) int {
		return cmp.Or(cmp.Compare(b.Started, a.Started), cmp.Compare(a.Name, b.Name))
	})
	if len(byName) > taskspan.MaxNames {
		other := taskspan.NameCounts{Name: taskspan.OtherNames}
		rest := byName[taskspan.MaxNames-1:]
		for _, n := range rest {
			add(&other, n)
		}
		// "other" may be among the frequent names already.
		byName = byName[:taskspan.MaxNames-1]
		if i := slices.IndexFunc(byName, func(n taskspan.NameCounts) bool { return n.Name == other.Name }); i >= 0 {
			add(&byName[i], other)
		} else {
			byName = append(byName, other)
		}
	}
	return total, byName
}

func add(to *taskspan.NameCounts, n taskspan.NameCounts) {
	to.Started += n.Started
	to.Completed += n.Completed
	to.Failed += n.Failed
	to.Cancelled += n.Cancelled
	to.Running += n.Running
	to.Blocked += n.Blocked
}

// blockedByName counts the listed tasks whose goroutine waits.
func (ins *Inspector) blockedByName() map[*nameEntry]int64 {
	blocked := make(map[*nameEntry]int64)
	for i := range table {
		s := &table[i]
		s.mu.Lock()
		waiting := make(map[uint64]bool, s.waits.len)
		for w := s.waits.front; w != nil; w = w.next {
			waiting[w.goroutine] = true
		}
		if len(waiting) > 0 {
			for t := s.tasks.front; t != nil; t = t.next {
				if t.ins == ins && waiting[t.goroutine.Load()] {
					blocked[t.name]++
				}
			}
		}
		s.mu.Unlock()
	}
	return blocked
}
