package deadlockdetector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/intake"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// fixture is a running processor with what it logs and passes on.
type fixture struct {
	*detector
	sink *consumertest.TracesSink
	logs *observer.ObservedLogs
}

func start(tb testing.TB, cfg *Config, next consumer.Traces, host component.Host) *fixture {
	tb.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	f := &fixture{sink: new(consumertest.TracesSink), logs: logs}
	if next == nil {
		next = f.sink
	}
	set := processortest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	p, err := newProcessor(set, cfg, next)
	require.NoError(tb, err)
	require.NoError(tb, p.Start(context.Background(), host))
	f.detector = p
	return f
}

func (f *fixture) consume(tb testing.TB, reports ...*report.Report) {
	tb.Helper()
	require.NoError(tb, f.ConsumeTraces(context.Background(), reporttest.Traces(reports...)))
}

func (f *fixture) stopped(tb testing.TB) { require.NoError(tb, f.Shutdown(context.Background())) }

// spans are those of a name that have come out.
func (f *fixture) spans(name string) (spans []ptrace.Span) {
	for _, td := range f.sink.AllTraces() {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					if s.Name() == name && ss.Scope().Name() == taskspan.ScopeDetector {
						spans = append(spans, s)
					}
				}
			}
		}
	}
	return spans
}

func defaultConfig() *Config { return createDefaultConfig().(*Config) }

func taskID(n byte) report.TaskID {
	return report.TaskID{Trace: [16]byte{n, 15: 1}, Span: [8]byte{n, 7: 1}}
}

// speaker is a process that reports at the present time.
type speaker struct {
	process  report.Process
	sequence int64
	began    time.Time
}

func newSpeaker(service string) *speaker {
	now := time.Now()
	return &speaker{process: report.Process{Service: service, Instance: "1", Epoch: now.UnixNano()}, began: now}
}

func (s *speaker) waits(n byte, open bool, lock string, holder byte) *report.Report {
	s.sequence++
	return &report.Report{
		Process: s.process, Sequence: s.sequence, Observed: time.Now().UTC(),
		Task: &report.Task{ID: taskID(n), Name: "work", State: taskspan.Blocked, Start: s.began.Add(-time.Minute)},
		Wait: &report.Wait{
			ID: int64(n), Revision: 1, Open: open, Kind: taskspan.WaitMutex, ResourceID: lock, ResourceName: lock, Since: s.began, Complete: true,
			Place:   report.Place{Function: "main.work", File: "main.go", Line: int(n)},
			Holders: []report.Holder{{Task: taskID(holder), Generation: 1, Weight: 1}},
		},
	}
}

func (s *speaker) order(held, taken string) *report.Report {
	s.sequence++
	return &report.Report{
		Process: s.process, Sequence: s.sequence, Observed: time.Now().UTC(),
		LockOrder: &report.LockOrder{Task: taskID(1), Held: held, Taken: taken},
	}
}

// A service that leaks one double lock in each request has one deadlock, with a count: one
// story in the log, one root span, and a span in the trace of each task. Of many that
// differ the first are told in words.
func TestOneStoryAndNotAThousand(t *testing.T) {
	f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
	s := newSpeaker("shop")
	leak := func(n byte, line int) *report.Report {
		r := s.waits(n, true, fmt.Sprint("lock ", n), n)
		r.Wait.Place.Line = line
		return r
	}
	stories := func() int { return f.logs.FilterMessageSnippet("DEADLOCK  ").Len() }
	for n := byte(1); n <= 60; n++ {
		f.consume(t, leak(n, 41))
	}
	f.evaluate(context.Background(), time.Now())
	for n := byte(61); n <= 100; n++ {
		f.consume(t, leak(n, 41))
	}
	f.evaluate(context.Background(), time.Now())
	require.Equal(t, 1, stories())
	require.Len(t, f.spans(taskspan.SpanDeadlock), 101)
	standing, _ := f.Deadlocks()
	require.Len(t, standing, 1)
	require.Equal(t, 100, standing[0].Count)

	for n := range maxStories + 7 {
		f.consume(t, leak(byte(101+n), 200+n))
	}
	f.evaluate(context.Background(), time.Now())
	require.Equal(t, 1+maxStories, stories())
	more := f.logs.FilterMessageSnippet("More deadlocks were found").All()
	require.Len(t, more, 1)
	require.EqualValues(t, 7, more[0].ContextMap()["more"])
	f.stopped(t)
}

