package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// vectors are what hostile senders send. n is how much of it in the short test.
var vectors = []struct {
	name string
	n    int
	of   string
	send func(t *testing.T, a *attack, n int)
	// after checks what must hold besides, when the honest process "ring" has
	// deadlocked, too.
	after func(t *testing.T, a *attack)
}{
	{name: "nested arrays", n: 200_000, of: "arrays in each other, in an attribute", send: func(t *testing.T, a *attack, n int) {
		body, refused := nested(n), new(atomic.Int64)
		inParallel(4, func() {
			s := newSender(a.http)
			s.transmit(t.Context(), body, "application/x-protobuf", "")
			refused.Add(int64(s.refused))
		})
		a.requests, a.bytes, a.refused = 4, 4*len(body), int(refused.Load())
	}},
	{name: "nested arrays, compressed", n: 200_000, of: "arrays in each other, compressed", send: func(t *testing.T, a *attack, n int) {
		var compressed bytes.Buffer
		w := gzip.NewWriter(&compressed)
		if _, err := w.Write(nested(n)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		a.transmit(t.Context(), compressed.Bytes(), "application/x-protobuf", "gzip")
	}},
	{name: "nested arrays, JSON", n: 200_000, of: "arrays in each other, in JSON", send: func(t *testing.T, a *attack, n int) {
		body := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":` +
			strings.Repeat(`{"arrayValue":{"values":[`, n/10) + strings.Repeat(`]}}`, n/10) + `}]}]}]}]}`
		a.transmit(t.Context(), []byte(body), "application/json", "")
	}},
	{name: "nested arrays, gRPC", n: 200_000, of: "arrays in each other, over gRPC", send: func(t *testing.T, a *attack, n int) {
		connection, err := grpc.NewClient(a.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		var answer []byte
		if err := connection.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", nested(n), &answer, grpc.ForceCodecV2(raw{})); err != nil {
			a.refused++
		}
		a.requests, a.bytes = 1, len(nested(n))
	}},
	{name: "a lock with many claimants", n: 300, of: "tasks that hold a lock, and as many that wait for it", send: func(t *testing.T, a *attack, n int) {
		p := a.process("claimants", "1")
		for i := range n {
			p.waits(t.Context(), spanID{uint64(i), 1}, int64(2*i+1), "m", nil, texts(taskspan.Holds, "ext:lock"))
			p.waits(t.Context(), spanID{uint64(i), 2}, int64(2*i+2), "ext:lock", nil)
		}
		p.beats(t.Context(), 2*n)
	}},
	{name: "waits of one task", n: 400, of: "waits of one task, three heartbeats", send: func(t *testing.T, a *attack, n int) {
		p := a.process("waits", "1")
		for i := range n {
			p.waits(t.Context(), spanID{1, 1}, int64(i+1), fmt.Sprint("m", i), []spanID{{1, 2}})
		}
		for range 3 {
			p.beats(t.Context(), n)
		}
	}},
	{name: "names of processes that said goodbye", n: 40, of: "processes with 200 names each, which say goodbye", send: func(t *testing.T, a *attack, n int) {
		for i := range n {
			a.process("deploys", fmt.Sprint(i)).goodbye(t.Context(), names(fmt.Sprintf("%d of %d", i, n), taskspan.MaxNames))
		}
	}},
	{name: "orders of locks", n: 1_000, of: "orders of locks", send: func(t *testing.T, a *attack, n int) {
		p := a.process("orders", "1")
		for i, locks := 0, int(math.Sqrt(float64(2*n))); i < locks; i++ {
			for j := i + 1; j < locks; j++ {
				p.report(t.Context(), taskspan.ReportLockOrder, spanID{1, 1},
					text(taskspan.LockOrderHeld, fmt.Sprint("lock ", i)), text(taskspan.LockOrderTaken, fmt.Sprint("lock ", j)))
			}
		}
	}},
	{name: "processes", n: 1_100, of: "processes of one service", send: func(t *testing.T, a *attack, n int) {
		for i := range n {
			a.process("noisy", fmt.Sprint(i)).beats(t.Context(), 0)
		}
	}, after: func(t *testing.T, a *attack) { a.shows(t, "ring", 3) }},
	{name: "unfinished traces", n: 50, of: "requests of 1 MiB of traces that never end", send: func(t *testing.T, a *attack, n int) {
		value := strings.Repeat("x", 10_000)
		for i := range n {
			p := a.process("flood", "")
			for j := range 100 {
				span := p.span("open", spanID{uint64(i*100 + j), 1}, "", "")
				span.ParentSpanId = span.SpanId[:]
				span.Attributes = []*commonpb.KeyValue{text("value", value)}
			}
			a.flush(t.Context())
		}
	}},
	{name: "bytes that are no UTF-8", n: 100, of: "names that are no UTF-8", send: func(t *testing.T, a *attack, n int) {
		p := a.process("caf"+placeholder, "")
		q := a.process("spoilt", "1")
		for i := range n {
			p.span(placeholder+fmt.Sprint(i), spanID{uint64(i), 1}, "", "").Kind = tracepb.Span_SPAN_KIND_SERVER
			q.waits(t.Context(), spanID{uint64(i), 2}, int64(i+1), placeholder+fmt.Sprint(i), nil, text(taskspan.TaskName, placeholder))
		}
		a.spoilt(t)
	}},
	{name: "a long ring", n: 1_000, of: "tasks in one ring, read twelve times at once", send: func(t *testing.T, a *attack, n int) {
		p := a.process(fmt.Sprint("long circle ", n), "1")
		for i := range n {
			p.waits(t.Context(), spanID{uint64(i), 1}, int64(i+1), fmt.Sprint("m", i), []spanID{{uint64((i + 1) % n), 1}})
		}
		p.beats(t.Context(), n)
		a.flush(t.Context())
		eventually(t, waitForDeadlock, "the ring", func() error { return a.standing(p.service) })
		inParallel(12, func() {
			for _, path := range []string{"/api/v1/deadlocks", "/api/v1/graph", "/"} {
				if _, err := get(http.DefaultClient, "http://"+a.inspector+path); err != nil {
					t.Error(err)
				}
			}
		})
		p.goodbye(t.Context())
	}},
	{name: "many deadlocks", n: 150, of: "deadlocks of two tasks each", send: func(t *testing.T, a *attack, n int) {
		p := a.process("leaky", "1")
		for i := range n {
			p.waits(t.Context(), spanID{uint64(i), 1}, int64(2*i+1), fmt.Sprint("a", i), []spanID{{uint64(i), 2}})
			p.waits(t.Context(), spanID{uint64(i), 2}, int64(2*i+2), fmt.Sprint("b", i), []spanID{{uint64(i), 1}})
		}
		p.beats(t.Context(), 2*n)
	}},
	{name: "tasks of others", n: 1_000, of: "tasks that another process has, too", send: func(t *testing.T, a *attack, n int) {
		for _, instance := range []string{"1", "2"} {
			p := a.process("thieves", instance)
			for i := range n {
				p.runs(t.Context(), spanID{uint64(i), 1}, "run")
			}
		}
	}},
	{name: "weights and times", n: 100, of: "spans with a weight of 2^56 that end before they begin", send: func(t *testing.T, a *attack, n int) {
		p := a.process("heavy", "")
		for i := range n {
			span := p.span("heavy", spanID{uint64(i), 1}, "", "")
			span.TraceState = "ot=th:ffffffffffffff"
			span.EndTimeUnixNano = span.StartTimeUnixNano - 1e15
		}
	}, after: func(t *testing.T, a *attack) {
		of := map[string]string{"service": "heavy"}
		if n, err := metrics(a.inspector).sum("async_inspect_tasks_total", of); err != nil || n < 0 || n > 1e12 {
			t.Errorf("%v tasks (%v)", n, err)
		}
		if n, err := metrics(a.inspector).sum("async_inspect_task_duration_seconds_sum", of); err != nil || n < 0 {
			t.Errorf("%v seconds (%v)", n, err)
		}
	}},
	{name: "names of one service", n: 20, of: "processes of one service with 200 names each", send: func(t *testing.T, a *attack, n int) {
		for i := range n {
			a.process("wordy", fmt.Sprint(i)).beats(t.Context(), 0, names(fmt.Sprint(i), taskspan.MaxNames))
		}
	}, after: func(t *testing.T, a *attack) { a.counts(t, "ring", "philosopher") }},
	{name: "names of plain spans", n: 2_000, of: "spans of one service with a name each", send: func(t *testing.T, a *attack, n int) {
		p := a.process("wordy", "")
		for i := range n {
			p.span(fmt.Sprint("GET /user/", i), spanID{uint64(i), 1}, "", "").Kind = tracepb.Span_SPAN_KIND_SERVER
		}
	}, after: func(t *testing.T, a *attack) { a.counts(t, "ring", "philosopher") }},
	{name: "resources of one service", n: 2_000, of: "names of resources of one service", send: func(t *testing.T, a *attack, n int) {
		p := a.process("wordy", "1")
		for i := range n {
			p.waits(t.Context(), spanID{uint64(i), 1}, int64(i+1), "m", nil, text(taskspan.WaitResourceName, fmt.Sprint("lock ", i)))
		}
		p.beats(t.Context(), n)
	}, after: func(t *testing.T, a *attack) {
		eventually(t, waitForDeadlock, "resources of ring", func() error {
			if n, err := metrics(a.inspector).sum("async_inspect_waits_open", map[string]string{"service": "ring", "resource": "a"}); err != nil || n != 1 {
				return fmt.Errorf("%v wait for a (%w)", n, err)
			}
			return nil
		})
	}},
	{name: "running tasks", n: 11_000, of: "tasks that run for long", send: func(t *testing.T, a *attack, n int) {
		p := a.process("noisy", "1")
		for i := range n {
			p.runs(t.Context(), spanID{uint64(i), 1}, "run")
		}
		a.keep(t, p, 0)
	}, after: func(t *testing.T, a *attack) { a.shows(t, "ring", 3) }},
	{name: "blocked tasks", n: 11_000, of: "tasks that wait", send: func(t *testing.T, a *attack, n int) {
		p := a.process("noisy", "1")
		for i := range n {
			p.waits(t.Context(), spanID{uint64(i), 1}, int64(i+1), "m", []spanID{{1, 2}})
		}
		a.keep(t, p, min(n, 65_536))
	}, after: func(t *testing.T, a *attack) { a.shows(t, "ring", 3) }},
	{name: "a lock with many claimants, and a goodbye", n: 1_000, of: "tasks that hold a lock, and a goodbye", send: func(t *testing.T, a *attack, n int) {
		p := a.process("claimants", "1")
		for i := range n {
			p.waits(t.Context(), spanID{uint64(i), 1}, int64(i+1), "ext:lock", nil, texts(taskspan.Holds, "ext:lock"))
		}
		p.beats(t.Context(), n)
		p.goodbye(t.Context())
	}},
}

// shows waits until the inspector shows that many tasks of a service.
func (a *attack) shows(t *testing.T, service string, tasks int) {
	t.Helper()
	eventually(t, waitForDeadlock, "tasks of "+service, func() error {
		var answer struct{ Total int }
		if err := a.ask("/api/v1/tasks?service="+service, &answer); err != nil || answer.Total != tasks {
			return fmt.Errorf("%d (%w)", answer.Total, err)
		}
		return nil
	})
}

// counts waits until both ports count the tasks of an honest process under their name.
func (a *attack) counts(t *testing.T, service, task string) {
	t.Helper()
	eventually(t, waitForDeadlock, "counts of "+service, func() error {
		for metric, from := range map[string]metrics{"async_inspect_tasks_total": metrics(a.inspector), "otelcol_processor_task_state_started_tasks": a.own} {
			if n, err := from.sum(metric, map[string]string{"service": service, "task": task}); err != nil || n == 0 {
				return fmt.Errorf("%s is %v (%w)", metric, n, err)
			}
		}
		return nil
	})
}

// names are counts by name, in a heartbeat.
func names(of string, n int) *commonpb.KeyValue {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"name":"%s, number %d","started":3,"completed":2,"running":1}`, of, i))
	}
	return texts(taskspan.TasksByName, all...)
}

// inParallel calls fn n times at once.
func inParallel(n int, fn func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(fn)
	}
	all.Wait()
}

// spoilt sends the batch with bytes that are no UTF-8 in the place of the placeholder.
func (a *attack) spoilt(t *testing.T) {
	t.Helper()
	a.transmit(t.Context(), bytes.ReplaceAll(a.request(), []byte(placeholder), []byte("\xff\xfe\xfd")), "application/x-protobuf", "")
}

// raw is a codec that sends bytes as they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
