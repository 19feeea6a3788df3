// Package reporttest writes reports as the spans that they are decoded from, for
// tests and benchmarks of the components that take them.
package reporttest

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Traces writes reports, those of one process that follow each other below one
// resource.
func Traces(reports ...*report.Report) ptrace.Traces {
	td := ptrace.NewTraces()
	var (
		of    report.Process
		scope ptrace.ScopeSpans
	)
	for i, r := range reports {
		if i == 0 || r.Process != of {
			of = r.Process
			scope = Scope(td, of)
		}
		write(scope.Spans().AppendEmpty(), r)
	}
	return td
}

// Scope adds the resource of a process with an empty scope of reports.
func Scope(td ptrace.Traces, p report.Process) ptrace.ScopeSpans {
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(taskspan.ServiceName, p.Service)
	rs.Resource().Attributes().PutStr(taskspan.ServiceInstanceID, p.Instance)
	rs.Resource().Attributes().PutInt(taskspan.ProcessEpoch, p.Epoch)
	scope := rs.ScopeSpans().AppendEmpty()
	scope.Scope().SetName(taskspan.ScopeReport)
	scope.Scope().SetVersion(taskspan.Version)
	return scope
}

func write(span ptrace.Span, r *report.Report) {
	span.SetTraceID([16]byte{1})
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], uint64(r.Sequence)+1)
	span.SetSpanID(id)
	setTimes(span, r.Observed.Add(-time.Microsecond), r.Observed)
	a := span.Attributes()
	a.PutStr(taskspan.Report, string(r.Kind()))
	a.PutInt(taskspan.ReportSequence, r.Sequence)
	if t := r.Task; t != nil {
		task(span, t)
	}
	switch {
	case r.Wait != nil:
		wait(span, r.Wait)
		setTimes(span, r.Wait.Since, r.Observed)
	case r.Heartbeat != nil:
		heartbeat(a, r.Heartbeat)
	case r.LockOrder != nil:
		o := r.LockOrder
		span.SetTraceID(o.Task.Trace)
		span.SetParentSpanID(o.Task.Span)
		a.PutStr(taskspan.LockOrderHeld, o.Held)
		a.PutStr(taskspan.LockOrderTaken, o.Taken)
		if o.HeldName != "" {
			a.PutStr(taskspan.LockOrderHeldName, o.HeldName)
		}
		if o.TakenName != "" {
			a.PutStr(taskspan.LockOrderTakenName, o.TakenName)
		}
		if o.Recursive {
			a.PutBool(taskspan.LockOrderRecursive, true)
		}
		strs(a, taskspan.LockOrderGuards, o.Guards)
		if o.Mode != "" {
			a.PutStr(taskspan.LockOrderMode, o.Mode)
		}
		place(a, o.Place)
	}
}

func setTimes(span ptrace.Span, start, end time.Time) {
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(end))
}

func task(span ptrace.Span, t *report.Task) {
	span.SetTraceID(t.ID.Trace)
	span.SetParentSpanID(t.ID.Span)
	a := span.Attributes()
	a.PutStr(taskspan.TaskName, t.Name)
	a.PutStr(taskspan.TaskState, string(t.State))
	a.PutInt(taskspan.TaskStart, t.Start.UnixNano())
	if !t.RemoteParent.IsZero() {
		a.PutStr(taskspan.TaskRemoteParent, t.RemoteParent.String())
	}
	if t.ParentSpan != ([8]byte{}) {
		a.PutStr(taskspan.TaskParentSpanID, hex.EncodeToString(t.ParentSpan[:]))
	}
	holds(a, t.Holds)
	if t.Thread != 0 {
		a.PutInt(taskspan.ThreadID, t.Thread)
	}
}

