//go:build !noinspect

package inspect

import (
	"context"
	"runtime/pprof"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// names is the set of task names and what is counted under each. It only grows,
// up to maxTaskNames; tasks with further names are counted under one that is
// called "other".
type names struct {
	known  atomic.Pointer[map[string]*nameEntry] // copied to add a name
	adding sync.Mutex
	other  *nameEntry
}

// maxTaskNames is five times what a heartbeat tells apart: the rarest are the
// ones that it sums up.
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
	n := &names{other: newNameEntry(taskspan.OtherNames)}
	n.known.Store(&map[string]*nameEntry{taskspan.OtherNames: n.other})
	return n
}

func (n *names) entry(name string) *nameEntry {
	if e, ok := (*n.known.Load())[name]; ok {
		return e
	}
	return n.add(name)
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
	started, completed, failed, cancelled atomic.Int64
	_                                     [32]byte
}

func (c *counts) of(goroutine uint64) *countCell { return &c[goroutine%uint64(len(c))] }

func (c *countCell) ended(state taskspan.State) {
	switch state {
	case taskspan.Completed:
		c.completed.Add(1)
	case taskspan.Cancelled:
		c.cancelled.Add(1)
	default:
		c.failed.Add(1)
	}
}

// sum reads the ends before the starts, so that no task is seen to end that has
// not started.
func (c *counts) sum() (n taskspan.NameCounts) {
	for i := range c {
		n.Completed += c[i].completed.Load()
		n.Failed += c[i].failed.Load()
		n.Cancelled += c[i].cancelled.Load()
	}
	for i := range c {
		n.Started += c[i].started.Load()
	}
	n.Running = n.Started - n.Completed - n.Failed - n.Cancelled
	return n
}
