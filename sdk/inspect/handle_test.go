package inspect

import (
	"context"
	"testing"
)

// Whoever waits for a task that panics is not woken: main could exit before the panic
// ends the process. With the SDK on, off and compiled out.
func TestAPanicWakesNobodyWhoWaits(t *testing.T) {
	for _, on := range []string{"true", "false"} {
		t.Setenv("ASYNC_INSPECT_ENABLED", on)
		ins, err := New(context.Background(), WithReports(false), WithoutExport(), WithSamplingRate(0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ins.Shutdown(context.Background()) })
		run := func(h *Handle, fn func(context.Context) error) (panicked any) {
			defer func() { panicked = recover() }()
			ctx := context.Background()
			ctx, h.task = ins.prepare(ctx, nil, "panics", 0, nil)
			h.run(ctx, fn)
			return nil
		}
		boom := func(context.Context) error { panic("boom") }
		returns := func(context.Context) error { return nil }

		h := &Handle{done: make(chan struct{})}
		if r := run(h, boom); r != "boom" {
			t.Errorf("enabled=%s: the panic is %v", on, r)
		}
		select {
		case <-h.Done():
			t.Errorf("enabled=%s: Wait of the handle returns", on)
		default:
		}

		g, _ := NewGroup(context.Background(), "")
		g.SetLimit(2)
		for range 2 {
			g.places.take(context.Background())
		}
		for i, fn := range []func(context.Context) error{returns, boom} {
			h := &Handle{of: &g.tasks, group: g}
			g.tasks.joins(h)
			g.places.givenTo(h)
			if r := run(h, fn); (r != nil) != (i == 1) {
				t.Errorf("enabled=%s: task %d panics with %v", on, i, r)
			}
			if got := g.tasks.units(); got != i {
				t.Errorf("enabled=%s: after task %d the group waits for %d, want %d", on, i, got, i)
			}
		}
		end := make(chan struct{})
		stays := func(context.Context) error { <-end; return nil }
		if !g.TryGo("in the place of the first", stays) || g.TryGo("in the place of the second", stays) {
			t.Errorf("enabled=%s: not exactly one place is free", on)
		}
		close(end)
	}
}
