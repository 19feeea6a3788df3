package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

var (
	now     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	process = Process{Service: "orders", Instance: "1", Epoch: now.Add(-time.Hour).UnixNano()}
)

func span(kind taskspan.ReportKind) ptrace.Span {
	s := ptrace.NewSpan()
	s.SetTraceID([16]byte{1})
	s.SetSpanID([8]byte{2})
	s.SetParentSpanID([8]byte{3})
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-2 * time.Second)))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
	a := s.Attributes()
	a.PutStr(taskspan.Report, string(kind))
	a.PutInt(taskspan.ReportSequence, 5)
	return s
}

func taskAttributes(a pcommon.Map) {
	a.PutStr(taskspan.TaskName, "order")
	a.PutStr(taskspan.TaskState, "blocked")
	a.PutInt(taskspan.TaskStart, now.Add(-3*time.Second).UnixNano())
	a.PutStr(taskspan.TaskParentSpanID, "0000000000000009")
	a.PutStr(taskspan.TaskRemoteParent, "000102030405060708090a0b0c0d0e0f/0001020304050607")
	a.PutEmptySlice(taskspan.Holds).AppendEmpty().SetStr("ext:redis/lock")
	a.PutInt(taskspan.ThreadID, 18)
	a.PutStr(taskspan.CodeFunctionName, "main.f")
	a.PutStr(taskspan.CodeFilePath, "/src/main.go")
	a.PutInt(taskspan.CodeLineNumber, 12)
	a.PutStr(taskspan.CodeStacktrace, "main.f\n\tmain.go:12")
}

func waitSpan() ptrace.Span {
	s := span(taskspan.ReportWait)
	a := s.Attributes()
	taskAttributes(a)
	a.PutInt(taskspan.WaitID, 7)
	a.PutInt(taskspan.WaitRevision, 2)
	a.PutBool(taskspan.WaitOpen, true)
	a.PutStr(taskspan.WaitKind, "semaphore")
	a.PutStr(taskspan.WaitResourceID, "s1")
	a.PutStr(taskspan.WaitResourceName, "slots")
	a.PutInt(taskspan.WaitNeed, 2)
	a.PutBool(taskspan.WaitHoldersComplete, true)
	a.PutInt(taskspan.WaitDeadline, now.Add(time.Minute).UnixNano())
	a.PutBool(taskspan.WaitInferred, true)
	l := s.Links().AppendEmpty()
	l.SetTraceID([16]byte{4})
	l.SetSpanID([8]byte{5})
	l.Attributes().PutInt(taskspan.HoldGeneration, 3)
	l.Attributes().PutStr(taskspan.HoldTaskName, "restock")
	l.Attributes().PutBool(taskspan.HoldEnded, true)
	l.Attributes().PutInt(taskspan.HoldSince, now.Add(-time.Minute).UnixNano())
	l.Attributes().PutInt(taskspan.HoldWeight, 4)
	l.Attributes().PutStr(taskspan.CodeFunctionName, "main.g")
	return s
}

func heartbeatSpan() ptrace.Span {
	s := span(taskspan.ReportHeartbeat)
	s.SetParentSpanID([8]byte{})
	a := s.Attributes()
	a.PutInt(taskspan.HeartbeatIntervalMS, 5000)
	a.PutBool(taskspan.HeartbeatFinal, true)
	a.PutBool(taskspan.HeartbeatAcknowledged, true)
	a.PutInt(taskspan.HeartbeatPart, 2)
	a.PutInt(taskspan.HeartbeatParts, 3)
	a.PutEmptySlice(taskspan.WaitsIDs).AppendEmpty().SetInt(7)
	a.PutEmptySlice(taskspan.WaitsRevisions).AppendEmpty().SetInt(2)
	for i, key := range []string{
		taskspan.TasksRunning, taskspan.TasksBlocked, taskspan.TasksStarted, taskspan.TasksCompleted,
		taskspan.TasksFailed, taskspan.TasksCancelled, taskspan.Events,
	} {
		a.PutInt(key, int64(i+1))
	}
	a.PutEmptySlice(taskspan.TasksByName).AppendEmpty().SetStr(
		`{"name":"order","started":3,"completed":4,"failed":5,"cancelled":6,"running":1,"blocked":2,
		"durations":{"seconds":12.5,"buckets":[7,8,9]}}`)
	a.PutEmptySlice(taskspan.Dropped).AppendEmpty().SetStr("queue_full=9")
	a.PutDouble(taskspan.Overhead, 0.5)
	a.PutDouble(taskspan.SamplingRate, 0.25)
	a.PutStr(taskspan.Memory, `{"task_count":1}`)
	return s
}

