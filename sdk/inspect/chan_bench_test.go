//go:build !noinspect

package inspect

import (
	"context"
	"testing"
)

// Channels beside plain ones, each operation with room: nobody blocks. The context can be
// cancelled.
func BenchmarkChan(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.Run("plain", func(b *testing.B) {
		c := make(chan int, 1)
		b.ReportAllocs()
		for b.Loop() {
			select {
			case c <- 1:
			case <-ctx.Done():
			}
			select {
			case <-c:
			case <-ctx.Done():
			}
		}
	})
	b.Run("inspect", func(b *testing.B) {
		c := NewChan[int]("benchmark", 1)
		b.ReportAllocs()
		for b.Loop() {
			_ = c.Send(ctx, 1)
			_, _ = c.Receive(ctx)
		}
	})
}

// A Select of which one case is always ready, beside the select statement.
func BenchmarkSelect(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.Run("plain", func(b *testing.B) {
		c, d := make(chan int, 1), make(chan int)
		b.ReportAllocs()
		for b.Loop() {
			c <- 1
			select {
			case <-d:
			case <-c:
			case <-ctx.Done():
			}
		}
	})
	b.Run("inspect", func(b *testing.B) {
		c, d := NewChan[int]("benchmark", 1), NewChan[int]("benchmark", 0)
		var v int
		b.ReportAllocs()
		for b.Loop() {
			c.c <- 1
			_, _ = Select(ctx, ReceiveCase(d, &v), ReceiveCase(c, &v))
		}
	})
	b.Run("inspect, to send", func(b *testing.B) {
		c, d := NewChan[int]("benchmark", 1), NewChan[int]("benchmark", 0)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Select(ctx, SendCase(d, 1), SendCase(c, 2))
			<-c.c
		}
	})
}

// A Select that blocks: two goroutines hand a value to and fro.
func BenchmarkSelectBlocks(b *testing.B) {
	watched := func(b *testing.B) {
		inspectors.Add(1)
		b.Cleanup(func() { inspectors.Add(-1) })
	}
	b.Run("plain", func(b *testing.B) {
		there, back, other := make(chan int), make(chan int), make(chan int)
		go func() {
			for v := range there {
				back <- v
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			there <- 1
			select {
			case <-other:
			case <-back:
			}
		}
		close(there)
	})
	b.Run("inspect", func(b *testing.B) {
		watched(b)
		there, back, other := make(chan int), NewChan[int]("benchmark back", 0), NewChan[int]("benchmark other", 0)
		go func() {
			for v := range there {
				back.c <- v
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			there <- 1
			_, _ = Select(b.Context(), ReceiveCase(other, nil), ReceiveCase(back, nil))
		}
		close(there)
	})
}
