package wire

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

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
		Callers: []Place{{"main.buy", "/src/my cart.go", 31}, {"main.serve", "/src/http.go", 8}, {"main.main", "/src/main.go", 5}},
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
		taskspan.WaitCallers: "2 values",
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
	for _, a := range s.Attributes {
		if a.Key != taskspan.WaitCallers {
			continue
		}
		for i, want := range []string{"main.buy /src/my cart.go:31", "main.serve /src/http.go:8"} {
			if text := a.Value.GetArrayValue().Values[i].GetStringValue(); text != want {
				t.Errorf("caller %d is %q, want %q", i, text, want)
			}
		}
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

// everything is the attributes of a span with all that is in them.
func everything(list []*commonpb.KeyValue) map[string]any {
	m := make(map[string]any)
	for _, kv := range list {
		m[kv.Key] = plain(kv.Value)
	}
	return m
}

func plain(v *commonpb.AnyValue) any {
	switch v := v.Value.(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_ArrayValue:
		list := []any{}
		for _, e := range v.ArrayValue.Values {
			list = append(list, plain(e))
		}
		return list
	}
	return nil
}

func sameEverything(t *testing.T, s *tracepb.Span, want map[string]any) {
	t.Helper()
	got := everything(s.Attributes)
	for key, v := range got {
		if !reflect.DeepEqual(v, want[key]) {
			t.Errorf("%s is %v, want %v", key, v, want[key])
		}
	}
	for key, v := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is missing, want %v", key, v)
		}
	}
	if len(s.Attributes) != len(got) {
		t.Error("an attribute is there twice")
	}
}

func TestAHeartbeatSaysEverything(t *testing.T) {
	next := byte(0)
	h := &Heartbeat{
		Trace: [16]byte{1}, NewSpanID: func() [8]byte { next++; return [8]byte{next} }, Observed: 7_000_000, IntervalMS: 5001, Final: true,
		WaitIDs: []uint64{21, 22}, Revisions: []int64{31, 32},
		Total:  taskspan.NameCounts{Started: 41, Completed: 42, Failed: 43, Cancelled: 44, Running: 45, Blocked: 46},
		ByName: []taskspan.NameCounts{{Name: "a", Started: 51}, {Name: "b", Blocked: 52}},
		Events: 61, Dropped: []string{"max_tasks=71", "stuck_waits=72"}, Overhead: 0.08, Rate: 0.09, Memory: map[string]int{"task_count": 81},
	}
	want := map[string]any{
		taskspan.Report: "heartbeat", taskspan.ReportSequence: int64(0),
		taskspan.HeartbeatIntervalMS: int64(5001), taskspan.HeartbeatFinal: true, taskspan.HeartbeatAcknowledged: false,
		taskspan.WaitsIDs: []any{int64(21), int64(22)}, taskspan.WaitsRevisions: []any{int64(31), int64(32)},
		taskspan.TasksStarted: int64(41), taskspan.TasksCompleted: int64(42), taskspan.TasksFailed: int64(43), taskspan.TasksCancelled: int64(44),
		taskspan.TasksRunning: int64(45), taskspan.TasksBlocked: int64(46),
		taskspan.TasksByName: []any{
			`{"name":"a","started":51,"completed":0,"failed":0,"cancelled":0,"running":0,"blocked":0}`,
			`{"name":"b","started":0,"completed":0,"failed":0,"cancelled":0,"running":0,"blocked":52}`,
		},
		taskspan.Events: int64(61), taskspan.Dropped: []any{"max_tasks=71", "stuck_waits=72"},
		taskspan.Overhead: 0.08, taskspan.SamplingRate: 0.09, taskspan.Memory: `{"task_count":81}`,
	}
	spans := h.Encode()
	if len(spans) != 1 {
		t.Fatalf("%d parts", len(spans))
	}
	sameEverything(t, spans[0], want)
	if s := spans[0]; s.TraceId[0] != 1 || s.SpanId[0] != 1 || s.ParentSpanId != nil || s.Name != taskspan.SpanHeartbeat ||
		s.StartTimeUnixNano != 7_000_000 || s.EndTimeUnixNano != 7_001_000 {
		t.Errorf("the span is %v", s)
	}

	// What is not known is not said; a rate of 0 is.
	h.Final, h.WaitIDs, h.Revisions, h.ByName, h.Dropped, h.Memory, h.Rate = false, nil, nil, nil, nil, nil, 0
	want[taskspan.HeartbeatFinal], want[taskspan.SamplingRate] = false, 0.0
	want[taskspan.WaitsIDs], want[taskspan.WaitsRevisions], want[taskspan.TasksByName] = []any{}, []any{}, []any{}
	delete(want, taskspan.Dropped)
	delete(want, taskspan.Memory)
	sameEverything(t, h.Encode()[0], want)
	h.Rate = -1
	delete(want, taskspan.SamplingRate)
	sameEverything(t, h.Encode()[0], want)

	spans = h.Encode()
	SetAcknowledged(spans)
	want[taskspan.HeartbeatAcknowledged] = true
	sameEverything(t, spans[0], want)
}