func lockOrderSpan() ptrace.Span {
	s := span(taskspan.ReportLockOrder)
	a := s.Attributes()
	a.PutStr(taskspan.LockOrderHeld, "a")
	a.PutStr(taskspan.LockOrderTaken, "b")
	a.PutEmptySlice(taskspan.LockOrderGuards).AppendEmpty().SetStr("c")
	a.PutStr(taskspan.LockOrderMode, "write/read")
	a.PutStr(taskspan.LockOrderHeldName, "a's name")
	a.PutStr(taskspan.LockOrderTakenName, "b's name")
	a.PutBool(taskspan.LockOrderRecursive, true)
	a.PutStr(taskspan.LockOrderHeldFunction, "main.holds")
	a.PutStr(taskspan.LockOrderHeldFile, "/src/holds.go")
	a.PutInt(taskspan.LockOrderHeldLine, 34)
	a.PutStr(taskspan.CodeFunctionName, "main.takes")
	a.PutStr(taskspan.CodeFilePath, "/src/takes.go")
	a.PutInt(taskspan.CodeLineNumber, 56)
	return s
}

func ptr[T any](v T) *T { return &v }

func TestEveryAttributeArrives(t *testing.T) {
	s := waitSpan()
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.Equal(t, Report{
		Process: process, Sequence: 5, Observed: now,
		Task: &Task{
			ID: TaskID{Trace: [16]byte{1}, Span: [8]byte{3}}, Name: "order", State: taskspan.Blocked,
			Start: now.Add(-3 * time.Second), ParentSpan: [8]byte{7: 9},
			RemoteParent: TaskID{
				Trace: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
				Span:  [8]byte{0, 1, 2, 3, 4, 5, 6, 7},
			},
			Holds: []Hold{{Resource: "ext:redis/lock"}}, Thread: 18,
		},
		Wait: &Wait{
			ID: 7, Revision: 2, Open: true, Kind: taskspan.WaitSemaphore, ResourceID: "s1", ResourceName: "slots",
			Since: now.Add(-2 * time.Second), Need: 2, Complete: true, Deadline: now.Add(time.Minute), Inferred: true,
			Holders: []Holder{{
				Task: TaskID{Trace: [16]byte{4}, Span: [8]byte{5}}, Generation: 3, Weight: 4, TaskName: "restock", Ended: true,
				Since: now.Add(-time.Minute), Place: Place{Function: "main.g"},
			}},
			Place: Place{Function: "main.f", File: "/src/main.go", Line: 12, Stack: "main.f\n\tmain.go:12"},
		},
	}, got)
	require.Equal(t, taskspan.ReportWait, got.Kind())

	got, drop = Decode(process, heartbeatSpan(), now)
	require.Equal(t, Used, drop)
	counts := Counts{Started: 3, Completed: 4, Failed: 5, Cancelled: 6}
	require.Equal(t, &Heartbeat{
		Interval: 5 * time.Second, Final: true, Acknowledged: ptr(true), Part: 2, Parts: 3, WaitIDs: []int64{7}, Revisions: []int64{2},
		Running: 1, Blocked: 2, Counts: counts, Events: 7,
		ByName: map[string]NameCounts{"order": {
			Counts: counts, Running: 1, Blocked: 2,
			Durations: Durations{Seconds: 12.5, Buckets: [taskspan.DurationBuckets]int64{7, 8, 9}},
		}},
		Dropped: map[string]int64{"queue_full": 9}, Overhead: 0.5, Rate: 0.25, Memory: `{"task_count":1}`,
	}, got.Heartbeat)
	require.Equal(t, taskspan.ReportHeartbeat, got.Kind())

	s = span(taskspan.ReportTask)
	taskAttributes(s.Attributes())
	got, drop = Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.Equal(t, "main.f", got.Task.Place.Function)
	require.Equal(t, taskspan.ReportTask, got.Kind())

	got, drop = Decode(process, lockOrderSpan(), now)
	require.Equal(t, Used, drop)
	require.Equal(t, &LockOrder{
		Task: TaskID{Trace: [16]byte{1}, Span: [8]byte{3}},
		Held: "a", Taken: "b", HeldName: "a's name", TakenName: "b's name", Recursive: true,
		Guards: []string{"c"}, Mode: "write/read",
		HeldPlace: Place{Function: "main.holds", File: "/src/holds.go", Line: 34},
		Place:     Place{Function: "main.takes", File: "/src/takes.go", Line: 56},
	}, got.LockOrder)
	require.Equal(t, taskspan.ReportLockOrder, got.Kind())
}

// TestEveryAttributeIsTyped gives each attribute of each report a wrong type.
func TestEveryAttributeIsTyped(t *testing.T) {
	for _, newSpan := range []func() ptrace.Span{waitSpan, heartbeatSpan, lockOrderSpan} {
		for key := range newSpan().Attributes().All() {
			s := newSpan()
			s.Attributes().PutEmptyBytes(key)
			_, drop := Decode(process, s, now)
			require.Equal(t, DropType, drop, key)
		}
	}
	for key := range waitSpan().Links().At(0).Attributes().All() {
		s := waitSpan()
		s.Links().At(0).Attributes().PutEmptyBytes(key)
		_, drop := Decode(process, s, now)
		require.Equal(t, DropType, drop, "link attribute %s", key)
	}
}

