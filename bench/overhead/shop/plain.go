//go:build plain

package main

import (
	"context"
	"net/http"

	"golang.org/x/sync/errgroup"
)

func watch(context.Context, string) (flush, stop func(), err error) { return func() {}, func() {}, nil }

func handler(h http.HandlerFunc) http.Handler { return h }

func together(ctx context.Context, steps ...step) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range steps {
		group.Go(func() error { return s.do(ctx) })
	}
	return group.Wait()
}
