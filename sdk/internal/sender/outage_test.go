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

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// gate is a client whose exports the test ends, one by one.
type gate struct {
	mu      sync.Mutex
	open    int // exports in progress
	most    int
	tries   []time.Time
	exports chan export
}

type export struct {
	names        []string
	sequences    []int64
	acknowledged []bool
	end          chan<- error
}

func (*gate) Start(context.Context) error { return nil }
func (*gate) Stop(context.Context) error  { return nil }

func (g *gate) UploadTraces(ctx context.Context, batch []*tracepb.ResourceSpans) error {
	g.mu.Lock()
	g.open++
	g.most = max(g.most, g.open)
	g.tries = append(g.tries, time.Now())
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.open--
		g.mu.Unlock()
	}()
	end := make(chan error)
	e := export{end: end}
	for _, s := range batch[0].ScopeSpans[0].Spans {
		e.names = append(e.names, s.Name)
		e.sequences = append(e.sequences, s.Attributes[0].Value.GetIntValue())
		e.acknowledged = append(e.acknowledged, slices.ContainsFunc(s.Attributes, func(a *commonpb.KeyValue) bool {
			return a.Key == taskspan.HeartbeatAcknowledged && a.Value.GetBoolValue()
		}))
	}
	select {
	case g.exports <- e:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outage is a Sender whose client is a gate.
type outage struct {
	*Sender
	t       *testing.T
	gate    *gate
	dropped int
	failed  []error
}

func newOutage(t *testing.T, limit int) *outage {
	o := &outage{t: t, gate: &gate{exports: make(chan export)}}
	o.Sender = Start(Config{
		Client: o.gate, Limit: limit, Timeout: 5 * time.Second,
		Dropped: func() { o.dropped++ }, Failed: func(err error) { o.failed = append(o.failed, err) },
	})
	return o
}

// busy begins an export, so that what is queued before its end goes into the next one
// together. Without it the sender may take the first of several alone.
func (o *outage) busy() chan<- error {
	o.t.Helper()
	o.Send(wait(1<<32, "busy"))
	return o.exports("wait mutex busy 1")
}

// exports expects an export with these spans, under these numbers.
func (o *outage) exports(want ...string) chan<- error {
	o.t.Helper()
	select {
	case e := <-o.gate.exports:
		var got []string
		for i, name := range e.names {
			got = append(got, fmt.Sprint(name, " ", e.sequences[i]))
		}
		if !slices.Equal(got, want) {
			o.t.Fatalf("exported are %q, want %q", got, want)
		}
		return e.end
	case <-time.After(time.Minute):
		o.t.Fatalf("nothing is exported in a minute; waiting for %q", want)
		return nil
	}
}

var errDown = errors.New("no collector")

// What changes while an export is in flight is not overwritten by its failure, and
// everything that is sent again keeps its number.
func TestReplacementInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 10)
		end := o.busy()
		o.Send(wait(1, "one"))
		o.Send(wait(2, "two"))
		o.Heartbeat(beat("beat"))
		end <- nil
		end = o.exports("wait mutex one 2", "wait mutex two 3", "beat 4")
		o.Send(wait(2, "two again"))
		o.Send(wait(3, "three"))
		o.Heartbeat(beat("second beat"))
		end <- errDown
		// One is as it was; two and the heartbeat are newer, and have new numbers.
		end = o.exports("wait mutex one 2", "wait mutex two again 5", "wait mutex three 6", "second beat 7")
		end <- errDown
		synctest.Wait()
		o.Send(wait(1, "one again")) // while it waits for the next try
		end = o.exports("wait mutex one again 8", "wait mutex two again 5", "wait mutex three 6", "second beat 7")
		end <- nil
		o.Heartbeat(beat("third beat"))
		o.exports("third beat 9") <- nil
		synctest.Wait()
		if err := o.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if o.gate.most != 1 {
			t.Errorf("%d exports at a time, want one", o.gate.most)
		}
	})
}