func TestWhatIsRefused(t *testing.T) {
	later := func(d time.Duration) pcommon.Timestamp { return pcommon.NewTimestampFromTime(now.Add(d)) }
	fill := func(s pcommon.Slice, n int) {
		for range n {
			s.AppendEmpty().SetInt(1)
		}
	}
	for name, c := range map[string]struct {
		span func() ptrace.Span
		edit func(ptrace.Span, pcommon.Map)
		want Drop
	}{
		"no kind":               {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.Report) }, DropKind},
		"unknown kind":          {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.Report, "x") }, DropKind},
		"no sequence":           {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.ReportSequence) }, DropMissing},
		"no trace id":           {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetTraceID([16]byte{}) }, DropSpanID},
		"no span id":            {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetSpanID([8]byte{}) }, DropSpanID},
		"no task":               {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetParentSpanID([8]byte{}) }, DropSpanID},
		"no task of the order":  {lockOrderSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetParentSpanID([8]byte{}) }, DropSpanID},
		"no start":              {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetStartTimestamp(0) }, DropTime},
		"ends before it starts": {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetStartTimestamp(later(time.Second)) }, DropTime},
		"a day and more ahead":  {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetEndTimestamp(later(MaxClockError + 1)) }, DropTime},
		"a day and more behind": {waitSpan, func(s ptrace.Span, a pcommon.Map) {
			a.PutInt(taskspan.TaskStart, now.Add(-60*time.Hour).UnixNano())
			s.SetStartTimestamp(later(-50 * time.Hour))
			s.SetEndTimestamp(later(-MaxClockError - 1))
		}, DropTime},
		"beyond int64":           {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.SetEndTimestamp(math.MaxUint64) }, DropTime},
		"task of the future":     {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.TaskStart, now.UnixNano()+1) }, DropTime},
		"task of no time":        {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.TaskStart, 0) }, DropTime},
		"negative wait id":       {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.WaitID, -1) }, DropValue},
		"negative weight":        {waitSpan, func(s ptrace.Span, _ pcommon.Map) { s.Links().At(0).Attributes().PutInt(taskspan.HoldWeight, -1) }, DropValue},
		"unknown wait kind":      {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.WaitKind, "nap") }, DropValue},
		"unknown state":          {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.TaskState, "asleep") }, DropValue},
		"lost by its own word":   {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.TaskState, "lost") }, DropValue},
		"short parent id":        {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.TaskParentSpanID, "12") }, DropValue},
		"parent id is not hex":   {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.TaskParentSpanID, "zz00000000000000") }, DropValue},
		"remote parent has none": {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.TaskRemoteParent, "12") }, DropValue},
		"line of a giant":        {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.CodeLineNumber, math.MaxInt64) }, DropValue},
		"no wait id":             {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.WaitID) }, DropMissing},
		"no revision":            {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.WaitRevision) }, DropMissing},
		"no open":                {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.WaitOpen) }, DropMissing},
		"no resource":            {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.WaitResourceID) }, DropMissing},
		"no task name":           {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.TaskName) }, DropMissing},
		"no task start":          {waitSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.TaskStart) }, DropMissing},
		"no held class":          {lockOrderSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.LockOrderHeld) }, DropMissing},
		"no interval":            {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.HeartbeatIntervalMS) }, DropMissing},
		"unknown lock mode":      {lockOrderSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutStr(taskspan.LockOrderMode, "read/only") }, DropValue},
		"interval of 0":          {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.HeartbeatIntervalMS, 0) }, DropValue},
		"more than an hour":      {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.HeartbeatIntervalMS, 3_600_001) }, DropValue},
		"one more than a count":  {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.TasksFailed, maxCount+1) }, DropValue},
		"interval of a day":      {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.HeartbeatIntervalMS, 86_400_000) }, DropValue},
		"part 0":                 {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.HeartbeatPart, 0) }, DropValue},
		"part 4 of 3":            {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.HeartbeatPart, 4) }, DropValue},
		"17 parts":               {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.HeartbeatParts, MaxParts+1) }, DropValue},
		"ids without revisions":  {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.Remove(taskspan.WaitsRevisions) }, DropValue},
		"more ids than a part": {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) {
			fill(a.PutEmptySlice(taskspan.WaitsIDs), taskspan.MaxHeartbeatWaits+1)
		}, DropTooLong},
		"more drop reasons": {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) {
			fill(a.PutEmptySlice(taskspan.Dropped), MaxDropReasons+1)
		}, DropTooLong},
		"counts that overflow": {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutInt(taskspan.TasksStarted, math.MaxInt64) }, DropValue},
		"a rate above 1":       {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutDouble(taskspan.SamplingRate, 1.1) }, DropValue},
		"overhead of NaN":      {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutDouble(taskspan.Overhead, math.NaN()) }, DropValue},
		"drops of no kind":     {heartbeatSpan, func(_ ptrace.Span, a pcommon.Map) { a.PutEmptySlice(taskspan.Dropped).AppendEmpty().SetStr("x") }, DropValue},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.span()
			c.edit(s, s.Attributes())
			got, drop := Decode(process, s, now)
			require.Equal(t, c.want, drop, "dropped as %s", drop)
			if far := !got.Observed.IsZero(); far {
				// It is whole, so that the clock of its process can be learned from it.
				require.Equal(t, DropTime, drop)
				require.Greater(t, got.Observed.Sub(now).Abs(), MaxClockError)
				_, drop = Decode(process, s, got.Observed)
				require.Equal(t, Used, drop, "by the clock of its process")
				return
			}
			require.Zero(t, got)
		})
	}
	future := process
	future.Epoch = now.Add(MaxClockError + 1).UnixNano()
	_, drop := Decode(future, waitSpan(), now)
	require.Equal(t, Used, drop, "the clock of the process was set back since it began")
}

