package main

import (
	"context"

	"example.com/driver"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// pool is what every request comes through.
type pool struct{ places *inspect.Semaphore }

func (p *pool) conn(ctx context.Context) error {
	return driver.Acquire(ctx, p.places) // here: pool
}

func (p *pool) marked(ctx context.Context) error {
	inspect.Helper()
	return p.inner(ctx)
}

func (p *pool) inner(ctx context.Context) error {
	inspect.Helper()
	return driver.Acquire(ctx, p.places)
}

func begin(ctx context.Context, name string) (context.Context, *inspect.Task) {
	inspect.Helper()
	return inspect.Begin(ctx, name)
}
