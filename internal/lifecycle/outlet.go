package lifecycle

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
)

const (
	// MaxUnsentBytes bounds the spans that wait for another attempt, in their encoded
	// form. In memory they take about three times as much.
	MaxUnsentBytes = 4 << 20
	// maxUnsentAge bounds how long they wait.
	maxUnsentAge = 5 * time.Minute
	// An attempt is repeated after firstPause, and then after twice the pause before, up
	// to longestPause.
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// Outlet sends the spans that a component does not pass on for a caller: nobody else
// has them any more, and nobody waits for an error.
//
// Spans are sent at once. If the next component refuses them, they are kept and sent
// again, with growing pauses. Newer spans do not wait for them: where a pipeline forks,
// an exporter that takes no spans must not keep them from the others. So spans may
// arrive late, and where one exporter of several refuses, twice at the others, with the
// same ids. The oldest are lost past [MaxUnsentBytes] and after five minutes. So are spans that
// the next component refuses with a permanent error: another attempt is of no use.
//
// An outage is logged once and is a recoverable error of the component until the next
// attempt that succeeds. Lost spans are counted.
//
// An Outlet has one user at a time; its counts may be read by anybody.
type Outlet struct {
	what   string // the spans, for people
	logger *zap.Logger
	next   consumer.Traces
	host   component.Host

	unsent  []unsent // oldest first
	bytes   int      // of unsent
	pause   time.Duration
	again   time.Time // when unsent may be tried again
	failing bool      // the last attempt failed, and that has been said

	sent, lost atomic.Int64
}

type unsent struct {
	td    ptrace.Traces
	bytes int
	since time.Time
}

// NewOutlet returns an outlet for spans that people call what.
func NewOutlet(what string, next consumer.Traces, logger *zap.Logger) *Outlet {
	return &Outlet{what: what, next: next, logger: logger}
}

// Start says to whom the health of the component is reported.
func (o *Outlet) Start(host component.Host) { o.host = host }

// Sent returns how many spans the next component has taken, and Lost how many it never
// took.
func (o *Outlet) Sent() int64 { return o.sent.Load() }

// Lost is described at Sent.
func (o *Outlet) Lost() int64 { return o.lost.Load() }

// Send sends td, which then belongs to the outlet, and what waits for another attempt
// if it is time for that. td may be empty.
func (o *Outlet) Send(ctx context.Context, td ptrace.Traces, now time.Time) {
	for len(o.unsent) > 0 && now.Sub(o.unsent[0].since) >= maxUnsentAge {
		o.drop()
	}
	if td.SpanCount() > 0 {
		err := o.attempt(ctx, td)
		if err == nil {
			o.again = time.Time{} // so it may take the older ones, too
		} else {
			o.keep(td, err, now)
		}
		o.judge(ctx, err, now)
	}
	if len(o.unsent) > 0 && !now.Before(o.again) {
		o.judge(ctx, o.flush(ctx), now)
	}
}

// Close makes a last attempt and returns an error if spans are lost for good.
func (o *Outlet) Close(ctx context.Context) error {
	err := o.flush(ctx)
	if len(o.unsent) == 0 {
		return nil
	}
	spans := 0
	for len(o.unsent) > 0 {
		spans += o.drop()
	}
	return fmt.Errorf("send %d %s before shutdown: %w", spans, o.what, err)
}

// flush sends what is unsent, in order, up to the first that is refused again.
func (o *Outlet) flush(ctx context.Context) error {
	for len(o.unsent) > 0 {
		u := o.unsent[0]
		if err := o.attempt(ctx, u.td); err != nil {
			if consumererror.IsPermanent(err) {
				o.drop()
				continue
			}
			return err
		}
		o.forget()
	}
	return nil
}

// attempt sends td and leaves it as it is.
func (o *Outlet) attempt(ctx context.Context, td ptrace.Traces) error {
	spans := td.SpanCount()
	if o.next.Capabilities().MutatesData {
		given := ptrace.NewTraces()
		td.CopyTo(given)
		td = given
	}
	if err := o.next.ConsumeTraces(ctx, td); err != nil {
		return err
	}
	o.sent.Add(int64(spans))
	return nil
}

// keep keeps what has been refused, and makes room for it.
func (o *Outlet) keep(td ptrace.Traces, err error, now time.Time) {
	if consumererror.IsPermanent(err) {
		o.lost.Add(int64(td.SpanCount()))
		return
	}
	u := unsent{td: td, bytes: (&ptrace.ProtoMarshaler{}).TracesSize(td), since: now}
	o.unsent = append(o.unsent, u)
	o.bytes += u.bytes
	for o.bytes > MaxUnsentBytes {
		o.drop()
	}
}

// drop gives up the oldest spans and returns how many they were.
func (o *Outlet) drop() int {
	spans := o.unsent[0].td.SpanCount()
	o.lost.Add(int64(spans))
	o.forget()
	return spans
}

func (o *Outlet) forget() {
	o.bytes -= o.unsent[0].bytes
	o.unsent[0] = unsent{}
	o.unsent = o.unsent[1:]
}

// judge says what an attempt means for the health of the component, and when the next
// one is.
func (o *Outlet) judge(ctx context.Context, err error, now time.Time) {
	switch {
	case err == nil:
		o.pause = 0
		if o.failing && len(o.unsent) == 0 {
			o.failing = false
			o.logger.Info("The next component accepts spans again", zap.String("spans", o.what))
			componentstatus.ReportStatus(o.host, componentstatus.NewEvent(componentstatus.StatusOK))
		}
		return
	case ctx.Err() != nil:
		return // the component stops, and Close tries again
	}
	o.pause = min(max(2*o.pause, firstPause), longestPause)
	o.again = now.Add(o.pause)
	if !o.failing {
		o.failing = true
		o.logger.Warn("The next component refused spans; up to 4 MiB of them are kept for 5 minutes and sent again",
			zap.String("spans", o.what), zap.Bool("permanent", consumererror.IsPermanent(err)), zap.Error(err))
		componentstatus.ReportStatus(o.host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("send %s: %w", o.what, err)))
	}
}