func TestWhatIsCutOnlyHides(t *testing.T) {
	s := waitSpan()
	link := s.Links().At(0)
	for range taskspan.MaxHolders {
		link.CopyTo(s.Links().AppendEmpty())
	}
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.Len(t, got.Wait.Holders, taskspan.MaxHolders)
	require.False(t, got.Wait.Complete, "holders that were cut may let go")
	require.True(t, got.Shortened)

	s = waitSpan()
	s.Links().At(0).SetSpanID([8]byte{})
	got, _ = Decode(process, s, now)
	require.Empty(t, got.Wait.Holders)
	require.False(t, got.Wait.Complete, "a link to nobody is a holder that is not known")

	long := strings.Repeat("é", taskspan.MaxStringBytes)
	s = waitSpan()
	s.Attributes().PutStr(taskspan.WaitResourceID, long)
	got, _ = Decode(process, s, now)
	require.False(t, got.Wait.Complete, "two long ids may have become one")
	require.Len(t, got.Wait.ResourceID, taskspan.MaxStringBytes)

	s = waitSpan()
	s.Attributes().PutStr(taskspan.TaskName, "x"+long)
	s.Attributes().PutEmptySlice(taskspan.Holds).AppendEmpty().SetStr(long)
	s.Attributes().PutStr(taskspan.CodeStacktrace, strings.Repeat("x", taskspan.MaxStackBytes+1))
	got, _ = Decode(process, s, now)
	require.Equal(t, "x"+strings.Repeat("é", 127), got.Task.Name, "no character is split")
	require.Empty(t, got.Task.Holds, "a cut name could be that of something else")
	require.Len(t, got.Wait.Place.Stack, taskspan.MaxStackBytes)
	require.True(t, got.Wait.Complete)
}

func TestNamesBeyondTheLimitAreSummed(t *testing.T) {
	s := heartbeatSpan()
	names := s.Attributes().PutEmptySlice(taskspan.TasksByName)
	for i := range taskspan.MaxNames + 50 {
		names.AppendEmpty().SetStr(`{"name":"n` + strings.Repeat("x", i%200) + string(rune('a'+i/200)) + `","started":1}`)
	}
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.Len(t, got.Heartbeat.ByName, taskspan.MaxNames+1)
	require.EqualValues(t, 50, got.Heartbeat.ByName[taskspan.OtherNames].Started)
}

func TestTasksWithoutANameAreCountedAsOther(t *testing.T) {
	s := heartbeatSpan()
	s.Attributes().PutEmptySlice(taskspan.TasksByName).AppendEmpty().SetStr(`{"name":"","started":3}`)
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	require.Equal(t, map[string]NameCounts{taskspan.OtherNames: {Counts: Counts{Started: 3}}}, got.Heartbeat.ByName)
}

func TestAWaitMayHaveBegunDaysAgo(t *testing.T) {
	s := waitSpan()
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-10 * 24 * time.Hour)))
	_, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
}

func TestAProcessIsNamedWhole(t *testing.T) {
	resource := func() pcommon.Map {
		m := pcommon.NewMap()
		m.PutStr(taskspan.ServiceName, process.Service)
		m.PutStr(taskspan.ServiceInstanceID, process.Instance)
		m.PutInt(taskspan.ProcessEpoch, process.Epoch)
		return m
	}
	got, drop := DecodeProcess(resource())
	require.Equal(t, Used, drop)
	require.Equal(t, process, got)
	for _, key := range []string{taskspan.ServiceName, taskspan.ServiceInstanceID, taskspan.ProcessEpoch} {
		m := resource()
		m.Remove(key)
		_, drop = DecodeProcess(m)
		require.Equal(t, DropIdentity, drop, "without %s", key)
		m.PutBool(key, true)
		_, drop = DecodeProcess(m)
		require.Equal(t, DropIdentity, drop, "%s of the wrong type", key)
		if key != taskspan.ProcessEpoch {
			m.PutStr(key, strings.Repeat("x", taskspan.MaxStringBytes+1))
			_, drop = DecodeProcess(m)
			require.Equal(t, DropIdentity, drop, "%s too long", key)
		}
	}
	for epoch, want := range map[int64]Drop{-1: DropIdentity, 0: DropIdentity, 1: Used} {
		m := resource()
		m.PutInt(taskspan.ProcessEpoch, epoch)
		_, drop = DecodeProcess(m)
		require.Equal(t, want, drop, "epoch %d", epoch)
	}
}

