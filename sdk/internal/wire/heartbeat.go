package wire

import (
	"encoding/json"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Heartbeat is what is true of the whole process.
type Heartbeat struct {
	Trace      [16]byte // the same for all heartbeats of a process
	NewSpanID  func() [8]byte
	Observed   int64
	IntervalMS int64
	Final      bool
	WaitIDs    []uint64 // open waits that have been reported
	Revisions  []int64  // of each of them now
	Total      taskspan.NameCounts
	ByName     []taskspan.NameCounts
	Events     int64
	Dropped    []string
	Overhead   float64
	Rate       float64 // below 0: not known
	Memory     any
}

// Encode writes the heartbeat, in several parts if many waits are open. The first
// part carries the counts.
func (h *Heartbeat) Encode() []*tracepb.Span {
	parts := max(1, (len(h.WaitIDs)+taskspan.MaxHeartbeatWaits-1)/taskspan.MaxHeartbeatWaits)
	spans := make([]*tracepb.Span, 0, parts)
	for part := range parts {
		first := part * taskspan.MaxHeartbeatWaits
		last := min(first+taskspan.MaxHeartbeatWaits, len(h.WaitIDs))
		var a attributes
		a.report(taskspan.ReportHeartbeat)
		a.bool(taskspan.HeartbeatAcknowledged, false) // its place: see SetAcknowledged
		a.int(taskspan.HeartbeatIntervalMS, h.IntervalMS)
		a.bool(taskspan.HeartbeatFinal, h.Final)
		if parts > 1 {
			a.int(taskspan.HeartbeatPart, int64(part+1))
			a.int(taskspan.HeartbeatParts, int64(parts))
		}
		ids := make([]int64, 0, last-first)
		for _, id := range h.WaitIDs[first:last] {
			ids = append(ids, int64(id))
		}
		a.ints(taskspan.WaitsIDs, ids)
		a.ints(taskspan.WaitsRevisions, h.Revisions[first:last])
		if part == 0 {
			h.counts(&a)
		}
		trace, id := h.Trace, h.NewSpanID() // copies, as in span
		spans = append(spans, &tracepb.Span{
			TraceId: trace[:], SpanId: id[:],
			Name: taskspan.SpanHeartbeat, Kind: tracepb.Span_SPAN_KIND_INTERNAL,
			StartTimeUnixNano: uint64(h.Observed), EndTimeUnixNano: end(h.Observed, h.Observed),
			Attributes: a, Status: new(tracepb.Status),
		})
	}
	return spans
}

func (h *Heartbeat) counts(a *attributes) {
	a.int(taskspan.TasksRunning, h.Total.Running)
	a.int(taskspan.TasksBlocked, h.Total.Blocked)
	a.int(taskspan.TasksStarted, h.Total.Started)
	a.int(taskspan.TasksCompleted, h.Total.Completed)
	a.int(taskspan.TasksFailed, h.Total.Failed)
	a.int(taskspan.TasksCancelled, h.Total.Cancelled)
	names := make([]string, 0, len(h.ByName))
	for i := range h.ByName {
		n := h.ByName[i]
		n.Name = Name(n.Name)
		names = append(names, text(n))
	}
	a.strs(taskspan.TasksByName, names)
	a.int(taskspan.Events, h.Events)
	if len(h.Dropped) > 0 {
		a.strs(taskspan.Dropped, h.Dropped)
	}
	a.double(taskspan.Overhead, h.Overhead)
	if h.Rate >= 0 {
		a.double(taskspan.SamplingRate, h.Rate)
	}
	if h.Memory != nil {
		a.add(taskspan.Memory, strValue(text(h.Memory)))
	}
}

// text writes JSON of a struct that always has one. Nobody shows it in HTML, so "<" is
// not written as six bytes.
func text(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "{}"
	}
	return strings.TrimSuffix(b.String(), "\n")
}
