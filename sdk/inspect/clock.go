package inspect

import (
	"sync/atomic"
	"time"
)

// processStart is the origin of all times inside the SDK. Differences to it use
// the monotonic clock, so a step of the wall clock moves no wait.
var processStart = time.Now()

// nanos is a time on the monotonic clock, as nanoseconds since processStart.
type nanos int64

// clockStep is by how much the wall clock has moved against the monotonic one since
// processStart: the machine slept, or somebody set its clock. The monotonic clock
// stands still in a suspend. All times are translated to the wall clock as it is now, so what a
// process says of one instant is consistent: a wait that is open across a step keeps its
// duration, and begins, by the new clock, that long ago. A suspend does not count as
// time waited.
var clockStep atomic.Int64

// smallestStep is the smallest difference of the two clocks that is followed. The
// wall clock is slewed by less all the time.
const smallestStep = time.Second

// readClocks reads both clocks at one instant; tests replace it.
var readClocks = func() (monotonic nanos, wall int64) {
	t := time.Now()
	return nanos(t.Sub(processStart)), t.UnixNano()
}

// followWallClock makes all times follow the wall clock if it has stepped, and returns
// how far it has moved since the start of the process.
func followWallClock() (step int64) {
	monotonic, wall := readClocks()
	for {
		step = clockStep.Load()
		moved := wall - processStart.UnixNano() - int64(monotonic)
		if d := time.Duration(moved - step); d.Abs() < smallestStep {
			return step
		}
		if clockStep.CompareAndSwap(step, moved) {
			return moved
		}
	}
}

func now() nanos { return nanos(time.Since(processStart)) }

func (n nanos) unix() int64               { return processStart.UnixNano() + clockStep.Load() + int64(n) }
func (n nanos) sub(o nanos) time.Duration { return time.Duration(n - o) }

func (n nanos) time() time.Time {
	if clockStep.Load() != 0 {
		// A monotonic reading would not have the step.
		return time.Unix(0, n.unix())
	}
	return processStart.Add(time.Duration(n))
}

// nanosOf converts a time of the clock that the application sees.
func nanosOf(t time.Time) nanos {
	n := nanos(t.Sub(processStart))
	if t == t.Round(0) { // no monotonic reading: a time of the wall clock as it is now
		n -= nanos(clockStep.Load())
	}
	return n
}
