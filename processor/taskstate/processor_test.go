package taskstate

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// heartbeat is the body of one heartbeat of a process.
func heartbeat(service, instance string, epoch, sequence, startedTasks, completedTasks int64) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(taskspan.ServiceName, service)
	rs.Resource().Attributes().PutStr(taskspan.ServiceInstanceID, instance)
	rs.Resource().Attributes().PutInt(taskspan.ProcessEpoch, epoch)
	scope := rs.ScopeSpans().AppendEmpty()
	scope.Scope().SetName(taskspan.ScopeReport)
	scope.Scope().SetVersion(taskspan.Version)
	span := scope.Spans().AppendEmpty()
	span.SetTraceID([16]byte{0: byte(epoch), 15: 1})
	span.SetSpanID([8]byte{byte(sequence), 7: 1})
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(-time.Millisecond)))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	a := span.Attributes()
	a.PutStr(taskspan.Report, string(taskspan.ReportHeartbeat))
	a.PutInt(taskspan.ReportSequence, sequence)
	a.PutInt(taskspan.HeartbeatIntervalMS, 5000)
	a.PutEmptySlice(taskspan.TasksByName).AppendEmpty().SetStr(fmt.Sprintf(
		`{"name":"order","started":%d,"completed":%d,"running":%d}`, startedTasks, completedTasks, startedTasks-completedTasks))
	return td
}

// tasksOf makes n root spans of one service.
func tasksOf(service, name string, n int, edit func(i int, s ptrace.Span)) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(taskspan.ServiceName, service)
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetTraceID([16]byte{1, byte(i), byte(i >> 8)})
		s.SetSpanID([8]byte{1, byte(i), byte(i >> 8)})
		s.SetName(name)
		s.SetKind(ptrace.SpanKindServer)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now().Add(-time.Second)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		if edit != nil {
			edit(i, s)
		}
	}
	return td
}

func TestWhichSpansAreTasksAndWhatStateTheyGet(t *testing.T) {
	root, child := pcommon.SpanID{}, pcommon.SpanID{9}
	for name, c := range map[string]struct {
		cfg    TaskSpans
		kind   ptrace.SpanKind
		parent pcommon.SpanID
		told   string
		err    bool
		want   string // state on the span, empty: not a task
	}{
		"a server span":                     {TaskSpans{Kinds: []string{"server"}}, ptrace.SpanKindServer, child, "", false, "completed"},
		"one with an error":                 {TaskSpans{Kinds: []string{"server"}}, ptrace.SpanKindServer, child, "", true, "failed"},
		"a root of any kind":                {TaskSpans{Roots: true}, ptrace.SpanKindInternal, root, "", false, "completed"},
		"a root when roots are off":         {TaskSpans{Kinds: []string{"server"}}, ptrace.SpanKindInternal, root, "", false, ""},
		"a client span":                     {TaskSpans{Kinds: []string{"server", "consumer"}, Roots: true}, ptrace.SpanKindClient, child, "", false, ""},
		"a client span if configured":       {TaskSpans{Kinds: []string{"client"}}, ptrace.SpanKindClient, child, "", false, "completed"},
		"one that says it was cancelled":    {TaskSpans{}, ptrace.SpanKindInternal, child, "cancelled", true, "cancelled"},
		"one that says nonsense, and fails": {TaskSpans{}, ptrace.SpanKindInternal, child, "asleep", true, "failed"},
		"a kind that does not exist":        {TaskSpans{Kinds: []string{"server"}}, ptrace.SpanKind(1 << 20), child, "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := defaultConfig()
			cfg.TaskSpans = c.cfg
			p, sink := started(t, cfg)
			defer func() { require.NoError(t, p.Shutdown(context.Background())) }()
			require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf("shop", "x", 1, func(_ int, s ptrace.Span) {
				s.SetKind(c.kind)
				s.SetParentSpanID(c.parent)
				if c.told != "" {
					s.Attributes().PutStr(taskspan.TaskState, c.told)
				}
				if c.err {
					s.Status().SetCode(ptrace.StatusCodeError)
				}
			})))
			span := sink.AllTraces()[0].ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
			state, ok := span.Attributes().Get(taskspan.TaskState)
			require.Equal(t, c.want != "", ok)
			tasks, n := p.Tasks(view.TaskQuery{})
			if c.want == "" {
				require.Zero(t, n)
				return
			}
			if c.told == "" {
				require.Equal(t, c.want, state.Str())
			} else {
				require.Equal(t, c.told, state.Str(), "what a span says is not changed")
			}
			require.EqualValues(t, c.want, tasks[0].State)
			if c.told == "" {
				require.EqualValues(t, 1, p.Summary().Started)
			} else {
				require.Zero(t, p.Summary().Started, "a span with a state is counted by heartbeats or by another collector")
			}
		})
	}
}