// A suspected deadlock is told as a suspicion; when it is certain it is told once more,
// with the same ids, and is still one.
func TestASuspectedDeadlockThatBecomesCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		defer f.stopped(t)
		s := newSpeaker("shop")
		both := func(guess bool, revision int64) {
			for range 2 {
				x, y := s.waits(1, true, "x", 2), s.waits(2, true, "y", 1)
				x.Wait.Inferred, x.Wait.Revision = guess, revision
				y.Wait.Inferred, y.Wait.Revision = guess, revision
				f.consume(t, x, y)
				time.Sleep(time.Second)
			}
		}
		time.Sleep(time.Second)
		both(true, 1)
		both(false, 2)

		// Reports say so from then on, and only what is certain is a state.
		var states []string
		for _, td := range f.sink.AllTraces() {
			for _, span := range td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
				if _, is := span.Attributes().Get(taskspan.Report); is {
					a := span.Attributes().AsRaw()
					states = append(states, fmt.Sprint(a[taskspan.TaskState], " ", a[taskspan.DeadlockConfidence]))
				}
			}
		}
		require.Equal(t, []string{
			"blocked <nil>", "blocked <nil>", "blocked suspected", "blocked suspected",
			"blocked suspected", "blocked suspected", "deadlocked certain", "deadlocked certain",
		}, states)

		spans := f.spans(taskspan.SpanDeadlock)
		require.Len(t, spans, 6, "the root and a child for each of the two, twice")
		for i, span := range spans {
			want := "suspected"
			state := "blocked"
			if i >= 3 {
				want, state = "certain", "deadlocked"
				require.Greater(t, span.EndTimestamp(), spans[i-3].EndTimestamp(), "which is the newer word")
				require.Equal(t, spans[i-3].SpanID(), span.SpanID())
				require.Equal(t, spans[i-3].TraceID(), span.TraceID())
			}
			require.Equal(t, want, span.Attributes().AsRaw()[taskspan.DeadlockConfidence])
			require.Equal(t, state, span.Attributes().AsRaw()[taskspan.TaskState])
			require.Equal(t, want == "suspected", strings.Contains(span.Status().Message(), " if "), span.Status().Message())
		}
		logs := f.logs.FilterLevelExact(zapcore.WarnLevel).All()
		require.Len(t, logs, 2)
		require.True(t, strings.HasPrefix(logs[0].Message, "SUSPECTED DEADLOCK  2 tasks of shop may be waiting for each other"), logs[0].Message)
		require.True(t, strings.HasPrefix(logs[1].Message, "DEADLOCK  2 tasks of shop wait for each other and can never proceed"), logs[1].Message)
		found := int64(0)
		for _, n := range f.DetectorTotals().Found {
			found += n.Count
		}
		require.EqualValues(t, 1, found)
	})
}

// When the confidence of a standing deadlock falls, spans say so: its tasks are not
// deadlocked any more. It is no news for the log.
func TestADeadlockThatIsLessSureIsToldBySpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		defer f.stopped(t)
		s := newSpeaker("shop")
		wants := func(n byte, resource string, holds report.Hold) *report.Report {
			r := s.waits(n, true, resource, 0)
			r.Wait.Kind, r.Wait.Holders = taskspan.WaitExternal, nil
			r.Task.Holds = []report.Hold{holds}
			return r
		}
		x, y := report.Hold{Resource: "ext:x", UntilReleased: true}, report.Hold{Resource: "ext:y", UntilReleased: true}
		for range 3 {
			f.consume(t, wants(1, "ext:y", x), wants(2, "ext:x", y))
			time.Sleep(time.Second)
		}
		x = report.Hold{Resource: "ext:x", Ends: time.Now().Add(time.Hour)} // Extend
		f.consume(t, wants(1, "ext:y", x))
		time.Sleep(10 * time.Second)
		var got []string
		for _, span := range f.spans(taskspan.SpanDeadlock) {
			a := span.Attributes().AsRaw()
			got = append(got, fmt.Sprint(a[taskspan.DeadlockConfidence], " ", a[taskspan.TaskState]))
		}
		require.Equal(t, []string{
			"certain deadlocked", "certain deadlocked", "certain deadlocked", "transient blocked", "transient blocked", "transient blocked",
		}, got)
		require.Len(t, f.logs.FilterLevelExact(zapcore.WarnLevel).All(), 1)
		require.EqualValues(t, 1, f.DetectorTotals().Found[3].Count+f.DetectorTotals().Found[4].Count+f.DetectorTotals().Found[5].Count, "it is one")
	})
}

