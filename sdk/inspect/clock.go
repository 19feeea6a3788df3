package inspect

import "time"

// processStart is the origin of all times inside the SDK. Differences to it use
// the monotonic clock, so a step of the wall clock moves no wait.
var processStart = time.Now()

// nanos is a time as nanoseconds since processStart.
type nanos int64

func now() nanos { return nanos(time.Since(processStart)) }

func (n nanos) unix() int64               { return processStart.UnixNano() + int64(n) }
func (n nanos) time() time.Time           { return processStart.Add(time.Duration(n)) }
func (n nanos) sub(o nanos) time.Duration { return time.Duration(n - o) }

// nanosOf converts a time of the clock that the application sees.
func nanosOf(t time.Time) nanos { return nanos(t.Sub(processStart)) }
