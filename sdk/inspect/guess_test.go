//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/internal/stacks"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// freshLooks gives a test a lookout that has not spent anything, of the real goroutines.
func freshLooks(t *testing.T) *lookout {
	t.Helper()
	if !goid.Supported() {
		t.Skip("goroutines cannot be told apart here")
	}
	before := looks
	looks = newLookout()
	looks.budget, looks.filled = time.Hour, now()+nanos(time.Hour) // more than is ever used
	looks.bytes = 32 << 10                                         // and room for the goroutines of all tests
	t.Cleanup(func() { looks = before })
	return looks
}

// A caller is a goroutine that opens a client span in some way, and goes on in some way.
// It says when it is about to.
type caller struct {
	tracer trace.Tracer
	ready  chan struct{}
	stop   chan struct{}
	server *httptest.Server
	mutex  *Mutex
	open   chan trace.Span // all that were opened
}

func newCaller(ins *Inspector) *caller {
	return &caller{tracer: ins.own.Tracer("x"), ready: make(chan struct{}), stop: make(chan struct{}), open: make(chan trace.Span, 10)}
}

func (c *caller) span(ctx context.Context) trace.Span {
	_, span := c.tracer.Start(ctx, "call", trace.WithSpanKind(trace.SpanKindClient))
	c.open <- span
	return span
}

// end ends the spans that nobody has ended.
func (c *caller) end() {
	for range len(c.open) {
		(<-c.open).End()
	}
}

// stream opens a stream as a library does that is used by another one: when it returns,
// two functions have returned that know of the span.
func (c *caller) stream(ctx context.Context) trace.Span { return c.opened(ctx) }

func (c *caller) opened(ctx context.Context) trace.Span { return c.span(ctx) }

// RoundTrip is a transport that makes spans, and leaves them open as long as the body.
func (c *caller) RoundTrip(r *http.Request) (*http.Response, error) {
	span := c.span(r.Context())
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		span.End()
	}
	return response, err
}

func (c *caller) get(ctx context.Context, path string) io.ReadCloser {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server.URL+path, nil)
	if err != nil {
		panic(err)
	}
	response, err := (&http.Client{Transport: c}).Do(r)
	if err != nil {
		panic(err)
	}
	return response.Body
}

var callers = []struct {
	name  string
	run   func(context.Context, *caller)
	waits bool // for an answer
}{
	{"waits for a channel, in the function that made the span", func(ctx context.Context, c *caller) {
		defer c.span(ctx).End()
		close(c.ready)
		<-c.stop
	}, true},
	{"waits in a select, deeper", func(ctx context.Context, c *caller) {
		defer c.span(ctx).End()
		close(c.ready)
		func() {
			select {
			case <-c.stop:
			case <-ctx.Done():
			}
		}()
	}, true},
	{"waits for a response", func(ctx context.Context, c *caller) {
		close(c.ready)
		c.get(ctx, "/slow").Close()
	}, true},
	{"reads a body that goes on", func(ctx context.Context, c *caller) {
		body := c.get(ctx, "/stream")
		close(c.ready)
		_, _ = io.ReadAll(body)
	}, false},
	{"has opened a stream and waits for something else", func(ctx context.Context, c *caller) {
		defer c.stream(ctx).End()
		close(c.ready)
		<-c.stop
	}, false},
	{"has opened a stream and works", func(ctx context.Context, c *caller) {
		defer c.stream(ctx).End()
		close(c.ready)
		c.work()
	}, false},
	{"works in the function that made the span", func(ctx context.Context, c *caller) {
		defer c.span(ctx).End()
		close(c.ready)
		c.work()
	}, false},
	{"sleeps", func(ctx context.Context, c *caller) {
		defer c.span(ctx).End()
		close(c.ready)
		for {
			select {
			case <-c.stop:
				return
			default:
				time.Sleep(time.Millisecond)
			}
		}
	}, false},
	{"has given the span away", func(ctx context.Context, c *caller) {
		span := c.span(ctx)
		go func() {
			<-c.stop
			span.End()
		}()
		close(c.ready)
	}, false},
	{"waits for a lock of ours", func(ctx context.Context, c *caller) {
		defer c.span(ctx).End()
		close(c.ready)
		c.mutex.Lock()
		c.mutex.Unlock() //nolint:staticcheck // the wait is the point
	}, false},
	{"does the next call from the same line", func(ctx context.Context, c *caller) {
		for range 2 {
			span := c.span(ctx)
			defer span.End()
			select {
			case <-c.ready:
				<-c.stop // in the second call
			default:
				close(c.ready)
			}
		}
	}, true}, // the second call, and only that
}

