//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/internal/sender"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// reportSink is a client that keeps what it gets.
type reportSink struct {
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (*reportSink) Start(context.Context) error { return nil }
func (*reportSink) Stop(context.Context) error  { return nil }

func (c *reportSink) UploadTraces(_ context.Context, batch []*tracepb.ResourceSpans) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range batch {
		for _, s := range r.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
	return nil
}

// reporterRig is a reporter whose time is told by the test, for an Inspector that
// sends nothing by itself.
type reporterRig struct {
	*reporter
	t    *testing.T
	ins  *Inspector
	sink *reportSink
	at   nanos
}

func newReporterRig(t *testing.T) *reporterRig {
	t.Helper()
	ins, err := New(context.Background(), WithReports(false), WithSamplingRate(0), WithBacktraces(false))
	if err != nil {
		t.Fatal(err)
	}
	rig := &reporterRig{t: t, ins: ins, sink: new(reportSink), at: now()}
	rig.reporter = newReporter(ins, rig.sink, resource.Empty(), reporterConfig{
		stuckAfter: time.Second, longTask: 30 * time.Second, heartbeatInterval: 5 * time.Second, reports: true,
	})
	rig.sender = sender.Start(sender.Config{
		Client: rig.sink, Limit: queueLimit, Timeout: time.Second, Dropped: func() {}, Failed: func(error) {},
	})
	t.Cleanup(func() {
		_ = rig.sender.Close(context.Background())
		_ = ins.Shutdown(context.Background())
	})
	return rig
}

// after lets time pass, scans, and returns what was reported.
func (r *reporterRig) after(d time.Duration) []*tracepb.Span {
	r.t.Helper()
	if r.lastFor == 0 {
		// The time of the rig begins with the last wait, however long a busy machine took
		// until then.
		for _, v := range openWaits(now(), nil) {
			r.at = max(r.at, v.start)
		}
	}
	r.at += nanos(d)
	r.scan(r.at)
	// Closing the sender flushes it; a new one takes its place.
	if err := r.sender.Close(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.sender = sender.Start(sender.Config{
		Client: r.sink, Limit: queueLimit, Timeout: time.Second, Dropped: func() {}, Failed: func(error) {},
	})
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	spans := r.sink.spans
	r.sink.spans = nil
	return spans
}

func (r *reporterRig) nothingAfter(d time.Duration, why string) {
	r.t.Helper()
	if spans := r.after(d); len(spans) > 0 {
		r.t.Errorf("%s, but it was reported: %v", why, spans)
	}
}

func (r *reporterRig) oneAfter(d time.Duration) *tracepb.Span {
	r.t.Helper()
	spans := r.after(d)
	if len(spans) != 1 {
		r.t.Fatalf("%d reports, want one: %v", len(spans), spans)
	}
	return spans[0]
}

func reported(s *tracepb.Span, key string) *commonpb.AnyValue {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

// blockedOn starts a task that waits for m, and returns it when it waits.
func (r *reporterRig) blockedOn(m *Mutex, name string, ended *sync.WaitGroup) *Task {
	r.t.Helper()
	begun := make(chan *Task)
	ended.Go(func() {
		_, task := r.ins.Begin(context.Background(), name)
		defer task.End(nil)
		begun <- task
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	task := <-begun
	lockHolders(r.t, task.goroutine.Load())
	return task
}

func TestAStuckWaitIsToldWithItsHolderAndItsEnd(t *testing.T) {
	r := newReporterRig(t)
	m := NewMutex("stock")
	_, holder := r.ins.Begin(context.Background(), "stocktaking")
	m.Lock()
	var ended sync.WaitGroup
	waiter := r.blockedOn(m, "reserve", &ended)

	r.nothingAfter(500*time.Millisecond, "nobody has waited for a second")
	s := r.oneAfter(time.Second)
	if id := waiter.SpanContext().SpanID(); !slices.Equal(s.ParentSpanId, id[:]) {
		t.Errorf("the parent is %x, want the task %s", s.ParentSpanId, id)
	}
	for key, want := range map[string]string{
		taskspan.TaskName: "reserve", taskspan.TaskState: "blocked",
		taskspan.WaitKind: "mutex", taskspan.WaitResourceName: "stock",
	} {
		if got := reported(s, key).GetStringValue(); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if !reported(s, taskspan.WaitHoldersComplete).GetBoolValue() || reported(s, taskspan.WaitRevision).GetIntValue() != 1 {
		t.Errorf("want revision 1 with complete holders: %v", s)
	}
	if id := holder.SpanContext().SpanID(); len(s.Links) != 1 || !slices.Equal(s.Links[0].SpanId, id[:]) {
		t.Errorf("links are %v, want the holder %s", s.Links, id)
	}
	if place := reported(s, taskspan.CodeFunctionName).GetStringValue(); place == "" {
		t.Error("it does not say where it waits")
	}

	r.nothingAfter(500*time.Millisecond, "it has just been told")
	if again := r.oneAfter(time.Second); reported(again, taskspan.WaitRevision).GetIntValue() != 1 {
		t.Error("the repetition has another revision")
	}
	h := r.heartbeat(false)
	if len(h.WaitIDs) != 1 || h.Revisions[0] != 1 || h.Total.Blocked != 1 || h.Total.Running != 1 {
		t.Errorf("heartbeat is %+v", h)
	}

	m.Unlock()
	ended.Wait()
	spans := r.after(time.Second)
	if len(spans) != 2 || reported(spans[0], taskspan.WaitOpen).GetBoolValue() ||
		reported(spans[1], taskspan.TaskState).GetStringValue() != "completed" {
		t.Errorf("want the end of the wait, and that of its task: %v", spans)
	}
	r.nothingAfter(10*time.Second, "nobody waits")
	if h := r.heartbeat(true); len(h.WaitIDs) != 0 || !h.Final || h.Total.Completed != 1 {
		t.Errorf("heartbeat is %+v", h)
	}
	holder.End(nil)
}

// Who was told of a stuck task is told of its end, also if it is soon and the task is
// not sampled.
func TestTheEndOfATaskThatWasStuckIsTold(t *testing.T) {
	r := newReporterRig(t)
	var m Mutex
	m.Lock()
	var ended sync.WaitGroup
	begun, goOn := make(chan *Task), make(chan struct{})
	ended.Go(func() {
		_, task := r.ins.Begin(context.Background(), "reserve")
		begun <- task
		m.Lock()
		m.Unlock()
		goOn <- struct{}{}
		<-goOn
		task.End(context.Canceled)
	})
	lockHolders(t, (<-begun).goroutine.Load())
	r.oneAfter(2 * time.Second)
	m.Unlock()
	<-goOn
	if s := r.oneAfter(time.Second); reported(s, taskspan.Report).GetStringValue() != "wait" {
		t.Errorf("want the end of the wait only: %v", s)
	}
	goOn <- struct{}{}
	ended.Wait()
	if s := r.oneAfter(time.Second); reported(s, taskspan.TaskState).GetStringValue() != "cancelled" {
		t.Errorf("want the end of the task: %v", s)
	}
	r.nothingAfter(time.Hour, "it has ended")
}

// What was read in a scan is not kept alive by the memory that the next one uses again.
func TestAScanHoldsOnToNobody(t *testing.T) {
	rig := newReporterRig(t)
	var (
		m     Mutex
		ended sync.WaitGroup
	)
	m.Lock()
	rig.blockedOn(&m, "work", &ended)
	rig.oneAfter(2 * time.Second)
	m.Unlock()
	ended.Wait()
	if len(rig.read) == 0 {
		t.Fatal("the scan has read nothing: this test does not look right")
	}
	for i := range rig.read {
		one := &rig.read[i]
		if one.view.task != nil || one.view.ctx != nil || one.view.on != nil {
			t.Errorf("it holds on to %+v", one.view)
		}
		for _, h := range slices.Concat(one.first.list, one.second.list) {
			if h != (holder{}) {
				t.Errorf("it holds on to the holder %+v", h)
			}
		}
	}
}

// A lock that is busy and moves is no trouble: holders that change are told only
// when they have stayed for a while.
func TestAConvoyIsToldOnce(t *testing.T) {
	r := newReporterRig(t)
	var m Mutex
	m.Lock()
	var ended sync.WaitGroup
	r.blockedOn(&m, "reserve", &ended)
	r.oneAfter(1500 * time.Millisecond)
	for range 5 {
		// Another acquisition by the same goroutine: same holder, other generation.
		goid.Leave(&m.owner)
		goid.TakeFor(&m.owner, goidOfTest(), 0)
		r.nothingAfter(250*time.Millisecond, "the holder has just changed")
		if h := r.heartbeat(false); h.Revisions[0] == 1 {
			t.Error("the heartbeat prolongs a holder that has let go")
		}
	}
	r.nothingAfter(500*time.Millisecond, "the new holder has not stayed for a second")
	s := r.oneAfter(time.Second)
	if revision := reported(s, taskspan.WaitRevision).GetIntValue(); revision != 2 {
		t.Errorf("revision is %d, want 2", revision)
	}
	if h := r.heartbeat(false); h.Revisions[0] != 2 {
		t.Errorf("the heartbeat lists revision %d, want 2", h.Revisions[0])
	}
	m.Unlock()
	ended.Wait()
}

// All reports of one scan carry one instant, at which all they say was so.
// Thousands that get stuck at once do not push each other out of the queue: who finds
// no room is told of by a later scan.
func TestMoreThanFitAreToldLater(t *testing.T) {
	r := newReporterRig(t)
	dropped := 0
	r.sender = sender.Start(sender.Config{
		Client: r.sink, Limit: queueLimit, Timeout: time.Second, Dropped: func() { dropped++ }, Failed: func(error) {},
	})
	const waiters = queueLimit + 500
	m := NewMutex("crowded")
	m.Lock()
	var ended sync.WaitGroup
	for range waiters {
		r.blockedOn(m, "customer", &ended)
	}
	r.at = now() // however long that took, all of them are stuck in the first scan
	told := make(map[string]bool)
	for range 4 {
		for _, s := range r.after(2 * time.Second) {
			told[string(s.ParentSpanId)] = true
		}
	}
	if len(told) != waiters || dropped > 0 {
		t.Errorf("%d of %d were told of, %d dropped", len(told), waiters, dropped)
	}
	m.Unlock()
	ended.Wait()
}

func TestADeadlockStandsAtOneInstant(t *testing.T) {
	r := newReporterRig(t)
	var a, b Mutex
	ctx, cancel := context.WithCancel(context.Background())
	var ended, both sync.WaitGroup
	both.Add(2)
	var tasks [2]*Task
	for i, locks := range [][2]*Mutex{{&a, &b}, {&b, &a}} {
		ended.Go(func() {
			_, tasks[i] = r.ins.Begin(ctx, fmt.Sprint("clerk ", i))
			defer tasks[i].End(nil)
			locks[0].Lock()
			defer locks[0].Unlock()
			both.Done()
			both.Wait()
			if locks[1].LockContext(ctx) == nil {
				locks[1].Unlock()
			}
		})
	}
	both.Wait()
	for _, task := range tasks {
		lockHolders(t, task.goroutine.Load())
	}
	spans := r.after(2 * time.Second)
	if len(spans) != 2 || spans[0].EndTimeUnixNano != spans[1].EndTimeUnixNano {
		t.Fatalf("want two reports of one instant: %v", spans)
	}
	for i, s := range spans {
		other := spans[1-i]
		if len(s.Links) != 1 || !slices.Equal(s.Links[0].SpanId, other.ParentSpanId) {
			t.Errorf("%v does not point to the other", s)
		}
	}
	cancel()
	ended.Wait()
}

func TestAHelperGoroutineDoesNotBlockItsTask(t *testing.T) {
	r := newReporterRig(t)
	var m Mutex
	m.Lock()
	ctx, task := r.ins.Begin(context.Background(), "order")
	helper := make(chan uint64)
	var ended sync.WaitGroup
	ended.Go(func() {
		helper <- goidOfTest()
		if m.LockContext(ctx) == nil {
			m.Unlock()
		}
	})
	lockHolders(t, <-helper)
	s := r.oneAfter(2 * time.Second)
	id := task.SpanContext().SpanID()
	if slices.Equal(s.ParentSpanId, id[:]) {
		t.Error("the task shows as blocked, and only its helper is")
	}
	if parent := reported(s, taskspan.TaskParentSpanID).GetStringValue(); parent != id.String() {
		t.Errorf("the helper's parent is %q, want the task %s", parent, id)
	}
	if h := r.heartbeat(false); h.Total.Blocked != 0 || h.Total.Running != 1 {
		t.Errorf("counts are %+v, want one running task", h.Total)
	}
	m.Unlock()
	ended.Wait()
	task.End(nil)
}

func TestALongTaskIsToldAndItsEnd(t *testing.T) {
	r := newReporterRig(t)
	_, task := r.ins.Begin(context.Background(), "import")
	r.nothingAfter(29*time.Second, "it runs for less than 30 s")
	s := r.oneAfter(2 * time.Second)
	if reported(s, taskspan.Report).GetStringValue() != "task" || reported(s, taskspan.TaskState).GetStringValue() != "running" {
		t.Errorf("want a report of a running task: %v", s)
	}
	task.End(context.Canceled)
	if s := r.oneAfter(time.Second); reported(s, taskspan.TaskState).GetStringValue() != "cancelled" {
		t.Errorf("want its end: %v", s)
	}
	r.nothingAfter(time.Hour, "it has ended")
}

func TestBackOff(t *testing.T) {
	var age time.Duration
	var at []time.Duration
	for i := range 7 {
		age += backOff(i)
		at = append(at, age+time.Second)
	}
	want := []time.Duration{2, 4, 8, 16, 46, 76, 106}
	for i := range want {
		if at[i] != want[i]*time.Second {
			t.Errorf("a wait is told again at %v, want %v", at, want)
			break
		}
	}
}

func TestCountsKeepTheMostFrequentNames(t *testing.T) {
	r := newReporterRig(t)
	for i := range taskspan.MaxNames + 50 {
		for range i + 1 {
			_, task := r.ins.Begin(context.Background(), fmt.Sprint("task ", i))
			task.End(nil)
		}
	}
	total, byName := r.ins.counts()
	if len(byName) != taskspan.MaxNames {
		t.Fatalf("%d names, want %d", len(byName), taskspan.MaxNames)
	}
	var sum int64
	for _, n := range byName {
		sum += n.Started
	}
	if sum != total.Started || total.Started != total.Completed {
		t.Errorf("the names have %d in all, the total says %+v", sum, total)
	}
	if last := byName[len(byName)-1]; last.Name != taskspan.OtherNames || last.Started == 0 {
		t.Errorf("the rest is %+v", last)
	}
}

// What costs when nothing is stuck: 10,000 open tasks, and one look at them, of which
// there are four a second.
func BenchmarkIdleScan(b *testing.B) {
	ins, err := New(context.Background(), WithReports(false), WithSamplingRate(0))
	if err != nil {
		b.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	var open []*Task
	for range 10_000 {
		_, task := ins.Begin(context.Background(), "idle")
		open = append(open, task)
	}
	r := newReporter(ins, new(reportSink), resource.Empty(), reporterConfig{
		stuckAfter: time.Second, longTask: time.Hour, heartbeatInterval: 5 * time.Second, reports: true,
	})
	r.sender = sender.Start(sender.Config{
		Client: new(reportSink), Limit: queueLimit, Timeout: time.Second, Dropped: func() {}, Failed: func(error) {},
	})
	defer r.sender.Close(context.Background())
	b.ReportAllocs()
	for b.Loop() {
		r.scan(now())
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)*4/float64(time.Second)*100, "%core")
	for _, task := range slices.Backward(open) {
		task.End(nil)
	}
}
