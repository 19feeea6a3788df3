package csvrotate

import (
	"slices"
	"time"
)

// index knows the finished files, so that the directory is read once, at the start.
// It decides; it deletes nothing.
type index struct {
	files []finished // by stamp, the oldest first
	bytes int64      // of all of them
}

// finished is a whole file.
type finished struct {
	stamp  stamp
	suffix string
	bytes  int64
	at     int64 // when it was finished, unix seconds
}

func (f finished) compare(other finished) int {
	if c := f.stamp.compare(other.stamp); c != 0 {
		return c
	}
	return len(f.suffix) - len(other.suffix)
}

func (x *index) add(f finished) {
	i, _ := slices.BinarySearchFunc(x.files, f, finished.compare)
	x.files = slices.Insert(x.files, i, f)
	x.bytes += f.bytes
}

// remove forgets a file. It reports whether it was known.
func (x *index) remove(f finished) bool {
	i, ok := slices.BinarySearchFunc(x.files, f, finished.compare)
	if ok {
		x.bytes -= x.files[i].bytes
		x.files = slices.Delete(x.files, i, i+1)
	}
	return ok
}

// keep forgets the files for which it is not true, and returns how many those are.
func (x *index) keep(is func(finished) bool) (gone int) {
	x.files = slices.DeleteFunc(x.files, func(f finished) bool {
		if is(f) {
			return false
		}
		x.bytes -= f.bytes
		gone++
		return true
	})
	return gone
}

// uncompressed returns the oldest file that is still to be compressed.
func (x *index) uncompressed() (finished, bool) {
	i := slices.IndexFunc(x.files, func(f finished) bool { return f.suffix == suffixCSV })
	if i < 0 {
		return finished{}, false
	}
	return x.files[i], true
}

// Why a file is deleted.
const (
	overAge   = "max_age"
	overFiles = "max_files"
	overBytes = "max_total_bytes"
)

// over says which limit, if any, wants file i deleted when the kept ones before it
// stay. open is the size of the file that is being written.
func (x *index) over(i, kept int, limits Retention, open int64, now time.Time) string {
	switch {
	case limits.MaxTotalBytes > 0 && x.bytes+open > limits.MaxTotalBytes:
		return overBytes
	case limits.MaxFiles > 0 && len(x.files)-kept > limits.MaxFiles:
		return overFiles
	case limits.MaxAge > 0 && now.Unix()-x.files[i].at > int64(limits.MaxAge/time.Second):
		return overAge
	}
	return ""
}

// sweep calls del for every file that has to go, the oldest first, and forgets
// those for which it returns true. One that cannot be deleted does not save those
// after it.
func (x *index) sweep(limits Retention, open int64, now time.Time, del func(finished, string) bool) {
	stuck := 0
	for i := 0; i < len(x.files); {
		reason := x.over(i, stuck, limits, open, now)
		if reason == "" {
			return
		}
		f := x.files[i]
		if !del(f, reason) {
			stuck++
			i++
			continue
		}
		x.bytes -= f.bytes
		x.files = slices.Delete(x.files, i, i+1)
	}
}