func (c *caller) work() {
	for {
		select {
		case <-c.stop:
			return
		default:
			runtime.Gosched()
		}
	}
}

// remoteReports are the open remote waits among reports.
func remoteReports(spans []*tracepb.Span) (open []*tracepb.Span) {
	for _, s := range spans {
		if k := reported(s, taskspan.WaitKind); k.GetStringValue() == string(taskspan.WaitRemote) && reported(s, taskspan.WaitOpen).GetBoolValue() {
			open = append(open, s)
		}
	}
	return open
}

// What an open client span says is believed if its goroutine waits in the call that
// opened it, and not otherwise: not by the collector, nor by who lists tasks, nor by
// the counts.
func TestAnOpenClientSpanIsAWaitOnlyOfWhoWaits(t *testing.T) {
	for _, test := range callers {
		t.Run(test.name, func(t *testing.T) {
			freshLooks(t)
			r := newReporterRig(t)
			c := newCaller(r.ins)
			c.mutex = NewMutex(t.Name())
			defer c.end()
			c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stream" {
					w.WriteHeader(http.StatusOK)
					_ = http.NewResponseController(w).Flush()
				}
				<-c.stop
			}))
			defer c.server.Close()
			c.mutex.Lock()
			var (
				goroutine uint64
				done      sync.WaitGroup
			)
			begun := make(chan uint64)
			done.Go(func() {
				ctx, task := r.ins.Begin(context.Background(), "caller")
				defer task.End(nil)
				begun <- task.goroutine.Load()
				test.run(ctx, c)
				if test.name == "has given the span away" {
					<-c.stop
				}
			})
			goroutine = <-begun
			waitFor(t, "the span of "+test.name, func() bool {
				select {
				case <-c.ready:
					return openGuesses(goroutine) > 0
				default:
					return false
				}
			})
			settled(t, goroutine, test.waits)

			// Some looks, as many as a deadlock needs to be found.
			open := remoteReports(r.after(2 * time.Second))
			if len(open) > 0 {
				t.Errorf("reported after one look: %v", open)
			}
			for range 3 {
				open = append(open, remoteReports(r.after(time.Second))...)
			}
			listed := false
			for _, task := range r.ins.Tasks() {
				listed = listed || task.Goroutine == goroutine && task.Wait != nil && task.Wait.Kind == taskspan.WaitRemote
			}
			total, _ := r.ins.counts()
			if blocked := total.Blocked == 1; (len(open) > 0) != test.waits || listed != test.waits || blocked != (test.waits || strings.Contains(test.name, "lock")) {
				t.Errorf("%d reports, listed as waiting: %v, counted as blocked: %v; want %v", len(open), listed, blocked, test.waits)
			}
			ids := make(map[int64]bool)
			for _, s := range open {
				ids[reported(s, taskspan.WaitID).GetIntValue()] = true
				if !reported(s, taskspan.WaitInferred).GetBoolValue() {
					t.Errorf("not a guess: %v", s)
				}
			}
			if test.waits && len(ids) != 1 {
				t.Errorf("%d waits were reported, want one", len(ids))
			}
			h := r.heartbeat(false)
			for i, id := range h.WaitIDs {
				if ids[int64(id)] && h.Revisions[i] < 2 {
					t.Errorf("the heartbeat prolongs a guess: revision %d", h.Revisions[i])
				}
			}
			close(c.stop)
			c.mutex.Unlock()
			done.Wait()
			if open := remoteReports(r.after(time.Second)); len(open) > 0 {
				t.Errorf("still reported when it is over: %v", open)
			}
		})
	}
}

// openGuesses counts the open client spans of a goroutine.
func openGuesses(goroutine uint64) (n int) {
	for _, w := range openWaits(now(), nil) {
		if w.goroutine == goroutine && guessOf(w.call) != nil {
			n++
		}
	}
	return n
}

