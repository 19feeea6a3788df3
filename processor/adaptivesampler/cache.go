package adaptivesampler

import "go.opentelemetry.io/collector/pdata/pcommon"

// decisions remembers what was decided, for spans that come late: the threshold of
// kept traces, and that the others were not. Both are bounded, the oldest go first,
// and neither holds a pointer that a garbage collector would have to follow.
type decisions struct {
	kept    ring
	dropped ring
}

// ring is a map that forgets the oldest.
type ring struct {
	of    map[pcommon.TraceID]uint64
	order []pcommon.TraceID
	next  int
	limit int
}

func newRing(limit int) ring {
	return ring{of: make(map[pcommon.TraceID]uint64), limit: max(1, limit)}
}

func (r *ring) put(trace pcommon.TraceID, threshold uint64) {
	if _, known := r.of[trace]; known {
		r.of[trace] = threshold
		return
	}
	if len(r.order) < r.limit {
		r.order = append(r.order, trace)
	} else {
		delete(r.of, r.order[r.next])
		r.order[r.next] = trace
		r.next = (r.next + 1) % r.limit
	}
	r.of[trace] = threshold
}

// get returns the decision about a trace.
func (d *decisions) get(trace pcommon.TraceID) (threshold uint64, kept, known bool) {
	if t, ok := d.kept.of[trace]; ok {
		return t, true, true
	}
	_, dropped := d.dropped.of[trace]
	return 0, false, dropped
}