// Tries come after half a second, and then twice as long each time, up to 15 s; a
// success begins anew. The first failure of a row is told with its error.
func TestBackOffThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 10)
		for _, row := range []int{9, 3} {
			o.gate.tries, o.failed = nil, nil
			o.Send(wait(uint64(row), "a"))
			for i := range row {
				e := <-o.gate.exports
				if i == row-1 {
					e.end <- nil
				} else {
					e.end <- errDown
				}
			}
			synctest.Wait()
			var pauses []time.Duration
			for i := 1; i < len(o.gate.tries); i++ {
				pauses = append(pauses, o.gate.tries[i].Sub(o.gate.tries[i-1]))
			}
			const ms = time.Millisecond
			want := []time.Duration{500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 15000 * ms, 15000 * ms, 15000 * ms}[:row-1]
			if !slices.Equal(pauses, want) {
				t.Errorf("pauses are %v, want %v", pauses, want)
			}
			if len(o.failed) != row-1 || !errors.Is(o.failed[0], errDown) || slices.ContainsFunc(o.failed[1:], func(err error) bool { return err != nil }) {
				t.Errorf("failures were told as %v", o.failed)
			}
		}
		if err := o.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A collector that hangs costs the timeout of an export, and what comes meanwhile is
// bounded: the oldest reports are given up and counted, also those that come back from
// an export that failed.
func TestDropsThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 4)
		first := o.busy()
		for id := range uint64(3) {
			o.Send(wait(id, fmt.Sprint(id)))
		}
		first <- nil
		<-o.gate.exports // 0, 1 and 2 are in flight, and hang
		for id := uint64(3); id < 6; id++ {
			o.Send(wait(id, fmt.Sprint(id)))
		}
		if o.dropped != 0 || o.Free() != 1 {
			t.Errorf("%d dropped, room for %d; want 0 and 1", o.dropped, o.Free())
		}
		began := time.Now()
		end := o.exports("wait mutex 0 2", "wait mutex 3 5", "wait mutex 4 6", "wait mutex 5 7")
		if took := time.Since(began); took != 5*time.Second+firstRetry {
			t.Errorf("the next try came after %v", took)
		}
		if o.dropped != 2 {
			t.Errorf("%d dropped of those that came back, want 2: there was room for one", o.dropped)
		}
		end <- errDown
		synctest.Wait()
		for id := uint64(6); id < 9; id++ {
			o.Send(wait(id, fmt.Sprint(id)))
		}
		if o.dropped != 5 || o.Free() != 0 || o.Len() != 4 {
			t.Errorf("%d dropped, room for %d, %d kept; want 5, 0 and 4", o.dropped, o.Free(), o.Len())
		}
		// The newest are there, and afterwards there is room again.
		o.exports("wait mutex 5 7", "wait mutex 6 8", "wait mutex 7 9", "wait mutex 8 10") <- nil
		synctest.Wait()
		if o.Free() != 4 {
			t.Errorf("room for %d after the outage, want 4", o.Free())
		}
		o.Send(wait(9, "9"))
		o.exports("wait mutex 9 11") <- nil
		if err := o.Close(context.Background()); err != nil || o.dropped != 5 {
			t.Errorf("Close returned %v, %d dropped", err, o.dropped)
		}
	})
}

// Close during an export that hangs takes back what it has, and sends it itself.
func TestCloseTakesBackWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 10)
		end := o.busy()
		o.Send(wait(1, "one"))
		o.Heartbeat(beat("beat"))
		end <- nil
		synctest.Wait()
		<-o.gate.exports // hangs
		o.Send(wait(1, "one has ended"))
		o.Send(wait(2, "two"))
		o.Heartbeat(beat("goodbye"))
		closed := make(chan error)
		go func() { closed <- o.Close(context.Background()) }()
		o.exports("wait mutex one has ended 4", "wait mutex two 5", "goodbye 6") <- nil
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if len(o.failed) != 1 || o.failed[0] != nil {
			t.Errorf("the interruption was told as %v, want a failure without an error", o.failed)
		}
		if err := o.Flush(context.Background()); err == nil {
			t.Error("Flush after Close returns no error")
		}
	})
}

