// Package sender is the small OTLP client of reports. It keeps the newest report of
// each thing that is told of, and the newest heartbeat, until they are sent: what is
// sent late is still true. It is bounded, and nobody waits for it but Close.
//
// After a failed export the collector may be another one, without the totals of the one
// before. So the last acknowledged heartbeat is sent again, ahead of what is new: it says
// what has been counted already. A collector that knows it ignores the repetition.
package sender

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/turn"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Config of a Sender.
type Config struct {
	Client   otlptrace.Client
	Resource *resourcepb.Resource
	Schema   string
	// Limit bounds the reports that wait to be sent; heartbeats come on top.
	Limit int
	// Timeout bounds one export.
	Timeout time.Duration
	// Dropped is called for every report that is given up because there is no room.
	Dropped func()
	// Failed is called for every export that failed, with the first error of a row of
	// failures, and nil for the others.
	Failed func(error)
}

// Key names what a report tells of. Of several reports with one key only the newest
// is sent.
type Key struct {
	Kind taskspan.ReportKind
	ID   uint64
}

// batchSize bounds the reports of one export.
const batchSize = 512

// Retries begin after firstRetry and come at most every lastRetry.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// A Sender sends reports. Make one with Start.
type Sender struct {
	config Config

	mu        sync.Mutex // guards all below
	queue     map[Key]*report
	order     []*report // oldest first; entries that are no longer in queue are skipped
	heartbeat []*tracepb.Span
	numbered  bool // the heartbeat's spans have their sequence numbers
	// acknowledged is the last heartbeat that an export has delivered; nil: none.
	acknowledged []*tracepb.Span
	repeat       bool  // send it again: an export has failed since
	sequence     int64 // the last one given
	failures     int

	wake    chan struct{}
	flushes *turn.Bell
	stop    chan struct{}
	done    chan struct{}
}

type report struct {
	key      Key
	span     *tracepb.Span
	sequence int64 // 0: not sent yet
}

// Start starts a Sender. Close ends it.
func Start(config Config) *Sender {
	s := &Sender{
		config: config, queue: make(map[Key]*report),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.flushes = turn.NewBell(s.done)
	go s.run()
	return s
}

// Send queues a report. It replaces the one with the same key that has not been
// sent. If there is no room the oldest is given up.
func (s *Sender) Send(key Key, span *tracepb.Span) {
	s.mu.Lock()
	if old, ok := s.queue[key]; ok {
		// Its place in the order stays. What went out and may have arrived keeps its
		// number; this is a new report.
		old.span, old.sequence = span, 0
		s.mu.Unlock()
		return
	}
	r := &report{key: key, span: span}
	s.queue[key] = r
	s.order = append(s.order, r)
	dropped := false
	if len(s.queue) > s.config.Limit {
		oldest := s.order[0]
		s.order = s.order[1:]
		delete(s.queue, oldest.key)
		dropped = true
	}
	s.mu.Unlock()
	if dropped {
		s.config.Dropped()
	}
	s.poke()
}

// Heartbeat queues the parts of a heartbeat, instead of one that has not been sent.
func (s *Sender) Heartbeat(parts []*tracepb.Span) {
	s.mu.Lock()
	s.heartbeat, s.numbered = parts, false
	s.mu.Unlock()
	s.poke()
}

func (s *Sender) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Flush sends what is queued, at once even if an export has failed a moment ago. It
// returns when all of it has been sent, when an export fails, or when ctx is done; what
// has not been sent stays queued. It returns [turn.ErrStopped] after Close.
func (s *Sender) Flush(ctx context.Context) error { return s.flushes.Ask(ctx) }

// Len returns how many reports wait to be sent.
func (s *Sender) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// Free returns for how many more reports there is room.
func (s *Sender) Free() int { return max(0, s.config.Limit-s.Len()) }

func (s *Sender) run() {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-s.flushes.Rung():
		}
		flush := s.flushes.Take()
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			select {
			case <-s.stop: // do not let Close wait for a collector that does not answer
				cancel()
			case <-ctx.Done():
			}
		}()
		pause, err := s.drain(ctx)
		cancel()
		flush.End(err)
		if pause == 0 {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-s.stop:
			timer.Stop()
			return
		case <-timer.C:
			s.poke()
		case <-s.flushes.Rung():
			timer.Stop()
			s.poke()
		}
	}
}