func FuzzDecode(f *testing.F) {
	marshal := &ptrace.ProtoMarshaler{}
	files, err := filepath.Glob("../../testdata/protocol/*.json")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		if strings.HasSuffix(file, ".want.json") {
			continue
		}
		raw, err := os.ReadFile(file)
		require.NoError(f, err)
		td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(raw)
		require.NoError(f, err)
		raw, err = marshal.MarshalTraces(td)
		require.NoError(f, err)
		f.Add(raw)
	}
	vectorNow := time.Unix(1767225650, 0)
	f.Fuzz(func(t *testing.T, raw []byte) {
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
		if err != nil {
			return
		}
		for _, rs := range td.ResourceSpans().All() {
			process, drop := DecodeProcess(rs.Resource().Attributes())
			if drop != Used {
				require.Zero(t, process)
			}
			for _, scope := range rs.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					r, drop := Decode(process, span, vectorNow)
					if drop != Used && (drop != DropTime || r.Observed.IsZero()) {
						require.Zero(t, r)
						continue
					}
					checkBounds(t, &r)
				}
			}
		}
	})
}

// checkBounds fails if something got through that the types promise not to hold.
func checkBounds(t *testing.T, r *Report) {
	short := func(texts ...string) {
		for _, s := range texts {
			require.LessOrEqual(t, len(s), taskspan.MaxStringBytes)
		}
	}
	require.False(t, r.Sequence < 0 || r.Observed.IsZero())
	if task := r.Task; task != nil {
		short(task.Name, string(task.State), task.Place.Function, task.Place.File)
		for _, h := range task.Holds {
			short(h.Resource)
			require.False(t, h.UntilReleased && !h.Ends.IsZero())
		}
		require.LessOrEqual(t, len(task.Holds), MaxHolds)
		require.NotZero(t, task.ID.Trace)
		require.NotZero(t, task.ID.Span)
		require.False(t, task.Start.After(r.Observed))
	}
	if w := r.Wait; w != nil {
		require.NotNil(t, r.Task)
		short(w.ResourceID, w.ResourceName, w.Place.Function, w.Place.File)
		require.LessOrEqual(t, len(w.Holders), taskspan.MaxHolders)
		require.LessOrEqual(t, len(w.Place.Stack), taskspan.MaxStackBytes)
		require.False(t, w.ID < 0 || w.Revision < 0 || w.Need < 0 || w.Since.After(r.Observed))
		for _, h := range w.Holders {
			require.False(t, h.Task.IsZero() || h.Weight < 0 || h.Generation < 0)
		}
	}
	if h := r.Heartbeat; h != nil {
		require.Len(t, h.Revisions, len(h.WaitIDs))
		require.LessOrEqual(t, len(h.WaitIDs), taskspan.MaxHeartbeatWaits)
		require.LessOrEqual(t, len(h.ByName), taskspan.MaxNames+1)
		require.True(t, 1 <= h.Part && h.Part <= h.Parts && h.Parts <= MaxParts && h.Interval > 0)
	}
	if o := r.LockOrder; o != nil {
		short(append(o.Guards, o.Held, o.Taken, o.Mode)...)
	}
}

func BenchmarkDecodeWait(b *testing.B) {
	s := waitSpan()
	b.ReportAllocs()
	for range b.N {
		if _, drop := Decode(process, s, now); drop != Used {
			b.Fatal(drop)
		}
	}
}

func BenchmarkDecodeHeartbeat(b *testing.B) {
	s := heartbeatSpan()
	b.ReportAllocs()
	for range b.N {
		if _, drop := Decode(process, s, now); drop != Used {
			b.Fatal(drop)
		}
	}
}

