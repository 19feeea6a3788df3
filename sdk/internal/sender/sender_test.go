package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// collector is a client that keeps what it gets, and can be made to fail or hang.
type collector struct {
	mu    sync.Mutex
	down  bool
	hangs bool
	tries int
	spans []*tracepb.Span
}

func (*collector) Start(context.Context) error { return nil }
func (*collector) Stop(context.Context) error  { return nil }

func (c *collector) UploadTraces(ctx context.Context, batch []*tracepb.ResourceSpans) error {
	c.mu.Lock()
	c.tries++
	down, hangs := c.down, c.hangs
	c.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errors.New("no collector")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range batch {
		for _, s := range r.ScopeSpans {
			if s.Scope.Name != taskspan.ScopeReport || s.Scope.Version != taskspan.Version {
				return errors.New("wrong scope: " + s.Scope.String())
			}
			c.spans = append(c.spans, s.Spans...)
		}
	}
	return nil
}

func (c *collector) set(down, hangs bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down, c.hangs = down, hangs
}

// names and sequences of what has come.
func (c *collector) got() (names []string, sequences []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		names = append(names, s.Name)
		sequences = append(sequences, s.Attributes[0].Value.GetIntValue())
	}
	return names, sequences
}

// world is a Sender and what it says.
type world struct {
	*Sender
	collector *collector

	mu       sync.Mutex
	dropped  int
	failures []error
}

func (w *world) told() (dropped int, failures []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped, slices.Clone(w.failures)
}

func start(limit int) *world {
	w := &world{collector: new(collector)}
	w.Sender = Start(Config{
		Client: w.collector, Limit: limit, Timeout: 5 * time.Second,
		Dropped: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.dropped++
		},
		Failed: func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failures = append(w.failures, err)
		},
	})
	return w
}

func wait(id uint64, name string) (Key, *tracepb.Span) {
	r := wire.Wait{ID: id, Kind: taskspan.WaitMutex, ResourceName: name}
	return Key{taskspan.ReportWait, id}, r.Encode()
}

func beat(text string) []*tracepb.Span {
	h := wire.Heartbeat{NewSpanID: func() [8]byte { return [8]byte{1} }}
	parts := h.Encode()
	parts[0].Name = text
	return parts
}

func TestReportsArriveInOrderWithTheHeartbeatLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(10)
		w.Send(wait(1, "a"))
		w.Send(wait(2, "b"))
		w.Heartbeat(beat("beat"))
		synctest.Wait()
		names, sequences := w.collector.got()
		if !slices.Equal(names, []string{"wait mutex a", "wait mutex b", "beat"}) {
			t.Errorf("came %q", names)
		}
		if !slices.Equal(sequences, []int64{1, 2, 3}) {
			t.Errorf("numbered %v", sequences)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestADeadCollectorCostsABoundAndGetsTheNewestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(3)
		w.collector.set(true, false)
		for id := range uint64(5) {
			w.Send(wait(id, "old"))
			synctest.Wait()
		}
		for id := range uint64(5) {
			w.Send(wait(id, "new"))
			synctest.Wait()
		}
		for range 4 {
			w.Heartbeat(beat("beat"))
			time.Sleep(time.Second)
		}
		if w.Len() > 3 {
			t.Errorf("%d reports are kept, the limit is 3", w.Len())
		}
		dropped, failures := w.told()
		if dropped == 0 {
			t.Error("nothing was counted as dropped")
		}
		if len(failures) < 2 || failures[0] == nil || failures[1] != nil {
			t.Errorf("failures were told as %v, want the first with its error and the others without", failures)
		}
		w.collector.set(false, false)
		time.Sleep(lastRetry)
		names, sequences := w.collector.got()
		if slices.Contains(names, "wait mutex old") || len(names) != 4 {
			t.Errorf("came %q, want three new reports and one heartbeat", names)
		}
		if !slices.IsSorted(sequences) || len(slices.Compact(slices.Clone(sequences))) != len(sequences) {
			t.Errorf("sequence numbers are %v", sequences)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestARetryKeepsItsNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(10)
		w.collector.set(true, false)
		w.Send(wait(1, "a"))
		w.Heartbeat(beat("beat"))
		time.Sleep(3 * time.Second)
		w.collector.set(false, false)
		time.Sleep(lastRetry)
		// It may have arrived the first time: under the same number it is known again.
		if _, sequences := w.collector.got(); !slices.Equal(sequences, []int64{1, 2}) {
			t.Errorf("numbered %v, want 1 and 2", sequences)
		}
		_ = w.Close(context.Background())
	})
}

