package inspect

import (
	"sync"
	"sync/atomic"
	"time"
)

// overhead measures what the SDK costs, as a share of the CPU time of the process:
// the reporter and the span exporter measure themselves, and of tasks one in
// measuredTasks is timed. What a transport does on goroutines of its own, and the
// garbage collector for us, is not seen.
type overhead struct {
	spentNS atomic.Int64

	mu    sync.Mutex // guards all below
	beats costMeter  // from heartbeat to heartbeat
	share float64
}

// measuredTasks is how many tasks one measured task stands for.
const measuredTasks = 64

// longestMeasured cuts measurements during which the goroutine was not running:
// no task costs this much.
const longestMeasured = 50 * time.Microsecond

// spent books CPU time of the SDK.
func (ins *Inspector) spent(d time.Duration) { ins.overhead.spentNS.Add(int64(d)) }

func (ins *Inspector) spentOnTask(d time.Duration) {
	ins.spent(min(d, longestMeasured) * measuredTasks)
}

// overheadShare is the share over the interval that ended with the last call of
// lookAtOverhead.
func (ins *Inspector) overheadShare() float64 {
	ins.overhead.mu.Lock()
	defer ins.overhead.mu.Unlock()
	return ins.overhead.share
}

// lookAtOverhead ends an interval.
func (ins *Inspector) lookAtOverhead() {
	o := &ins.overhead
	o.mu.Lock()
	defer o.mu.Unlock()
	if share, used := o.beats.read(o.spentNS.Load(), processCPU()); used > 0 {
		o.share = share
	}
}

// costMeter turns two counters into a share over the time between two readings.
type costMeter struct {
	spentNS int64
	cpu     time.Duration
}

// read returns the share, and the CPU time that it is a share of: 0 if that is not
// known or nothing ran.
func (m *costMeter) read(spentNS int64, cpu time.Duration) (share float64, used time.Duration) {
	spent := time.Duration(spentNS - m.spentNS)
	used = cpu - m.cpu
	m.spentNS, m.cpu = spentNS, cpu
	if used <= 0 {
		return 0, 0
	}
	return min(1, float64(spent)/float64(used)), used
}
