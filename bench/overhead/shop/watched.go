//go:build !plain && !traced

package main

import (
	"context"
	"net/http"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/inspecthttp"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

type (
	mutex   = inspect.Mutex
	rwMutex = inspect.RWMutex
	pool    = *inspect.Semaphore
)

func newPool(connections int64) pool { return inspect.NewSemaphore("connections", connections) }

// watch starts the SDK as the environment says.
func watch(ctx context.Context) (end func(), err error) {
	ins, err := inspect.Start(ctx, inspect.WithServiceName("shop"))
	if err != nil {
		return nil, err
	}
	return func() { _ = ins.Shutdown(context.Background()) }, nil
}

func handler(h http.HandlerFunc) http.Handler { return inspecthttp.NewHandler(h) }

func together(ctx context.Context, steps ...step) error {
	group, _ := inspect.NewGroup(ctx, "lookups")
	for _, s := range steps {
		group.Go(s.name, s.do)
	}
	return group.Wait()
}

func wait(ctx context.Context, table string, fn func(context.Context) error) error {
	return inspect.Wait(ctx, taskspan.WaitIO, table, fn)
}