// After a failed export the last acknowledged heartbeat comes again, first and under its
// old number: the collector may have forgotten what it had counted. Each heartbeat says
// whether one before it was acknowledged.
func TestTheAcknowledgedHeartbeatIsRepeatedAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(10)
		heartbeat := func(name string) {
			t.Helper()
			w.Heartbeat(beat(name))
			time.Sleep(2 * lastRetry) // no retry is still to come
		}
		w.collector.set(true, false)
		heartbeat("lost")
		w.collector.set(false, false)
		heartbeat("first")
		heartbeat("second")
		w.collector.set(true, false)
		w.Send(wait(1, "a"))
		heartbeat("third")
		w.collector.set(false, false)
		time.Sleep(2 * lastRetry)
		heartbeat("fourth")
		w.collector.set(true, false)
		w.Heartbeat(beat("fifth"))
		time.Sleep(lastRetry)
		w.collector.set(false, false)
		w.Heartbeat(beat("goodbye"))
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}

		var got []string
		for _, s := range w.collector.spans {
			acknowledged := ""
			for _, a := range s.Attributes {
				if a.Key == taskspan.HeartbeatAcknowledged {
					acknowledged = fmt.Sprint(" ", a.Value.GetBoolValue())
				}
			}
			got = append(got, fmt.Sprint(s.Attributes[0].Value.GetIntValue(), " ", s.Name, acknowledged))
		}
		want := []string{
			// An acknowledged heartbeat is marked as such for the time it may come again.
			"2 first true", "3 second true",
			"3 second true", "4 wait mutex a", "5 third true",
			"6 fourth true",
			"6 fourth true", "8 goodbye true",
		}
		if !slices.Equal(got, want) {
			t.Errorf("came %q, want %q", got, want)
		}
	})
}

// A heartbeat says that none was acknowledged before it until one has been.
func TestAHeartbeatSaysWhetherOneWasAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 10)
		for i, c := range []struct {
			err  error
			want bool
		}{{errDown, false}, {nil, false}, {nil, true}, {errDown, true}, {nil, true}} {
			o.Heartbeat(beat("beat"))
			e := <-o.gate.exports // after a failure: with the next try
			if got := e.acknowledged[len(e.acknowledged)-1]; got != c.want {
				t.Errorf("heartbeat %d says %v, want %v", i+1, got, c.want)
			}
			e.end <- c.err
			synctest.Wait()
		}
		if err := o.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseDoesNotWaitForACollectorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(10)
		w.collector.set(false, true)
		w.Send(wait(1, "a"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close returned %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %v with a deadline of a second", took)
		}
	})
}

func TestCloseSendsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(2000)
		w.collector.set(true, false)
		w.Send(wait(0, "a"))
		synctest.Wait() // it failed, and waits for the next try
		for id := range uint64(1200) {
			w.Send(wait(id, "a"))
		}
		w.Heartbeat(beat("goodbye"))
		w.collector.set(false, false)
		if err := w.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		names, _ := w.collector.got()
		if len(names) != 1201 || names[1200] != "goodbye" {
			t.Errorf("%d spans came, want 1200 reports and the goodbye last", len(names))
		}
	})
}