func TestWhatADeadlockLooksLike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		defer f.stopped(t)
		s := newSpeaker("shop")
		time.Sleep(time.Second)
		f.consume(t, s.waits(1, true, "x", 2), s.waits(2, true, "y", 1), s.waits(3, true, "x", 2))
		time.Sleep(time.Second)

		spans := f.spans(taskspan.SpanDeadlock)
		require.Len(t, spans, 3, "the root and a child for each of the two")
		root := spans[0]
		require.True(t, root.ParentSpanID().IsEmpty())
		for i, span := range spans {
			require.Equal(t, ptrace.StatusCodeError, span.Status().Code())
			require.Equal(t, 2, span.Links().Len())
			a := span.Attributes().AsRaw()
			require.Equal(t, "deadlocked", a[taskspan.TaskState])
			require.Equal(t, "deadlock", a[taskspan.ErrorType])
			require.Equal(t, "certain", a[taskspan.DeadlockConfidence])
			require.Equal(t, "local", a[taskspan.DeadlockKind])
			require.EqualValues(t, 2, a[taskspan.DeadlockSize])
			require.EqualValues(t, 1, a[taskspan.DeadlockVictims])
			require.Equal(t, []any{"shop"}, a[taskspan.DeadlockServices])
			require.Contains(t, a[taskspan.DeadlockCycle], "main.work main.go:1")
			require.Contains(t, a[taskspan.DeadlockSuggestion], `"x" before "y"`)
			require.Equal(t, root.TraceID().String(), a[taskspan.DeadlockID])
			require.Greater(t, span.EndTimestamp(), span.StartTimestamp())
			if i > 0 {
				require.Equal(t, pcommon.TraceID(taskID(byte(i)).Trace), span.TraceID())
				require.Equal(t, pcommon.SpanID(taskID(byte(i)).Span), span.ParentSpanID())
			}
		}
		require.Len(t, f.logs.FilterLevelExact(zapcore.WarnLevel).All(), 1)
		require.Contains(t, f.logs.FilterLevelExact(zapcore.WarnLevel).All()[0].Message, "DEADLOCK  2 tasks of shop wait for each other")

		// Its reports say so from now on, and it is not told again.
		before := f.sink.SpanCount()
		f.consume(t, s.waits(1, true, "x", 2), s.waits(3, true, "x", 2))
		time.Sleep(10 * time.Second)
		require.Equal(t, before+2, f.sink.SpanCount())
		reports := f.sink.AllTraces()[len(f.sink.AllTraces())-1].ResourceSpans().At(0).ScopeSpans().At(0).Spans()
		for i, state := range []string{"deadlocked", "blocked"} {
			got, _ := reports.At(i).Attributes().Get(taskspan.TaskState)
			require.Equal(t, state, got.Str())
		}

		f.consume(t, s.waits(1, false, "x", 2))
		last := f.sink.AllTraces()[len(f.sink.AllTraces())-1].ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().AsRaw()
		require.Equal(t, "blocked", last[taskspan.TaskState], "as the process says: its wait is over")
		require.NotContains(t, last, taskspan.DeadlockConfidence)
		time.Sleep(time.Second)
		over := f.spans(taskspan.SpanDeadlockResolved)
		require.Len(t, over, 1)
		require.Equal(t, root.SpanID(), over[0].ParentSpanID())
		how, _ := over[0].Attributes().Get(taskspan.DeadlockResolution)
		require.Equal(t, "released", how.Str())
		require.Equal(t, 1, f.logs.FilterMessage("A deadlock is over.").Len())
		standing, past := f.Deadlocks()
		require.Empty(t, standing)
		require.Len(t, past, 1)
	})
}

func TestAPotentialDeadlockIsWarnedAboutOnce(t *testing.T) {
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			cfg := defaultConfig()
			cfg.Potential.Enabled = on
			f := start(t, cfg, nil, componenttest.NewNopHost())
			defer f.stopped(t)
			s := newSpeaker("shop")
			f.consume(t, s.order("x", "y"), s.order("y", "x"), s.order("y", "x"))
			time.Sleep(time.Second)
			if !on {
				require.Empty(t, f.Inversions())
				return
			}
			require.Len(t, f.Inversions(), 1)
			require.Len(t, f.spans(taskspan.SpanPotentialDeadlock), 1)
			require.Equal(t, 1, f.logs.FilterLevelExact(zapcore.WarnLevel).Len())
		})
	}
}

func TestReportsGoOnOrStop(t *testing.T) {
	for _, forward := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			cfg := defaultConfig()
			cfg.ForwardReports = forward
			f := start(t, cfg, nil, componenttest.NewNopHost())
			defer f.stopped(t)
			s := newSpeaker("shop")
			td := reporttest.Traces(s.waits(1, true, "x", 2))
			td.ResourceSpans().At(0).ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("ordinary")
			require.NoError(t, f.ConsumeTraces(context.Background(), td))
			want := 1
			if forward {
				want = 2
			}
			require.Equal(t, want, f.sink.SpanCount())
		})
	}
}

