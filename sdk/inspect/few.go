package inspect

import (
	"cmp"
	"math"
	"slices"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A lock can have a hundred thousand readers, of which a report names few. A scan looks
// at each of them, but it neither sorts them nor keeps them in a map.

// few returns the holders that are reported, at most as many as a report has room for,
// and whether they say as much as all of them. Where all have to release they do: those
// that have been stuck for longest are what the wait hangs on. It leaves the list as it is.
func (r *reporter) few(list []holder, need int64) (some []holder, all bool) {
	if len(list) <= taskspan.MaxHolders {
		return list, true
	}
	stuck := make(map[uint64]nanos, len(r.views))
	for i := range r.views {
		stuck[r.views[i].goroutine] = r.views[i].start
	}
	type ranked struct {
		of        int // the list
		since     nanos
		goroutine uint64
	}
	// An order that does not change while they hold.
	inOrder := func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.goroutine, b.goroutine),
			cmp.Compare(list[a.of].generation, list[b.of].generation))
	}
	first := make([]ranked, 0, taskspan.MaxHolders+1) // in order
	for i := range list {
		one := ranked{of: i, since: math.MaxInt64, goroutine: list[i].running()}
		if at, is := stuck[one.goroutine]; is {
			one.since = at
		}
		full := len(first) == taskspan.MaxHolders
		if full && inOrder(one, first[len(first)-1]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(first, one, inOrder)
		first = slices.Insert(first, at, one)
		if full {
			first = first[:taskspan.MaxHolders]
		}
	}
	some = make([]holder, 0, len(first))
	for _, one := range first {
		some = append(some, list[one.of])
	}
	return some, need == 0
}

// ofThese returns what an earlier reading has of the goroutines that hold now.
func ofThese(earlier, now []holder) []holder {
	if len(earlier) <= taskspan.MaxHolders {
		return earlier
	}
	goroutines := make(map[uint64]struct{}, len(now))
	for i := range now {
		goroutines[now[i].goroutine] = struct{}{}
	}
	var these []holder
	for i := range earlier {
		if _, is := goroutines[earlier[i].goroutine]; is {
			these = append(these, earlier[i])
		}
	}
	return these
}
