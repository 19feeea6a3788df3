//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"testing"
)

// endOf is an end of a channel in the tests. Each is opened at one place for all channels.
type endOf struct {
	name string
	open func(*Chan[int]) (use, shut func())
	// wait waits for somebody at that side of an empty channel without room.
	wait func(context.Context, *Chan[int])
}

func endsOfAChan() []endOf {
	ctx := context.Background()
	receive := func(ctx context.Context, c *Chan[int]) { _, _ = c.receive(ctx) }
	send := func(ctx context.Context, c *Chan[int]) { _ = c.send(ctx, 1) }
	chosen := func(end func() Case) func() {
		return func() { _, _ = Select(ctx, end(), DefaultCase()) }
	}
	return []endOf{
		{"Sender.Send", func(c *Chan[int]) (use, shut func()) {
			s := c.Sender(ctx)
			return func() { _ = s.Send(cancelled(), 2) }, s.Close
		}, receive},
		{"Sender.TrySend", func(c *Chan[int]) (use, shut func()) {
			s := c.Sender(ctx)
			return func() { s.TrySend(3) }, s.Close
		}, receive},
		{"Sender.Case", func(c *Chan[int]) (use, shut func()) {
			s := c.Sender(ctx)
			return chosen(func() Case { return s.Case(4) }), s.Close
		}, receive},
		{"Chan.Send of a sender", func(c *Chan[int]) (use, shut func()) {
			s := c.Sender(ctx)
			return func() { c.TrySend(5) }, s.Close
		}, receive},
		{"Receiver.Receive", func(c *Chan[int]) (use, shut func()) {
			r := c.Receiver(ctx)
			return func() { _, _ = r.Receive(cancelled()) }, r.Close
		}, send},
		{"Receiver.TryReceive", func(c *Chan[int]) (use, shut func()) {
			r := c.Receiver(ctx)
			return func() { r.TryReceive() }, r.Close
		}, send},
		{"Receiver.All", func(c *Chan[int]) (use, shut func()) {
			r := c.Receiver(ctx)
			return func() {
				for range r.All(cancelled()) {
					return
				}
			}, r.Close
		}, send},
		{"Receiver.Case", func(c *Chan[int]) (use, shut func()) {
			r := c.Receiver(ctx)
			return chosen(func() Case { return r.Case(nil) }), r.Close
		}, send},
		{"Chan.Receive of a receiver", func(c *Chan[int]) (use, shut func()) {
			r := c.Receiver(ctx)
			return func() { c.TryReceive() }, r.Close
		}, send},
	}
}

// An end proves something only once ends of its kind, a name or a place, have been used
// by who opened them, and never again after another goroutine has used or closed one.
func TestAnEndProvesWhatItsKindIsKnownFor(t *testing.T) {
	type deed struct {
		what               string
		do                 func(e endOf, c *Chan[int], opener, other *actor)
		complete, inferred bool
	}
	opened := func(e endOf, c *Chan[int], opener *actor) (use, shut func()) {
		opener.does(func() { use, shut = e.open(c) })
		return use, shut
	}
	own := func(e endOf, c *Chan[int], opener, _ *actor) {
		use, shut := opened(e, c, opener)
		opener.does(use)
		opener.does(shut)
	}
	for _, e := range endsOfAChan() {
		for _, handOver := range []deed{
			{"used by another", func(e endOf, c *Chan[int], opener, other *actor) {
				use, shut := opened(e, c, opener)
				other.does(use)
				opener.does(shut)
			}, false, false},
			{"closed by another", func(e endOf, c *Chan[int], opener, other *actor) {
				_, shut := opened(e, c, opener)
				other.does(shut)
			}, false, false},
			{"used after another's use", func(e endOf, c *Chan[int], opener, other *actor) {
				use, shut := opened(e, c, opener)
				opener.does(use)
				other.does(use)
				opener.does(use)
				opener.does(shut)
			}, false, false},
		} {
			for _, named := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/named %v", e.name, handOver.what, named), func(t *testing.T) {
					watched(t)
					forgetHolds(t)
					opener, other := newActor(t), newActor(t)
					name, another := "", ""
					if named {
						name, another = unique("ends"), unique("ends")
					}
					look := func(what, name string, complete, inferred bool) {
						t.Helper()
						c := NewChan[int](name, 0)
						_, shut := opened(e, c, opener)
						_, set := blockedIn(t, func(ctx context.Context) { e.wait(ctx, c) })
						if set.complete != complete || complete && set.inferred != inferred {
							t.Errorf("%s: complete %v and inferred %v, want %v and %v", what, set.complete, set.inferred, complete, inferred)
						}
						if len(set.list) != 1 || set.list[0].goroutine != opener.id {
							t.Errorf("%s: the holders are %+v, want the opener", what, set.list)
						}
						opener.does(shut)
					}
					for _, d := range []deed{
						{"fresh", func(endOf, *Chan[int], *actor, *actor) {}, true, true},
						{"closed and never used", func(e endOf, c *Chan[int], opener, _ *actor) {
							_, shut := opened(e, c, opener)
							opener.does(shut)
						}, true, true},
						{"used by who opened it", own, true, false},
						handOver,
						{"and again by who opened it", own, false, false},
					} {
						d.do(e, NewChan[int](name, 1), opener, other)
						look(d.what, name, d.complete, d.inferred)
					}
					if named { // of other names nothing is known
						look("another name", another, true, true)
					}
				})
			}
		}
	}
}