// Each part lists its own waits, and all carry one time and one trace.
func TestThePartsOfAHeartbeat(t *testing.T) {
	const most = taskspan.MaxHeartbeatWaits
	for waits, parts := range map[int]int{0: 1, 1: 1, most: 1, most + 1: 2, 2 * most: 2, 2*most + 1: 3} {
		h := Heartbeat{Trace: [16]byte{1}, NewSpanID: func() [8]byte { return [8]byte{1} }, Observed: 9, IntervalMS: 1}
		for i := range waits {
			h.WaitIDs, h.Revisions = append(h.WaitIDs, uint64(i)), append(h.Revisions, int64(-i))
		}
		spans := h.Encode()
		if len(spans) != parts {
			t.Errorf("%d waits make %d parts, want %d", waits, len(spans), parts)
		}
		listed := 0
		for i, s := range spans {
			got := everything(s.Attributes)
			ids, revisions := got[taskspan.WaitsIDs].([]any), got[taskspan.WaitsRevisions].([]any)
			if len(ids) > most || len(ids) != len(revisions) {
				t.Fatalf("part %d lists %d ids and %d revisions", i+1, len(ids), len(revisions))
			}
			for j := range ids {
				if ids[j] != int64(listed) || revisions[j] != int64(-listed) {
					t.Fatalf("part %d lists %v, %v in the place of %d", i+1, ids[j], revisions[j], listed)
				}
				listed++
			}
			if part, said := got[taskspan.HeartbeatPart]; said != (parts > 1) || said && (part != int64(i+1) || got[taskspan.HeartbeatParts] != int64(parts)) {
				t.Errorf("part %d of %d says %v of %v", i+1, parts, part, got[taskspan.HeartbeatParts])
			}
			if s.EndTimeUnixNano != spans[0].EndTimeUnixNano || s.TraceId[0] != 1 {
				t.Errorf("part %d has another time or trace", i+1)
			}
		}
		if listed != waits {
			t.Errorf("%d of %d waits are listed", listed, waits)
		}
	}
}

func TestALockOrderSaysEverything(t *testing.T) {
	o := &LockOrder{
		Node: Node{[16]byte{1}, [8]byte{2}}, SpanID: [8]byte{3}, Observed: 4_000, Held: "a", Taken: "b", HeldReads: true, Guards: []string{"c", "d"},
		HeldName: "lock in f", TakenName: "lock in g", Recursive: true,
		HeldPlace: Place{"main.hold", "/src/hold.go", 5}, Place: Place{"main.take", "/src/take.go", 6},
	}
	want := map[string]any{
		taskspan.Report: "lock_order", taskspan.ReportSequence: int64(0),
		taskspan.LockOrderHeld: "a", taskspan.LockOrderTaken: "b", taskspan.LockOrderMode: "read/write", taskspan.LockOrderGuards: []any{"c", "d"},
		taskspan.LockOrderHeldName: "lock in f", taskspan.LockOrderTakenName: "lock in g", taskspan.LockOrderRecursive: true,
		taskspan.LockOrderHeldFunction: "main.hold", taskspan.LockOrderHeldFile: "/src/hold.go", taskspan.LockOrderHeldLine: int64(5),
		taskspan.CodeFunctionName: "main.take", taskspan.CodeFilePath: "/src/take.go", taskspan.CodeLineNumber: int64(6),
	}
	s := o.Encode()
	sameEverything(t, s, want)
	if s.TraceId[0] != 1 || s.ParentSpanId[0] != 2 || s.SpanId[0] != 3 || s.StartTimeUnixNano != 4_000 || s.EndTimeUnixNano != 5_000 || s.Name != taskspan.SpanLockOrder {
		t.Errorf("the span is %v", s)
	}
	o.HeldReads, o.TakenReads, o.Guards, o.HeldPlace, o.Place = false, true, nil, Place{}, Place{}
	o.HeldName, o.TakenName, o.Recursive = "", "", false
	for _, key := range []string{
		taskspan.LockOrderHeldName, taskspan.LockOrderTakenName, taskspan.LockOrderRecursive, taskspan.LockOrderGuards, taskspan.LockOrderHeldFunction, taskspan.LockOrderHeldFile, taskspan.LockOrderHeldLine,
		taskspan.CodeFunctionName, taskspan.CodeFilePath, taskspan.CodeLineNumber,
	} {
		delete(want, key)
	}
	want[taskspan.LockOrderMode] = "write/read"
	sameEverything(t, o.Encode(), want)
}

