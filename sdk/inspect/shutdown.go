package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/turn"
)

const (
	// leaving is how long Shutdown and ForceFlush take at most if their context has no
	// deadline.
	leaving = 5 * time.Second
	// grace is what they may take in any case. The context of a program that ends is
	// often done already: it is the one that a signal has cancelled.
	grace = 2 * time.Second
)

// withGrace returns a context that ends with ctx, but not before the grace is over,
// and after leaving if ctx has no deadline.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	began := time.Now()
	until, limited := ctx.Deadline()
	if !limited {
		until = began.Add(leaving)
	}
	if earliest := began.Add(grace); until.Before(earliest) {
		until = earliest
	}
	out, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	graceOver, stop := context.WithDeadline(context.WithoutCancel(ctx), began.Add(grace))
	unhook := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return // until has it
		}
		<-graceOver.Done()
		cancel()
	})
	return out, func() {
		unhook()
		stop()
		cancel()
	}
}

// endingDefault is the default Inspector while it shuts down, so that the function
// Shutdown waits for it although it is no longer the default one.
var endingDefault atomic.Pointer[Inspector]

// Shutdown ends the Inspector: it sends a final heartbeat with the final counts, and
// the spans that have ended. Open tasks are not ended; the final heartbeat reports that
// they end with the process. Later calls of other methods do nothing.
//
// Shutdown blocks until everything is sent or ctx is done, and for at most five seconds
// if ctx has no deadline. It may always use a grace period of two seconds, even if ctx
// is already done, because a signal often cancels the context of a program that ends.
// Later and concurrent calls wait for the first one and return its error.
func (ins *Inspector) Shutdown(ctx context.Context) error {
	if ins == nil {
		return nil
	}
	if !compiledIn || ins.ended == nil {
		defer ins.stopKeepingTextsOut()
		return ins.shutdownUnused(ctx)
	}
	ctx, cancel := withGrace(ctx)
	defer cancel()
	if ins.stopped.Swap(true) {
		return ins.awaitEnd(ctx)
	}
	defer close(ins.ended)
	defer ins.stopKeepingTextsOut()
	if Default() == ins {
		endingDefault.Store(ins)
		defer endingDefault.CompareAndSwap(ins, nil)
		defaultInspector.CompareAndSwap(ins, nil)
	}
	inspectors.Add(-1)
	if ins.stopOrders != nil {
		ins.stopOrders()
	}
	ins.steering.stop()
	var (
		spans, reports error
		both           sync.WaitGroup
	)
	// Side by side: a dead collector must not make one use up the time of the other.
	both.Go(func() { reports = ins.reporter.shutdown(ctx) })
	if ins.own != nil {
		both.Go(func() { spans = ins.own.Shutdown(ctx) })
	}
	both.Wait()
	if err := errors.Join(spans, reports); err != nil {
		ins.endErr = fmt.Errorf("async-inspect: shut down: %w", err)
	}
	return ins.endErr
}

// shutdownUnused shuts down the exporter that an Inspector was given while it was off.
func (ins *Inspector) shutdownUnused(ctx context.Context) error {
	if ins.unused == nil {
		return nil
	}
	ins.unusedClosed.Do(func() {
		ctx, cancel := withGrace(ctx)
		defer cancel()
		if err := ins.unused.Shutdown(ctx); err != nil {
			ins.endErr = fmt.Errorf("async-inspect: shut down: %w", err)
		}
	})
	return ins.endErr
}

// awaitEnd waits for the end of a Shutdown and returns its error.
func (ins *Inspector) awaitEnd(ctx context.Context) error {
	select {
	case <-ins.ended:
		return ins.endErr
	case <-ctx.Done():
		return fmt.Errorf("async-inspect: wait for the end of another Shutdown: %w", ctx.Err())
	}
}

// Shutdown shuts the default Inspector down, if there is one.
func Shutdown(ctx context.Context) error {
	if ins := Default(); ins != nil {
		return ins.Shutdown(ctx)
	}
	return endingDefault.Load().Shutdown(ctx)
}

// ForceFlush sends ended spans, reports of stuck tasks, and a heartbeat with the
// counts. Without it, spans and counts are sent every five seconds. Use it in programs
// that may stop without [Inspector.Shutdown]: call it before os.Exit, and at the end of
// each invocation if the platform freezes the process in between. It also flushes a
// provider given by [WithTracerProvider], if that has a ForceFlush method.
//
// ForceFlush blocks until everything is sent, an export fails or ctx is done. As with
// Shutdown, it blocks for at most five seconds if ctx has no deadline, and may always
// use two seconds, even if ctx is done. Unsent data stays queued. Concurrent calls
// share the work.
func (ins *Inspector) ForceFlush(ctx context.Context) error {
	if ins == nil {
		return nil
	}
	if !compiledIn || ins.ended == nil {
		return ins.flushGiven(ctx)
	}
	ctx, cancel := withGrace(ctx)
	defer cancel()
	if !ins.running() {
		return ins.awaitEnd(ctx)
	}
	err := ins.flush(ctx)
	if errors.Is(err, turn.ErrStopped) {
		return ins.awaitEnd(ctx) // a Shutdown that has begun since sends it all
	}
	if err != nil {
		return fmt.Errorf("async-inspect: flush: %w", err)
	}
	return nil
}

// ForceFlush flushes the default Inspector, if there is one.
func ForceFlush(ctx context.Context) error {
	if ins := Default(); ins != nil {
		return ins.ForceFlush(ctx)
	}
	return endingDefault.Load().ForceFlush(ctx)
}

// flush sends spans and reports side by side, until ctx is done.
func (ins *Inspector) flush(ctx context.Context) error {
	var (
		spans, reports error
		both           sync.WaitGroup
	)
	both.Go(func() { reports = ins.reporter.flush(ctx) })
	both.Go(func() { spans = ins.flushProvider(ctx) })
	both.Wait()
	return errors.Join(spans, reports)
}

func (ins *Inspector) flushProvider(ctx context.Context) error {
	if p, ok := ins.provider.(interface{ ForceFlush(context.Context) error }); ok {
		return p.ForceFlush(ctx)
	}
	return nil
}

// flushGiven flushes the provider that an Inspector was given while it was off.
func (ins *Inspector) flushGiven(ctx context.Context) error {
	ctx, cancel := withGrace(ctx)
	defer cancel()
	if err := ins.flushProvider(ctx); err != nil {
		return fmt.Errorf("async-inspect: flush: %w", err)
	}
	return nil
}
