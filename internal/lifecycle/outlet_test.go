package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/lifecycle"
)

var errFull = errors.New("full")

// outage is an outlet with what surrounds it, and a clock.
type outage struct {
	*lifecycle.Outlet
	next *hosttest.Next
	host *hosttest.Host
	logs *observer.ObservedLogs
	now  time.Time
}

func newOutage(mutates bool) *outage {
	core, logs := observer.New(zapcore.InfoLevel)
	o := &outage{next: &hosttest.Next{Mutates: mutates}, host: new(hosttest.Host), logs: logs, now: time.Unix(1_000_000, 0)}
	o.Outlet = lifecycle.NewOutlet("spans of tests", o.next, zap.New(core))
	o.Start(o.host)
	return o
}

// spans makes n spans of a name.
func spans(name string, n int) ptrace.Traces {
	td := ptrace.NewTraces()
	scope := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for range n {
		scope.Spans().AppendEmpty().SetName(name)
	}
	return td
}

// send sends spans, and nothing if n is 0, after some time.
func (o *outage) send(after time.Duration, name string, n int) {
	o.now = o.now.Add(after)
	o.Send(context.Background(), spans(name, n), o.now)
}

// got are the spans that have come out, as "name×n".
func (o *outage) got() (got []string) {
	for _, td := range o.next.AllTraces() {
		name := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Name()
		got = append(got, fmt.Sprintf("%s×%d", name, td.SpanCount()))
	}
	return got
}

func TestRefusedSpansAreSentAgainWithGrowingPauses(t *testing.T) {
	for _, mutates := range []bool{false, true} {
		o := newOutage(mutates)
		o.next.Refuse(errFull)
		o.send(0, "a", 3)
		require.Equal(t, 1, o.next.Attempts())
		for i, step := range []struct {
			after    time.Duration
			attempts int
		}{
			{999 * time.Millisecond, 1},
			{time.Millisecond, 2}, // 1 s
			{1999 * time.Millisecond, 2},
			{time.Millisecond, 3}, // 2 s
			{4 * time.Second, 4},
			{8 * time.Second, 5},
			{16 * time.Second, 6},
			{29999 * time.Millisecond, 6}, // not 32 s
			{time.Millisecond, 7},
		} {
			o.send(step.after, "", 0)
			require.Equal(t, step.attempts, o.next.Attempts(), "step %d, mutates %v", i, mutates)
		}
		require.Empty(t, o.got())
		o.next.Refuse(nil)
		o.send(30*time.Second, "", 0)
		require.Equal(t, []string{"a×3"}, o.got())
		require.EqualValues(t, 3, o.Sent())
		require.Zero(t, o.Lost())
		require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, o.host.Statuses())
		require.Equal(t, 1, o.logs.FilterLevelExact(zapcore.WarnLevel).Len(), "an outage is logged once")
		require.Equal(t, 1, o.logs.FilterLevelExact(zapcore.InfoLevel).Len())

		// The next outage begins anew.
		o.next.Refuse(errFull)
		o.send(time.Second, "b", 2)
		o.next.Refuse(nil)
		o.send(time.Second, "", 0)
		require.Equal(t, []string{"a×3", "b×2"}, o.got())
		require.Equal(t, 2, o.logs.FilterLevelExact(zapcore.WarnLevel).Len())
		require.NoError(t, o.Close(context.Background()))
	}
}

// Newer spans are sent at once, and show that older ones can be sent, too.
func TestNewSpansDoNotWaitForThoseThatWereRefused(t *testing.T) {
	o := newOutage(false)
	o.next.Refuse(errFull)
	o.send(0, "a", 3)
	o.send(time.Millisecond, "b", 4)
	require.Equal(t, 2, o.next.Attempts())
	o.next.Refuse(nil)
	o.send(time.Millisecond, "c", 5)
	require.Equal(t, []string{"c×5", "a×3", "b×4"}, o.got())
	require.EqualValues(t, 12, o.Sent())
	o.send(time.Hour, "", 0)
	require.Equal(t, 5, o.next.Attempts(), "nothing is left to send")
}

// Past the limit the oldest are lost, and no more than necessary; afterwards there is
// room for as much as before.
func TestTheOldestSpansAreLostPastTheLimit(t *testing.T) {
	o := newOutage(false)
	third := strings.Repeat("x", lifecycle.MaxUnsentBytes/3-100)
	for round := range 2 {
		lost := o.Lost()
		o.next.Refuse(errFull)
		for i := range 3 {
			o.send(time.Millisecond, fmt.Sprint(i)+third, i+1)
			if i == 0 {
				require.Equal(t, lost, o.Lost())
			}
		}
		// The second has two names and fits beside the first; the third has three and fills
		// the room alone.
		require.Equal(t, lost+3, o.Lost(), "round %d", round)
		o.next.Refuse(nil)
		o.send(time.Minute, "", 0)
		require.EqualValues(t, 3*(round+1), o.Sent())
	}
	require.NoError(t, o.Close(context.Background()))
	require.EqualValues(t, 6, o.Lost())
}

func TestSpansAreLostAfterFiveMinutes(t *testing.T) {
	o := newOutage(false)
	o.next.Refuse(errFull)
	o.send(0, "a", 3)
	o.send(time.Minute, "b", 4)
	o.send(4*time.Minute-time.Millisecond, "", 0)
	require.Zero(t, o.Lost())
	o.send(time.Millisecond, "", 0)
	require.EqualValues(t, 3, o.Lost())
	o.next.Refuse(nil)
	o.send(30*time.Second, "", 0)
	require.Equal(t, []string{"b×4"}, o.got())
}

func TestSpansWithAPermanentErrorAreNotSentAgain(t *testing.T) {
	o := newOutage(false)
	o.next.Refuse(errFull)
	o.send(0, "a", 2)
	o.next.Refuse(consumererror.NewPermanent(errors.New("not a span")))
	o.send(time.Second, "b", 3)
	require.EqualValues(t, 3, o.Lost())
	o.send(time.Minute, "", 0)
	require.EqualValues(t, 5, o.Lost())
	attempts := o.next.Attempts()
	o.next.Refuse(nil)
	o.send(time.Minute, "", 0)
	require.Equal(t, attempts, o.next.Attempts())
	require.Empty(t, o.got())
	require.Equal(t, componentstatus.StatusOK, o.host.Statuses()[1], "nothing waits any more")
}

func TestCloseMakesALastAttempt(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		o := newOutage(false)
		o.next.Refuse(errFull)
		o.send(0, "a", 2)
		o.send(0, "b", 3)
		if !refuses {
			o.next.Refuse(nil)
			require.NoError(t, o.Close(context.Background()))
			require.Equal(t, []string{"a×2", "b×3"}, o.got())
			continue
		}
		err := o.Close(context.Background())
		require.ErrorIs(t, err, errFull)
		require.ErrorContains(t, err, "5 spans of tests")
		require.EqualValues(t, 5, o.Lost())
		require.NoError(t, o.Close(context.Background()), "once")
	}
}

// What is interrupted because the component stops is no outage, and is sent by Close.
func TestAnAttemptThatIsInterruptedIsNoOutage(t *testing.T) {
	o := newOutage(false)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o.next.Refuse(context.Canceled)
	o.Send(ctx, spans("a", 2), o.now)
	require.Empty(t, o.host.Statuses())
	require.Zero(t, o.logs.Len())
	o.next.Refuse(nil)
	require.NoError(t, o.Close(context.Background()))
	require.Equal(t, []string{"a×2"}, o.got())
}