func TestATaskSaysWhatIsKnown(t *testing.T) {
	task := exampleWait().Task
	task.Observed = 6_000
	want := map[string]any{
		taskspan.Report: "task", taskspan.ReportSequence: int64(0),
		taskspan.TaskName: "reserve", taskspan.TaskState: "blocked", taskspan.TaskStart: int64(1000), taskspan.TaskParentSpanID: "0300000000000000",
		taskspan.TaskRemoteParent: "04000000000000000000000000000000/0500000000000000",
		taskspan.Holds:            []any{"ext:report", "ext:stock"}, taskspan.HoldsEnds: []any{int64(8500), int64(taskspan.EndsByRelease)}, taskspan.ThreadID: int64(7),
		taskspan.CodeFunctionName: "main.reserve", taskspan.CodeFilePath: "/src/main.go", taskspan.CodeLineNumber: int64(42),
		taskspan.CodeStacktrace: "main.reserve\n",
	}
	s := task.Encode()
	sameEverything(t, s, want)
	if s.Name != "async_inspect.task reserve" || s.StartTimeUnixNano != 1000 || s.EndTimeUnixNano != 6_000 {
		t.Errorf("the span is %v", s)
	}
	task.Parent, task.Remote, task.Holds, task.Goroutine, task.Place, task.Stack = [8]byte{}, Node{}, nil, 0, Place{}, ""
	for _, key := range []string{
		taskspan.TaskParentSpanID, taskspan.TaskRemoteParent, taskspan.Holds, taskspan.HoldsEnds, taskspan.ThreadID,
		taskspan.CodeFunctionName, taskspan.CodeFilePath, taskspan.CodeLineNumber, taskspan.CodeStacktrace,
	} {
		delete(want, key)
	}
	sameEverything(t, task.Encode(), want)
}

// What does not hold is not said: no wait is a little bit inferred.
func TestAWaitSaysNoMoreThanItKnows(t *testing.T) {
	example := exampleWait()
	w := &Wait{
		Task: Task{Name: "reserve", State: taskspan.Running, Start: 1000, Observed: 5000, Holds: []Hold{{"ext:a", taskspan.EndsUnknown}, {"ext:b", taskspan.EndsUnknown}}},
		ID:   9, Kind: taskspan.WaitMutex, ResourceID: "r1", ResourceName: "slots", Since: 2000,
		Holders: []Holder{{Node: Node{[16]byte{8}, [8]byte{9}}, Weight: 1}, example.Holders[0]},
	}
	w.Holders[1].TaskName, w.Holders[1].Ended = "stocktaking", true
	s := w.Encode()
	sameEverything(t, s, map[string]any{
		taskspan.Report: "wait", taskspan.ReportSequence: int64(0),
		taskspan.TaskName: "reserve", taskspan.TaskState: "running", taskspan.TaskStart: int64(1000), taskspan.Holds: []any{"ext:a", "ext:b"},
		taskspan.WaitID: int64(9), taskspan.WaitRevision: int64(0), taskspan.WaitOpen: false, taskspan.WaitKind: "mutex",
		taskspan.WaitResourceID: "r1", taskspan.WaitResourceName: "slots",
	})
	for i, want := range []map[string]any{
		{taskspan.HoldGeneration: int64(0), taskspan.HoldSince: int64(0)},
		{
			taskspan.HoldGeneration: int64(3), taskspan.HoldSince: int64(1500), taskspan.HoldWeight: int64(2),
			taskspan.HoldTaskName: "stocktaking", taskspan.HoldEnded: true,
			taskspan.CodeFunctionName: "main.hold", taskspan.CodeFilePath: "/src/main.go", taskspan.CodeLineNumber: int64(40),
		},
	} {
		link := s.Links[i]
		sameEverything(t, &tracepb.Span{Attributes: link.Attributes}, want)
		if node := w.Holders[i].Node; link.TraceId[0] != node.Trace[0] || link.SpanId[0] != node.Span[0] {
			t.Errorf("link %d names %x/%x", i, link.TraceId, link.SpanId)
		}
	}

	// As many holders as fit are complete.
	w.Complete, w.Holders = true, make([]Holder, taskspan.MaxHolders)
	if s := w.Encode(); len(s.Links) != taskspan.MaxHolders || everything(s.Attributes)[taskspan.WaitHoldersComplete] != true {
		t.Errorf("%d links, complete is %v", len(s.Links), everything(s.Attributes)[taskspan.WaitHoldersComplete])
	}
}

