package inspect

import (
	"os"
	"runtime"
	"slices"
	"strings"
)

// ownPrefix is what the names of our variables begin with.
const ownPrefix = "ASYNC_INSPECT_"

// collectorVariables are those that the distribution and the program asyncinspect read,
// without the prefix. They are no mistake where a service has the same environment.
var collectorVariables = []string{
	"BACKEND", "BACKEND_INSECURE", "BUDGET", "CSV_DIRECTORY",
	"DETECTORS", "GATEWAYS", "INGEST_TOKEN", "INSPECTOR",
	"KAFKA", "LISTEN", "PASSWORD", "READ_TOKEN", "STATE",
	"TLS_CERT", "TLS_KEY", "TOKEN",
}

// warnOfUnknown warns of variables that begin as ours do and that nobody reads.
func (c *config) warnOfUnknown() {
	for _, name := range unknownVariables(os.Environ()) {
		if near := nearest(name); near != "" {
			c.logger.Warn("async-inspect: unknown environment variable; it is ignored", "variable", name, "nearest", near)
			continue
		}
		c.logger.Warn("async-inspect: unknown environment variable; it is ignored", "variable", name)
	}
}

// warnOfUnused warns of a variable that has no effect without another one.
func (c *config) warnOfUnused() {
	if valueOf("OTEL_TRACES_SAMPLER_ARG") != "" && valueOf("OTEL_TRACES_SAMPLER") == "" {
		c.logger.Warn("async-inspect: OTEL_TRACES_SAMPLER_ARG is ignored without OTEL_TRACES_SAMPLER")
	}
}

// unknownVariables returns the names in an environment that begin as ours do, in any
// case, and are none, sorted.
func unknownVariables(environ []string) (unknown []string) {
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if strings.TrimSpace(value) == "" || !strings.HasPrefix(strings.ToUpper(name), ownPrefix) {
			continue
		}
		known := name
		if runtime.GOOS == "windows" { // where case does not matter
			known = strings.ToUpper(name)
		}
		if !slices.Contains(ownNames(), known) && !slices.Contains(collectorVariables, strings.TrimPrefix(known, ownPrefix)) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// ownNames are the names of our variables.
func ownNames() (names []string) {
	for _, v := range slices.Concat(switchVariables, modeVariables, settingVariables) {
		if strings.HasPrefix(v.name, ownPrefix) {
			names = append(names, v.name)
		}
	}
	return names
}

// nearest is the name of our variable that is most like another name, or nothing if
// none is.
func nearest(name string) (near string) {
	given := strings.TrimPrefix(strings.ToUpper(name), ownPrefix)
	least := len(given)/2 + 1 // changes that are too many
	for _, own := range ownNames() {
		word := strings.TrimPrefix(own, ownPrefix)
		d := changes(given, word)
		if len(given) > 2 && strings.Contains(word, given) || strings.Contains(given, word) {
			d = 1 // a word too few or too many
		}
		if d < least {
			near, least = own, d
		}
	}
	return near
}

// changes is how many letters must be added, removed or changed to make one word of
// another, and neighbours swapped (the restricted Damerau-Levenshtein distance).
func changes(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i+1)%3], rows[(i-1)%3], rows[i%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
