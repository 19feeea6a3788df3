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
	before := now()
	if !final {
		before -= nanos(r.config.heartbeatInterval)
	}
	r.ins.bookOld(before)
	h.Total, h.ByName = r.ins.counts()
	return h
}

// counts counts the tasks, in total and by name. At most MaxNames names are listed,
// the most frequent first; the rest is summed as "other". A listed name stays listed
// and a name summed as "other" stays there, because the collector adds up what each
// listed count has grown by: a name that changed places would count twice.
func (ins *Inspector) counts() (total taskspan.NameCounts, byName []taskspan.NameCounts) {
	blocked, unbooked := ins.liveByName()
	type counted struct {
		taskspan.NameCounts
		of *nameEntry
	}
	var all []counted
	for name, e := range *ins.names.known.Load() {
		n := e.counts.sum()
		n.Running += unbooked[e]
		if n.Started == 0 && n.Running == 0 {
			continue
		}
		n.Name = name
		n.Blocked = min(blocked[e], n.Running)
		n.Running -= n.Blocked
		n.Durations = e.counts.durations()
		all = append(all, counted{n, e})
		add(&total, n)
	}
	slices.SortFunc(all, func(a, b counted) int {
		return cmp.Or(cmp.Compare(b.Started, a.Started), cmp.Compare(a.Name, b.Name))
	})
	names := ins.names
	names.listing.Lock()
	defer names.listing.Unlock()
	other := taskspan.NameCounts{Name: taskspan.OtherNames}
	for _, n := range all {
		if n.of != names.other && !names.listed[n.of] && len(names.listed) < taskspan.MaxNames-1 {
			names.listed[n.of] = true
		}
		if names.listed[n.of] {
			byName = append(byName, n.NameCounts)
		} else {
			add(&other, n.NameCounts)
		}
	}
	if other.Started > 0 || other.Running+other.Blocked > 0 {
		byName = append(byName, other)
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
	if n.Durations == nil {
		return
	}
	if to.Durations == nil {
		to.Durations = &taskspan.Durations{Buckets: make([]int64, taskspan.DurationBuckets)}
	}
	to.Durations.Seconds += n.Durations.Seconds
	for i, count := range n.Durations.Buckets {
		to.Durations.Buckets[i] += count
	}
}

// liveByName counts the listed tasks whose goroutine waits, and those of server spans
// whose starts have not been booked: their names may change.
func (ins *Inspector) liveByName() (blocked, unbooked map[*nameEntry]int64) {
	blocked, unbooked = make(map[*nameEntry]int64), make(map[*nameEntry]int64)
	young := ins.unbooked(nil)
	waits := make(map[*Task]bool)
	for i := range table {
		s := &table[i]
		s.mu.Lock()
		waiting := make(map[uint64]bool, s.waits.len)
		for w := s.waits.front; w != nil; w = w.next {
			if g := guessOf(w.call); g == nil || g.waiting() {
				waiting[w.goroutine] = true
			}
		}
		if len(waiting) > 0 {
			for t := s.tasks.front; t != nil; t = t.next {
				switch {
				case t.ins != ins || !waiting[t.goroutine.Load()]:
				case t.serverSpan == nil:
					blocked[t.name]++
				default:
					waits[t] = true
				}
			}
		}
		s.mu.Unlock()
	}
	// The names of server spans are asked for with no shard locked.
	for t := range waits {
		e := t.booked.Load()
		if e == nil {
			e, _ = ins.names.entry(t.spanName())
		}
		blocked[e]++
	}
	for _, t := range young {
		if t.booked.Load() == nil {
			e, _ := ins.names.entry(t.spanName())
			unbooked[e]++
		}
	}
	return blocked, unbooked
}
