package inspector

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

const (
	// maxBehind is how many events a client may be behind.
	maxBehind = 64
	// writeTimeout is how long a client may take to read.
	writeTimeout = 10 * time.Second
	// pingInterval keeps proxies from taking a stream for dead.
	pingInterval = 15 * time.Second
	// maxBurst is how many events one look may bring; of more the last are told.
	maxBurst = maxBehind / 2
	// maxTold bounds what is remembered as told, of deadlocks, inversions and processes each.
	maxTold = 20_000
)

// event is one of a stream. Its data is made once for all clients.
type event struct {
	name string
	data []byte
}

// streams are the clients of /api/v1/events.
type streams struct {
	limit int

	mu      sync.Mutex // guards all below
	clients map[*stream]struct{}
	closed  bool

	sent, slow, full, cut atomic.Int64
}

// stream is one client. Only the hub sends and closes.
type stream struct {
	events chan event
	reason string // why it was closed; set before that
}

func newStreams(limit int) *streams {
	return &streams{limit: limit, clients: make(map[*stream]struct{})}
}

// open adds a client; nil if there are too many.
func (s *streams) open() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.clients) >= s.limit {
		s.full.Add(1)
		return nil
	}
	c := &stream{events: make(chan event, maxBehind)}
	s.clients[c] = struct{}{}
	return c
}

func (s *streams) leave(c *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// send gives events to every client, and closes those that are too far behind.
func (s *streams) send(events []event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		for _, e := range events {
			select {
			case c.events <- e:
				s.sent.Add(1)
				continue
			default:
			}
			s.slow.Add(1)
			s.end(c, "slow")
			break
		}
	}
}

// end closes a client; mu is held.
func (s *streams) end(c *stream, reason string) {
	delete(s.clients, c)
	c.reason = reason
	close(c.events)
}

// close ends all streams, and lets no more begin.
func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.clients {
		s.end(c, "shutdown")
	}
}

