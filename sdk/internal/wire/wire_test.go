package wire

import (
	"fmt"
	"testing"
	"unicode/utf8"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func attributesOf(list []*commonpb.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[kv.Key] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			m[kv.Key] = fmt.Sprint(v.BoolValue)
		case *commonpb.AnyValue_DoubleValue:
			m[kv.Key] = fmt.Sprint(v.DoubleValue)
		case *commonpb.AnyValue_ArrayValue:
			m[kv.Key] = fmt.Sprint(len(v.ArrayValue.Values), " values")
		}
	}
	return m
}

func exampleWait() *Wait {
	return &Wait{
		Task: Task{
			Node: Node{[16]byte{1}, [8]byte{2}}, Name: "reserve", State: taskspan.Blocked, Start: 1000,
			Parent: [8]byte{3}, Remote: Node{[16]byte{4}, [8]byte{5}}, Goroutine: 7, Holds: []Hold{{Resource: "ext:report", Ends: 8500}, {Resource: "ext:stock", Ends: taskspan.EndsByRelease}},
			Place: Place{"main.reserve", "/src/main.go", 42}, Stack: "main.reserve\n", Observed: 5000, SpanID: [8]byte{6},
		},
		ID: 9, Revision: 2, Open: true, Kind: taskspan.WaitSemaphore, ResourceID: "r1", ResourceName: "slots",
		Since: 2000, Need: 2, Complete: true, Inferred: true, Cancellable: true, Deadline: 9000,
		Holders: []Holder{{Node: Node{[16]byte{1}, [8]byte{8}}, Generation: 3, Since: 1500, Weight: 2, Place: Place{"main.hold", "/src/main.go", 40}}},
	}
}

func TestWaitSaysEverything(t *testing.T) {
	s := exampleWait().Encode()
	SetSequence(s, 11)
	want := map[string]string{
		taskspan.ReportSequence: "11", taskspan.Report: "wait",
		taskspan.TaskName: "reserve", taskspan.TaskState: "blocked", taskspan.TaskStart: "1000",
		taskspan.TaskParentSpanID: "0300000000000000",
		taskspan.TaskRemoteParent: "04000000000000000000000000000000/0500000000000000",
		taskspan.Holds:            "2 values", taskspan.HoldsEnds: "2 values", taskspan.ThreadID: "7",
		taskspan.CodeFunctionName: "main.reserve", taskspan.CodeFilePath: "/src/main.go", taskspan.CodeLineNumber: "42",
		taskspan.CodeStacktrace: "main.reserve\n",
		taskspan.WaitID:         "9", taskspan.WaitRevision: "2", taskspan.WaitOpen: "true", taskspan.WaitKind: "semaphore",
		taskspan.WaitResourceID: "r1", taskspan.WaitResourceName: "slots", taskspan.WaitNeed: "2",
		taskspan.WaitHoldersComplete: "true", taskspan.WaitInferred: "true", taskspan.WaitCancellable: "true", taskspan.WaitDeadline: "9000",
	}
	got := attributesOf(s.Attributes)
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) || len(s.Attributes) != len(want) {
		t.Errorf("%d attributes, want %d: %v", len(s.Attributes), len(want), got)
	}
	if s.Name != "wait semaphore slots" || s.StartTimeUnixNano != 2000 || s.EndTimeUnixNano != 5000 || s.ParentSpanId[0] != 2 {
		t.Errorf("span is %v", s)
	}
	link := attributesOf(s.Links[0].Attributes)
	for k, v := range map[string]string{
		taskspan.HoldGeneration: "3", taskspan.HoldSince: "1500", taskspan.HoldWeight: "2", taskspan.CodeFunctionName: "main.hold",
	} {
		if link[k] != v {
			t.Errorf("link: %s is %q, want %q", k, link[k], v)
		}
	}
}

func TestNoSpanIsEmptyAndNoBatchCanBeSpoiled(t *testing.T) {
	w := exampleWait()
	w.Observed = w.Since
	w.ResourceName = "slots \xff"
	s := w.Encode()
	if s.EndTimeUnixNano-s.StartTimeUnixNano != 1000 {
		t.Errorf("it lasts %d ns, want 1000", s.EndTimeUnixNano-s.StartTimeUnixNano)
	}
	if !utf8.ValidString(s.Name) || !utf8.ValidString(attributesOf(s.Attributes)[taskspan.WaitResourceName]) {
		t.Errorf("a name that is not UTF-8 would spoil the batch: %q", s.Name)
	}
}

func TestMoreHoldersThanFitAreIncomplete(t *testing.T) {
	w := exampleWait()
	w.Holders = make([]Holder, taskspan.MaxHolders+1)
	s := w.Encode()
	if len(s.Links) != taskspan.MaxHolders || attributesOf(s.Attributes)[taskspan.WaitHoldersComplete] != "" {
		t.Errorf("%d links, complete is %q", len(s.Links), attributesOf(s.Attributes)[taskspan.WaitHoldersComplete])
	}
}

func TestAHeartbeatOfManyWaitsHasParts(t *testing.T) {
	h := Heartbeat{Trace: [16]byte{1}, NewSpanID: func() [8]byte { return [8]byte{1} }, Observed: 1, IntervalMS: 5000, Rate: -1}
	for i := range 2*taskspan.MaxHeartbeatWaits + 1 {
		h.WaitIDs, h.Revisions = append(h.WaitIDs, uint64(i)), append(h.Revisions, 1)
	}
	h.Total = taskspan.NameCounts{Started: 3}
	parts := h.Encode()
	if len(parts) != 3 {
		t.Fatalf("%d parts, want 3", len(parts))
	}
	ids := 0
	for i, p := range parts {
		a := attributesOf(p.Attributes)
		var n int
		_, _ = fmt.Sscan(a[taskspan.WaitsIDs], &n)
		ids += n
		if a[taskspan.HeartbeatPart] != fmt.Sprint(i+1) || a[taskspan.HeartbeatParts] != "3" {
			t.Errorf("part %d says %s of %s", i+1, a[taskspan.HeartbeatPart], a[taskspan.HeartbeatParts])
		}
		if counts := a[taskspan.TasksStarted]; (counts == "3") != (i == 0) {
			t.Errorf("part %d counts %q", i+1, counts)
		}
		if _, known := a[taskspan.SamplingRate]; known {
			t.Error("an unknown rate is told")
		}
	}
	if ids != len(h.WaitIDs) {
		t.Errorf("%d ids in all, want %d", ids, len(h.WaitIDs))
	}
}

func BenchmarkEncodeWait(b *testing.B) {
	w := exampleWait()
	w.Stack = ""
	b.ReportAllocs()
	for b.Loop() {
		w.Encode()
	}
}
