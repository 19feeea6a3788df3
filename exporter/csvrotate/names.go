package csvrotate

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What a name of ours ends in. Only the first three are whole files.
const (
	suffixCSV     = ".csv"
	suffixGzip    = ".csv.gz"
	suffixZstd    = ".csv.zst"
	suffixPartial = ".csv.partial" // is being written, or was when its process died
	suffixCorrupt = ".csv.corrupt" // could not be read after a crash; never touched again
	suffixTemp    = ".tmp"         // after a compressed name: is being compressed
)

const stampLayout = "20060102-150405"

// stamp is what tells the files of one prefix apart: the second in which the file
// was begun, UTC, and a number for further ones of the same second.
type stamp struct {
	second int64 // unix
	number int
}

func stampOf(now time.Time) stamp { return stamp{second: now.Unix()} }

func (s stamp) time() time.Time { return time.Unix(s.second, 0) }

func (s stamp) compare(other stamp) int {
	return cmp.Or(cmp.Compare(s.second, other.second), cmp.Compare(s.number, other.number))
}

// name is async-inspect-20261123-101500.csv, or async-inspect-20261123-101500_001.csv:
// '_' comes after '.', so names sort as the files were begun.
func (s stamp) name(prefix, suffix string) string {
	name := prefix + "-" + time.Unix(s.second, 0).UTC().Format(stampLayout)
	if s.number > 0 {
		name += fmt.Sprintf("_%03d", s.number)
	}
	return name + suffix
}

// parseName reads a file name of this prefix. What it does not take is none of
// ours, whatever it looks like, and is never touched: the name has to come out
// again just as it went in.
func parseName(prefix, name string) (s stamp, suffix string, ok bool) {
	rest, ok := strings.CutPrefix(name, prefix+"-")
	if !ok || len(rest) < len(stampLayout) {
		return stamp{}, "", false
	}
	at, err := time.Parse(stampLayout, rest[:len(stampLayout)])
	if err != nil {
		return stamp{}, "", false
	}
	s.second = at.Unix()
	rest = rest[len(stampLayout):]
	if digits, numbered := strings.CutPrefix(rest, "_"); numbered {
		end := strings.IndexByte(digits, '.')
		if end < 0 {
			return stamp{}, "", false
		}
		if s.number, err = strconv.Atoi(digits[:end]); err != nil || s.number <= 0 {
			return stamp{}, "", false
		}
		rest = digits[end:]
	}
	switch rest {
	case suffixCSV, suffixGzip, suffixZstd, suffixPartial, suffixCorrupt, suffixGzip + suffixTemp, suffixZstd + suffixTemp:
		return s, rest, s.name(prefix, rest) == name
	}
	return stamp{}, "", false
}

func lockName(prefix string) string { return "." + prefix + ".lock" }