// What a task_state has decided holds for a second one with another rule, and for its
// exporter: a scope says so if the rule is not the default one.
func TestTheFirstRuleHolds(t *testing.T) {
	for _, c := range []struct {
		first  TaskSpans
		marked bool
		tasks  int
	}{
		{TaskSpans{Kinds: []string{"consumer"}}, true, 0},
		{TaskSpans{Kinds: []string{"server"}}, true, 3},
		{defaultConfig().TaskSpans, false, 3},
	} {
		cfg := defaultConfig()
		cfg.TaskSpans = c.first
		first, between := started(t, cfg)
		cfg = defaultConfig()
		cfg.TaskSpans = TaskSpans{Kinds: []string{"server", "client"}, Roots: true}
		second, _ := started(t, cfg)
		require.NoError(t, first.ConsumeTraces(context.Background(), tasksOf("shop", "x", 3, nil)))
		td := between.AllTraces()[0]
		_, marked := td.ResourceSpans().At(0).ScopeSpans().At(0).Scope().Attributes().Get(taskspan.TasksMarked)
		require.Equal(t, c.marked, marked)
		require.NoError(t, second.ConsumeTraces(context.Background(), td))
		for i, p := range []*taskState{first, second} {
			_, n := p.Tasks(view.TaskQuery{})
			require.Equal(t, c.tasks, n, "rule %v, processor %d", c.first, i)
			require.NoError(t, p.Shutdown(context.Background()))
		}
	}
}

// TestSumsOverInstancesAreRight spreads the same traffic over two instances as a
// load balancer by trace id does, and adds up.
func TestSumsOverInstancesAreRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var instances [2]*taskState
		for i := range instances {
			instances[i], _ = started(t, defaultConfig())
		}
		send := func(td ptrace.Traces) {
			trace := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceID()
			require.NoError(t, instances[int(trace[0]+trace[1])%2].ConsumeTraces(context.Background(), td))
		}
		now := time.Now().UnixNano()
		for epoch := range int64(4) {
			for beat := range int64(3) {
				send(heartbeat("orders", fmt.Sprint(epoch), now+epoch, beat+1, 100*(beat+1), 90*(beat+1)))
				// Its task spans go wherever their trace goes.
				td := tasksOf("orders", "order", 1, func(_ int, s ptrace.Span) {
					s.SetTraceID([16]byte{byte(beat)})
					s.Attributes().PutStr(taskspan.TaskState, "completed")
				})
				send(td)
			}
		}
		for i := range 10 {
			send(tasksOf("shop", "GET /", 1, func(_ int, s ptrace.Span) {
				s.SetTraceID([16]byte{byte(i)})
				s.TraceState().FromRaw("ot=th:c")
			}))
		}
		var startedSum, completedSum float64
		for _, p := range instances {
			s := p.Summary()
			require.NotZero(t, s.Started, "both instances have work")
			startedSum += s.Started
			completedSum += s.Ended[taskspan.Completed]
			require.NoError(t, p.Shutdown(context.Background()))
		}
		require.EqualValues(t, 4*300+10*4, startedSum)
		require.EqualValues(t, 4*270+10*4, completedSum)
	})
}