// settled waits until a goroutine has come to where it stays.
func settled(t *testing.T, goroutine uint64, waits bool) {
	t.Helper()
	waitFor(t, fmt.Sprintf("goroutine %d to be parked", goroutine), func() bool {
		seen, _ := looks.take(map[uint64]bool{goroutine: true}, lookAtMost)
		state := seen.of[goroutine].State
		return !waits && state != "" || answerStates[state]
	})
}

// waitFor waits until something is so, and says what if that never happens.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}

// A guess that was told is not told on when the goroutine goes on working: its wait is
// closed with the next look, though its span is open.
func TestAGuessEndsWhenTheCallReturns(t *testing.T) {
	freshLooks(t)
	r := newReporterRig(t)
	begun, answer, stop := make(chan uint64), make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		ctx, task := r.ins.Begin(context.Background(), "caller")
		defer task.End(nil)
		c := newCaller(r.ins)
		defer c.end()
		call := func() trace.Span {
			span := c.span(ctx)
			begun <- task.goroutine.Load()
			<-answer
			return span
		}
		defer call().End()
		begun <- 0
		<-stop
	})
	goroutine := <-begun
	settled(t, goroutine, true)
	if n := len(r.after(2 * time.Second)); n != 0 {
		t.Fatalf("%d reports after one look", n)
	}
	s := r.oneAfter(time.Second)
	if !reported(s, taskspan.WaitOpen).GetBoolValue() {
		t.Fatalf("not open: %v", s)
	}
	r.nothingAfter(0, "nobody has looked since")
	if again := r.oneAfter(3 * time.Second); again.EndTimeUnixNano <= s.EndTimeUnixNano {
		t.Error("a further look is no further evidence")
	}
	close(answer)
	<-begun
	settled(t, goroutine, true)
	s = nil
	for i := 0; s == nil && i < 20; i++ {
		for _, span := range r.after(5 * time.Second) {
			s = span
		}
	}
	if s == nil || reported(s, taskspan.WaitOpen).GetBoolValue() {
		t.Errorf("not closed after the call has returned: %v", s)
	}
	close(stop)
	done.Wait()
}

// Looks are bounded by the number of goroutines and by the time that they take, and what
// is refused is counted.
func TestLooksAreBounded(t *testing.T) {
	for _, c := range []struct {
		name       string
		goroutines int
		limit      int
		budget     time.Duration
		refused    lookRefusal
	}{
		{"few goroutines", 300, lookAtMost, lookBudget, ""},
		{"as many as may be", lookAtMost, lookAtMost, lookBudget, ""},
		{"one more", lookAtMost + 1, lookAtMost, lookBudget, tooManyGoroutines},
		{"just enough left", 700, lookAtMost, 700 * lookCost, ""},
		{"not enough left", 700, lookAtMost, 700*lookCost - time.Millisecond, overLookBudget},
		{"as many as a low limit", 40, 40, lookBudget, ""},
		{"one more than a low limit", 41, 40, lookBudget, tooManyGoroutines},
		{"as many as a high limit", 12_000, 12_000, lookBudget, ""}, // which makes the budget 240 ms
		{"one more than a high limit", 12_001, 12_000, lookBudget, tooManyGoroutines},
		{"too little for a high limit", 12_000, 12_000, -25 * time.Millisecond, overLookBudget},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := freshLooks(t)
			l.count = func() int { return c.goroutines }
			l.budget, l.filled = c.budget, now()+nanos(time.Minute)
			dumps := 0
			l.stack = func(buf []byte) int {
				dumps++
				return copy(buf, "goroutine 5 [select]:\nmain.f()\n\tf.go:3\n\ngoroutine 6 [running]:\n")
			}
			r := newReporterRig(t)
			var log strings.Builder
			r.ins.config.logger, r.ins.config.lookLimit = slog.New(slog.NewTextHandler(&log, nil)), c.limit
			c5 := newCaller(r.ins)
			ctx, task := r.ins.Begin(context.Background(), "caller")
			span := c5.span(ctx)
			r.nothingAfter(2*time.Second, "nobody waits")
			if taken := dumps > 0; taken != (c.refused == "") {
				t.Errorf("%d dumps were taken", dumps)
			}
			if n := r.ins.drops[dropLooks].Load(); (n == 1) != (c.refused != "") {
				t.Errorf("%d looks were refused", n)
			}
			r.nothingAfter(5*time.Second, "nobody waits") // a further time is not logged
			if n := strings.Count(log.String(), "goroutines were not examined"); n != min(len(c.refused), 1) ||
				!strings.Contains(log.String(), string(c.refused)) || n > 0 && !strings.Contains(log.String(), fmt.Sprint("limit=", c.limit)) {
				t.Errorf("the log is %q", log.String())
			}
			span.End()
			task.End(nil)
		})
	}
}