// openSender opens Senders at one place.
//
//go:noinline
func openSender(c *Chan[int]) *Sender[int] { return c.Sender(context.Background()) }

// Whoever uses a channel without an open end, while others have theirs open, has shown that
// such ends prove nothing. That a channel is closed once all ends are says nothing of them.
func TestUsesPastOpenEndsAreLearnedForTheirKind(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(c *Chan[int], shut func())
		complete bool
	}{
		{"sent", func(c *Chan[int], shut func()) { elsewhere(func() { c.TrySend(1) }); shut() }, false},
		{"closed", func(c *Chan[int], shut func()) { elsewhere(c.Close); shut() }, false},
		{"sent when none is open", func(c *Chan[int], shut func()) { shut(); elsewhere(func() { c.TrySend(1) }) }, true},
		{"closed when none is open", func(c *Chan[int], shut func()) { shut(); elsewhere(c.Close) }, true},
		{"received", func(c *Chan[int], shut func()) { elsewhere(func() { c.TryReceive() }); shut() }, true},
	} {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/named %v", tt.name, named), func(t *testing.T) {
				watched(t)
				forgetHolds(t)
				name := ""
				if named {
					name = unique("past")
				}
				c := NewChan[int](name, 1)
				s := openSender(c)
				s.TrySend(1)
				drain(c)
				tt.do(c, s.Close)
				c = NewChan[int](name, 0)
				defer openSender(c).Close()
				if _, set := blockedIn(t, func(ctx context.Context) { _, _ = c.receive(ctx) }); set.complete != tt.complete || set.inferred {
					t.Errorf("another of that kind: complete %v and inferred %v, want %v and false", set.complete, set.inferred, tt.complete)
				}
			})
		}
	}
}

// The two sides of a channel, and a lock of the same name, are learned of apart.
func TestKindsOfEndsAreApart(t *testing.T) {
	watched(t)
	forgetHolds(t)
	name := unique("apart")
	c, m := NewChan[int](name, 1), NewMutex(name)
	s, r := c.Sender(t.Context()), c.Receiver(t.Context())
	elsewhere(func() { s.TrySend(1) })
	r.TryReceive()
	m.Lock()
	m.Unlock() //nolint:staticcheck // the pair is what is learned from
	look := func() (sender, receiver, lock bool) {
		c, m := NewChan[int](name, 0), NewMutex(name)
		defer c.Sender(t.Context()).Close()
		defer c.Receiver(t.Context()).Close()
		m.Lock()
		defer m.Unlock()
		_, receives := blockedIn(t, func(ctx context.Context) { _, _ = c.receive(ctx) })
		_, sends := blockedIn(t, func(ctx context.Context) { _ = c.send(ctx, 1) })
		_, locks := blockedIn(t, func(ctx context.Context) { _ = m.LockContext(ctx) })
		return receives.complete && !receives.inferred, sends.complete && !sends.inferred, locks.complete && !locks.inferred
	}
	if sender, receiver, lock := look(); sender || !receiver || !lock {
		t.Errorf("after a sender was handed over: sender %v, receiver %v, lock %v; want the last two", sender, receiver, lock)
	}
	m.Lock()
	elsewhere(m.Unlock)
	if sender, receiver, lock := look(); sender || !receiver || lock {
		t.Errorf("and after a lock was: sender %v, receiver %v, lock %v; want the receiver", sender, receiver, lock)
	}
}

// A Select of ends of several kinds knows of each of them.
func TestASelectKnowsTheKindsOfAllItsEnds(t *testing.T) {
	watched(t)
	own, fresh := stage{used: true}.channel(), stage{}.channel()
	handed := stage{used: true}.channel()
	elsewhere(handed.Sender(t.Context()).Close)
	for _, c := range []*Chan[int]{own, fresh, handed} {
		defer c.Sender(t.Context()).Close()
	}
	for _, tt := range []struct {
		name               string
		of                 []*Chan[int]
		complete, inferred bool
	}{
		{"own", []*Chan[int]{own}, true, false},
		{"own and fresh", []*Chan[int]{own, fresh}, true, true},
		{"fresh and own", []*Chan[int]{fresh, own}, true, true},
		{"own and handed over", []*Chan[int]{own, handed}, false, false},
		{"handed over and own", []*Chan[int]{handed, own}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cases []Case
			for _, c := range tt.of {
				cases = append(cases, ReceiveCase(c, nil))
			}
			_, set := blockedIn(t, func(ctx context.Context) { _, _ = Select(ctx, cases...) })
			if set.complete != tt.complete || set.complete && set.inferred != tt.inferred || len(set.list) != len(tt.of) {
				t.Errorf("complete %v and inferred %v of %d, want %v and %v", set.complete, set.inferred, len(set.list), tt.complete, tt.inferred)
			}
		})
	}
}

