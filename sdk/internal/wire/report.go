package wire

import (
	"strconv"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Node names a task, or a goroutine that stands for one.
type Node struct {
	Trace [16]byte
	Span  [8]byte
}

// Place is a line of code.
type Place struct {
	Function string
	File     string
	Line     int
}

// Task is what every report about a task says of it. Times are unix nanoseconds.
type Task struct {
	Node
	Name      string
	State     taskspan.State
	Start     int64
	Parent    [8]byte // zero: none
	Remote    Node    // the client span that it answers; zero: none
	Goroutine uint64
	Holds     []Hold
	Place     Place  // where it waits, or was started
	Stack     string // "": not recorded
	Observed  int64  // the instant at which all of this was so
	SpanID    [8]byte
}

// Hold is an external lock that a task holds.
type Hold struct {
	Resource string
	Ends     int64 // when it ends by itself, or taskspan.EndsUnknown or EndsByRelease
}

// Wait is an open wait, or the end of one.
type Wait struct {
	Task
	ID           uint64
	Revision     int64
	Open         bool
	Kind         taskspan.Kind
	ResourceID   string
	ResourceName string
	Since        int64
	Need         int64 // 0: all holders
	Complete     bool
	Inferred     bool
	Cancellable  bool
	Deadline     int64   // 0: none
	Callers      []Place // who called Place, the nearest first
	Holders      []Holder
}

// Holder is one who must let go.
type Holder struct {
	Node
	Generation uint64
	Since      int64
	Weight     int64
	Place      Place
	TaskName   string // "": not known
	Ended      bool   // it will not let go itself: its goroutine, or the task that took it, has ended
}

// Encode writes the report.
func (w *Wait) Encode() *tracepb.Span {
	var a attributes
	a.report(taskspan.ReportWait)
	a.task(&w.Task)
	a.int(taskspan.WaitID, int64(w.ID))
	a.int(taskspan.WaitRevision, w.Revision)
	a.bool(taskspan.WaitOpen, w.Open)
	a.str(taskspan.WaitKind, string(w.Kind))
	a.id(taskspan.WaitResourceID, w.ResourceID)
	a.str(taskspan.WaitResourceName, w.ResourceName)
	if w.Need > 0 {
		a.int(taskspan.WaitNeed, w.Need)
	}
	complete := w.Complete
	holders := w.Holders
	if len(holders) > taskspan.MaxHolders {
		holders, complete = holders[:taskspan.MaxHolders], false
	}
	if complete {
		a.bool(taskspan.WaitHoldersComplete, true)
	}
	if w.Inferred {
		a.bool(taskspan.WaitInferred, true)
	}
	if w.Cancellable {
		a.bool(taskspan.WaitCancellable, true)
	}
	if w.Deadline != 0 {
		a.int(taskspan.WaitDeadline, w.Deadline)
	}
	if len(w.Callers) > 0 {
		callers := make([]string, 0, len(w.Callers))
		for _, p := range w.Callers[:min(len(w.Callers), taskspan.MaxCallers)] {
			callers = append(callers, Caller(p))
		}
		a.strs(taskspan.WaitCallers, callers)
	}
	s := span(&w.Task, taskspan.WaitSpanPrefix+string(w.Kind)+" "+w.ResourceName, w.Since, a)
	for i := range holders {
		s.Links = append(s.Links, holders[i].link())
	}
	return s
}

// Caller writes a place as an element of [taskspan.WaitCallers].
func Caller(p Place) string {
	return Name(p.Function) + " " + Name(p.File) + ":" + strconv.Itoa(p.Line)
}

func (h *Holder) link() *tracepb.Span_Link {
	var a attributes
	a.int(taskspan.HoldGeneration, int64(h.Generation))
	a.int(taskspan.HoldSince, h.Since)
	if h.Weight > 1 {
		a.int(taskspan.HoldWeight, h.Weight)
	}
	if h.TaskName != "" {
		a.str(taskspan.HoldTaskName, h.TaskName)
	}
	if h.Ended {
		a.bool(taskspan.HoldEnded, true)
	}
	a.place(h.Place)
	node := h.Node // a copy, as in span
	return &tracepb.Span_Link{TraceId: node.Trace[:], SpanId: node.Span[:], Attributes: a}
}

// Encode writes a report about a task that runs long.
func (t *Task) Encode() *tracepb.Span {
	var a attributes
	a.report(taskspan.ReportTask)
	a.task(t)
	return span(t, taskspan.SpanTaskReport+" "+t.Name, t.Start, a)
}

// LockOrder is that a lock of one class was held while one of another was being taken.
type LockOrder struct {
	Node                  // who did it
	SpanID                [8]byte
	Observed              int64
	Held, Taken           string
	HeldName, TakenName   string // for people; "": the class
	Recursive             bool   // the two are one lock
	HeldReads, TakenReads bool
	Guards                []string
	HeldPlace, Place      Place
}

// Encode writes the report.
func (o *LockOrder) Encode() *tracepb.Span {
	var a attributes
	a.report(taskspan.ReportLockOrder)
	a.id(taskspan.LockOrderHeld, o.Held)
	a.id(taskspan.LockOrderTaken, o.Taken)
	if o.HeldName != "" {
		a.str(taskspan.LockOrderHeldName, o.HeldName)
	}
	if o.TakenName != "" {
		a.str(taskspan.LockOrderTakenName, o.TakenName)
	}
	if o.Recursive {
		a.bool(taskspan.LockOrderRecursive, true)
	}
	a.str(taskspan.LockOrderMode, mode(o.HeldReads)+"/"+mode(o.TakenReads))
	if len(o.Guards) > 0 {
		a.ids(taskspan.LockOrderGuards, o.Guards)
	}
	if p := o.HeldPlace; p.Function != "" {
		a.str(taskspan.LockOrderHeldFunction, p.Function)
		a.str(taskspan.LockOrderHeldFile, p.File)
		a.int(taskspan.LockOrderHeldLine, int64(p.Line))
	}
	a.place(o.Place)
	node, id := o.Node, o.SpanID // copies, as in span
	return &tracepb.Span{
		TraceId: node.Trace[:], SpanId: id[:], ParentSpanId: node.Span[:],
		Name: taskspan.SpanLockOrder, Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(o.Observed), EndTimeUnixNano: end(o.Observed, o.Observed),
		Attributes: a, Status: new(tracepb.Status),
	}
}

func mode(reads bool) string {
	if reads {
		return "read"
	}
	return "write"
}

// span is a report span: parent and trace are those of the task.
func span(t *Task, name string, start int64, a attributes) *tracepb.Span {
	node, id := t.Node, t.SpanID // copies: who changes t for its next report must not change this one
	return &tracepb.Span{
		TraceId: node.Trace[:], SpanId: id[:], ParentSpanId: node.Span[:],
		Name: Name(name), Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(start), EndTimeUnixNano: end(start, t.Observed),
		Attributes: a, Status: new(tracepb.Status),
	}
}

// end keeps a span from being empty, which some backends take for unfinished.
func end(start, observed int64) uint64 { return uint64(max(observed, start+1000)) }