// After a look that was refused, the next one is asked for a second later.
func TestALookThatWasRefusedIsAskedForAgain(t *testing.T) {
	l := freshLooks(t)
	goroutines, dumps := lookAtMost+1, 0
	l.count = func() int { return goroutines }
	l.stack = func(buf []byte) int {
		dumps++
		return copy(buf, "goroutine 5 [running]:\nmain.f()\n\tf.go:3\n")
	}
	r := newReporterRig(t)
	ctx, task := r.ins.Begin(context.Background(), "caller")
	defer task.End(nil)
	span := newCaller(r.ins).span(ctx)
	defer span.End()
	for i, step := range []struct {
		after          time.Duration
		refused, dumps int
	}{
		{2 * time.Second, 1, 0},
		{lookRetry - 1, 1, 0},
		{1, 2, 0},
		{lookRetry - 1, 2, 0}, // and from here on there are few enough
		{1, 2, 1},
	} {
		if i == 3 {
			goroutines = 300
		}
		r.nothingAfter(step.after, "nobody waits")
		if n := r.ins.drops[dropLooks].Load(); int(n) != step.refused || dumps != step.dumps {
			t.Errorf("step %d: %d looks were refused and %d taken, want %d and %d", i, n, dumps, step.refused, step.dumps)
		}
	}
}

func TestTheBudgetComesBack(t *testing.T) {
	l := newLookout()
	l.budget, l.filled = -50*time.Millisecond, 1000
	for _, c := range []struct {
		after, cost time.Duration
		enough      bool
	}{
		{0, 0, false},
		{29 * time.Second, 0, false},
		{2 * time.Second, time.Millisecond, true}, // 31 s: 51.7 ms have come back
		{0, 2 * time.Millisecond, false},
		{time.Hour, lookBudget, true}, // and no more than that
		{time.Hour, lookBudget + 1, false},
	} {
		at := l.filled + nanos(c.after)
		if got := l.afford(c.cost, at); got != c.enough {
			t.Errorf("%v later, %v are enough for %v: %v", c.after, l.budget, c.cost, got)
		}
	}
}

// Of who has ended is known only if the dump is whole and understood.
func TestWhoHasEnded(t *testing.T) {
	const dump = "goroutine 5 [select]:\nmain.f()\n\tf.go:3\n\ngoroutine 6 [running]:\nmain.g()\n\tg.go:4\n"
	for _, c := range []struct {
		name  string
		stack func(buf []byte) int
		gone  bool
	}{
		{"whole", func(buf []byte) int { return copy(buf, dump) }, true},
		{"cut short", func(buf []byte) int { copy(buf, dump); return len(buf) }, false},
		{"not understood", func(buf []byte) int { return copy(buf, dump+"\ngoroutine seven [select]:\n") }, false},
	} {
		l := freshLooks(t)
		bytes := l.bytes
		l.stack = c.stack
		seen, _ := l.take(map[uint64]bool{5: true, 7: true}, lookAtMost)
		if seen.gone(5) || seen.gone(7) != c.gone {
			t.Errorf("%s: 5 has ended: %v, 7: %v", c.name, seen.gone(5), seen.gone(7))
		}
		if grown := l.bytes > bytes; grown != (c.name == "cut short") {
			t.Errorf("%s: a goroutine is thought to take %d bytes, before %d", c.name, l.bytes, bytes)
		}
	}
}

