package reporttest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	now := time.Now().UTC()
	p := report.Process{Service: "a", Instance: "1", Epoch: now.UnixNano()}
	id := report.TaskID{Trace: [16]byte{1}, Span: [8]byte{2}}
	task := &report.Task{ID: id, Name: "x", State: taskspan.Blocked, Start: now.Add(-time.Minute), RemoteParent: id, Thread: 7, Holds: []report.Hold{
		{Resource: "ext:a"}, {Resource: "ext:b", UntilReleased: true}, {Resource: "ext:c", Ends: now.Add(time.Hour)},
	}}
	wait := &report.Wait{
		ID: 5, Revision: 2, Open: true, Kind: taskspan.WaitSemaphore, ResourceID: "r", ResourceName: "n", Since: now.Add(-time.Second),
		Need: 2, Complete: true, Inferred: true, Cancellable: true, Deadline: now.Add(time.Hour), Place: report.Place{Function: "f", File: "a.go", Line: 3},
		Holders: []report.Holder{{Task: id, Generation: 4, Weight: 2, TaskName: "y", Ended: true, Place: report.Place{Function: "g", File: "b.go", Line: 5}}},
	}
	for _, r := range []*report.Report{
		{Process: p, Sequence: 1, Observed: now, Task: task, Wait: wait},
		{Process: p, Sequence: 2, Observed: now, Heartbeat: &report.Heartbeat{
			Interval: time.Second, Part: 1, Parts: 1, WaitIDs: []int64{5}, Revisions: []int64{2},
		}},
		{Process: p, Sequence: 3, Observed: now, LockOrder: &report.LockOrder{Task: id, Held: "a", Taken: "b", Guards: []string{"c"}}},
		{Process: p, Sequence: 4, Observed: now, LockOrder: &report.LockOrder{
			Task: id, Held: "r1@0", HeldName: "lock in f", Taken: "r2@0", TakenName: "lock in g", Recursive: true, Mode: "read/read",
		}},
	} {
		scope := Traces(r).ResourceSpans().At(0)
		process, drop := report.DecodeProcess(scope.Resource().Attributes())
		require.Equal(t, report.Used, drop)
		got, drop := report.Decode(process, scope.ScopeSpans().At(0).Spans().At(0), now)
		require.Equal(t, report.Used, drop)
		require.Equal(t, *r, got)
	}
}
