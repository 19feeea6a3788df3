// Package driver is a client library that the application waits in. The test makes it a
// module of its own, with a version.
package driver

import (
	"context"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// Acquire waits below the application.
func Acquire(ctx context.Context, s *inspect.Semaphore) error {
	return retry(func() error { return s.Acquire(ctx, 1) })
}

func retry(fn func() error) error { return fn() }

// Each calls fn for the application.
func Each(fn func(int)) {
	for i := range 3 {
		fn(i) // here: driver each
	}
}

// Begin begins a task for the application.
func Begin(ctx context.Context, name string) (context.Context, *inspect.Task) {
	return inspect.Begin(ctx, name)
}

// Background waits without the application.
func Background(ctx context.Context, c *inspect.Chan[int]) {
	go func() {
		_, _ = c.Receive(ctx) // here: background
	}()
}

// Serve calls the application from a goroutine of the driver.
func Serve(ctx context.Context, handle func(context.Context)) {
	go func() { handle(ctx) }() // here: serve
}