// An element that cannot be used costs neither the lease of the waits nor a count: what
// the totals count beside the other elements is counted under "other".
func TestABadNameIsCountedUnderOther(t *testing.T) {
	const (
		good = `{"name":"order","started":20,"completed":7,"failed":5,"cancelled":3,"running":4,"blocked":1,"durations":{"seconds":2.5,"buckets":[11,4]}}`
		more = `{"name":"other","started":2,"completed":1,"running":1}`
	)
	totals := Counts{Started: 41, Completed: 18, Failed: 11, Cancelled: 8}
	running, blocked := int64(9), int64(4)
	order := NameCounts{
		Counts: Counts{Started: 20, Completed: 7, Failed: 5, Cancelled: 3}, Running: 4, Blocked: 1,
		Durations: Durations{Seconds: 2.5, Buckets: [taskspan.DurationBuckets]int64{11, 4}},
	}
	rest := NameCounts{Counts: Counts{Started: 21, Completed: 11, Failed: 6, Cancelled: 5}, Running: 5, Blocked: 3}
	for name, bad := range map[string]func(pcommon.Slice){
		"not JSON":   func(s pcommon.Slice) { s.AppendEmpty().SetStr("{") },
		"not a text": func(s pcommon.Slice) { s.AppendEmpty().SetInt(1) },
		"empty":      func(s pcommon.Slice) { s.AppendEmpty().SetStr("") },
		"too long": func(s pcommon.Slice) {
			s.AppendEmpty().SetStr(`{"name":"` + strings.Repeat("x", taskspan.MaxJSONBytes) + `"}`)
		},
		"negative":      func(s pcommon.Slice) { s.AppendEmpty().SetStr(`{"name":"x","started":-1}`) },
		"a giant":       func(s pcommon.Slice) { s.AppendEmpty().SetStr(`{"name":"x","blocked":1125899906842625}`) },
		"a fraction":    func(s pcommon.Slice) { s.AppendEmpty().SetStr(`{"name":"x","started":1.5}`) },
		"negative time": func(s pcommon.Slice) { s.AppendEmpty().SetStr(`{"name":"x","durations":{"seconds":-1,"buckets":[1]}}`) },
		"much time": func(s pcommon.Slice) {
			s.AppendEmpty().SetStr(`{"name":"x","durations":{"seconds":1e16,"buckets":[1]}}`)
		},
		"a negative bucket": func(s pcommon.Slice) {
			s.AppendEmpty().SetStr(`{"name":"x","durations":{"seconds":1,"buckets":[0,-1]}}`)
		},
		"a bucket too many": func(s pcommon.Slice) {
			s.AppendEmpty().SetStr(`{"name":"x","durations":{"seconds":1,"buckets":[0` + strings.Repeat(",0", taskspan.DurationBuckets) + `]}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				elements []string
				other    NameCounts
			}{
				{[]string{good}, rest},
				{[]string{good, more}, rest}, // the rest and what is other already make the same sum
			} {
				s := heartbeatSpan()
				a := s.Attributes()
				a.PutInt(taskspan.TasksStarted, totals.Started)
				a.PutInt(taskspan.TasksCompleted, totals.Completed)
				a.PutInt(taskspan.TasksFailed, totals.Failed)
				a.PutInt(taskspan.TasksCancelled, totals.Cancelled)
				a.PutInt(taskspan.TasksRunning, running)
				a.PutInt(taskspan.TasksBlocked, blocked)
				names := a.PutEmptySlice(taskspan.TasksByName)
				bad(names)
				for _, e := range c.elements {
					names.AppendEmpty().SetStr(e)
				}
				bad(names)
				got, drop := Decode(process, s, now)
				require.Equal(t, Used, drop)
				require.Equal(t, map[string]NameCounts{"order": order, "other": c.other}, got.Heartbeat.ByName)
				require.Equal(t, []int64{7}, got.Heartbeat.WaitIDs)
				require.True(t, got.Shortened)
			}
		})
	}
	t.Run("more elements than are read", func(t *testing.T) {
		s := heartbeatSpan()
		s.Attributes().PutInt(taskspan.TasksStarted, 3*maxNameElements)
		names := s.Attributes().PutEmptySlice(taskspan.TasksByName)
		for range maxNameElements + 1 {
			names.AppendEmpty().SetStr(`{"name":"x","started":2}`)
		}
		got, drop := Decode(process, s, now)
		require.Equal(t, Used, drop)
		require.EqualValues(t, 2*maxNameElements, got.Heartbeat.ByName["x"].Started)
		require.EqualValues(t, maxNameElements, got.Heartbeat.ByName["other"].Started)
	})
	t.Run("totals below the sum of the names", func(t *testing.T) {
		s := heartbeatSpan()
		names := s.Attributes().PutEmptySlice(taskspan.TasksByName)
		names.AppendEmpty().SetStr(good)
		names.AppendEmpty().SetStr("{")
		got, drop := Decode(process, s, now)
		require.Equal(t, Used, drop)
		require.Equal(t, NameCounts{Counts: Counts{Cancelled: 3}, Blocked: 1}, got.Heartbeat.ByName["other"])
	})
}

// Both sides of every limit of a heartbeat: at the limit all is there, beyond it nothing
// is invented, and what was cut is said.
func TestTheLimitsOfAHeartbeat(t *testing.T) {
	names := func(n int) func(ptrace.Span) {
		return func(s ptrace.Span) {
			list := s.Attributes().PutEmptySlice(taskspan.TasksByName)
			for i := range n {
				list.AppendEmpty().SetStr(fmt.Sprintf(`{"name":"task %d","started":%d}`, i, i+3))
			}
		}
	}
	fill := func(key string, n int) func(ptrace.Span) {
		return func(s ptrace.Span) {
			for _, k := range []string{taskspan.WaitsIDs, taskspan.WaitsRevisions} {
				if key == k || key == "" {
					list := s.Attributes().PutEmptySlice(k)
					for i := range n {
						list.AppendEmpty().SetInt(int64(i))
					}
				}
			}
		}
	}
	put := func(edit func(pcommon.Map)) func(ptrace.Span) {
		return func(s ptrace.Span) { edit(s.Attributes()) }
	}
	for name, c := range map[string]struct {
		edit  func(ptrace.Span)
		drop  Drop
		cut   bool
		check func(*testing.T, *Heartbeat)
	}{
		"as many names as are told apart": {names(taskspan.MaxNames), Used, false, func(t *testing.T, h *Heartbeat) {
			require.Len(t, h.ByName, taskspan.MaxNames)
			require.EqualValues(t, taskspan.MaxNames+2, h.ByName[fmt.Sprint("task ", taskspan.MaxNames-1)].Started)
		}},
		"two more": {names(taskspan.MaxNames + 2), Used, true, func(t *testing.T, h *Heartbeat) {
			require.Len(t, h.ByName, taskspan.MaxNames+1)
			require.EqualValues(t, 2*taskspan.MaxNames+7, h.ByName["other"].Started)
		}},
		"as many waits as a part holds": {fill("", taskspan.MaxHeartbeatWaits), Used, false, func(t *testing.T, h *Heartbeat) {
			require.Len(t, h.WaitIDs, taskspan.MaxHeartbeatWaits)
			require.Len(t, h.Revisions, taskspan.MaxHeartbeatWaits)
		}},
		"one wait more": {fill("", taskspan.MaxHeartbeatWaits+1), DropTooLong, false, nil},
		"the last part": {put(func(a pcommon.Map) {
			a.PutInt(taskspan.HeartbeatPart, MaxParts)
			a.PutInt(taskspan.HeartbeatParts, MaxParts)
		}), Used, false, func(t *testing.T, h *Heartbeat) {
			require.Equal(t, MaxParts, h.Part)
		}},
		"the first part": {put(func(a pcommon.Map) { a.PutInt(taskspan.HeartbeatPart, 1) }), Used, false, func(t *testing.T, h *Heartbeat) { require.Equal(t, 1, h.Part) }},
		"every hour": {put(func(a pcommon.Map) { a.PutInt(taskspan.HeartbeatIntervalMS, 3_600_000) }), Used, false, func(t *testing.T, h *Heartbeat) {
			require.Equal(t, time.Hour, h.Interval)
		}},
		"every millisecond": {put(func(a pcommon.Map) { a.PutInt(taskspan.HeartbeatIntervalMS, 1) }), Used, false, func(t *testing.T, h *Heartbeat) {
			require.Equal(t, time.Millisecond, h.Interval)
		}},
		"the largest count": {put(func(a pcommon.Map) { a.PutInt(taskspan.TasksFailed, maxCount) }), Used, false, func(t *testing.T, h *Heartbeat) {
			require.EqualValues(t, maxCount, h.Counts.Failed)
		}},
		"a rate of 1": {put(func(a pcommon.Map) { a.PutDouble(taskspan.SamplingRate, 1) }), Used, false, func(t *testing.T, h *Heartbeat) { require.EqualValues(t, 1, h.Rate) }},
		"a drop of 0": {put(func(a pcommon.Map) { a.PutEmptySlice(taskspan.Dropped).AppendEmpty().SetStr("x=0") }), Used, false, func(t *testing.T, h *Heartbeat) {
			require.Equal(t, map[string]int64{"x": 0}, h.Dropped)
		}},
		"statistics of 4 kB": {put(func(a pcommon.Map) { a.PutStr(taskspan.Memory, strings.Repeat("m", taskspan.MaxJSONBytes)) }), Used, false, func(t *testing.T, h *Heartbeat) {
			require.Len(t, h.Memory, taskspan.MaxJSONBytes)
		}},
		"more statistics": {put(func(a pcommon.Map) { a.PutStr(taskspan.Memory, strings.Repeat("m", taskspan.MaxJSONBytes+1)) }), Used, true, func(t *testing.T, h *Heartbeat) {
			require.Empty(t, h.Memory)
		}},
		"no time and much time": {put(func(a pcommon.Map) {
			list := a.PutEmptySlice(taskspan.TasksByName)
			list.AppendEmpty().SetStr(`{"name":"none","durations":{"seconds":0,"buckets":[2]}}`)
			list.AppendEmpty().SetStr(fmt.Sprintf(`{"name":"much","durations":{"seconds":%d,"buckets":[3]}}`, int64(maxSeconds)))
		}), Used, false, func(t *testing.T, h *Heartbeat) {
			require.EqualValues(t, 2, h.ByName["none"].Durations.Buckets[0])
			require.EqualValues(t, maxSeconds, h.ByName["much"].Durations.Seconds)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := heartbeatSpan()
			c.edit(s)
			got, drop := Decode(process, s, now)
			require.Equal(t, c.drop, drop)
			require.Equal(t, c.cut, got.Shortened)
			if c.check != nil {
				c.check(t, got.Heartbeat)
			}
		})
	}
}

// Holds that are not told make nothing certain; each limit is said to have been met.
func TestTheLimitsOfHolds(t *testing.T) {
	for name, c := range map[string]struct {
		holds []string
		want  int
		cut   bool
	}{
		"at the limit of a name": {[]string{strings.Repeat("x", taskspan.MaxStringBytes), "b"}, 2, false},
		"beyond it":              {[]string{strings.Repeat("x", taskspan.MaxStringBytes+1), "b"}, 1, true},
		"as many as are kept":    {slices.Repeat([]string{"a"}, MaxHolds), MaxHolds, false},
		"one more":               {slices.Repeat([]string{"a"}, MaxHolds+1), MaxHolds, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := waitSpan()
			list := s.Attributes().PutEmptySlice(taskspan.Holds)
			for _, hold := range c.holds {
				list.AppendEmpty().SetStr(hold)
			}
			got, drop := Decode(process, s, now)
			require.Equal(t, Used, drop)
			require.Len(t, got.Task.Holds, c.want)
			require.Equal(t, c.cut, got.Shortened)
		})
	}
}

// Each flag of a wait is its own, and what is left out has its default.
func TestFlagsOfAWait(t *testing.T) {
	type flags struct{ open, complete, inferred, cancellable bool }
	for i := range 16 {
		want := flags{i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0}
		s := waitSpan()
		a := s.Attributes()
		a.PutBool(taskspan.WaitOpen, want.open)
		a.PutBool(taskspan.WaitHoldersComplete, want.complete)
		a.PutBool(taskspan.WaitInferred, want.inferred)
		a.PutBool(taskspan.WaitCancellable, want.cancellable)
		got, drop := Decode(process, s, now)
		require.Equal(t, Used, drop)
		require.Equal(t, want, flags{got.Wait.Open, got.Wait.Complete, got.Wait.Inferred, got.Wait.Cancellable})
	}
	s := waitSpan()
	for _, key := range []string{taskspan.WaitHoldersComplete, taskspan.WaitInferred, taskspan.WaitCancellable, taskspan.WaitResourceName} {
		s.Attributes().Remove(key)
	}
	for _, key := range []string{taskspan.HoldWeight, taskspan.HoldEnded} {
		s.Links().At(0).Attributes().Remove(key)
	}
	got, drop := Decode(process, s, now)
	require.Equal(t, Used, drop)
	w := got.Wait
	require.Equal(t, flags{open: true}, flags{w.Open, w.Complete, w.Inferred, w.Cancellable})
	require.Equal(t, "s1", w.ResourceName)
	require.EqualValues(t, 1, w.Holders[0].Weight)
	require.False(t, w.Holders[0].Ended)
}

// clocks are those of processes that are all ahead by the same time, once they are known.
type clocks struct {
	ahead time.Duration
	known bool
	asked int
}

func (c *clocks) Present(_ Process, now time.Time) time.Time {
	if c.known {
		return now.Add(c.ahead)
	}
	return now
}

func (c *clocks) Refused(r *Report, _ time.Time) bool {
	c.asked++
	c.known = c.ahead != 0 && r.Observed.Sub(now) == c.ahead
	return c.known
}

// What was refused for its time is read by the clock that it tells of.
func TestAClockIsLearnedFromWhatIsRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		off   time.Duration
		edit  func(ptrace.Span)
		ahead time.Duration // as Refused finds
		want  Drop
		asked int
	}{
		{"the right time", 0, nil, 0, Used, 0},
		{"far ahead, and that is its clock", 30 * time.Hour, nil, 30 * time.Hour, Used, 1},
		{"far ahead, and its clock is not known", 30 * time.Hour, nil, 0, DropTime, 1},
		{"far behind, and that is its clock", -40 * time.Hour, nil, -40 * time.Hour, Used, 1},
		{"no time at all", 0, func(s ptrace.Span) { s.SetEndTimestamp(0) }, 0, DropTime, 0},
		{"something else is wrong", 30 * time.Hour, func(s ptrace.Span) { s.Attributes().Remove(taskspan.WaitID) }, 30 * time.Hour, DropMissing, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := waitSpan()
			s.Attributes().PutInt(taskspan.TaskStart, now.Add(c.off-time.Minute).UnixNano())
			s.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(c.off - time.Second)))
			s.SetEndTimestamp(pcommon.NewTimestampFromTime(now.Add(c.off)))
			if c.edit != nil {
				c.edit(s)
			}
			known := &clocks{ahead: c.ahead}
			old := process
			old.Epoch = now.Add(-50 * time.Hour).UnixNano()
			_, drop := DecodeBy(known, old, s, now)
			require.Equal(t, c.want, drop)
			require.Equal(t, c.asked, known.asked)
		})
	}
}