// Each fact is said for itself, whatever else is known: one field at a time is set.
func TestEachFactAloneIsSaid(t *testing.T) {
	long := strings.Repeat("x", taskspan.MaxStringBytes+1)
	basic := everything((&Wait{}).Encode().Attributes)
	for _, test := range []struct {
		key  string
		want any // nil: the key is absent
		wait Wait
	}{
		{taskspan.WaitNeed, int64(1), Wait{Need: 1}},
		{taskspan.WaitNeed, nil, Wait{Need: 0}},
		{taskspan.WaitHoldersComplete, true, Wait{Complete: true}},
		{taskspan.WaitInferred, true, Wait{Inferred: true}},
		{taskspan.WaitCancellable, true, Wait{Cancellable: true}},
		{taskspan.WaitDeadline, int64(1), Wait{Deadline: 1}},
		{taskspan.WaitDeadline, int64(-1), Wait{Deadline: -1}},
		{taskspan.WaitRevision, int64(3), Wait{Revision: 3}},
		{taskspan.WaitOpen, true, Wait{Open: true}},
		{taskspan.WaitCallers, []any{"f a.go:3"}, Wait{Callers: []Place{{"f", "a.go", 3}}}},
		{taskspan.WaitCallers, []any{"f a.go:3", "g b.go:4"}, Wait{Callers: []Place{{"f", "a.go", 3}, {"g", "b.go", 4}, {"h", "c.go", 5}}}},
		{taskspan.WaitResourceID, ID(long), Wait{ResourceID: long}},
		{taskspan.WaitResourceName, Name(long), Wait{ResourceName: long}},
		{taskspan.TaskParentSpanID, "0000000000000006", Wait{Task: Task{Parent: [8]byte{7: 6}}}},
		{taskspan.TaskRemoteParent, "00000000000000000000000000000001/0000000000000002", Wait{Task: Task{Remote: Node{[16]byte{15: 1}, [8]byte{7: 2}}}}},
		{taskspan.ThreadID, int64(1), Wait{Task: Task{Goroutine: 1}}},
		{taskspan.CodeStacktrace, long, Wait{Task: Task{Stack: long}}},
		{taskspan.CodeStacktrace, strings.Repeat("x", taskspan.MaxStackBytes), Wait{Task: Task{Stack: strings.Repeat("x", taskspan.MaxStackBytes+1)}}},
		{taskspan.Holds, []any{ID(long)}, Wait{Task: Task{Holds: []Hold{{long, taskspan.EndsUnknown}}}}},
		{taskspan.HoldsEnds, nil, Wait{Task: Task{Holds: []Hold{{"a", taskspan.EndsUnknown}}}}},
		{taskspan.HoldsEnds, []any{int64(8), int64(taskspan.EndsUnknown)}, Wait{Task: Task{Holds: []Hold{{"a", 8}, {"b", taskspan.EndsUnknown}}}}},
		{taskspan.HoldsEnds, []any{int64(taskspan.EndsUnknown), int64(9)}, Wait{Task: Task{Holds: []Hold{{"a", taskspan.EndsUnknown}, {"b", 9}}}}},
		{taskspan.HoldsEnds, []any{int64(taskspan.EndsByRelease)}, Wait{Task: Task{Holds: []Hold{{"a", taskspan.EndsByRelease}}}}},
	} {
		got := everything(test.wait.Encode().Attributes)
		if !reflect.DeepEqual(got[test.key], test.want) {
			t.Errorf("%s is %.60v, want %.60v", test.key, got[test.key], test.want)
		}
		holds := test.key == taskspan.Holds || test.key == taskspan.HoldsEnds
		for key, v := range got {
			if key != test.key && !(holds && key == taskspan.Holds) && !reflect.DeepEqual(v, basic[key]) {
				t.Errorf("with %s alone, %s is %.60v, want %.60v", test.key, key, v, basic[key])
			}
		}
	}
	for _, test := range []struct {
		key    string
		want   any
		holder Holder
	}{
		{taskspan.HoldTaskName, "stocktaking", Holder{TaskName: "stocktaking"}},
		{taskspan.HoldEnded, true, Holder{Ended: true}},
		{taskspan.HoldGeneration, int64(3), Holder{Generation: 3}},
		{taskspan.HoldSince, int64(4), Holder{Since: 4}},
	} {
		w := Wait{Holders: []Holder{test.holder}}
		got := everything(w.Encode().Links[0].Attributes)
		want := map[string]any{taskspan.HoldGeneration: int64(0), taskspan.HoldSince: int64(0)}
		if want[test.key] = test.want; !reflect.DeepEqual(got, want) {
			t.Errorf("a holder is told as %v, want %v", got, want)
		}
	}
	for weight, want := range map[int64]any{0: nil, 1: nil, 2: int64(2), 3: int64(3)} {
		w := Wait{Holders: []Holder{{Weight: weight}}}
		if got := everything(w.Encode().Links[0].Attributes)[taskspan.HoldWeight]; got != want {
			t.Errorf("a weight of %d is told as %v, want %v", weight, got, want)
		}
	}

	order := everything((&LockOrder{}).Encode().Attributes)
	for _, test := range []struct {
		key   string
		want  any
		order LockOrder
	}{
		{taskspan.LockOrderHeld, ID(long), LockOrder{Held: long}},
		{taskspan.LockOrderTaken, ID(long), LockOrder{Taken: long}},
		{taskspan.LockOrderHeldName, "stock", LockOrder{HeldName: "stock"}},
		{taskspan.LockOrderTakenName, "orders", LockOrder{TakenName: "orders"}},
		{taskspan.LockOrderRecursive, true, LockOrder{Recursive: true}},
		{taskspan.LockOrderMode, "read/write", LockOrder{HeldReads: true}},
		{taskspan.LockOrderMode, "write/read", LockOrder{TakenReads: true}},
		{taskspan.LockOrderGuards, []any{"g"}, LockOrder{Guards: []string{"g"}}},
		{taskspan.LockOrderGuards, []any{"g", ID(long)}, LockOrder{Guards: []string{"g", long}}},
	} {
		got := everything(test.order.Encode().Attributes)
		if !reflect.DeepEqual(got[test.key], test.want) {
			t.Errorf("%s is %.60v, want %.60v", test.key, got[test.key], test.want)
		}
		for key, v := range got {
			if key != test.key && !reflect.DeepEqual(v, order[key]) {
				t.Errorf("with %s alone, %s is %.60v, want %.60v", test.key, key, v, order[key])
			}
		}
	}
}

