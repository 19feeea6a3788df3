package inspect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// choices are how often Select came to each index, -1 for the context.
type choices map[int]int

// fair fails unless each of the wanted indexes was chosen equally often, and no other one.
// It allows for six standard deviations.
func (c choices) fair(t *testing.T, want ...int) {
	t.Helper()
	n := 0
	for _, k := range c {
		n += k
	}
	p := 1 / float64(len(want))
	mean, deviation := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	for _, i := range want {
		if math.Abs(float64(c[i])-mean) > 6*deviation {
			t.Errorf("%d was chosen %d times of %d, want about %.0f: %v", i, c[i], n, mean, c)
		}
		delete(c, i)
	}
	if len(c) > 0 {
		t.Errorf("chosen, though not ready: %v", c)
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Select chooses among the ready cases with equal probability, wherever they are, and the
// context is one of them. Each r is a ready case: of a Chan, of a plain channel, to send
// or to receive.
func TestSelectIsFair(t *testing.T) {
	full, room := NewChan[int]("fair full", 1), NewChan[string]("fair room", 1_000_000)
	rawFull, rawRoom := make(chan int8, 1), make(chan bool, 1_000_000)
	closed := NewChan[float64]("fair closed", 0)
	closed.Close()
	empty := NewChan[int]("fair empty", 0)
	r := []Case{ReceiveCase(full, nil), SendCase(room, "x"), RawCase(rawFull, nil), RawSendCase(rawRoom, true), ReceiveCase(closed, nil)}
	x := ReceiveCase(empty, nil)
	for _, tt := range []struct {
		name  string
		cases []Case
		done  bool
		want  []int
	}{
		{"one of one", []Case{r[0]}, false, []int{0}},
		{"first two of two", []Case{r[0], r[1]}, false, []int{0, 1}},
		{"around two that are not ready", []Case{r[0], x, x, r[2]}, false, []int{0, 3}},
		{"behind one that is not ready", []Case{x, r[3], r[4]}, false, []int{1, 2}},
		{"a default is no choice while one is ready", []Case{DefaultCase(), r[1], x, r[4]}, false, []int{1, 3}},
		{"a default if none is", []Case{x, DefaultCase(), x}, false, []int{1}},
		{"the context beside one", []Case{r[0]}, true, []int{-1, 0}},
		{"the context beside three", []Case{r[0], x, r[3], r[4]}, true, []int{-1, 0, 2, 3}},
		{"the context and a default", []Case{x, DefaultCase()}, true, []int{-1}},
		{"the context, a default and one", []Case{r[2], DefaultCase()}, true, []int{-1, 0}},
		{"the context alone", nil, true, []int{-1}},
		{"nine of eleven", []Case{r[0], x, r[1], r[2], r[3], r[4], r[0], r[1], r[2], x, r[3]}, false, []int{0, 2, 3, 4, 5, 6, 7, 8, 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			if tt.done {
				ctx = cancelled()
			}
			got := make(choices)
			for range 20_000 {
				full.TrySend(1)
				select {
				case rawFull <- 1:
				default:
				}
				i, err := Select(ctx, tt.cases...)
				got[i]++
				if want := wantError(i, tt.cases, r[4]); !errors.Is(err, want) {
					t.Fatalf("case %d gives the error %v, want %v", i, err, want)
				}
			}
			got.fair(t, tt.want...)
		})
	}
}

func wantError(i int, cases []Case, closed Case) error {
	switch {
	case i < 0:
		return context.Canceled
	case cases[i] == closed:
		return ErrClosed
	}
	return nil
}

// A context that is done is seen though the channel is always ready, and a channel that is
// ready is used though the context is done: each in half of the cases.
func TestADoneContextIsSeenBesideAReadyChannel(t *testing.T) {
	ctx := cancelled()
	c, raw := NewChan[int]("done beside ready", 1), make(chan int, 1)
	s, r := c.Sender(ctx), c.Receiver(ctx)
	empty := func() { c.TryReceive() }
	fill := func() { c.TrySend(1) }
	first := func(seq func(func(int) bool)) error {
		for range seq {
			return nil
		}
		return ctx.Err()
	}
	for _, tt := range []struct {
		name   string
		before func()
		use    func() error
	}{
		{"Chan.Send", empty, func() error { return c.Send(ctx, 1) }},
		{"Chan.Receive", fill, func() error { _, err := c.Receive(ctx); return err }},
		{"Chan.All", fill, func() error { return first(c.All(ctx)) }},
		{"Sender.Send", empty, func() error { return s.Send(ctx, 1) }},
		{"Receiver.Receive", fill, func() error { _, err := r.Receive(ctx); return err }},
		{"Receiver.All", fill, func() error { return first(r.All(ctx)) }},
		{"Sender.Case", empty, func() error { _, err := Select(ctx, s.Case(1)); return err }},
		{"Receiver.Case", fill, func() error { _, err := Select(ctx, r.Case(nil)); return err }},
		{"Receive", func() {
			select {
			case raw <- 1:
			default:
			}
		}, func() error { _, err := Receive(ctx, raw); return err }},
		{"SendTo", func() {
			select {
			case <-raw:
			default:
			}
		}, func() error { return SendTo(ctx, raw, 1) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(choices)
			for range 5000 {
				tt.before()
				switch err := tt.use(); {
				case err == nil:
					got[0]++
				case errors.Is(err, context.Canceled):
					got[-1]++
				default:
					t.Fatal(err)
				}
			}
			got.fair(t, -1, 0)
		})
	}
}

// A nil Chan and the zero Chan behave like a nil channel.
func TestANilChan(t *testing.T) {
	for name, c := range map[string]*Chan[int]{"nil": nil, "zero": new(Chan[int])} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				s, r := c.Sender(ctx), c.Receiver(ctx)
				if c.Len() != 0 || c.Cap() != 0 {
					t.Errorf("it has %d values and room for %d", c.Len(), c.Cap())
				}
				if c.TrySend(1) || s.TrySend(1) {
					t.Error("it takes a value")
				}
				if v, ok := c.TryReceive(); v != 0 || ok {
					t.Errorf("it has the value %d", v)
				}
				if v, ok := r.TryReceive(); v != 0 || ok {
					t.Errorf("its end has the value %d", v)
				}
				if i, err := Select(ctx, ReceiveCase(c, nil), SendCase(c, 1), s.Case(1), r.Case(nil), DefaultCase()); i != 4 || err != nil {
					t.Errorf("Select came to %d, %v, want the default", i, err)
				}
				ready := NewChan[int]("ready beside nil", 1)
				ready.TrySend(7)
				var v int
				if i, err := Select(ctx, SendCase(c, 1), ReceiveCase(ready, &v), ReceiveCase(c, nil)); i != 1 || err != nil || v != 7 {
					t.Errorf("Select came to %d, %v with %d, want 7 of the other channel", i, err, v)
				}
				for use, f := range map[string]func(context.Context) error{
					"Send":             func(ctx context.Context) error { return c.Send(ctx, 1) },
					"Receive":          func(ctx context.Context) error { _, err := c.Receive(ctx); return err },
					"Sender.Send":      func(ctx context.Context) error { return s.Send(ctx, 1) },
					"Receiver.Receive": func(ctx context.Context) error { _, err := r.Receive(ctx); return err },
					"All": func(ctx context.Context) error {
						for v := range c.All(ctx) {
							return fmt.Errorf("it has the value %d", v)
						}
						return ctx.Err()
					},
					"Select": func(ctx context.Context) error {
						_, err := Select(ctx, ReceiveCase(c, nil), SendCase(c, 1))
						return err
					},
					"Receive of a plain one": func(ctx context.Context) error { _, err := Receive(ctx, c.plain()); return err },
					"SendTo a plain one":     func(ctx context.Context) error { return SendTo(ctx, c.plain(), 1) },
					"RawCase": func(ctx context.Context) error {
						_, err := Select(ctx, RawCase(c.plain(), nil), RawSendCase(c.plain(), 1))
						return err
					},
				} {
					began := time.Now()
					short, cancel := context.WithTimeout(ctx, time.Hour)
					if err := f(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
						t.Errorf("%s returned %v after %v, want to wait until the deadline", use, err, time.Since(began))
					}
					cancel()
				}
				s.Close()
				r.Close()
				defer func() {
					if r := recover(); fmt.Sprint(r) != "close of nil channel" {
						t.Errorf("Close panics with %v", r)
					}
				}()
				c.Close()
			})
		})
	}
}

