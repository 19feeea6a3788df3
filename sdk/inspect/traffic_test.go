package inspect

import (
	"context"
	"sync"
	"testing"
)

// Whether a goroutine at a channel may have been served, and has not run since.
func TestWhoHasBeenServedDoesNotWait(t *testing.T) {
	for _, c := range []struct {
		name                           string
		sent, received                 uint64
		sending, receiving             int32
		capacity                       int
		closed, emptyForOne, fullForIt bool
	}{
		{"an unbuffered channel at rest", 7, 7, 0, 1, 0, false, true, false},
		{"a sender waits", 7, 7, 1, 0, 0, false, false, true},
		{"a receiver has been served", 8, 7, 0, 1, 0, false, false, false},
		{"a sender has been served", 7, 8, 1, 0, 0, false, false, false},
		{"both have, of two operations", 9, 9, 1, 1, 0, false, false, false},
		{"a full buffer", 12, 9, 2, 0, 3, false, false, true},
		{"a full buffer of which one is being taken", 12, 10, 1, 0, 3, false, false, false},
		{"a buffer that is not full", 11, 9, 0, 0, 3, false, false, false},
		{"an empty buffer", 9, 9, 0, 2, 3, false, true, false},
		{"a closed channel", 7, 7, 0, 1, 0, true, false, false},
		{"a closed channel with a full buffer", 12, 9, 1, 0, 3, true, false, false},
	} {
		var tr traffic
		tr.sent.Store(c.sent)
		tr.received.Store(c.received)
		tr.sending.Store(c.sending)
		tr.receiving.Store(c.receiving)
		tr.closed.Store(c.closed)
		if empty, full := tr.empty(), tr.full(c.capacity); empty != c.emptyForOne || full != c.fullForIt {
			t.Errorf("%s: empty %v and full %v, want %v and %v", c.name, empty, full, c.emptyForOne, c.fullForIt)
		}
	}
}

// Every operation is counted once, on its side, and nobody is left waiting.
func TestTrafficCountsEveryOperation(t *testing.T) {
	ctx := context.Background()
	given, cancel := context.WithCancel(ctx)
	cancel()
	for _, o := range []struct {
		name           string
		do             func(c *Chan[int]) // of capacity 2, with a value in it
		sent, received uint64
	}{
		{"Send", func(c *Chan[int]) { _ = c.Send(ctx, 1) }, 2, 0},
		{"TrySend", func(c *Chan[int]) { c.TrySend(1); c.TrySend(2) }, 2, 0},
		{"Receive", func(c *Chan[int]) { _, _ = c.Receive(ctx) }, 1, 1},
		{"TryReceive", func(c *Chan[int]) { c.TryReceive(); c.TryReceive() }, 1, 1},
		{"Sender", func(c *Chan[int]) { _ = c.Sender(ctx).Send(ctx, 1) }, 2, 0},
		{"Receiver", func(c *Chan[int]) { _, _ = c.Receiver(ctx).Receive(ctx) }, 1, 1},
		{"Select that sends", func(c *Chan[int]) { _, _ = Select(ctx, SendCase(c, 1)) }, 2, 0},
		{"Select that receives", func(c *Chan[int]) { _, _ = Select(ctx, ReceiveCase(c, nil)) }, 1, 1},
		{"a Send that is given up", func(c *Chan[int]) { _ = c.Send(ctx, 1); _ = c.Send(given, 2) }, 2, 0},
		{"a closed channel", func(c *Chan[int]) {
			c.Close()
			for range 3 {
				_, _ = c.Receive(ctx)
				c.TryReceive()
				_, _ = Select(ctx, ReceiveCase(c, nil))
			}
		}, 1, 1},
		{"waits", func(c *Chan[int]) {
			var both sync.WaitGroup
			both.Go(func() {
				for range 100 {
					_ = c.Send(ctx, 1)
					_, _ = Select(ctx, SendCase(c, 2))
				}
			})
			for range 100 {
				_, _ = c.Receive(ctx)
				_, _ = Select(ctx, ReceiveCase(c, nil))
			}
			both.Wait()
		}, 201, 200},
	} {
		c := NewChan[int]("traffic", 2)
		c.TrySend(0)
		o.do(c)
		if tr := &c.traffic; tr.sent.Load() != o.sent || tr.received.Load() != o.received || tr.sending.Load() != 0 || tr.receiving.Load() != 0 {
			t.Errorf("%s: %d sent, %d received, %d and %d wait; want %d and %d, and nobody", o.name,
				tr.sent.Load(), tr.received.Load(), tr.sending.Load(), tr.receiving.Load(), o.sent, o.received)
		}
	}
}
