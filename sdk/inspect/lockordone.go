package inspect

import (
	"context"
	"sync"
)

// lockOrDone locks l unless ctx is done first. The lock is taken by a goroutine
// of its own, which gives it back at once if nobody wants it any more.
func lockOrDone(ctx context.Context, l sync.Locker) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	locked := make(chan struct{})
	go func() {
		l.Lock()
		select {
		case locked <- struct{}{}:
		case <-ctx.Done():
			l.Unlock()
		}
	}()
	select {
	case <-locked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