func wait(span ptrace.Span, w *report.Wait) {
	span.SetName(taskspan.WaitSpanPrefix + string(w.Kind) + " " + w.ResourceName)
	a := span.Attributes()
	a.PutInt(taskspan.WaitID, w.ID)
	a.PutInt(taskspan.WaitRevision, w.Revision)
	a.PutBool(taskspan.WaitOpen, w.Open)
	a.PutStr(taskspan.WaitKind, string(w.Kind))
	a.PutStr(taskspan.WaitResourceID, w.ResourceID)
	a.PutStr(taskspan.WaitResourceName, w.ResourceName)
	a.PutBool(taskspan.WaitHoldersComplete, w.Complete)
	if w.Need != 0 {
		a.PutInt(taskspan.WaitNeed, w.Need)
	}
	if w.Inferred {
		a.PutBool(taskspan.WaitInferred, true)
	}
	if w.Cancellable {
		a.PutBool(taskspan.WaitCancellable, true)
	}
	if !w.Deadline.IsZero() {
		a.PutInt(taskspan.WaitDeadline, w.Deadline.UnixNano())
	}
	place(a, w.Place)
	if len(w.Callers) > 0 {
		callers := a.PutEmptySlice(taskspan.WaitCallers)
		for _, p := range w.Callers {
			callers.AppendEmpty().SetStr(p.Caller())
		}
	}
	for i := range w.Holders {
		h := &w.Holders[i]
		link := span.Links().AppendEmpty()
		link.SetTraceID(h.Task.Trace)
		link.SetSpanID(h.Task.Span)
		link.Attributes().PutInt(taskspan.HoldGeneration, h.Generation)
		link.Attributes().PutInt(taskspan.HoldWeight, h.Weight)
		if h.TaskName != "" {
			link.Attributes().PutStr(taskspan.HoldTaskName, h.TaskName)
		}
		if h.Ended {
			link.Attributes().PutBool(taskspan.HoldEnded, true)
		}
		place(link.Attributes(), h.Place)
	}
}

func heartbeat(a pcommon.Map, h *report.Heartbeat) {
	a.PutInt(taskspan.HeartbeatIntervalMS, h.Interval.Milliseconds())
	a.PutBool(taskspan.HeartbeatFinal, h.Final)
	if h.Acknowledged != nil {
		a.PutBool(taskspan.HeartbeatAcknowledged, *h.Acknowledged)
	}
	a.PutInt(taskspan.HeartbeatPart, int64(h.Part))
	a.PutInt(taskspan.HeartbeatParts, int64(h.Parts))
	ids, revisions := a.PutEmptySlice(taskspan.WaitsIDs), a.PutEmptySlice(taskspan.WaitsRevisions)
	for i := range h.WaitIDs {
		ids.AppendEmpty().SetInt(h.WaitIDs[i])
		revisions.AppendEmpty().SetInt(h.Revisions[i])
	}
	if h.Part == 1 {
		counts(a, h)
	}
}

// counts writes what the first part of a heartbeat carries; totals are those of the names.
func counts(a pcommon.Map, h *report.Heartbeat) {
	if h.ByName != nil {
		byName := a.PutEmptySlice(taskspan.TasksByName)
		for name, n := range h.ByName {
			element, err := json.Marshal(taskspan.NameCounts{
				Name: name, Started: n.Started, Completed: n.Completed, Failed: n.Failed, Cancelled: n.Cancelled,
				Running: n.Running, Blocked: n.Blocked,
				Durations: &taskspan.Durations{Seconds: n.Durations.Seconds, Buckets: n.Durations.Buckets[:]},
			})
			if err != nil {
				panic(err) // a NaN in a test
			}
			byName.AppendEmpty().SetStr(string(element))
		}
	}
	if h.Events != 0 {
		a.PutInt(taskspan.Events, h.Events)
	}
	if len(h.Dropped) > 0 {
		dropped := a.PutEmptySlice(taskspan.Dropped)
		for reason, n := range h.Dropped {
			dropped.AppendEmpty().SetStr(fmt.Sprint(reason, "=", n))
		}
	}
}

func strs(a pcommon.Map, key string, list []string) {
	if len(list) == 0 {
		return
	}
	s := a.PutEmptySlice(key)
	for _, v := range list {
		s.AppendEmpty().SetStr(v)
	}
}

func holds(a pcommon.Map, list []report.Hold) {
	if len(list) == 0 {
		return
	}
	resources, ends := a.PutEmptySlice(taskspan.Holds), a.PutEmptySlice(taskspan.HoldsEnds)
	for _, h := range list {
		resources.AppendEmpty().SetStr(h.Resource)
		end := int64(taskspan.EndsUnknown)
		switch {
		case h.UntilReleased:
			end = taskspan.EndsByRelease
		case !h.Ends.IsZero():
			end = h.Ends.UnixNano()
		}
		ends.AppendEmpty().SetInt(end)
	}
}

func place(a pcommon.Map, p report.Place) {
	if p.Function == "" {
		return
	}
	a.PutStr(taskspan.CodeFunctionName, p.Function)
	a.PutStr(taskspan.CodeFilePath, p.File)
	a.PutInt(taskspan.CodeLineNumber, int64(p.Line))
}