// A heartbeat is sent at once, also if there is no report.
func TestAHeartbeatAloneIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 10)
		began := time.Now()
		for _, want := range []string{"one 1", "two 2"} {
			o.Heartbeat(beat(want[:3]))
			o.exports(want) <- nil
			synctest.Wait()
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they were sent after %v", took)
		}
		if err := o.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// Flush tries at once, also in the pause after a failure. It returns the error of the
// export, and nil once all is sent.
func TestFlushThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 10)
		flushed := make(chan error)
		flush := func() { flushed <- o.Flush(t.Context()) }
		result := func(want error) {
			t.Helper()
			select {
			case err := <-flushed:
				if !errors.Is(err, want) {
					t.Errorf("Flush returned %v, want %v", err, want)
				}
			case <-time.After(time.Minute):
				t.Fatal("Flush does not return within a minute of the end of the export")
			}
		}
		began := time.Now()
		go flush()
		result(nil) // nothing to send

		o.Send(wait(1, "one"))
		o.exports("wait mutex one 1") <- errDown
		synctest.Wait()
		for range 3 { // in the pause
			go flush()
			o.exports("wait mutex one 1") <- errDown
			result(errDown)
		}
		go flush()
		o.exports("wait mutex one 1") <- nil
		result(nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("Flush waited %v for the next try", took)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		o.Send(wait(2, "two"))
		end := o.exports("wait mutex two 2")
		if err := o.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush returned %v after its deadline", err)
		}
		end <- nil
		synctest.Wait()
		if err := o.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// An export has at most batchSize reports, and the heartbeat comes with the last of them.
func TestTheSizeOfAnExport(t *testing.T) {
	for _, queued := range []int{batchSize - 1, batchSize, batchSize + 1, 2*batchSize + 1} {
		synctest.Test(t, func(t *testing.T) {
			o := newOutage(t, 3*batchSize)
			end := o.busy()
			for id := range uint64(queued) {
				o.Send(wait(id+1, "a"))
			}
			o.Heartbeat(beat("beat"))
			end <- nil
			for left, last := queued, false; !last; left -= batchSize {
				e := <-o.gate.exports
				want := min(left, batchSize)
				if last = left <= batchSize; last {
					want++
					if e.names[len(e.names)-1] != "beat" {
						t.Errorf("of %d reports, the last export ends with %q", queued, e.names[len(e.names)-1])
					}
				}
				if len(e.names) != want {
					t.Errorf("of %d reports, an export with %d left has %d spans, want %d", queued, left, len(e.names), want)
				}
				e.end <- nil
			}
			synctest.Wait()
			if err := o.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every export says which process it comes from.
func TestAnExportNamesItsResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := new(resourceClient)
		resource := &resourcepb.Resource{DroppedAttributesCount: 3}
		s := Start(Config{Client: client, Resource: resource, Schema: "https://example.com/schema", Limit: 1, Timeout: time.Second, Dropped: func() {}, Failed: func(error) {}})
		s.Send(wait(1, "a"))
		synctest.Wait()
		s.Send(wait(2, "b"))
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if len(client.got) != 2 {
			t.Fatalf("%d exports, want 2", len(client.got))
		}
		for _, r := range client.got {
			if r.Resource != resource || r.SchemaUrl != "https://example.com/schema" {
				t.Errorf("the export is from %v with schema %q", r.Resource, r.SchemaUrl)
			}
		}
	})
}

type resourceClient struct{ got []*tracepb.ResourceSpans }

func (*resourceClient) Start(context.Context) error { return nil }
func (*resourceClient) Stop(context.Context) error  { return nil }

func (c *resourceClient) UploadTraces(_ context.Context, batch []*tracepb.ResourceSpans) error {
	c.got = append(c.got, batch...)
	return nil
}