func (x *inspector) serveEvents(w http.ResponseWriter, r *http.Request) {
	if err := newQuery(r.URL).done(); err != nil {
		err.(*problem).write(w)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	c := x.streams.open()
	if c == nil {
		w.Header().Set("Retry-After", "10")
		newProblem(http.StatusServiceUnavailable, "%d streams are open, and no more are allowed (events::max_clients)", x.cfg.Events.MaxClients).write(w)
		return
	}
	defer x.streams.leave(c)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx
	control := http.NewResponseController(w)
	// The deadlines of the server are for requests that end.
	_ = control.SetReadDeadline(time.Time{})
	if err := c.copy(r.Context(), w, control, x.firstEvents()); err != nil {
		x.streams.slow.Add(1)
	}
}

// copy writes the first events of its own, and then those of all until the client has gone or the stream is closed. It returns
// an error if the client did not read.
func (c *stream) copy(ctx context.Context, w http.ResponseWriter, control *http.ResponseController, first []event) error {
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	id := 0
	write := func(format string, args ...any) error {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return control.Flush()
	}
	send := func(e event) error {
		id++
		return write("id: %d\nevent: %s\ndata: %s\n\n", id, e.name, e.data)
	}
	if err := write("retry: 3000\n\n"); err != nil {
		return unlessGone(ctx, err)
	}
	for _, e := range first {
		if err := send(e); err != nil {
			return unlessGone(ctx, err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ping.C:
			if err := write(": still here\n\n"); err != nil {
				return unlessGone(ctx, err)
			}
		case e, ok := <-c.events:
			if !ok {
				_ = send(event{"goodbye", []byte(`{"reason":"` + c.reason + `"}`)}) // it ends in any case
				return nil
			}
			if err := send(e); err != nil {
				return unlessGone(ctx, err)
			}
		}
	}
}

// unlessGone is nil if the client has only gone away.
func unlessGone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

type helloAnswer struct {
	AsOf       instant `json:"as_of"`
	APIVersion string  `json:"api_version"`
	Version    string  `json:"version"`
}

// makeEvent cannot fail with the types of this package.
func (x *inspector) makeEvent(name string, v any) event {
	data, err := json.Marshal(v)
	if err != nil {
		data = []byte("{}")
	}
	return event{name, data}
}

// firstEvents are what a new client is told.
func (x *inspector) firstEvents() []event {
	p := x.picture.get()
	overview := x.overview()
	overview.StuckLongest = x.stuckLongest()
	first := []event{
		x.makeEvent("hello", helloAnswer{instant(time.Now()), apiVersion, x.version}),
		x.makeEvent("overview", overview),
	}
	room := maxMembersInAll
	for _, dl := range p.standing {
		if len(first) < maxBehind {
			first = append(first, x.makeEvent("deadlock", x.deadlockAnswer(p, dl, &room)))
		}
	}
	return first
}

// told remembers what the streams have been told, to tell what is new. Only run's.
type told struct {
	started    bool
	overview   string
	deadlocks  map[deadlock.ID]toldDeadlock // standing ones
	inversions map[string]bool
	processes  map[report.Process]fleet.Status
}

// toldDeadlock is what of a deadlock makes it news.
type toldDeadlock struct {
	size       int // of its core
	confidence deadlock.Confidence
}

func toldOf(dl *deadlock.Deadlock) toldDeadlock { return toldDeadlock{len(dl.Core), dl.Confidence} }

// changes are the events of what has changed since the last call.
func (x *inspector) changes(n *numbers) []event {
	t := &x.told
	fresh := told{
		started: true, deadlocks: make(map[deadlock.ID]toldDeadlock), inversions: make(map[string]bool), processes: make(map[report.Process]fleet.Status),
	}
	var events []event
	for _, dl := range n.standing {
		fresh.deadlocks[dl.ID] = toldOf(dl)
	}
	events = append(events, x.deadlockChanges(t, &fresh)...)
	for _, v := range inversionsOf(x.detectors.list()) {
		id := inversionID(v)
		if t.started && !t.inversions[id] && !fresh.inversions[id] {
			events = append(events, x.makeEvent("inversion", x.inversionAnswer(x.picture.get(), v)))
		}
		fresh.inversions[id] = true
	}
	for i := range n.processes {
		p := &n.processes[i]
		if len(fresh.processes) >= maxTold {
			break
		}
		before, known := t.processes[p.Process]
		fresh.processes[p.Process] = p.Status
		if t.started && (!known && p.Status == fleet.Reporting || known && before != p.Status) {
			events = append(events, x.makeEvent("process", processOf(p)))
		}
	}
	defer func() { x.told = fresh }()
	if x.streams.count() == 0 {
		return nil // only to remember what there is
	}
	overview := x.overview()
	components := overview.Components // whose reports are no news
	overview.AsOf, overview.Components = instant{}, nil
	text := x.makeEvent("overview", overview)
	if fresh.overview = string(text.data); fresh.overview != t.overview {
		overview.AsOf, overview.Components, overview.StuckLongest = instant(n.at), components, x.stuckLongest()
		events = append(events, x.makeEvent("overview", overview))
	}
	// A burst must not throw out the clients that read.
	cut := max(0, len(events)-maxBurst)
	x.streams.cut.Add(int64(cut))
	return events[cut:]
}

func (x *inspector) deadlockChanges(t, fresh *told) (events []event) {
	if !t.started {
		return nil
	}
	changed := len(t.deadlocks) != len(fresh.deadlocks)
	for id, now := range fresh.deadlocks {
		changed = changed || t.deadlocks[id] != now
	}
	if !changed {
		return nil
	}
	p, room := x.picture.get(), maxMembersInAll
	for _, dl := range p.standing {
		if t.deadlocks[dl.ID] != toldOf(dl) {
			events = append(events, x.makeEvent("deadlock", x.deadlockAnswer(p, dl, &room)))
		}
	}
	for _, dl := range p.past {
		if _, stood := t.deadlocks[dl.ID]; stood {
			if _, stands := fresh.deadlocks[dl.ID]; !stands {
				events = append(events, x.makeEvent("deadlock_resolved", x.deadlockAnswer(p, dl, &room)))
			}
		}
	}
	return events
}
