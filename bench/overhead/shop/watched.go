//go:build !plain && !traced

package main

import (
	"context"
	"net/http"
	"os"
	"strings"

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

// watch starts the SDK in a mode, or off.
func watch(ctx context.Context, mode string) (flush, stop func(), err error) {
	setting := "ASYNC_INSPECT_MODE=" + mode
	if mode == "off" {
		setting = "ASYNC_INSPECT_ENABLED=false"
	}
	name, value, _ := strings.Cut(setting, "=")
	if err := os.Setenv(name, value); err != nil {
		return nil, nil, err
	}
	defer os.Unsetenv(name)
	ins, err := inspect.Start(ctx, inspect.WithServiceName("shop"))
	if err != nil {
		return nil, nil, err
	}
	flush = func() {
		if provider, ok := ins.TracerProvider().(interface{ ForceFlush(context.Context) error }); ok {
			_ = provider.ForceFlush(ctx)
		}
	}
	return flush, func() { _ = ins.Shutdown(context.Background()) }, nil
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