func TestARestartedCollectorIsExactWithTheNextHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		epoch := time.Now().UnixNano()
		for beat := range int64(3) {
			p, _ := started(t, defaultConfig())
			require.NoError(t, p.ConsumeTraces(context.Background(), heartbeat("orders", "1", epoch, beat+1, 50*(beat+1), 40*(beat+1))))
			require.EqualValues(t, 50*(beat+1), p.Summary().Started)
			require.EqualValues(t, 10*(beat+1), p.Summary().Live[taskspan.Running])
			require.NoError(t, p.Shutdown(context.Background()))
		}
	})
}

func TestWhichReportsGoOn(t *testing.T) {
	bodies := []string{"wait_open", "wait_open", "heartbeat", "wait_revision", "wait_close", "deadlocked", "lock_order", "task_span"}
	for mode, want := range map[ForwardReports][]string{
		ForwardNone:         {"deadlocked", "task_span"},
		ForwardFirstAndLast: {"wait_open", "wait_revision", "wait_close", "deadlocked", "task_span"},
		ForwardAll:          bodies,
	} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := defaultConfig()
				cfg.ForwardReports = mode
				p, sink := started(t, cfg)
				var went []string
				for _, name := range bodies {
					before := sink.SpanCount()
					require.NoError(t, p.ConsumeTraces(context.Background(), body(t, name+".json")))
					if sink.SpanCount() > before {
						went = append(went, name)
					}
				}
				require.Equal(t, want, went)
				require.NoError(t, p.ConsumeTraces(context.Background(), body(t, "wrong_version.json")))
				require.Len(t, sink.AllTraces(), len(want), "what is dropped never goes on, nor does an empty batch")
				require.NoError(t, p.Shutdown(context.Background()))
			})
		})
	}
}

func TestTheRestOfABatchGoesOnWithoutItsReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sink := started(t, defaultConfig())
		td := body(t, "wait_open.json")
		body(t, "task_span.json").ResourceSpans().At(0).ScopeSpans().MoveAndAppendTo(td.ResourceSpans().At(0).ScopeSpans())
		body(t, "plain_spans.json").ResourceSpans().MoveAndAppendTo(td.ResourceSpans())
		td.ResourceSpans().At(0).ScopeSpans().AppendEmpty().Scope().SetName(taskspan.ScopeDetector)
		require.NoError(t, p.ConsumeTraces(context.Background(), td))
		require.NoError(t, p.Shutdown(context.Background()))
		got := sink.AllTraces()[0].ResourceSpans()
		require.Equal(t, 2, got.Len())
		require.Equal(t, "orders", got.At(0).ScopeSpans().At(0).Scope().Name())
		require.Equal(t, taskspan.ScopeDetector, got.At(0).ScopeSpans().At(1).Scope().Name())
		_, live := p.Tasks(view.TaskQuery{States: []taskspan.State{taskspan.Blocked}})
		require.Zero(t, live, "its task ended in the same batch")
	})
}

