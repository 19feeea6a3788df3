package adaptivesampler

import (
	"hash/maphash"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// decisions remembers what was decided, for spans that come late: the threshold of
// kept traces, and that the others were not.
type decisions struct {
	kept    table
	dropped table
}

// get returns the decision about a trace.
func (d *decisions) get(trace pcommon.TraceID) (threshold uint64, kept, known bool) {
	if t, ok := d.kept.get(trace); ok {
		return t, true, true
	}
	_, dropped := d.dropped.get(trace)
	return 0, false, dropped
}

// ways is how many traces share a bucket: as many marks as a line of the CPU's cache
// holds.
const ways = 8

// table remembers the last traces that were put into it. It is one array without
// pointers that never grows: a trace is a mark of 64 bits in the bucket that its hash
// selects, and pushes the oldest out of it. Two traces of a million have the same mark
// once in tens of millions of such tables; the seed is secret, so nobody can choose
// them.
type table struct {
	seed    maphash.Seed
	buckets []bucket
	values  [][ways]uint64 // nil: none are kept
	size    int
}

type bucket [ways]uint64 // marks, the newest first; 0 is nothing

func newTable(limit int, values bool) table {
	t := table{seed: maphash.MakeSeed(), buckets: make([]bucket, max(1, (limit+ways-1)/ways))}
	if values {
		t.values = make([][ways]uint64, len(t.buckets))
	}
	return t
}

// find returns the mark of a trace, its bucket, and where it is in it, or -1.
func (t *table) find(trace pcommon.TraceID) (mark uint64, at, way int) {
	mark = maphash.Bytes(t.seed, trace[:]) | 1
	at = int((mark >> 32) * uint64(len(t.buckets)) >> 32)
	for way, m := range &t.buckets[at] {
		if m == mark {
			return mark, at, way
		}
	}
	return mark, at, -1
}

func (t *table) get(trace pcommon.TraceID) (value uint64, known bool) {
	_, at, way := t.find(trace)
	if way < 0 {
		return 0, false
	}
	if t.values != nil {
		value = t.values[at][way]
	}
	return value, true
}

func (t *table) put(trace pcommon.TraceID, value uint64) {
	mark, at, way := t.find(trace)
	if way < 0 {
		way = ways - 1
		if t.buckets[at][way] == 0 {
			t.size++
		}
	}
	marks := &t.buckets[at]
	copy(marks[1:way+1], marks[:way])
	marks[0] = mark
	if t.values != nil {
		values := &t.values[at]
		copy(values[1:way+1], values[:way])
		values[0] = value
	}
}