// A call goes on if its goroutine has come the same way again, and waits there: what it
// waits for on another way is inside of the call.
func TestWhichCallsAreRepeated(t *testing.T) {
	quietInspector(t)
	call := func() *wait {
		c := newRemoteCall(newIdentity(), "GET")
		c.guessed.Store(true)
		return beginWait(context.Background(), taskspan.WaitRemote, c)
	}
	var views [4]waitView
	for i := range views {
		var w *wait
		if i%2 == 0 {
			w = call()
		} else {
			w = call() // on a way of its own
		}
		views[i] = w.view()
		defer endWait(w)
	}
	other := newActor(t)
	other.does(func() { t.Cleanup(func() { endWait(call()) }) })
	for i, v := range views {
		// 0 and 2 come the same way, and so do 1 and 3.
		if got := v.repeated(); got != (i < 2) {
			t.Errorf("call %d is repeated: %t", i, got)
		}
	}
	lone := func() waitView {
		w := call()
		t.Cleanup(func() { endWait(w) })
		return w.view()
	}()
	w := beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "disk"})
	defer endWait(w)
	if lone.repeated() {
		t.Error("a wait on another way repeats the call")
	}
}

// What a goroutine costs is measured with each look, and paid from the budget.
func TestLooksAreMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout()
		l.budget, l.filled = 70*time.Millisecond, now()
		l.count = func() int { return 400 }
		l.stack = func(buf []byte) int {
			time.Sleep(8 * time.Millisecond)
			return copy(buf, "goroutine 5 [running]:\nmain.f()\n\tf.go:3\n")
		}
		began := now()
		seen, _ := l.take(map[uint64]bool{5: true}, lookAtMost)
		if seen == nil || seen.at != began || l.cost != 20*time.Microsecond || l.budget != 62*time.Millisecond {
			t.Errorf("a goroutine costs %v, and %v are left; the look was at %v", l.cost, l.budget, seen)
		}
		l.count = func() int { return 3200 } // 64 ms by now
		if _, refused := l.take(map[uint64]bool{5: true}, lookAtMost); refused != overLookBudget {
			t.Error("a look was taken that costs more than is left")
		}
		l.count = func() int { return 3000 }
		if _, refused := l.take(map[uint64]bool{5: true}, lookAtMost); refused != "" {
			t.Error("a look was refused that costs less than is left")
		}
	})
}