// A goroutine may have several ends of one side, and closes them in any order.
func TestEndsOfOneGoroutineCloseInAnyOrder(t *testing.T) {
	watched(t)
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}, {0, 2, 1}, {2, 0, 1}} {
		c := stage{used: true}.channel()
		ends := []*Sender[int]{c.Sender(t.Context()), c.Sender(t.Context()), c.Sender(t.Context())}
		for n, i := range order {
			if got := len(c.senders.open); got != 3-n {
				t.Errorf("%v: %d are open, want %d", order, got, 3-n)
			}
			ends[i].Close()
			c.TrySend(1) // of the goroutine with the ends that are left
			if last := n == 2; c.senders.broken.Load() != last {
				t.Errorf("%v: after %d the side is broken: %v", order, n+1, !last)
			}
		}
		if len(c.senders.by) != 0 {
			t.Errorf("%v: %d goroutines have an end", order, len(c.senders.by))
		}
	}
}

// What a group waits for is known once a task of its kind has ended by itself, and not
// any more once a Done has taken one off.
func TestATaskOfAGroupProvesWhatItsKindIsKnownFor(t *testing.T) {
	ins := quietInspector(t)
	ctx, task := ins.Begin(context.Background(), "parent")
	defer task.End(nil)
	start := func(g *WaitGroup, fn func(context.Context) error) { g.Go(ctx, "member", fn) } // at one place
	ended := func(g *WaitGroup) { start(g, nothing); g.Wait() }
	for _, tt := range []struct {
		name     string
		takeOff  func(g *WaitGroup)
		complete bool
	}{
		{"Done", func(g *WaitGroup) {
			end := make(chan struct{})
			start(g, func(context.Context) error { <-end; return nil })
			g.Done()
			g.Add(1)
			close(end)
			g.Wait()
		}, false},
		{"Add(-2)", func(g *WaitGroup) {
			end := make(chan struct{})
			for range 3 {
				start(g, func(context.Context) error { <-end; return nil })
			}
			g.Add(-2)
			g.Add(2)
			close(end)
			g.Wait()
		}, false},
		{"Done of a unit", func(g *WaitGroup) {
			end := make(chan struct{})
			g.Add(1)
			start(g, func(context.Context) error { <-end; return nil })
			g.Done()
			close(end)
			g.Wait()
		}, true},
		{"a unit that the task takes off", func(g *WaitGroup) {
			g.Add(1)
			start(g, func(context.Context) error { g.Done(); return nil })
			g.Wait()
		}, true},
	} {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/named %v", tt.name, named), func(t *testing.T) {
				forgetHolds(t)
				name := ""
				if named {
					name = unique("group")
				}
				group := func() *WaitGroup {
					g := new(WaitGroup)
					nameIt(g, name)
					return g
				}
				look := func(what string, complete, inferred bool) {
					t.Helper()
					g, end := group(), make(chan struct{})
					start(g, func(context.Context) error { <-end; return nil })
					_, set := blockedIn(t, func(ctx context.Context) { _ = g.WaitContext(ctx) })
					if set.complete != complete || complete && set.inferred != inferred || len(set.list) != 1 {
						t.Errorf("%s: complete %v and inferred %v of %d, want %v and %v of 1",
							what, set.complete, set.inferred, len(set.list), complete, inferred)
					}
					before := holdKinds.snapshot()
					close(end)
					g.Wait() // which must not teach anything here
					holdKinds.restore(before)
				}
				look("fresh", true, true)
				ended(group())
				look("a task has ended", true, false)
				tt.takeOff(group())
				look("one was taken off", tt.complete, false)
				ended(group())
				look("and a task has ended", tt.complete, false)
			})
		}
	}
}

// Nobody can take off a task of a Group.
func TestATaskOfAGroupWithErrorsIsKnownAtOnce(t *testing.T) {
	ins := quietInspector(t)
	forgetHolds(t)
	ctx, task := ins.Begin(context.Background(), "parent")
	defer task.End(nil)
	g, _ := NewGroup(ctx, "")
	end := make(chan struct{})
	g.Go("member", func(context.Context) error { <-end; return nil })
	if _, set := blockedIn(t, func(ctx context.Context) { _ = g.WaitContext(ctx) }); !set.complete || set.inferred {
		t.Errorf("complete %v and inferred %v, want true and false", set.complete, set.inferred)
	}
	close(end)
	_ = g.Wait()
}