// A component that refuses for a while gets the spans in the end, once.
func TestSpansThatAreRefusedAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, host := new(hosttest.Next), new(hosttest.Host)
		f := start(t, defaultConfig(), next, host)
		defer f.stopped(t)
		f.sink = &next.TracesSink
		s := newSpeaker("shop")
		time.Sleep(time.Second)
		next.Refuse(errors.New("full"))
		_ = f.ConsumeTraces(context.Background(), reporttest.Traces(s.waits(1, true, "x", 1)))
		time.Sleep(5 * time.Second)
		require.Empty(t, f.spans(taskspan.SpanDeadlock))
		next.Refuse(nil)
		time.Sleep(5 * time.Second)
		require.Len(t, f.spans(taskspan.SpanDeadlock), 2)
		require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, host.Statuses())
	})
}

// Two detectors of which each sees one half report nothing: the other half can
// proceed, as far as they know. One that sees both reports it.
func TestTwoDetectorsThatSeeHalfEachReportNothingFalse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		second := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		both := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		defer first.stopped(t)
		defer second.stopped(t)
		defer both.stopped(t)
		a, b := newSpeaker("a"), newSpeaker("b")
		for range 5 {
			time.Sleep(time.Second)
			one, other := a.waits(1, true, "x", 2), b.waits(2, true, "y", 1)
			first.consume(t, one)
			second.consume(t, other)
			both.consume(t, one, other)
		}
		require.Empty(t, first.spans(taskspan.SpanDeadlock))
		require.Empty(t, second.spans(taskspan.SpanDeadlock))
		require.Len(t, both.spans(taskspan.SpanDeadlock), 3)
	})
}

// An hour of a service that looks like a deadlock and is none: everybody waits for
// a slow holder who always lets go, waits are cancelled, processes are killed.
func TestAnHourOfContentionIsNoDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		defer f.stopped(t)
		rnd := rand.New(rand.NewPCG(1, 2))
		speakers := []*speaker{newSpeaker("a"), newSpeaker("b")}
		wait := int64(0)
		for minute := range 60 {
			holder := byte(100 + minute%7)
			var closing []*report.Report
			for n := byte(1); n < 20; n++ {
				s := speakers[int(n)%2]
				r := s.waits(n, true, "hot", holder)
				wait++
				r.Wait.ID, r.Wait.Since = wait, time.Now()
				if rnd.IntN(4) == 0 {
					// Waits for one who waits himself, in the order of the locks.
					r.Wait.Holders[0].Task = taskID(n + 1)
				}
				f.consume(t, r)
				end := *r
				endWait := *r.Wait
				endWait.Open = false
				end.Wait = &endWait
				closing = append(closing, &end)
			}
			time.Sleep(time.Duration(1+rnd.IntN(40)) * time.Second)
			if minute%10 == 9 {
				speakers[0] = newSpeaker("a") // killed and started again
			}
			for _, r := range closing {
				if s := speakers[int(r.Task.ID.Span[0])%2]; s.process == r.Process {
					s.sequence++
					r.Sequence, r.Observed = s.sequence, time.Now().UTC()
					f.consume(t, r)
				}
			}
			time.Sleep(10 * time.Second)
		}
		require.Empty(t, f.spans(taskspan.SpanDeadlock))
	})
}

func TestTheInspectorIsShownTheDeadlocks(t *testing.T) {
	i := new(inspector)
	id := component.MustNewID("inspector")
	f := start(t, defaultConfig(), nil, &hosttest.Host{Extensions: map[component.ID]component.Component{id: i}})
	require.Equal(t, "deadlock_detector", i.id)
	f.consume(t, newSpeaker("shop").waits(1, true, "x", 2))
	edges, waits := i.reader.Graph(10)
	require.Len(t, edges, 1)
	require.Equal(t, 1, waits)
	require.NotEmpty(t, i.reader.DetectorTables())
	totals := i.reader.DetectorTotals()
	require.Len(t, totals.Found, len(deadlock.Kinds)*len(deadlock.Confidences))
	require.Len(t, totals.Resolved, len(deadlock.Endings))
	f.stopped(t)
	require.Empty(t, i.id)
}

type inspector struct {
	component.StartFunc
	component.ShutdownFunc
	id     string
	reader view.DeadlockReader
}

func (i *inspector) RegisterDeadlockDetector(id string, r view.DeadlockReader) func() {
	i.id, i.reader = strings.Split(id, "/")[0], r
	return func() { i.id = "" }
}