// What looks in a row make of a guess.
func TestWhatLooksMakeOfAGuess(t *testing.T) {
	s := siteHere()
	way := s.calls()
	above := func(function string) []stacks.Frame {
		return append([]stacks.Frame{{Function: function, File: "x.go", Line: 3}}, way...)
	}
	looks := map[string]stacks.Goroutine{
		"waits":           {State: "select", Frames: way},
		"waits elsewhere": {State: "select", Frames: above("net/http.(*persistConn).roundTrip")},
		"parked":          {State: "IO wait", Frames: way, Parked: time.Minute},
		"works":           {State: "running", Frames: way},
		"waits for ours":  {State: "select", Frames: above(thisPackage + "(*Mutex).Lock")},
		"elsewhere":       {State: "select", Frames: []stacks.Frame{{Function: "main.other", File: "main.go", Line: 7}}},
	}
	const ms = nanos(time.Millisecond)
	type want struct {
		agreeing int
		next     nanos // from the look
		waited   int   // which look saw it wait last, from 1; 0: none
		returned bool
	}
	for name, steps := range map[string][]struct {
		look string
		want want
	}{
		"the same": {
			{"waits", want{1, 200 * ms, 1, false}},
			{"waits", want{2, 1000 * ms, 2, false}},
			{"waits", want{2, 2000 * ms, 3, false}},
			{"waits", want{2, 4000 * ms, 4, false}},
			{"waits elsewhere", want{2, 8000 * ms, 5, false}},
			{"waits", want{2, 30_000 * ms, 6, false}},
		},
		"another stack":      {{"waits", want{1, 200 * ms, 1, false}}, {"waits elsewhere", want{1, 200 * ms, 2, false}}, {"waits elsewhere", want{2, 1000 * ms, 3, false}}},
		"parked for long":    {{"parked", want{2, 1000 * ms, 1, false}}, {"parked", want{2, 2000 * ms, 2, false}}},
		"works in between":   {{"waits", want{1, 200 * ms, 1, false}}, {"works", want{0, 1000 * ms, 1, false}}, {"waits", want{1, 200 * ms, 3, false}}, {"waits", want{2, 1000 * ms, 4, false}}},
		"works":              {{"works", want{0, 1000 * ms, 0, false}}, {"works", want{0, 2000 * ms, 0, false}}},
		"waits for a lock":   {{"waits for ours", want{0, 1000 * ms, 0, false}}, {"waits", want{1, 200 * ms, 2, false}}},
		"has returned":       {{"waits", want{1, 200 * ms, 1, false}}, {"elsewhere", want{0, 200*ms - 1000*ms, 1, true}}, {"waits", want{0, 200*ms - 2000*ms, 1, true}}},
		"returned at once":   {{"elsewhere", want{0, 0, 0, true}}},
		"works after it sat": {{"parked", want{2, 1000 * ms, 1, false}}, {"works", want{0, 2000 * ms, 1, false}}, {"parked", want{2, 1000 * ms, 3, false}}},
	} {
		var g guess
		for i, step := range steps {
			taken := nanos(i+1) * 1000 * ms
			at := taken + 7
			g.judge(s, looks[step.look], taken, at)
			next := at + step.want.next
			if name == "returned at once" {
				next = 0
			}
			if g.agreeing != step.want.agreeing || g.returned != step.want.returned || g.waited != nanos(step.want.waited)*1000*ms || g.next != next {
				t.Errorf("%s, look %d: %d agree, returned %t, waited at %v, the next is after %v; want %+v",
					name, i+1, g.agreeing, g.returned, time.Duration(g.waited), time.Duration(g.next-at), step.want)
			}
			last, believed := g.believed(taken)
			if g.waiting() != (step.want.agreeing > 0) || g.isReturned() != step.want.returned || believed != (step.want.agreeing > 1) || last != g.waited {
				t.Errorf("%s, look %d: waiting %t, believed %t", name, i+1, g.waiting(), believed)
			}
			if due := g.due(next); due == step.want.returned || !step.want.returned && g.due(next-1) {
				t.Errorf("%s, look %d: due %t, and a moment before %t", name, i+1, due, g.due(next-1))
			}
		}
	}
	// What was seen counts for a while, and for who counts for a shorter one.
	g := guess{agreeing: 2, waited: 5000}
	for _, c := range []struct {
		after         time.Duration
		was, believed bool
	}{{0, true, true}, {lookedAtAfter - 1, true, true}, {lookedAtAfter, false, true}, {guessKept - 1, false, true}, {guessKept, false, false}} {
		at := g.waited + nanos(c.after)
		if _, believed := g.believed(at); g.wasWaiting(at) != c.was || believed != c.believed {
			t.Errorf("%v later: it was waiting: %t, believed: %t", c.after, g.wasWaiting(at), believed)
		}
	}
	if g.agreeing = 0; g.wasWaiting(5000) {
		t.Error("it was waiting, and no look has seen it")
	}
	g.giveUp()
	if g.waiting() || !g.isReturned() || g.due(1<<62) {
		t.Error("given up, and still waiting or due")
	}
}

// A call that a goroutine waits for inside of another wait is what blocks it, once a look
// has seen that: then it is in no deadlock of this process.
func TestAGuessInsideOfAWait(t *testing.T) {
	fewExternals(t)
	for _, waits := range []bool{false, true} {
		watched(t)
		lock := unique("ext:guess")
		externals.add(&externalHold{goroutine: goidOfTest(), id: lock, ends: endsByRelease})
		outer := externalWait(context.Background(), taskspan.WaitExternal, externalThing(lock), externalUse{untilReleased: true})
		call := newRemoteCall(newIdentity(), "GET")
		call.guessed.Store(true)
		if waits {
			call.guess.agreeing = 1
		}
		inner := beginWait(context.Background(), taskspan.WaitRemote, call)
		want := 1
		if waits {
			want = 0
		}
		if found := Deadlocks(); len(found) != want {
			t.Errorf("the call was seen to wait: %t; found are %v", waits, found)
		}
		endWait(inner)
		endWait(outer)
		externals.release(goidOfTest(), lock)
	}
}

// What a scan has read of a guess is not left to the wait that is read in its place next.
func TestAReadingOfAGuessIsNotKept(t *testing.T) {
	r := newReporterRig(t)
	var (
		m     Mutex
		ended sync.WaitGroup
	)
	m.Lock()
	r.blockedOn(&m, "work", &ended)
	r.reporter.read = []reading{{looked: true, waited: 1}}
	s := r.oneAfter(2 * time.Second)
	if told := theOnly(r.waits); told.looked || told.revision() != 1 || int64(s.EndTimeUnixNano) < now().unix()-int64(time.Minute) {
		t.Errorf("it is told as a guess: %t, in revision %d, of %d", told.looked, told.revision(), s.EndTimeUnixNano)
	}
	m.Unlock()
	ended.Wait()
}

