package inspector

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

// told is one event as a client reads it.
type toldEvent struct{ id, name, data string }

// listener reads a stream.
type listener struct {
	t      testing.TB
	answer *http.Response
	lines  *bufio.Scanner
}

func listen(t testing.TB, address string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/events", nil)
	require.NoError(t, err)
	answer, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		_ = answer.Body.Close()
	})
	l := &listener{t: t, answer: answer, lines: bufio.NewScanner(answer.Body)}
	l.lines.Buffer(nil, 1<<20)
	return l
}

// next reads an event; its name is empty at the end of the stream.
func (l *listener) next() (e toldEvent) {
	for l.lines.Scan() {
		field, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e
			}
		}
	}
	return toldEvent{}
}

// until reads up to an event of a name.
func (l *listener) until(name string) toldEvent {
	l.t.Helper()
	for {
		e := l.next()
		require.NotEmpty(l.t, e.name, "the stream ended before %s", name)
		if e.name == name {
			return e
		}
	}
}

func listening(t testing.TB, x *inspector) string {
	t.Helper()
	server := httptest.NewServer(x.handler())
	t.Cleanup(func() {
		x.streams.close()
		server.Close()
	})
	return server.Listener.Addr().String()
}

// eventSchemas are those of the document, by the name of the event.
func eventSchemas(t testing.TB) map[string]*openapi3.Schema {
	t.Helper()
	doc := document(t)
	text, err := json.Marshal(doc.Paths.Value("/api/v1/events").Get.Responses.Status(200).Value.Content["text/event-stream"].Extensions["x-events"])
	require.NoError(t, err)
	var refs map[string]struct {
		Ref string `json:"$ref"`
	}
	require.NoError(t, json.Unmarshal(text, &refs))
	schemas := make(map[string]*openapi3.Schema)
	for name, ref := range refs {
		schemas[name] = doc.Components.Schemas[strings.TrimPrefix(ref.Ref, "#/components/schemas/")].Value
		require.NotNil(t, schemas[name], name)
	}
	return schemas
}

// A stream says first how things are and then what changes, as the document says.
func TestAStreamTellsWhatChanges(t *testing.T) {
	x := unstarted(t, testConfig())
	p := deadlocked(t, x)
	x.look(time.Now(), true)
	l := listen(t, listening(t, x))
	require.Equal(t, "text/event-stream", l.answer.Header.Get("Content-Type"))
	schemas := eventSchemas(t)
	seen := make(map[string]bool)
	id := 0
	read := func(name string) toldEvent {
		t.Helper()
		for {
			e := l.next()
			require.NotEmpty(t, e.name, "the stream ended before %s", name)
			id++
			require.Equal(t, fmt.Sprint(id), e.id)
			conforms(t, schemas[e.name], []byte(e.data))
			seen[e.name] = true
			if e.name == name {
				return e
			}
		}
	}
	read("hello")
	read("overview")
	first := read("deadlock")
	require.Contains(t, first.data, `"standing":true`)

	// A process comes, a second pair gets stuck, locks are taken in yet another order.
	bank := report.Process{Service: "bank", Instance: "bank-1", Epoch: time.Now().UnixNano()}
	p.consume(t, waits(bank, 11, "x", 12), waits(bank, 12, "y", 11), lockOrder(bank, 11, "k", "l"), lockOrder(bank, 12, "l", "k"))
	require.Eventually(t, func() bool {
		x.forgetAll()
		n := x.numbers.get()
		return len(n.standing) == 2 && n.inversions == 2
	}, 10*time.Second, 10*time.Millisecond)
	x.look(time.Now(), true)
	read("history")
	require.Contains(t, read("deadlock").data, `"services":["bank"]`)
	require.Contains(t, read("inversion").data, `"service":"bank"`)
	require.Contains(t, read("process").data, `"status":"reporting"`)
	require.Contains(t, read("overview").data, `"standing":2`)

	// The first lets go.
	over := waits(shop(), 1, "south", 2)
	over.Process.Epoch = p.epoch
	over.Wait.Open = false
	p.consume(t, over)
	require.Eventually(t, func() bool {
		x.forgetAll()
		return len(x.numbers.get().standing) == 1
	}, 10*time.Second, 10*time.Millisecond)
	x.look(time.Now(), false)
	require.Contains(t, read("deadlock_resolved").data, `"how":"released"`)
	x.streams.close()
	require.Contains(t, read("goodbye").data, `"reason":"shutdown"`)
	require.Empty(t, l.next().name)
	for name := range schemas {
		require.True(t, seen[name], "%s never came", name)
	}
}

// Only so many streams are open, however many want one.
func TestStreamsAreBounded(t *testing.T) {
	cfg := testConfig()
	cfg.Events.MaxClients = 20
	x := unstarted(t, cfg)
	address := listening(t, x)
	var (
		open, refused atomic.Int64
		wg            sync.WaitGroup
	)
	for range 20 {
		wg.Go(func() {
			for range 50 {
				switch listen(t, address).answer.StatusCode {
				case http.StatusOK:
					open.Add(1)
				case http.StatusServiceUnavailable:
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 20, open.Load())
	require.EqualValues(t, 980, refused.Load())
	require.EqualValues(t, 980, x.streams.full.Load())
	require.Equal(t, 20, x.streams.count())
}

// Who does not read is cut off, and holds up nobody.
func TestASlowClientIsCutOff(t *testing.T) {
	s := newStreams(2)
	slow, quick := s.open(), s.open()
	require.Nil(t, s.open())
	for i := range 3 * maxBehind {
		s.send([]event{{"x", nil}})
		<-quick.events
		require.Equal(t, i < maxBehind, s.count() == 2, "%d", i)
	}
	require.Equal(t, "slow", slow.reason)
	require.EqualValues(t, 1, s.slow.Load())
	require.EqualValues(t, 4*maxBehind, s.sent.Load())
	require.NotNil(t, s.open(), "there is room again")
}

// The deadlines of requests that end do not end a stream, and a shutdown does, with
// a word.
func TestAStreamOutlivesTheDeadlines(t *testing.T) {
	cfg := testConfig()
	cfg.ReadTimeout, cfg.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	cfg.History = History{Interval: time.Second, Length: 10 * time.Second}
	x := unstarted(t, cfg)
	require.NoError(t, x.Start(t.Context(), host{}))
	l := listen(t, x.address)
	l.until("history")
	l.until("history")
	require.NoError(t, x.Shutdown(t.Context()))
	require.Contains(t, l.until("goodbye").data, "shutdown")
}

// Of a burst the last are told, and the others are counted.
func TestABurstIsCut(t *testing.T) {
	x := unstarted(t, testConfig())
	state := new(fakeState)
	x.RegisterTaskState("task_state", state)
	x.changes(x.numbers.get())
	c := x.streams.open()
	for i := range 100 {
		state.processes = append(state.processes, view.Process{Process: report.Process{Service: "shop", Instance: fmt.Sprint(i), Epoch: 1}})
	}
	x.forgetAll()
	x.streams.send(x.changes(x.numbers.get()))
	require.Len(t, c.events, maxBurst)
	require.EqualValues(t, 101-maxBurst, x.streams.cut.Load())
	require.Empty(t, x.changes(x.numbers.get()), "nothing has changed since")
}