func TestAnOrdinarySpanCostsNoAllocation(t *testing.T) {
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), defaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	td := ptrace.NewTraces()
	for range 100 {
		td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("x")
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = p.ConsumeTraces(context.Background(), td) }))
	p.telemetry.Shutdown()
}

func TestAHostileReportIsCutAndCounted(t *testing.T) {
	f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
	defer f.stopped(t)
	r := newSpeaker("shop").waits(1, true, "x", 2)
	for i := range 100_000 {
		r.Wait.Holders = append(r.Wait.Holders, report.Holder{Task: taskID(byte(i)), Weight: 1})
	}
	f.consume(t, r)
	require.Contains(t, f.evictions(), intake.Eviction{Table: "reports", Reason: "shortened", Count: 1})
	require.LessOrEqual(t, f.graph.Table().Edges(), taskspan.MaxHolders)
	f.consume(t, &report.Report{Process: report.Process{Service: "", Instance: "1", Epoch: 1}, Observed: time.Now(), LockOrder: new(report.LockOrder)})
	require.EqualValues(t, 1, f.intake.Dropped()[report.DropIdentity])
}

// Whatever comes, nothing panics, and no table is fuller than it may be.
func FuzzConsumeTraces(f *testing.F) {
	marshal, unmarshal := ptrace.ProtoMarshaler{}, ptrace.ProtoUnmarshaler{}
	s := newSpeaker("shop")
	for _, reports := range [][]*report.Report{
		{s.waits(1, true, "x", 2), s.waits(2, true, "y", 1)}, {s.waits(1, false, "x", 2)}, {s.order("x", "y"), s.order("y", "x")},
	} {
		body, err := marshal.MarshalTraces(reporttest.Traces(reports...))
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		td, err := unmarshal.UnmarshalTraces(body)
		if err != nil {
			return
		}
		cfg := defaultConfig()
		cfg.MaxTasks, cfg.MaxEdges, cfg.MaxProcesses, cfg.MaxDeadlocks, cfg.Potential.MaxOrders = 3, 3, 2, 1, 2
		p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
		require.NoError(t, err)
		again := ptrace.NewTraces()
		td.CopyTo(again)
		require.NoError(t, p.ConsumeTraces(context.Background(), td))
		p.evaluate(context.Background(), time.Now())
		require.NoError(t, p.ConsumeTraces(context.Background(), again))
		p.evaluate(context.Background(), time.Now().Add(time.Hour))
		for _, table := range p.DetectorTables() {
			require.LessOrEqual(t, table.Size, table.Limit, fmt.Sprint(table.Name))
		}
		p.telemetry.Shutdown()
	})
}

// heartbeat is a heartbeat of the speaker.
func (s *speaker) heartbeat() *report.Report {
	s.sequence++
	return &report.Report{
		Process: s.process, Sequence: s.sequence, Observed: time.Now().UTC(),
		Heartbeat: &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1},
	}
}

// spans are ordinary spans of the speaker.
func (s *speaker) spans() ptrace.Traces {
	td := reporttest.Traces(s.heartbeat())
	s.sequence-- // it was not sent
	td.ResourceSpans().At(0).ScopeSpans().At(0).Scope().SetName("otelgrpc")
	return td
}

// A process whose spans arrive without its reports is a gap, until they arrive.
func TestSpansWithoutReportsAreAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		defer f.stopped(t)
		mute, fine := newSpeaker("shop"), newSpeaker("bank")
		for i := range 7 {
			require.NoError(t, f.ConsumeTraces(t.Context(), mute.spans()))
			require.NoError(t, f.ConsumeTraces(t.Context(), fine.spans()))
			f.consume(t, fine.heartbeat())
			if i < 4 {
				require.Zero(t, f.logs.Len())
			}
			time.Sleep(5 * time.Second)
		}
		warnings := f.logs.FilterMessageSnippet("none of its reports").All()
		require.Len(t, warnings, 1)
		require.Equal(t, "shop", warnings[0].ContextMap()["service"])
		require.Equal(t, view.Coverage{Since: mute.began, Reports: 7, Unreported: []report.Process{mute.process}}, f.DetectorCoverage())
		require.Len(t, f.DetectorProcesses(), 1)

		require.NoError(t, f.ConsumeTraces(t.Context(), mute.spans()))
		f.consume(t, mute.heartbeat())
		time.Sleep(2 * time.Second)
		require.Empty(t, f.DetectorCoverage().Unreported)
		require.Len(t, f.DetectorProcesses(), 2)
	})
}
