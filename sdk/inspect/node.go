package inspect

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// The nodes of the wait-for graph are goroutines, because goroutines are what holds
// locks and blocks. A goroutine goes by the name of a task:
//
//   - of the one that its innermost wait is for, if it is the goroutine that the
//     task runs on;
//   - else of the innermost task that runs on it;
//   - a goroutine that waits with the context of a task that runs on another
//     goroutine is a node of its own in the task's trace: the task itself may run on;
//   - a goroutine without any task is a node in a trace of its own.

// link resolves a holder. idle is its goroutine, if it is not known to wait, nor to have
// ended.
func (r *reporter) link(waiter *waitView, h holder) (l wire.Holder, idle uint64, ok bool) {
	l = wire.Holder{Generation: h.generation, Since: h.since, Weight: h.weight}
	if h.place != 0 {
		l.Place = wirePlace(h.place)
	}
	g, t := h.goroutine, h.task
	if t != nil {
		if t.ended() {
			return l, 0, false
		}
		if g = t.goroutine.Load(); g == 0 {
			l.Node, l.TaskName = taskNode(t), t.Name() // has not begun to run
			return l, 0, true
		}
	}
	if g == waiter.goroutine {
		l.Node, _ = r.node(waiter)
		l.TaskName = waiter.name(r)
		return l, 0, true
	}
	if w, waits := glanceAt(g); waits {
		l.Node, _ = r.node(&w)
		l.TaskName = w.name(r)
		return l, 0, true
	}
	if t == nil {
		t = taskOn(g)
	}
	last, ended := waiter.leftBy(g)
	switch {
	case ended && last.node != wire.Node{}:
		l.Node, l.TaskName = last.node, last.name
	case t != nil:
		l.Node, l.TaskName = taskNode(t), t.Name()
	default:
		l.Node = r.goroutineNode(g)
	}
	if l.Ended = ended; ended {
		g = 0
	}
	return l, g, true
}

// node returns the node of a goroutine that waits, and whether it is the task's own.
func (r *reporter) node(w *waitView) (n wire.Node, own bool) {
	switch {
	case w.task == nil:
		return r.goroutineNode(w.goroutine), false
	case w.task.goroutine.Load() == w.goroutine:
		return taskNode(w.task), true
	default:
		n = taskNode(w.task)
		n.Span = r.derive(n.Span[:], w.goroutine)
		return n, false
	}
}

func taskNode(t *Task) wire.Node {
	sc := t.SpanContext()
	return wire.Node{Trace: sc.TraceID(), Span: sc.SpanID()}
}

// taskOn returns the innermost task that runs on a goroutine.
func taskOn(goroutine uint64) *Task {
	s := shardOf(goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.of(goroutine)
}

func (r *reporter) goroutineNode(goroutine uint64) (n wire.Node) {
	a, b := r.derive([]byte{'a'}, goroutine), r.derive([]byte{'b'}, goroutine)
	copy(n.Trace[:8], a[:])
	copy(n.Trace[8:], b[:])
	n.Span = r.derive([]byte{'s'}, goroutine)
	return n
}

var derivation = maphash.MakeSeed()

// derive makes an id that is the same for the same goroutine as long as the process
// lives, and is no other process's.
func (r *reporter) derive(of []byte, goroutine uint64) (id [8]byte) {
	var h maphash.Hash
	h.SetSeed(derivation)
	_, _ = h.Write(r.seed[:])
	_, _ = h.Write(of)
	_ = binary.Write(&h, binary.LittleEndian, goroutine)
	binary.LittleEndian.PutUint64(id[:], h.Sum64()|1)
	return id
}

// task says what a report says of the goroutine that waits.
func (r *reporter) task(w *waitView) wire.Task {
	node, own := r.node(w)
	at := w.site.place
	t := wire.Task{
		Node: node, State: taskspan.Blocked, Start: w.start.unix(),
		Goroutine: w.goroutine, Holds: holdsOf(w.goroutine), Place: wirePlace(at),
	}
	t.Name = w.name(r)
	switch {
	case own:
		t.Start, t.Parent = w.task.start.unix(), w.task.parent
	case w.task != nil:
		t.Parent = w.task.SpanContext().SpanID()
	}
	if own && w.task.remote.valid() && w.task.remote.goroutine == w.goroutine {
		t.Remote = wire.Node{Trace: w.task.remote.trace, Span: w.task.remote.span}
	}
	if w.task != nil && w.task.ins.backtraces {
		t.Stack = w.site.stacktrace()
	}
	return t
}

// holdsOf returns the external locks that a goroutine holds now.
func holdsOf(goroutine uint64) (holds []wire.Hold) {
	for _, h := range externals.heldBy(goroutine, now()) {
		ends := int64(h.ends)
		if h.ends > 0 {
			ends = h.ends.unix()
		}
		holds = append(holds, wire.Hold{Resource: h.id, Ends: ends})
	}
	return holds
}

// name is that of the node of the goroutine that waits.
func (w *waitView) name(r *reporter) string {
	switch _, own := r.node(w); {
	case own:
		return w.task.Name()
	case w.task != nil:
		return w.task.Name() + " (helper goroutine)"
	default:
		return goroutineName(w)
	}
}

// goroutineName names a goroutine that has no task after the function that waits.
func goroutineName(w *waitView) string {
	if p := placeOf(w.site.place); p.function != "" {
		return "goroutine in " + shortFunction(p.function)
	}
	return "goroutine"
}

// longTask says what a report says of a task that runs.
func (r *reporter) longTask(t *Task) wire.Task {
	told := wire.Task{
		Node: taskNode(t), Name: t.Name(), State: taskspan.Running, Start: t.start.unix(), Parent: t.parent,
		Goroutine: t.goroutine.Load(), Place: wirePlace(t.begun),
	}
	if t.sampled && t.ins.backtraces {
		told.Stack = t.rare.begun.stacktrace()
	}
	return told
}

func wirePlace(pc uintptr) wire.Place {
	p := placeOf(pc)
	return wire.Place{Function: p.function, File: p.file, Line: p.line}
}

func newSpanID() (id [8]byte) {
	putRandom(id[:])
	return id
}

// nextID returns an id that no wait of the process has.
func (s *shard) nextID(goroutine uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitSeq++
	return s.waitSeq*shards + goroutine%shards
}
