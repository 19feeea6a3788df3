package inspect

import (
	"context"
	"math"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// names is the set of task names and what is counted under each. It only grows,
// up to maxTaskNames; tasks with further names are counted under one that is
// called "other".
type names struct {
	known  atomic.Pointer[map[string]*nameEntry] // copied to add a name
	adding sync.Mutex
	other  *nameEntry
	recent recentNames

	listing sync.Mutex
	listed  map[*nameEntry]bool // those that heartbeats list; guarded by listing
}

// maxTaskNames is five times what a heartbeat lists: the rarest are the ones that
// it sums up.
const maxTaskNames = 5 * taskspan.MaxNames

type nameEntry struct {
	name   string
	labels context.Context // carries the pprof label of the name
	counts counts
}

func newNameEntry(name string) *nameEntry {
	return &nameEntry{
		name:   name,
		labels: pprof.WithLabels(context.Background(), pprof.Labels(PprofLabel, name)),
	}
}

func newNames() *names {
	n := &names{other: newNameEntry(taskspan.OtherNames), listed: make(map[*nameEntry]bool)}
	n.known.Store(&map[string]*nameEntry{taskspan.OtherNames: n.other})
	return n
}

// entry returns what tasks of a name are counted under, and the name as the SDK shows
// it: valid UTF-8, cut to the limit of the protocol.
func (n *names) entry(name string) (*nameEntry, string) {
	if e := n.recent.of(name); e != nil {
		return e, e.name
	}
	if e, ok := (*n.known.Load())[name]; ok {
		n.recent.add(name, e)
		return e, name // only clean names are known
	}
	name = wire.Name(name)
	if e, ok := (*n.known.Load())[name]; ok {
		return e, name
	}
	return n.add(name), name
}

// recentNames finds the entry of a name that is a constant of the program, as nearly all
// are, by the address of its bytes, without reading them. Bytes that are the same ones,
// and as many, are the same name: the entry keeps them alive, and nobody changes those of
// a string. A name finds the slot of its address taken now and then, and takes it over.
type recentNames [64]atomic.Pointer[nameEntry]

func (r *recentNames) slot(name string) *atomic.Pointer[nameEntry] {
	at := uintptr(unsafe.Pointer(unsafe.StringData(name)))
	return &r[(at^at>>6)%uintptr(len(r))]
}

func (r *recentNames) of(name string) *nameEntry {
	e := r.slot(name).Load()
	if e == nil || len(e.name) != len(name) || unsafe.StringData(e.name) != unsafe.StringData(name) {
		return nil
	}
	return e
}

// add remembers e if its name lies where this one does.
func (r *recentNames) add(name string, e *nameEntry) {
	if len(name) > 0 && unsafe.StringData(e.name) == unsafe.StringData(name) {
		r.slot(name).Store(e)
	}
}

func (n *names) add(name string) *nameEntry {
	n.adding.Lock()
	defer n.adding.Unlock()
	known := *n.known.Load()
	if e, ok := known[name]; ok {
		return e
	}
	if len(known) >= maxTaskNames {
		return n.other
	}
	grown := make(map[string]*nameEntry, len(known)+1)
	for k, v := range known {
		grown[k] = v
	}
	e := newNameEntry(name)
	grown[name] = e
	n.known.Store(&grown)
	return e
}

// counts counts tasks since the start, sampled or not. Goroutines write to
// different cells so that cores do not wait for each other's cache lines.
type counts [8]countCell

type countCell struct {
	started, failed, cancelled atomic.Int64
	durations                  durationCounts
	_                          [countCellPadding]byte
}

// countCellPadding makes a cell end where a cache line ends.
const countCellPadding = (64 - (5+2*taskspan.DurationBuckets)*8%64) % 64

// durationCounts counts the durations of ended tasks. Their sum is carries times
// 2^59 ns plus ns: many long tasks would overflow an integer within weeks. The tasks that
// have completed are in buckets of their own, so that these count them as well.
type durationCounts struct {
	ns, carries       atomic.Int64
	completed, others [taskspan.DurationBuckets]atomic.Int64
}

const carryNS = 1 << 59

func (c *durationCounts) add(completed bool, d time.Duration) {
	d = max(d, 0)
	if completed {
		c.completed[durationBucket(d)].Add(1)
	} else {
		c.others[durationBucket(d)].Add(1)
	}
	if c.ns.Add(int64(d)) >= carryNS {
		c.ns.Add(-carryNS)
		c.carries.Add(1)
	}
}

// durationBounds are taskspan's in nanoseconds.
var durationBounds = func() (ns [taskspan.DurationBuckets - 1]time.Duration) {
	for i, seconds := range taskspan.DurationBounds {
		ns[i] = time.Duration(math.Round(seconds * float64(time.Second)))
	}
	return ns
}()

func durationBucket(d time.Duration) int {
	for i, bound := range &durationBounds {
		if d <= bound {
			return i
		}
	}
	return len(durationBounds)
}

func (c *counts) of(goroutine uint64) *countCell { return &c[goroutine%uint64(len(c))] }

func (c *countCell) ended(state taskspan.State, d time.Duration) {
	switch state {
	case taskspan.Completed:
	case taskspan.Cancelled:
		c.cancelled.Add(1)
	default:
		c.failed.Add(1)
	}
	c.durations.add(state == taskspan.Completed, d)
}

// sum reads the ends before the starts, so that no task is seen to end that has
// not started.
func (c *counts) sum() (n taskspan.NameCounts) {
	for i := range c {
		for j := range c[i].durations.completed {
			n.Completed += c[i].durations.completed[j].Load()
		}
		n.Failed += c[i].failed.Load()
		n.Cancelled += c[i].cancelled.Load()
	}
	for i := range c {
		n.Started += c[i].started.Load()
	}
	n.Running = n.Started - n.Completed - n.Failed - n.Cancelled
	return n
}

// durations reads how long the ended tasks took.
func (c *counts) durations() *taskspan.Durations {
	d := &taskspan.Durations{Buckets: make([]int64, taskspan.DurationBuckets)}
	var ns, carries int64
	for i := range c {
		from := &c[i].durations
		for j := range d.Buckets {
			d.Buckets[j] += from.completed[j].Load() + from.others[j].Load()
		}
		// Each part is below 2^60, so the sum of eight fits.
		ns += from.ns.Load()
		carries += from.carries.Load()
	}
	d.Seconds = float64(carries)*(carryNS/1e9) + float64(ns)/1e9
	return d
}
