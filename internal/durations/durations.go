// Package durations refuses durations that lack a unit. YAML takes 500 where a duration
// belongs, and means 500 ns; who writes that means another unit.
package durations

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/confmap"
)

// Least is the shortest duration that a configuration may have. 0 remains allowed, for
// it mostly means "off" or "no limit".
const Least = time.Millisecond

// Check returns an error for each duration between 0 and [Least] that config has, at any
// depth, by its name in the YAML. The error proposes the unit that brings the number
// nearest to the duration of the same field in defaults.
func Check(config, defaults any) (errs []error) {
	usual := make(map[string]time.Duration)
	walk(defaults, func(field string, d time.Duration) { usual[field] = d })
	walk(config, func(field string, d time.Duration) {
		if d > 0 && d < Least {
			errs = append(errs, fmt.Errorf("%s: is %v, which is below the minimum of %v; a number without a unit counts nanoseconds, perhaps %s is meant",
				field, d, Least, likely(d, usual[field])))
		}
	})
	return errs
}

// walk calls visit for every duration in a configuration, sorted by field.
func walk(config any, visit func(field string, d time.Duration)) {
	conf := confmap.New()
	if err := conf.Marshal(config); err != nil {
		return // what cannot be written as YAML was not read from it
	}
	visitAll("", conf.ToStringMap(), visit)
}

func visitAll(field string, value any, visit func(string, time.Duration)) {
	switch v := value.(type) {
	case time.Duration:
		visit(field, v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			visitAll(strings.TrimPrefix(field+"::"+key, "::"), v[key], visit)
		}
	case []any:
		for i := range v {
			visitAll(fmt.Sprintf("%s[%d]", field, i), v[i], visit)
		}
	}
}

// units are what people leave out, the likeliest first.
var units = []struct {
	name string
	is   time.Duration
}{{"s", time.Second}, {"ms", time.Millisecond}, {"m", time.Minute}, {"h", time.Hour}}

// likely writes the number of nanoseconds with the unit that brings it nearest to the
// usual duration, by ratio. Without a usual duration the unit is a second.
func likely(d, usual time.Duration) string {
	unit := units[0].name
	nearest := math.Inf(1)
	for _, u := range units {
		if ratio := math.Abs(math.Log(float64(d) * float64(u.is) / float64(usual))); ratio < nearest {
			unit, nearest = u.name, ratio
		}
	}
	return fmt.Sprintf("%d%s", d.Nanoseconds(), unit)
}