// What a look makes of a goroutine that is not to be seen, or that has come the same way
// again.
func TestWhatALookMakesOfCalls(t *testing.T) {
	quietInspector(t)
	for _, one := range []struct {
		name                   string
		there, whole, repeated bool
		returned               bool
		agreeing               int
	}{
		{"it waits", true, true, false, false, 1},
		{"it waits, in a part of the dump", true, false, false, false, 1},
		{"it has ended", false, true, false, true, 0},
		{"it may have ended", false, false, false, false, 0},
		{"it calls again", true, true, true, true, 0},
		{"it calls again, in a part of the dump", true, false, true, true, 0},
	} {
		var calls [2]*remoteCall
		var views []waitView
		for i := range calls {
			calls[i] = newRemoteCall(newIdentity(), "GET")
			calls[i].guessed.Store(true)
			if i == 0 || one.repeated {
				w := beginWait(context.Background(), taskspan.WaitRemote, calls[i])
				views = append(views, w.view())
				defer endWait(w)
			}
		}
		first := views[0]
		seen := &look{at: now(), whole: one.whole, of: make(map[uint64]stacks.Goroutine)}
		if one.there {
			seen.of[first.goroutine] = stacks.Goroutine{ID: first.goroutine, State: "select", Frames: first.site.calls()}
		}
		judge(views[:1], seen, now())
		if g := &calls[0].guess; g.returned != one.returned || g.agreeing != one.agreeing {
			t.Errorf("%s: returned %t, %d agree", one.name, g.returned, g.agreeing)
		}
		if gone := seen.gone(first.goroutine); gone != (one.whole && !one.there) {
			t.Errorf("%s: gone %t", one.name, gone)
		}
		calls[0].guessed.Store(false) // declared since: nothing is judged
		judge(views[:1], &look{whole: true}, now())
		if g := &calls[0].guess; g.returned != one.returned {
			t.Errorf("%s: judged after it was declared", one.name)
		}
	}
}

// Who asks what is going on looks at the calls that may go on, and at nobody else.
func TestWhomAQuestionLooksAt(t *testing.T) {
	l := freshLooks(t)
	quietInspector(t)
	dumps := 0
	l.stack = func(buf []byte) int {
		dumps++
		return copy(buf, "goroutine 5 [running]:\nmain.f()\n\tf.go:3\n")
	}
	for _, one := range []struct {
		guessed, returned bool
		want              int
	}{{true, false, 1}, {true, true, 0}, {false, false, 0}} {
		call := newRemoteCall(newIdentity(), "GET")
		call.guessed.Store(one.guessed)
		if one.returned {
			call.guess.giveUp()
		}
		w := beginWait(context.Background(), taskspan.WaitRemote, call)
		dumps = 0
		lookAtGuesses()
		endWait(w)
		if dumps != one.want {
			t.Errorf("%+v: %d looks", one, dumps)
		}
	}
}

// What a goroutine waits for is the innermost wait that is one: a call that no look has
// seen wait is none.
func TestWhatAGoroutineWaitsFor(t *testing.T) {
	quietInspector(t)
	here := goid.Get()
	outer := beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "disk"})
	call := newRemoteCall(newIdentity(), "GET")
	call.guessed.Store(true)
	inner := beginWait(context.Background(), taskspan.WaitRemote, call)
	for _, step := range []struct {
		agreeing int
		guessed  bool
		want     taskspan.Kind
	}{{0, true, taskspan.WaitIO}, {1, true, taskspan.WaitRemote}, {2, true, taskspan.WaitRemote}, {0, true, taskspan.WaitIO}, {0, false, taskspan.WaitRemote}} {
		call.guess.agreeing = step.agreeing
		call.guessed.Store(step.guessed)
		full, waits := waitOf(here)
		short, glances := glanceAt(here)
		if !waits || !glances || full.kind != step.want || short.kind != step.want {
			t.Errorf("%+v: it waits for %s and %s", step, full.kind, short.kind)
		}
	}
	endWait(inner)
	endWait(outer)
	if _, waits := waitOf(here); waits {
		t.Error("it still waits")
	}
}