// What a detector says of a task: only a certain deadlock is a state, any other is said
// beside it.
func TestWhatADetectorSaysOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := started(t, defaultConfig())
		for _, name := range []string{"wait_open", "heartbeat"} {
			require.NoError(t, p.ConsumeTraces(context.Background(), body(t, name+".json")))
		}
		reported := body(t, "wait_open.json").ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
		began := time.Now()
		say := func(name string, sec int, confidence string) {
			td := ptrace.NewTraces()
			scope := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
			scope.Scope().SetName(taskspan.ScopeDetector)
			span := scope.Spans().AppendEmpty()
			span.SetName(name)
			span.SetEndTimestamp(pcommon.NewTimestampFromTime(began.Add(time.Duration(sec) * time.Second)))
			if confidence != "" {
				span.Attributes().PutStr(taskspan.DeadlockConfidence, confidence)
			}
			link := span.Links().AppendEmpty()
			link.SetTraceID(reported.TraceID())
			link.SetSpanID(reported.ParentSpanID())
			require.NoError(t, p.ConsumeTraces(context.Background(), td))
		}
		for i, c := range []struct {
			name       string
			sec        int
			confidence string
			want       taskspan.Confidence
			blocked    int64 // of 1
		}{
			{taskspan.SpanDeadlock, 1, "suspected", taskspan.Suspected, 1},
			{taskspan.SpanDeadlock, 3, "certain", taskspan.Certain, 0},
			{taskspan.SpanDeadlock, 2, "suspected", taskspan.Certain, 0}, // sent again, late
			{"something else", 4, "suspected", taskspan.Certain, 0},
			{taskspan.SpanDeadlockResolved, 6, "", "", 1},
			{taskspan.SpanDeadlock, 5, "certain", "", 1}, // sent again, late
			{taskspan.SpanDeadlock, 7, "transient", taskspan.Transient, 1},
			{taskspan.SpanDeadlock, 8, "", taskspan.Suspected, 1}, // what does not say how sure it is may be a guess
			{taskspan.SpanDeadlock, 9, "sure", taskspan.Suspected, 1},
		} {
			say(c.name, c.sec, c.confidence)
			tasks, _ := p.Tasks(view.TaskQuery{Live: true})
			require.Equal(t, c.want, tasks[0].Deadlock, "word %d", i)
			live := p.Summary().Live
			require.Equal(t, c.blocked, live[taskspan.Blocked], "word %d", i)
			require.Equal(t, 1-c.blocked, live[taskspan.Deadlocked], "word %d", i)
			require.EqualValues(t, 2, live[taskspan.Running], "word %d", i)
			text, _ := picture{tasks: []*fleet.Task{p.live.table.Tasks(nil)[0]}, series: p.stats.series()}.render(time.Now())
			require.Equal(t, c.want == taskspan.Suspected, strings.Contains(text, "BLOCKED (SUSPECTED DEADLOCK)"), text)
		}
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

func TestTheClosingSpanOfALostTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sink := started(t, defaultConfig())
		for _, name := range []string{"wait_open", "heartbeat"} {
			require.NoError(t, p.ConsumeTraces(context.Background(), body(t, name+".json")))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.NoError(t, p.Shutdown(context.Background()))
		require.Equal(t, 1, sink.SpanCount())
		rs := sink.AllTraces()[0].ResourceSpans().At(0)
		require.Equal(t, "orders", rs.Resource().Attributes().AsRaw()[taskspan.ServiceName])
		require.Contains(t, rs.Resource().Attributes().AsRaw(), taskspan.ProcessEpoch, "or the next collector would count it")
		require.Equal(t, taskspan.ScopeDetector, rs.ScopeSpans().At(0).Scope().Name())
		span := rs.ScopeSpans().At(0).Spans().At(0)
		reported := body(t, "wait_open.json").ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
		beat := body(t, "heartbeat.json").ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
		require.Equal(t, reported.TraceID(), span.TraceID())
		require.Equal(t, reported.ParentSpanID(), span.SpanID(), "the task's own id")
		require.Equal(t, "reserve stock", span.Name())
		require.Equal(t, beat.EndTimestamp(), span.EndTimestamp(), "the heartbeat confirmed its wait: it was last seen then")
		require.Equal(t, ptrace.StatusCodeError, span.Status().Code())
		require.Equal(t, map[string]any{
			taskspan.TaskState: "lost", taskspan.ErrorType: "process_lost",
			taskspan.WaitKind: "mutex", taskspan.WaitResourceName: "inventory",
			taskspan.CodeFunctionName: "main.(*Inventory).Reserve", taskspan.CodeFilePath: "/src/orders/inventory.go", taskspan.CodeLineNumber: int64(42),
		}, span.Attributes().AsRaw())
	})
}

func TestRefusedClosingSpansAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, host := new(hosttest.Next), new(hosttest.Host)
		p, err := newProcessor(processortest.NewNopSettings(metadata.Type), defaultConfig(), next)
		require.NoError(t, err)
		require.NoError(t, p.Start(context.Background(), host))
		require.NoError(t, p.ConsumeTraces(context.Background(), body(t, "wait_open.json")))
		next.Refuse(errors.New("full"))
		time.Sleep(30 * time.Second)
		require.Zero(t, next.SpanCount())
		require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, host.Statuses())
		next.Refuse(nil)
		time.Sleep(30 * time.Second)
		require.Equal(t, 1, next.SpanCount())
		require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, host.Statuses())
		require.Contains(t, p.evictions(), intake.Eviction{Table: "lost_spans", Reason: "refused_downstream"})
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

func TestClosingSpansThatAreRefusedUntilTheEndAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("full")
		p, err := newProcessor(processortest.NewNopSettings(metadata.Type), defaultConfig(), consumertest.NewErr(full))
		require.NoError(t, err)
		require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
		require.NoError(t, p.ConsumeTraces(context.Background(), body(t, "wait_open.json")))
		time.Sleep(30 * time.Second)
		require.ErrorIs(t, p.Shutdown(context.Background()), full)
		require.Contains(t, p.evictions(), intake.Eviction{Table: "lost_spans", Reason: "refused_downstream", Count: 1})
	})
}

func TestErrorsOfTheNextComponentComeBack(t *testing.T) {
	full := errors.New("full")
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), defaultConfig(), consumertest.NewErr(full))
	require.NoError(t, err)
	require.ErrorIs(t, p.ConsumeTraces(context.Background(), tasksOf("shop", "x", 1, nil)), full)
	require.NoError(t, p.Shutdown(context.Background()))
}

func TestATaskHasAHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := started(t, defaultConfig())
		for _, name := range []string{"wait_open", "wait_revision", "wait_close"} {
			require.NoError(t, p.ConsumeTraces(context.Background(), body(t, name+".json")))
		}
		span := body(t, "task_span.json")
		point := span.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Events().AppendEmpty()
		point.SetName("picked")
		point.Attributes().PutInt("items", 3)
		require.NoError(t, p.ConsumeTraces(context.Background(), span))
		tasks, n := p.Tasks(view.TaskQuery{})
		require.Equal(t, 1, n)
		task, ok := p.Task(tasks[0].ID)
		require.True(t, ok)
		var lines []string
		for _, e := range task.Events {
			lines = append(lines, strings.TrimSpace(e.Name+" "+e.Detail))
		}
		require.Equal(t, []string{
			"running", "blocked mutex inventory", "holders changed mutex inventory", "running",
			"wait ended mutex inventory after 8s (reported)", "picked items=3", "cancelled task_ended",
		}, lines)
		require.Equal(t, 8*time.Second, task.Blocked)
		stuck := p.Statistics().Waits[0]
		require.EqualValues(t, 1, stuck.Stuck.Count)
		require.EqualValues(t, 8, stuck.Stuck.Sum)
		require.Zero(t, stuck.Open)
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

func TestStatisticsAreBounded(t *testing.T) {
	cfg := defaultConfig()
	cfg.MaxTaskNames, cfg.MaxResources = 10, 5
	p, _ := started(t, cfg)
	for i := range 50 {
		require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf(fmt.Sprint("service", i%5), fmt.Sprint("task", i), 2, func(_ int, s ptrace.Span) {
			if s.SpanID()[1] == 1 {
				s.SetKind(ptrace.SpanKindInternal)
				s.SetParentSpanID([8]byte{9})
				s.SetName(fmt.Sprint("wait mutex ", i))
				s.Attributes().PutStr(taskspan.WaitKind, "mutex")
				s.Attributes().PutStr(taskspan.WaitResourceName, fmt.Sprint(i))
			}
		})))
	}
	for i := range 50 {
		require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf(fmt.Sprint("late", i), "x", 1, nil)))
	}
	stats := p.Statistics()
	require.LessOrEqual(t, len(stats.Tasks), cfg.MaxTaskNames+5+1, "one more for each service, and one for all other services")
	require.LessOrEqual(t, len(stats.Waits), cfg.MaxResources+5)
	sum, waits := 0.0, 0.0
	for _, s := range stats.Tasks {
		sum += s.Started
	}
	for _, s := range stats.Waits {
		waits += s.Sampled.Count
	}
	// Five services had two names each. Five of the late ones, as many as then have one
	// each, took a name from them, and with it the task that it had counted.
	require.EqualValues(t, 5, p.stats.names.cut.Load())
	require.EqualValues(t, 100-5, sum, "what has no series of its own is still counted")
	require.EqualValues(t, 50, waits)
	require.EqualValues(t, 40+45, p.stats.names.merged.Load())
	require.EqualValues(t, 45, p.stats.resources.merged.Load())
	require.NoError(t, p.Shutdown(context.Background()))
}

func TestAFullTableIsWarnedAboutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		set := processortest.NewNopSettings(metadata.Type)
		set.Logger = zap.New(core)
		cfg := defaultConfig()
		cfg.MaxTaskNames, cfg.CleanupInterval = 1, time.Second
		p, err := newProcessor(set, cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
		require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf("shop", "x", 1, nil)))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, logs.Len())
		require.Equal(t, "max_task_names", logs.All()[0].ContextMap()["setting"])
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

// inspector is an extension that shows the state.
type inspector struct {
	component.StartFunc
	component.ShutdownFunc
	shown map[string]view.Reader
}

func (i *inspector) RegisterTaskState(id string, r view.Reader) func() {
	i.shown[id] = r
	return func() { delete(i.shown, id) }
}

func TestTheInspectorIsShownTheStateWhileItRuns(t *testing.T) {
	shower := &inspector{shown: make(map[string]view.Reader)}
	set := processortest.NewNopSettings(metadata.Type)
	p, err := newProcessor(set, defaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background(), &hosttest.Host{Extensions: map[component.ID]component.Component{component.MustNewID("inspector"): shower}}))
	require.Same(t, p, shower.shown[set.ID.String()])
	require.NoError(t, p.Shutdown(context.Background()))
	require.Empty(t, shower.shown)
}

// TestReadersAndWritersDoNotMeet is for the race detector.
func TestReadersAndWritersDoNotMeet(t *testing.T) {
	cfg := defaultConfig()
	cfg.MaxTasks, cfg.MaxEvents = 50, 100
	p, _ := started(t, cfg)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewSource(int64(worker)))
			bodies := []string{"wait_open", "wait_close", "heartbeat", "task_span", "plain_spans", "final", "hostile", "deadlocked"}
			for range 60 {
				_ = p.ConsumeTraces(context.Background(), body(t, bodies[rnd.Intn(len(bodies))]+".json"))
				_ = p.ConsumeTraces(context.Background(), tasksOf("shop", "x", 5, func(_ int, s ptrace.Span) { s.Events().AppendEmpty().SetName("e") }))
			}
		})
		wg.Go(func() {
			for range 60 {
				p.Summary()
				p.Processes(view.ProcessQuery{Gone: true})
				tasks, _ := p.Tasks(view.TaskQuery{Limit: 10})
				for _, task := range tasks {
					p.Task(task.ID)
				}
				p.Statistics()
				tasksNow, _ := p.fleetTasks()
				picture{tasks: tasksNow, processes: p.fleetProcesses(), series: p.stats.series()}.render(time.Now())
			}
		})
	}
	wg.Wait()
	require.NoError(t, p.Shutdown(context.Background()))
}

func TestAnOrdinarySpanCostsNoAllocation(t *testing.T) {
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), defaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	for name, edit := range map[string]func(int, ptrace.Span){
		"not a task": func(_ int, s ptrace.Span) {
			s.SetKind(ptrace.SpanKindInternal)
			s.SetParentSpanID([8]byte{9})
		},
		"a task that has its state": func(_ int, s ptrace.Span) { s.Attributes().PutStr(taskspan.TaskState, "completed") },
	} {
		td := tasksOf("shop", "x", 100, edit)
		for range 200 { // until tables and tombstones are as large as they get
			require.NoError(t, p.ConsumeTraces(context.Background(), td))
		}
		allocs := testing.AllocsPerRun(100, func() { _ = p.ConsumeTraces(context.Background(), td) })
		require.Less(t, allocs, 5.0, "%s: for 100 spans; under -race a sync.Pool forgets", name)
	}
	require.NoError(t, p.Shutdown(context.Background()))
}

func TestAllPagesTogetherAreAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := started(t, defaultConfig())
		require.NoError(t, p.ConsumeTraces(context.Background(), body(t, "wait_open.json")))
		require.NoError(t, p.ConsumeTraces(context.Background(), body(t, "task_running.json")))
		require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf("shop", "x", 20, func(i int, s ptrace.Span) {
			if i%3 == 0 {
				s.Status().SetCode(ptrace.StatusCodeError)
			}
		})))
		all, n := p.Tasks(view.TaskQuery{})
		require.Equal(t, 22, n)
		require.Len(t, all, 22)
		require.Equal(t, taskspan.Blocked, all[0].State)
		require.Equal(t, taskspan.Running, all[1].State)
		for limit := 1; limit < 25; limit++ {
			var got []view.Task
			for offset := 0; offset < 22; offset += limit {
				part, total := p.Tasks(view.TaskQuery{Offset: offset, Limit: limit})
				require.Equal(t, 22, total)
				require.LessOrEqual(t, len(part), limit)
				got = append(got, part...)
			}
			require.Equal(t, all, got, "pages of %d", limit)
		}
		failed, n := p.Tasks(view.TaskQuery{States: []taskspan.State{taskspan.Failed}})
		require.Equal(t, 7, n)
		require.False(t, slices.ContainsFunc(failed, func(x view.Task) bool { return x.State != taskspan.Failed }))
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

func FuzzConsumeTraces(f *testing.F) {
	names, err := os.ReadDir(vectors)
	require.NoError(f, err)
	for _, entry := range names {
		if name := entry.Name(); strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".want.json") {
			raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(body(f, name))
			require.NoError(f, err)
			f.Add(raw)
		}
	}
	cfg := defaultConfig()
	cfg.MaxTasks, cfg.MaxEvents, cfg.MaxProcesses, cfg.MaxTaskNames, cfg.MaxResources = 20, 30, 3, 10, 10
	cfg.ForwardReports = ForwardFirstAndLast
	f.Fuzz(func(t *testing.T, raw []byte) {
		td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
		if err != nil {
			return
		}
		p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, p.ConsumeTraces(context.Background(), body(t, "wait_open.json")))
		require.NoError(t, p.ConsumeTraces(context.Background(), td))
		p.live.advance(time.Now())
		for _, table := range p.tables() {
			require.LessOrEqual(t, table.Size, table.Limit, table.Name)
			require.GreaterOrEqual(t, table.Size, 0, table.Name)
		}
		p.Tasks(view.TaskQuery{})
		p.live.takeLost()
	})
}

// What the SDKs say of inspection points and drops is summed by service, and stays
// when a process has gone.
func TestActivityIsSummedByService(t *testing.T) {
	s := newStatistics(10, 10)
	s.activity("shop", fleet.Activity{Events: 3, Dropped: map[string]int64{"queue": 1}})
	s.activity("shop", fleet.Activity{Events: 4, Dropped: map[string]int64{"queue": 2}})
	s.activity("bank", fleet.Activity{Events: 1})
	require.Equal(t, []view.ServiceStatistics{
		{Service: "bank", Events: 1}, {Service: "shop", Events: 7, Dropped: map[string]int64{"queue": 3}},
	}, s.snapshot(nil).Services)
	for i := range 2 * report.MaxDropReasons {
		s.activity("shop", fleet.Activity{Dropped: map[string]int64{fmt.Sprint(i): 1}})
	}
	require.LessOrEqual(t, len(s.snapshot(nil).Services[1].Dropped), report.MaxDropReasons+1)
}
