// Package local is a library that is developed beside the application. The test makes it
// a module of its own, in a directory.
package local

import (
	"context"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// Receive waits below the application.
func Receive(ctx context.Context, c *inspect.Chan[int]) {
	_, _ = c.Receive(ctx)
}

// Background waits without the application.
func Background(ctx context.Context, c *inspect.Chan[int]) {
	go outer(ctx, c)
}

func outer(ctx context.Context, c *inspect.Chan[int]) {
	Receive2(ctx, c) // here: local background caller
}

// Receive2 waits, too.
func Receive2(ctx context.Context, c *inspect.Chan[int]) {
	_, _ = c.Receive(ctx) // here: local background
}
