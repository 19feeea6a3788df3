package report

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func (f *fields) str(v pcommon.Value, mark uint32) string {
	if v.Type() != pcommon.ValueTypeStr {
		f.refuse(DropType)
		return ""
	}
	f.seen |= mark
	return f.cut(v.Str(), taskspan.MaxStringBytes)
}

// identity reads a name that must be whole to be compared. One that is too long or no
// UTF-8 is left out.
func (f *fields) identity(v pcommon.Value) string {
	if s := f.str(v, 0); v.Type() == pcommon.ValueTypeStr && s == v.Str() {
		return s
	}
	return ""
}

func (f *fields) boolean(v pcommon.Value, mark uint32) bool {
	if v.Type() != pcommon.ValueTypeBool {
		f.refuse(DropType)
		return false
	}
	f.seen |= mark
	return v.Bool()
}

func (f *fields) integer(v pcommon.Value) int64 {
	if v.Type() != pcommon.ValueTypeInt {
		f.refuse(DropType)
		return 0
	}
	return v.Int()
}

// count reads an integer that is never negative.
func (f *fields) count(v pcommon.Value, mark uint32) int64 {
	n := f.integer(v)
	if n < 0 {
		f.refuse(DropValue)
		return 0
	}
	f.seen |= mark
	return n
}

// tally reads a count that others are added to or subtracted from; the bound
// keeps the sums of hostile ones from overflowing.
func (f *fields) tally(v pcommon.Value) int64 {
	n := f.count(v, 0)
	if n > maxCount {
		f.refuse(DropValue)
		return 0
	}
	return n
}

func (f *fields) time(v pcommon.Value, mark uint32) int64 {
	n := f.count(v, mark)
	if n == 0 {
		f.refuse(DropTime)
	}
	return n
}

func (f *fields) partNumber(v pcommon.Value) int64 {
	n := f.count(v, 0)
	if n < 1 || n > MaxParts {
		f.refuse(DropValue)
	}
	return n
}

func (f *fields) number(v pcommon.Value, upTo float64) float64 {
	if v.Type() != pcommon.ValueTypeDouble {
		f.refuse(DropType)
		return 0
	}
	x := v.Double()
	if math.IsNaN(x) || x < 0 || x > upTo {
		f.refuse(DropValue)
		return 0
	}
	return x
}

// document reads a JSON text that is only ever shown. One that is too long is
// left out, for half of it would be worth nothing.
func (f *fields) document(v pcommon.Value) string {
	if v.Type() != pcommon.ValueTypeStr {
		f.refuse(DropType)
		return ""
	}
	if len(v.Str()) > taskspan.MaxJSONBytes {
		f.shortened = true
		return ""
	}
	return strings.ToValidUTF8(v.Str(), string(utf8.RuneError))
}

func (f *fields) slice(v pcommon.Value) pcommon.Slice {
	if v.Type() != pcommon.ValueTypeSlice {
		f.refuse(DropType)
		return pcommon.NewSlice()
	}
	return v.Slice()
}

// strs reads names that say who holds something. One that is too long or no UTF-8 is
// left out: a changed name could be somebody else's.
func (f *fields) strs(v pcommon.Value, limit int) []string {
	out, _, _ := f.strsAt(v, limit)
	return out
}

// strsAt also returns where in the list each of them was, and how long that is.
func (f *fields) strsAt(v pcommon.Value, limit int) (out []string, at []int, came int) {
	s := f.slice(v)
	if s.Len() > limit {
		f.shortened = true
	}
	for i := range min(s.Len(), limit) {
		e := s.At(i)
		if e.Type() != pcommon.ValueTypeStr {
			f.refuse(DropType)
			return nil, nil, 0
		}
		name := f.identity(e)
		if name == "" {
			continue
		}
		out, at = append(out, name), append(at, i)
	}
	return out, at, s.Len()
}

// places reads places that are one text each, "<function> <file>:<line>". What does not
// read like one is left out.
func (f *fields) places(v pcommon.Value) (out []Place) {
	s := f.slice(v)
	if s.Len() > taskspan.MaxCallers {
		f.shortened = true
	}
	for i := range min(s.Len(), taskspan.MaxCallers) {
		e := s.At(i)
		if e.Type() != pcommon.ValueTypeStr {
			f.refuse(DropType)
			return nil
		}
		function, at, ok := strings.Cut(e.Str(), " ")
		colon := strings.LastIndexByte(at, ':')
		if !ok || colon < 0 {
			f.shortened = true
			continue
		}
		line, err := strconv.ParseInt(at[colon+1:], 10, 32)
		if err != nil || line < 0 {
			f.shortened = true
			continue
		}
		out = append(out, Place{
			Function: f.cut(function, taskspan.MaxStringBytes), File: f.cut(at[:colon], taskspan.MaxStringBytes), Line: int(line),
		})
	}
	return out
}