// A report that is queued stays as it is, whatever becomes of what it was made of: who
// tells of a wait again changes the same struct.
func TestAReportIsACopy(t *testing.T) {
	w, order := exampleWait(), &LockOrder{Node: Node{[16]byte{1}, [8]byte{2}}, SpanID: [8]byte{3}, Guards: []string{"a"}}
	h := &Heartbeat{
		Trace: [16]byte{1}, NewSpanID: func() [8]byte { return [8]byte{4} }, WaitIDs: []uint64{5}, Revisions: []int64{6}, Dropped: []string{"a=1"},
		ByName: []taskspan.NameCounts{{Name: "a", Durations: &taskspan.Durations{Buckets: []int64{7}}}},
	}
	spans := append(h.Encode(), w.Encode(), w.Task.Encode(), order.Encode())
	var before []proto.Message
	for _, s := range spans {
		before = append(before, proto.Clone(s))
	}
	w.Node, w.SpanID, w.Parent, w.Remote, w.Observed = Node{}, [8]byte{}, [8]byte{}, Node{}, 0
	w.Holds[0], w.Holders[0] = Hold{}, Holder{}
	order.Node, order.SpanID, order.Guards[0] = Node{}, [8]byte{}, "b"
	h.Trace, h.WaitIDs[0], h.Revisions[0], h.Dropped[0], h.ByName[0].Durations.Buckets[0] = [16]byte{}, 0, 0, "", 0
	for i, s := range spans {
		if !proto.Equal(s, before[i]) {
			t.Errorf("%s was\n%v\nand became\n%v", s.Name, before[i], s)
		}
	}
}
