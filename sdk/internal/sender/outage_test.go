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
	names     []string
	sequences []int64
	end       chan<- error
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
		o.Send(wait(1, "one"))
		o.Send(wait(2, "two"))
		o.Heartbeat(beat("beat"))
		synctest.Wait()
		end := o.exports("wait mutex one 1", "wait mutex two 2", "beat 3")
		o.Send(wait(2, "two again"))
		o.Send(wait(3, "three"))
		o.Heartbeat(beat("second beat"))
		end <- errDown
		// One is as it was; two and the heartbeat are newer, and have new numbers.
		end = o.exports("wait mutex one 1", "wait mutex two again 4", "wait mutex three 5", "second beat 6")
		end <- errDown
		synctest.Wait()
		o.Send(wait(1, "one again")) // while it waits for the next try
		end = o.exports("wait mutex one again 7", "wait mutex two again 4", "wait mutex three 5", "second beat 6")
		end <- nil
		o.Heartbeat(beat("third beat"))
		o.exports("third beat 8") <- nil
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
		for id := range uint64(3) {
			o.Send(wait(id, fmt.Sprint(id)))
		}
		synctest.Wait()
		<-o.gate.exports // 0, 1 and 2 are in flight, and hang
		for id := uint64(3); id < 6; id++ {
			o.Send(wait(id, fmt.Sprint(id)))
		}
		if o.dropped != 0 || o.Free() != 1 {
			t.Errorf("%d dropped, room for %d; want 0 and 1", o.dropped, o.Free())
		}
		began := time.Now()
		end := o.exports("wait mutex 0 1", "wait mutex 3 4", "wait mutex 4 5", "wait mutex 5 6")
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
		o.exports("wait mutex 5 6", "wait mutex 6 7", "wait mutex 7 8", "wait mutex 8 9") <- nil
		synctest.Wait()
		if o.Free() != 4 {
			t.Errorf("room for %d after the outage, want 4", o.Free())
		}
		o.Send(wait(9, "9"))
		o.exports("wait mutex 9 10") <- nil
		if err := o.Close(context.Background()); err != nil || o.dropped != 5 {
			t.Errorf("Close returned %v, %d dropped", err, o.dropped)
		}
	})
}

// Close during an export that hangs takes back what it has, and sends it itself.
func TestCloseTakesBackWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, 10)
		o.Send(wait(1, "one"))
		o.Heartbeat(beat("beat"))
		synctest.Wait()
		<-o.gate.exports // hangs
		o.Send(wait(1, "one has ended"))
		o.Send(wait(2, "two"))
		o.Heartbeat(beat("goodbye"))
		closed := make(chan error)
		go func() { closed <- o.Close(context.Background()) }()
		o.exports("wait mutex one has ended 3", "wait mutex two 4", "goodbye 5") <- nil
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
