package report

import (
	"math"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// DecodeProcess reads the identity of a process from its resource. A name that
// is too long or no UTF-8 is refused and not changed: that could make one of two
// processes.
func DecodeProcess(resource pcommon.Map) (Process, Drop) {
	service, ok := resource.Get(taskspan.ServiceName)
	if !ok || service.Type() != pcommon.ValueTypeStr {
		return Process{}, DropIdentity
	}
	instance, ok := resource.Get(taskspan.ServiceInstanceID)
	if !ok || instance.Type() != pcommon.ValueTypeStr {
		return Process{}, DropIdentity
	}
	epoch, ok := resource.Get(taskspan.ProcessEpoch)
	if !ok || epoch.Type() != pcommon.ValueTypeInt {
		return Process{}, DropIdentity
	}
	p := Process{Service: service.Str(), Instance: instance.Str(), Epoch: epoch.Int()}
	if p.Service == "" || p.Instance == "" || p.Epoch <= 0 ||
		len(p.Service) > taskspan.MaxStringBytes || len(p.Instance) > taskspan.MaxStringBytes ||
		!utf8.ValidString(p.Service) || !utf8.ValidString(p.Instance) {
		return Process{}, DropIdentity
	}
	return p, Used
}

// Decode reads one span of the report scope. now is what the clock of the process
// shows, as far as that is known: an observation more than MaxClockError from it is
// refused, with DropTime and what the report says.
func Decode(process Process, span ptrace.Span, now time.Time) (Report, Drop) {
	if span.TraceID().IsEmpty() || span.SpanID().IsEmpty() {
		return Report{}, DropSpanID
	}
	start, end, ok := times(span)
	if !ok {
		return Report{}, DropTime
	}
	var f fields
	f.read(span.Attributes())
	if f.drop != Used {
		return Report{}, f.drop
	}
	if !f.has(hasSequence) {
		return Report{}, DropMissing
	}
	r := Report{Process: process, Sequence: f.sequence, Observed: end}
	task := TaskID{Trace: span.TraceID(), Span: span.ParentSpanID()}
	switch f.report {
	case taskspan.ReportWait:
		r.Task = f.task(task, end)
		r.Wait = f.wait(span.Links(), start)
	case taskspan.ReportTask:
		r.Task = f.task(task, end)
		r.Task.Place = f.place
	case taskspan.ReportHeartbeat:
		r.Heartbeat = f.heartbeat()
	case taskspan.ReportLockOrder:
		r.LockOrder = f.lockOrder(task)
	default:
		return Report{}, DropKind
	}
	if f.drop != Used {
		return Report{}, f.drop
	}
	r.Shortened = f.shortened
	if off := end.Sub(now); off > MaxClockError || off < -MaxClockError {
		return r, DropTime
	}
	return r, Used
}

// Clocks know what the clocks of processes show.
type Clocks interface {
	// Present is what the clock of a process shows now.
	Present(p Process, now time.Time) time.Time
	// Refused notes a report that is too far from that, and says whether Present is
	// another from now on.
	Refused(r *Report, now time.Time) bool
}

// DecodeBy is Decode by the clock of the process, which is learned from what is
// refused.
func DecodeBy(clocks Clocks, process Process, span ptrace.Span, now time.Time) (Report, Drop) {
	r, drop := Decode(process, span, clocks.Present(process, now))
	if far := drop == DropTime && !r.Observed.IsZero(); far && clocks.Refused(&r, now) {
		return Decode(process, span, clocks.Present(process, now))
	}
	return r, drop
}

// times reads the span's own times. The start may be long ago, for a deadlock stands
// for days.
func times(span ptrace.Span) (start, end time.Time, ok bool) {
	start, ok = unixNano(uint64(span.StartTimestamp()))
	if !ok {
		return start, end, false
	}
	end, ok = unixNano(uint64(span.EndTimestamp()))
	return start, end, ok && !end.Before(start)
}

func unixNano(n uint64) (time.Time, bool) {
	if n == 0 || n > math.MaxInt64 {
		return time.Time{}, false
	}
	return time.Unix(0, int64(n)).UTC(), true
}

func (f *fields) wait(links ptrace.SpanLinkSlice, start time.Time) *Wait {
	if !f.has(hasWaitID | hasRevision | hasOpen | hasKind | hasResource) {
		f.refuse(DropMissing)
		return nil
	}
	w := &Wait{
		ID: f.waitID, Revision: f.revision, Open: f.open, Kind: f.kind,
		ResourceID: f.resourceID, ResourceName: f.resourceName, Since: start,
		Need: f.need, Complete: f.complete, Inferred: f.inferred, Cancellable: f.cancellable, Place: f.place, Callers: f.callers,
	}
	if w.ResourceName == "" {
		w.ResourceName = w.ResourceID
	}
	if f.deadline != 0 {
		w.Deadline = time.Unix(0, f.deadline).UTC()
	}
	n := links.Len()
	if n > taskspan.MaxHolders {
		n = taskspan.MaxHolders
		w.Complete = false
		f.shortened = true
	}
	if f.resourceCut {
		// Two resources may now have one id, so others may hold it.
		w.Complete = false
	}
	if n > 0 {
		w.Holders = make([]Holder, 0, n)
	}
	for i := range n {
		if h, known := f.holder(links.At(i)); known {
			w.Holders = append(w.Holders, h)
		} else {
			w.Complete = false
		}
	}
	return w
}

// holder reads one link; known is false when it names no task.
func (f *fields) holder(link ptrace.SpanLink) (h Holder, known bool) {
	var l linkFields
	l.weight = 1
	f.refuse(l.read(link.Attributes()))
	h = Holder{
		Task:       TaskID{Trace: link.TraceID(), Span: link.SpanID()},
		Generation: l.generation, Weight: l.weight, Place: l.place,
		TaskName: l.taskName, Ended: l.ended,
	}
	if l.since != 0 {
		h.Since = time.Unix(0, l.since).UTC()
	}
	return h, !link.TraceID().IsEmpty() && !link.SpanID().IsEmpty()
}

func (f *fields) task(id TaskID, end time.Time) *Task {
	switch {
	case id.spanless():
		f.refuse(DropSpanID)
	case !f.has(hasTaskName | hasTaskState | hasTaskStart):
		f.refuse(DropMissing)
	case f.taskStart > end.UnixNano():
		f.refuse(DropTime)
	}
	return &Task{
		ID: id, Name: f.taskName, State: f.taskState, Start: time.Unix(0, f.taskStart).UTC(),
		ParentSpan: f.parentSpan, RemoteParent: f.remoteParent, Holds: f.heldThings(),
		Thread: f.thread, Deadlock: f.deadlock,
	}
}

// heldThings joins the names of what a task holds with their ends.
func (f *fields) heldThings() []Hold {
	if f.holdsEnds != nil && len(f.holdsEnds) != f.holdsCame {
		f.refuse(DropValue)
		return nil
	}
	var holds []Hold
	for i, resource := range f.holds {
		h := Hold{Resource: resource}
		if f.holdsEnds != nil {
			switch ends := f.holdsEnds[f.holdsAt[i]]; ends {
			case taskspan.EndsUnknown:
			case taskspan.EndsByRelease:
				h.UntilReleased = true
			default:
				h.Ends = time.Unix(0, ends).UTC()
			}
		}
		holds = append(holds, h)
	}
	return holds
}

func (id TaskID) spanless() bool { return id.Span == [8]byte{} }

func (f *fields) heartbeat() *Heartbeat {
	if !f.has(hasInterval) {
		f.refuse(DropMissing)
		return nil
	}
	if f.part == 0 {
		f.part = 1
	}
	if f.parts == 0 {
		f.parts = 1
	}
	if f.part > f.parts || len(f.waitIDs) != len(f.revisions) {
		f.refuse(DropValue)
		return nil
	}
	f.other()
	return &Heartbeat{
		Interval: time.Duration(f.intervalMS) * time.Millisecond, Final: f.final, Acknowledged: f.acknowledged,
		Part: int(f.part), Parts: int(f.parts), WaitIDs: f.waitIDs, Revisions: f.revisions,
		Running: f.running, Blocked: f.blocked, Counts: f.counts, ByName: f.byName,
		Events: f.events, Dropped: f.dropped, Overhead: f.overhead, Rate: f.rate, Memory: f.memory,
	}
}

func (f *fields) lockOrder(id TaskID) *LockOrder {
	if id.spanless() {
		f.refuse(DropSpanID)
		return nil
	}
	if f.held == "" || f.taken == "" {
		f.refuse(DropMissing)
		return nil
	}
	return &LockOrder{
		Task: id, Held: f.held, Taken: f.taken, HeldName: f.heldName, TakenName: f.takenName, Recursive: f.recursive,
		Guards: f.guards, Mode: f.mode, HeldPlace: f.heldPlace, Place: f.place,
	}
}
