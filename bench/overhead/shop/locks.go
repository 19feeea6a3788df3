//go:build plain || traced

package main

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

type (
	mutex   = sync.Mutex
	rwMutex = sync.RWMutex
	pool    = *semaphore.Weighted
)

func newPool(connections int64) pool { return semaphore.NewWeighted(connections) }

func wait(ctx context.Context, _ string, fn func(context.Context) error) error { return fn(ctx) }
