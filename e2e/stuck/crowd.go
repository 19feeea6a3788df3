package main

import (
	"context"
	"fmt"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// Ten thousand tasks at once: a hundred queues of fifty behind a lock each, and as many
// that just run. Nothing is wrong, there is only much of it.
func crowd(ctx context.Context) {
	for i := range 100 {
		lock := inspect.NewMutex(fmt.Sprint("counter ", i))
		held := make(chan struct{})
		task(ctx, "clerk", func(ctx context.Context) {
			lock.Lock()
			close(held)
			<-ctx.Done()
		})
		<-held
		for n := range 50 {
			task(ctx, fmt.Sprintf("customer %d", n%10), func(context.Context) { lock.Lock() })
		}
		for range 49 {
			task(ctx, "passer-by", func(ctx context.Context) {
				for ctx.Err() == nil {
					time.Sleep(time.Second)
				}
			})
		}
	}
}