// ends reads when holds end: times, or the values of taskspan that are none.
func (f *fields) ends(v pcommon.Value) []int64 {
	s := f.slice(v)
	if s.Len() > taskspan.MaxHeartbeatWaits {
		f.refuse(DropTooLong)
		return nil
	}
	out := make([]int64, 0, s.Len())
	for i := range s.Len() {
		n := f.integer(s.At(i))
		if n < taskspan.EndsByRelease {
			f.refuse(DropValue)
		}
		out = append(out, n)
	}
	return out
}

// ints reads the list of a heartbeat. It is never cut: a wait that is not
// listed would be taken for closed.
func (f *fields) ints(v pcommon.Value) []int64 {
	s := f.slice(v)
	if s.Len() > taskspan.MaxHeartbeatWaits {
		f.refuse(DropTooLong)
		return nil
	}
	out := make([]int64, 0, s.Len())
	for i := range s.Len() {
		out = append(out, f.count(s.At(i), 0))
		if f.drop != Used {
			return nil
		}
	}
	return out
}

// names reads the counts by task name; names past the limit are summed as other. An
// element that cannot be used is left out and noted in badNames: it must not cost the
// heartbeat, which is the lease of all waits of the process.
func (f *fields) names(v pcommon.Value) map[string]NameCounts {
	s := f.slice(v)
	if s.Len() > maxNameElements {
		f.badNames = true
	}
	out := make(map[string]NameCounts, min(s.Len(), taskspan.MaxNames)+1)
	for i := range min(s.Len(), maxNameElements) {
		n, ok := nameCounts(s.At(i))
		if !ok {
			f.badNames = true
			continue
		}
		name := f.cut(n.Name, taskspan.MaxStringBytes)
		if name == "" {
			name = taskspan.OtherNames
		}
		if _, known := out[name]; !known && len(out) >= taskspan.MaxNames {
			f.shortened = true
			name = taskspan.OtherNames
		}
		sum := out[name]
		sum.Add(n.NameCounts)
		out[name] = sum
	}
	return out
}

type namedCounts struct {
	Name string
	NameCounts
}

// nameCounts reads one element of the counts by name.
func nameCounts(v pcommon.Value) (n namedCounts, ok bool) {
	var told taskspan.NameCounts
	if v.Type() != pcommon.ValueTypeStr || len(v.Str()) > taskspan.MaxJSONBytes || json.Unmarshal([]byte(v.Str()), &told) != nil {
		return n, false
	}
	n.Name = told.Name
	n.Counts = Counts{Started: told.Started, Completed: told.Completed, Failed: told.Failed, Cancelled: told.Cancelled}
	n.Running, n.Blocked = told.Running, told.Blocked
	counts := []int64{told.Started, told.Completed, told.Failed, told.Cancelled, told.Running, told.Blocked}
	if d := told.Durations; d != nil {
		if len(d.Buckets) > len(n.Durations.Buckets) || !(d.Seconds >= 0 && d.Seconds <= maxSeconds) {
			return n, false
		}
		n.Durations.Seconds = d.Seconds
		copy(n.Durations.Buckets[:], d.Buckets)
		counts = append(counts, d.Buckets...)
	}
	for _, c := range counts {
		if c < 0 || c > maxCount {
			return n, false
		}
	}
	return n, true
}

// other counts under "other" what the totals count and no name does, if an element of
// the counts by name could not be used.
func (f *fields) other() {
	if !f.badNames {
		return
	}
	f.shortened = true
	rest := NameCounts{Counts: f.counts, Running: f.running, Blocked: f.blocked}
	for _, n := range f.byName {
		rest.Started -= n.Started
		rest.Completed -= n.Completed
		rest.Failed -= n.Failed
		rest.Cancelled -= n.Cancelled
		rest.Running -= n.Running
		rest.Blocked -= n.Blocked
	}
	for _, n := range []*int64{&rest.Started, &rest.Completed, &rest.Failed, &rest.Cancelled, &rest.Running, &rest.Blocked} {
		*n = max(0, *n)
	}
	sum := f.byName[taskspan.OtherNames]
	sum.Add(rest)
	f.byName[taskspan.OtherNames] = sum
}

// reasons reads "reason=count" texts.
func (f *fields) reasons(v pcommon.Value) map[string]int64 {
	s := f.slice(v)
	if s.Len() > MaxDropReasons {
		f.refuse(DropTooLong)
		return nil
	}
	out := make(map[string]int64, s.Len())
	for i := range s.Len() {
		e := s.At(i)
		if e.Type() != pcommon.ValueTypeStr {
			f.refuse(DropType)
			return nil
		}
		reason, count, ok := strings.Cut(e.Str(), "=")
		n, err := strconv.ParseInt(count, 10, 64)
		if !ok || err != nil || n < 0 || len(reason) > taskspan.MaxStringBytes {
			f.refuse(DropValue)
			return nil
		}
		out[f.cut(reason, taskspan.MaxStringBytes)] = n
	}
	return out
}
