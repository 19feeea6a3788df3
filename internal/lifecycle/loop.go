package lifecycle

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Loop calls a function at an interval, on a goroutine of its own. The zero value is
// ready. Start and Stop are not for concurrent use.
type Loop struct {
	stop context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
}

// Start begins to call tick. The context of the calls ends with Stop.
func (l *Loop) Start(every time.Duration, tick func(ctx context.Context, now time.Time)) {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop, l.done = cancel, make(chan struct{})
	go func() {
		defer close(l.done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				tick(ctx, time.Now())
			}
		}
	}()
}

// Stop ends the goroutine and waits for it. It reports whether the loop had been
// started.
func (l *Loop) Stop() bool {
	if l.stop == nil {
		return false
	}
	l.stop()
	<-l.done
	return true
}

// Show calls register with every extension of the host that is an R, and returns what
// undoes it.
func Show[R any](host component.Host, register func(R) (remove func())) (remove func()) {
	var removes []func()
	for _, extension := range host.GetExtensions() {
		if r, ok := extension.(R); ok {
			removes = append(removes, register(r))
		}
	}
	return func() {
		for _, f := range removes {
			f()
		}
	}
}