func TestTwoDefaultCases(t *testing.T) {
	defer func() {
		if r := recover(); r != "inspect: Select with more than one DefaultCase" {
			t.Errorf("it panics with %v", r)
		}
	}()
	ready := NewChan[int]("two defaults", 1)
	ready.TrySend(1)
	_, _ = Select(context.Background(), DefaultCase(), ReceiveCase(ready, nil), DefaultCase())
}

// What is sent arrives, whichever way it goes and whether or not it has to wait.
func TestSelectMovesValues(t *testing.T) {
	type pair struct{ a, b any }
	c, raw := NewChan[pair]("values", 1), make(chan pair, 1)
	for _, waits := range []bool{false, true} {
		for name, moved := range map[string]struct {
			send    func(pair) Case
			receive func(*pair) Case
		}{
			"Chan":  {func(v pair) Case { return SendCase(c, v) }, func(v *pair) Case { return ReceiveCase(c, v) }},
			"plain": {func(v pair) Case { return RawSendCase(raw, v) }, func(v *pair) Case { return RawCase(raw, v) }},
			"ends": {
				func(v pair) Case { return c.Sender(t.Context()).Case(v) },
				func(v *pair) Case { return c.Receiver(t.Context()).Case(v) },
			},
		} {
			t.Run(fmt.Sprintf("%s, waits %t", name, waits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if name != "plain" {
						c = NewChan[pair]("values", 1)
					} else {
						raw = make(chan pair, 1)
					}
					want, other := pair{3, "x"}, NewChan[error]("never", 0)
					send := func() {
						if i, err := Select(t.Context(), ReceiveCase(other, nil), moved.send(want)); i != 1 || err != nil {
							t.Errorf("sending came to %d, %v", i, err)
						}
					}
					var got pair
					receive := func(want error) {
						if i, err := Select(t.Context(), moved.receive(&got), ReceiveCase(other, nil)); i != 0 || err != want {
							t.Errorf("receiving came to %d, %v, want %v", i, err, want)
						}
					}
					if waits {
						go func() { synctest.Wait(); send() }()
					} else {
						send()
					}
					receive(nil)
					if got != want {
						t.Errorf("got %v, want %v", got, want)
					}
					if name == "plain" {
						close(raw)
					} else {
						c.Close()
					}
					receive(ErrClosed)
					if got != want {
						t.Errorf("a closed channel gave %v", got)
					}
				})
			})
		}
	}
}

// Receive and SendTo on plain channels that have to wait.
func TestPlainChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan string)
		go func() {
			for _, v := range []string{"a", "b"} {
				if err := SendTo(t.Context(), c, v); err != nil {
					t.Error(err)
				}
			}
			synctest.Wait()
			close(c)
		}()
		for _, want := range []struct {
			v   string
			err error
		}{{"a", nil}, {"b", nil}, {"", ErrClosed}, {"", ErrClosed}} {
			if v, err := Receive(t.Context(), c); v != want.v || err != want.err {
				t.Errorf("received %q, %v, want %q, %v", v, err, want.v, want.err)
			}
		}
	})
}