// drain sends until nothing is left or an export fails; it then returns how long to
// wait before the next.
func (s *Sender) drain(ctx context.Context) (pause time.Duration, err error) {
	for {
		spans, sent := s.next()
		if len(spans) == 0 {
			return 0, nil
		}
		if err := s.upload(ctx, spans); err != nil {
			return s.failed(sent, err), err
		}
		s.delivered(sent)
	}
}

// delivered notes that an export has succeeded.
func (s *Sender) delivered(b batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.repeat = 0, false
	if b.heartbeat != nil {
		wire.SetAcknowledged(b.heartbeat)
		s.acknowledged = b.heartbeat
	}
}

// next takes a batch off the queue and numbers it: reports first, then the
// heartbeat, which lists them.
func (s *Sender) next() (spans []*tracepb.Span, sent batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repeat && (len(s.order) > 0 || s.heartbeat != nil) {
		spans = append(spans, s.acknowledged...)
	}
	for len(s.order) > 0 && len(sent.reports) < batchSize {
		r := s.order[0]
		s.order[0] = nil
		s.order = s.order[1:]
		delete(s.queue, r.key)
		if r.sequence == 0 {
			s.sequence++
			r.sequence = s.sequence
			wire.SetSequence(r.span, r.sequence)
		}
		spans = append(spans, r.span)
		sent.reports = append(sent.reports, r)
	}
	if len(s.order) == 0 && s.heartbeat != nil {
		if !s.numbered {
			for _, part := range s.heartbeat {
				s.sequence++
				wire.SetSequence(part, s.sequence)
			}
		}
		if s.acknowledged != nil {
			wire.SetAcknowledged(s.heartbeat)
		}
		spans = append(spans, s.heartbeat...)
		sent.heartbeat = s.heartbeat
		s.heartbeat = nil
	}
	return spans, sent
}

type batch struct {
	reports   []*report
	heartbeat []*tracepb.Span
}

// failed puts a batch back, except what there is something newer for, and returns
// how long to wait.
func (s *Sender) failed(b batch, err error) time.Duration {
	s.mu.Lock()
	dropped := 0
	kept := make([]*report, 0, len(b.reports)+len(s.order))
	for _, r := range b.reports {
		if _, newer := s.queue[r.key]; newer {
			continue
		}
		if len(s.queue) >= s.config.Limit {
			dropped++
			continue
		}
		s.queue[r.key] = r
		kept = append(kept, r)
	}
	s.order = append(kept, s.order...)
	if s.heartbeat == nil && b.heartbeat != nil {
		s.heartbeat, s.numbered = b.heartbeat, true
	}
	s.failures++
	s.repeat = true
	n := s.failures
	s.mu.Unlock()
	for range dropped {
		s.config.Dropped()
	}
	select {
	case <-s.stop:
		err = nil // Close has interrupted it
	default:
		if n > 1 {
			err = nil // said before
		}
	}
	s.config.Failed(err)
	return min(firstRetry<<min(n-1, 10), lastRetry)
}

func (s *Sender) upload(ctx context.Context, spans []*tracepb.Span) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	return s.config.Client.UploadTraces(ctx, []*tracepb.ResourceSpans{{
		Resource:  s.config.Resource,
		SchemaUrl: s.config.Schema,
		ScopeSpans: []*tracepb.ScopeSpans{{
			Scope: &commonpb.InstrumentationScope{Name: taskspan.ScopeReport, Version: taskspan.Version},
			Spans: spans,
		}},
	}})
}

// Close ends the Sender and sends what is left, until ctx is done or an export
// fails. It does not stop the client.
func (s *Sender) Close(ctx context.Context) error {
	close(s.stop)
	<-s.done
	for {
		spans, sent := s.next()
		if len(spans) == 0 {
			return nil
		}
		if err := s.upload(ctx, spans); err != nil {
			return err
		}
		s.delivered(sent)
	}
}
