package main

import (
	"context"
	"errors"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// counts is the demo's own book of its tasks. It shares nothing with the SDK.
type counts struct {
	mu    sync.Mutex
	names map[string]*taskCounts
}

type taskCounts struct {
	Started   int64 `json:"started"`
	Completed int64 `json:"completed"`
	Failed    int64 `json:"failed"`
	Cancelled int64 `json:"cancelled"`
}

func newCounts() *counts { return &counts{names: make(map[string]*taskCounts)} }

func (c *counts) started(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(name).Started++
}

func (c *counts) ended(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := c.of(name); {
	case err == nil:
		n.Completed++
	case errors.Is(err, context.Canceled):
		n.Cancelled++
	default:
		n.Failed++
	}
}

func (c *counts) of(name string) *taskCounts {
	n := c.names[name]
	if n == nil {
		n = new(taskCounts)
		c.names[name] = n
	}
	return n
}

// snapshot returns a copy.
func (c *counts) snapshot() map[string]taskCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := make(map[string]taskCounts, len(c.names))
	for name, n := range c.names {
		s[name] = *n
	}
	return s
}

// task runs fn as a task, and counts it.
func (c *counts) task(ctx context.Context, name string, fn func(context.Context) error) (err error) {
	c.started(name)
	ctx, task := inspect.Begin(ctx, name)
	defer func() {
		task.End(err)
		c.ended(name, err)
	}()
	return fn(ctx)
}
