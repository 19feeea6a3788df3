package taskstate

import (
	"context"
	"flag"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestThePictureIsAsInItsGoldenFile(t *testing.T) {
	orders := report.Process{Service: "orders", Instance: "7d9f", Epoch: 1}
	at := func(seconds float64) time.Time { return start.Add(-time.Duration(seconds * float64(time.Second))) }
	id := func(n byte) report.TaskID { return report.TaskID{Trace: [16]byte{15: n}, Span: [8]byte{7: n}} }
	blockedOn := func(n byte, name string, since float64, w report.Wait) *fleet.Task {
		w.ID, w.Since, w.Open = int64(n), at(since), true
		return &fleet.Task{
			Task:    report.Task{ID: id(n), Name: name, State: taskspan.Blocked},
			Process: orders, StateSince: at(since), Waits: []*fleet.Wait{{Wait: w, Task: id(n), Process: orders}},
		}
	}
	inventory := report.Wait{
		Kind: taskspan.WaitMutex, ResourceID: "m1", ResourceName: "inventory", Complete: true,
		Place:   report.Place{Function: "shop.(*Inventory).Reserve", File: "/build/src/shop/inventory.go", Line: 42},
		Callers: []report.Place{{Function: "shop.(*Cart).Buy", File: "/build/src/shop/cart.go", Line: 31}, {Function: "shop.serve", File: "/build/src/shop/http.go", Line: 8}},
		Holders: []report.Holder{{Task: id(1), Weight: 1, Since: at(14), Place: report.Place{Function: "shop.(*Inventory).Rebuild", File: "/build/src/shop/inventory.go", Line: 77}}},
	}
	deadlocked := blockedOn(6, "audit", 9, report.Wait{
		Kind: taskspan.WaitMutex, ResourceID: "m2", ResourceName: "ledger", Complete: true, Holders: []report.Holder{{Task: id(6)}},
	})
	deadlocked.State = taskspan.Deadlocked
	p := picture{
		tasks: []*fleet.Task{
			blockedOn(2, "reserve stock", 12.34, inventory),
			blockedOn(3, "reserve stock", 3, inventory),
			blockedOn(1, "rebuild index", 13.5, report.Wait{
				Kind: taskspan.WaitChannelReceive, ResourceID: "c1", ResourceName: "pages",
				Place: report.Place{Function: "shop.(*Inventory).Rebuild", File: "/build/src/shop/inventory.go", Line: 81},
			}),
			blockedOn(4, "charge card", 0.75, report.Wait{
				Kind: taskspan.WaitSemaphore, ResourceID: "s1", ResourceName: "payment slots", Deadline: start.Add(5 * time.Second),
				Holders: []report.Holder{{Task: id(4)}, {Task: id(90)}, {Task: id(91)}, {Task: id(92)}},
			}),
			{Task: report.Task{ID: id(5), Name: "sweep"}, Process: orders, StateSince: at(40)},
			deadlocked,
		},
		processes: []fleet.Process{
			{Process: orders, Status: fleet.Reporting},
			{Process: report.Process{Service: "payments", Instance: "1c2d"}, Status: fleet.Lost, LastHeard: at(30)},
			{Process: report.Process{Service: "payments", Instance: "long ago"}, Status: fleet.Lost, LastHeard: at(3000)},
		},
		series: []taskTotals{
			{"orders", "reserve stock", 0, totals{started: 1204, ended: [4]float64{1180, 20, 2, 0}, running: 1, blocked: 2}},
			{"orders", "rebuild index", 0, totals{started: 1, blocked: 1}},
			{"orders", "audit", 0, totals{started: 1, blocked: 1}},
			{"payments", "charge card", 0, totals{started: 1203004, ended: [4]float64{1203000, 0, 0, 4}}},
		},
	}
	got, blocked := p.render(start)
	require.True(t, blocked)
	const golden = "testdata/picture.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got+"\n"), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got+"\n", "go test -run Picture -update rewrites it")
}

func TestANameCannotForgeALineOfTheLog(t *testing.T) {
	const forged = "x\nERROR\x1b[31m all is lost"
	task := &fleet.Task{
		Task:    report.Task{ID: report.TaskID{Trace: [16]byte{1}}, Name: forged, State: taskspan.Blocked},
		Process: report.Process{Service: forged, Instance: forged},
	}
	w := report.Wait{Kind: taskspan.WaitMutex, ResourceName: forged, Place: report.Place{Function: forged, File: forged}}
	w.Holders = []report.Holder{{Task: task.ID, Place: w.Place}, {Task: report.TaskID{Trace: [16]byte{2}}}}
	task.Waits = []*fleet.Wait{{Wait: w}}
	other := *task
	other.ID = report.TaskID{Trace: [16]byte{2}}
	text, _ := picture{
		tasks:     []*fleet.Task{task, &other},
		processes: []fleet.Process{{Process: task.Process, Status: fleet.Lost, LastHeard: start}},
		series:    []taskTotals{{service: forged}},
	}.render(start)
	require.NotContains(t, text, "\nERROR")
	require.NotContains(t, text, "\x1b")
	require.Contains(t, text, "ERROR")
}

func TestThePictureIsLoggedWhenSomethingIsBlockedOrHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		set := processortest.NewNopSettings(metadata.Type)
		set.Logger = zap.New(core)
		cfg := defaultConfig()
		cfg.LogInterval = 5 * time.Second
		p, err := newProcessor(set, cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
		pass := func(d time.Duration) int {
			before := logs.Len()
			time.Sleep(d)
			synctest.Wait()
			return logs.Len() - before
		}
		pass(time.Second) // between two pictures
		require.Equal(t, 1, pass(20*time.Second), "nothing happens, that is said once")
		require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf("shop", "x", 1, nil)))
		require.Equal(t, 1, pass(20*time.Second), "it changed once")
		require.NoError(t, p.ConsumeTraces(context.Background(), body(t, "wait_open.json")))
		require.Equal(t, 3, pass(15*time.Second), "a blocked task is shown each time")
		require.Contains(t, logs.All()[logs.Len()-1].Message, "inventory.go:42")
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

func TestThePictureSaysWhoAnswersARemoteCall(t *testing.T) {
	now := time.Unix(1_767_225_600, 0).UTC()
	call := report.TaskID{Trace: [16]byte{0xca}, Span: [8]byte{0x11}}
	caller := &fleet.Task{Task: report.Task{ID: report.TaskID{Trace: [16]byte{1}, Span: [8]byte{1}}, Name: "pay"}, Process: report.Process{Service: "shop"}}
	caller.Waits = []*fleet.Wait{{Wait: report.Wait{ID: 1, Kind: taskspan.WaitRemote, ResourceID: "span:" + call.String(), ResourceName: "bank", Since: now.Add(-time.Second)}}}
	text, _ := picture{tasks: []*fleet.Task{caller}}.render(now)
	require.Contains(t, text, "answered  by a task that is not stuck, or not known")

	answers := &fleet.Task{Task: report.Task{ID: report.TaskID{Trace: [16]byte{1}, Span: [8]byte{2}}, Name: "book", RemoteParent: call}, Process: report.Process{Service: "bank"}}
	answers.Waits = []*fleet.Wait{{Wait: report.Wait{ID: 2, Kind: taskspan.WaitMutex, ResourceID: "r1", ResourceName: "ledger", Since: now.Add(-time.Second)}}}
	text, _ = picture{tasks: []*fleet.Task{caller, answers}}.render(now)
	require.Contains(t, text, "answered  by bank: book\n              which is blocked itself, on mutex \"ledger\"")
}
