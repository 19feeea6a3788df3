//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// cast are goroutines that wait for each other until the test breaks it up.
type cast struct {
	t      *testing.T
	ctx    context.Context
	all    sync.WaitGroup
	ready  sync.WaitGroup // all have taken what they take first
	actors []uint64
	mu     sync.Mutex
	until  time.Time
}

func newCast(t *testing.T, actors int) *cast {
	watched(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := &cast{t: t, ctx: ctx}
	c.ready.Add(actors)
	t.Cleanup(func() {
		cancel()
		c.all.Wait()
	})
	return c
}

// plays lets a goroutine take one thing and, when all have theirs, want another.
func (c *cast) plays(take, want func(context.Context) error) {
	c.all.Go(func() {
		if err := take(c.ctx); err != nil {
			c.t.Error(err)
		}
		c.mu.Lock()
		c.actors = append(c.actors, goidOfTest())
		c.mu.Unlock()
		c.ready.Done()
		c.ready.Wait()
		_ = want(c.ctx)
	})
}

// found waits until a deadlock is seen.
func (c *cast) found() Deadlock {
	c.t.Helper()
	for deadline := c.deadline(); time.Now().Before(deadline); {
		if d := Deadlocks(); len(d) > 0 {
			return d[0]
		}
		runtime.Gosched()
	}
	c.t.Fatalf("no deadlock was found, or not the right one; these wait: %v", Tasks())
	return Deadlock{}
}

// deadline is 30 s after the first time.
func (c *cast) deadline() time.Time {
	if c.until.IsZero() {
		c.until = time.Now().Add(30 * time.Second)
	}
	return c.until
}

// none looks for a deadlock when n goroutines wait.
func (c *cast) none(n int) {
	c.t.Helper()
	for len(openWaits(now(), nil)) < n {
		runtime.Gosched()
	}
	for range 100 {
		if d := Deadlocks(); len(d) > 0 {
			c.t.Fatalf("there is no deadlock, but: %v", d)
		}
	}
}

func nothing(context.Context) error { return nil }

// stage makes the locks of a scene, which somebody has used before or not.
type stage struct{ used bool }

func (s stage) mutex() *Mutex {
	m := NewMutex(unique("mutex"))
	if s.used {
		m.Lock()
		m.Unlock() //nolint:staticcheck // the pair is what is learned from
	}
	return m
}

func (s stage) rwmutex() *RWMutex {
	m := NewRWMutex(unique("table"))
	if s.used {
		m.Lock()
		m.Unlock() //nolint:staticcheck // as above
		m.RLock()
		m.RUnlock() //nolint:staticcheck // as above
	}
	return m
}

func (s stage) semaphore(size int64) *Semaphore {
	sem := NewSemaphore(unique("slots"), size)
	if s.used {
		_ = sem.Acquire(context.Background(), 1)
		sem.Release(1)
	}
	return sem
}

// channel returns one whose ends have been used by who opened them.
func (s stage) channel() *Chan[int] {
	name := unique("channel")
	if s.used {
		ctx, c := context.Background(), NewChan[int](name, 1)
		out, in := c.Sender(ctx), c.Receiver(ctx)
		out.TrySend(1)
		in.TryReceive()
		out.Close()
		in.Close()
	}
	return NewChan[int](name, 0)
}

// group returns one whose tasks are known to end by themselves.
func (s stage) group(ins *Inspector) *WaitGroup {
	name := unique("group")
	if s.used {
		var g WaitGroup
		g.SetName(name)
		ctx, task := ins.Begin(context.Background(), "user of the group")
		g.Go(ctx, "member", nothing)
		g.Wait()
		task.End(nil)
	}
	g := new(WaitGroup)
	g.SetName(name)
	return g
}

func TestDeadlocksThatAreReal(t *testing.T) {
	for _, scene := range []struct {
		name          string
		actors        int
		size, victims int
		play          func(c *cast, s stage)
	}{
		{"two locks in opposite orders", 2, 2, 0, func(c *cast, s stage) {
			a, b := s.mutex(), s.mutex()
			c.plays(a.LockContext, b.LockContext)
			c.plays(b.LockContext, a.LockContext)
		}},
		{"three in a ring, and one behind it", 4, 3, 1, func(c *cast, s stage) {
			a, b, d := s.mutex(), s.mutex(), s.mutex()
			c.plays(a.LockContext, b.LockContext)
			c.plays(b.LockContext, d.LockContext)
			c.plays(d.LockContext, a.LockContext)
			c.plays(nothing, a.LockContext)
		}},
		{"a lock taken twice", 1, 1, 0, func(c *cast, s stage) {
			a := s.mutex()
			c.plays(a.LockContext, a.LockContext)
		}},
		{"a writer between two readers", 2, 2, 0, func(c *cast, s stage) {
			rw, a := s.rwmutex(), s.mutex()
			c.plays(rw.RLockContext, a.LockContext)
			c.plays(a.LockContext, rw.LockContext)
		}},
		{"two write locks", 2, 2, 0, func(c *cast, s stage) {
			a, b := s.rwmutex(), s.rwmutex()
			c.plays(a.LockContext, b.RLockContext)
			c.plays(b.LockContext, a.LockContext)
		}},
		{"both permits of a semaphore", 3, 3, 0, func(c *cast, s stage) {
			sem, a := s.semaphore(2), s.mutex()
			one := func(ctx context.Context) error { return sem.Acquire(ctx, 1) }
			c.plays(one, a.LockContext)
			c.plays(one, a.LockContext)
			c.plays(a.LockContext, one)
		}},
		{"a select of declared ends", 3, 3, 0, func(c *cast, s stage) {
			a, b, m := s.channel(), s.channel(), s.mutex()
			sends := func(c *Chan[int]) func(context.Context) error {
				return func(ctx context.Context) error { c.Sender(ctx); return nil }
			}
			c.plays(sends(a), m.LockContext)
			c.plays(sends(b), m.LockContext)
			c.plays(m.LockContext, func(ctx context.Context) error {
				_, err := Select(ctx, ReceiveCase(a, nil), ReceiveCase(b, nil))
				return err
			})
		}},
		{"a channel with declared ends", 2, 2, 0, func(c *cast, s stage) {
			a, b := s.channel(), s.channel()
			side := func(send, receive *Chan[int]) (func(context.Context) error, func(context.Context) error) {
				return func(ctx context.Context) error { send.Sender(ctx); return nil },
					func(ctx context.Context) error { _, err := receive.Receive(ctx); return err }
			}
			c.plays(side(a, b))
			c.plays(side(b, a))
		}},
	} {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/used before %v", scene.name, used), func(t *testing.T) {
				c := newCast(t, scene.actors)
				scene.play(c, stage{used})
				d := c.found()
				for d.Size != scene.size || d.Victims != scene.victims { // not all of them wait yet
					d = c.found()
				}
				want := taskspan.Suspected
				if used {
					want = taskspan.Certain
				}
				if d.Confidence != want {
					t.Errorf("it is %s, want %s", d.Confidence, want)
				}
				text := d.String()
				if strings.Count(text, "deadlock_test.go:") < len(d.Cycle) {
					t.Errorf("the story lacks places: %s", text)
				}
				if strings.Contains(text, "external lock") {
					t.Errorf("the story advises on external locks: %s", text)
				}
				for _, part := range []string{"suspected deadlock", " if only the goroutine that took"} {
					if suspected := strings.Contains(text, part); suspected != (want == taskspan.Suspected) {
						t.Errorf("the story says %q: %t: %s", part, suspected, text)
					}
				}
			})
		}
	}
}

// The sure part of a larger circle is certain; who is only guessed to be in it is
// behind it.
func TestTheSurePartOfACircleIsCertain(t *testing.T) {
	c := newCast(t, 3)
	used := stage{used: true}
	table, a, fresh := used.rwmutex(), used.mutex(), stage{}.mutex()
	c.plays(table.RLockContext, a.LockContext)     // surely waits for the writer
	c.plays(table.RLockContext, fresh.LockContext) // waits for it, if it is what releases fresh
	c.plays(func(ctx context.Context) error {      // the writer waits for both
		if err := a.LockContext(ctx); err != nil {
			return err
		}
		return fresh.LockContext(ctx)
	}, table.LockContext)
	d := c.found()
	for d.Size != 2 || d.Victims != 1 {
		d = c.found()
	}
	if all := Deadlocks(); len(all) != 1 || all[0].Confidence != taskspan.Certain {
		t.Errorf("found %v, want one that is certain", all)
	}
}

// Each deadlock has those behind it, and not those behind another one.
func TestVictimsAreThoseBehindThisDeadlock(t *testing.T) {
	const first, second, both = 3, 1, 2
	c := newCast(t, 4+first+second+both)
	used := stage{used: true}
	a, b, x, y, ends := used.mutex(), used.mutex(), used.mutex(), used.mutex(), used.mutex()
	c.plays(a.LockContext, b.LockContext)
	c.plays(b.LockContext, a.LockContext)
	c.plays(x.LockContext, y.LockContext)
	c.plays(y.LockContext, x.LockContext)
	for range first {
		c.plays(nothing, a.LockContext)
	}
	c.plays(ends.LockContext, y.LockContext)
	for range both { // behind the one before, which is behind the second
		c.plays(nothing, ends.LockContext)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		victims := make(map[string]int)
		for _, d := range Deadlocks() {
			_, name := d.Cycle[0].Wait.ResourceID, d.Cycle[0].Wait.Resource
			switch name {
			case a.res.Load().name, b.res.Load().name:
				victims["first"] += d.Victims
			default:
				victims["second"] += d.Victims
			}
		}
		if victims["first"] == first && victims["second"] == second+both {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("victims are %v, want %d behind the first and %d behind the second", victims, first, second+both)
		}
		runtime.Gosched()
	}
}

func TestJoiningAChildThatWaitsForOnesLock(t *testing.T) {
	c := newCast(t, 1)
	ins := quietInspector(t)
	var a Mutex
	c.plays(a.LockContext, func(ctx context.Context) error {
		child := ins.Go(ctx, "child", a.LockContext)
		return child.Wait(ctx)
	})
	if d := c.found(); d.Size != 2 {
		t.Errorf("found %v", d)
	}
}

func TestWhatLooksLikeADeadlock(t *testing.T) {
	t.Run("a lock whose holder runs", func(t *testing.T) {
		c := newCast(t, 2)
		var a Mutex
		a.Lock()
		c.plays(nothing, a.LockContext)
		c.plays(nothing, a.LockContext)
		c.none(2)
		a.Unlock()
	})
	t.Run("a semaphore of which one holder runs", func(t *testing.T) {
		c := newCast(t, 2)
		s := NewSemaphore("slots", 2)
		_ = s.Acquire(context.Background(), 1)
		var a Mutex
		one := func(ctx context.Context) error { return s.Acquire(ctx, 1) }
		c.plays(one, a.LockContext)
		c.plays(a.LockContext, one)
		c.none(2)
	})
	t.Run("a wait with a deadline", func(t *testing.T) {
		c := newCast(t, 2)
		var a, b Mutex
		c.plays(a.LockContext, b.LockContext)
		c.plays(b.LockContext, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			return a.LockContext(ctx)
		})
		c.none(2)
	})
	t.Run("a channel whose ends are not declared", func(t *testing.T) {
		c := newCast(t, 2)
		a, b := NewChan[int]("a", 0), NewChan[int]("b", 0)
		c.plays(nothing, func(ctx context.Context) error { _, err := a.Receive(ctx); return err })
		c.plays(nothing, func(ctx context.Context) error { _, err := b.Receive(ctx); return err })
		c.none(2)
	})
	t.Run("a busy lock", func(t *testing.T) {
		watched(t)
		var a, b Mutex
		var all sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					a.Lock()
					b.Lock()
					b.Unlock()
					a.Unlock()
				}
			})
		}
		for range 2000 {
			if d := Deadlocks(); len(d) > 0 {
				t.Errorf("there is no deadlock, but: %v", d)
				break
			}
		}
		close(stop)
		all.Wait()
	})
}

// A lock that was released by another goroutine than took it may be again.
func TestLocksThatAreHandedOverProveNothing(t *testing.T) {
	handOver := func(l sync.Locker) {
		l.Lock()
		released := make(chan struct{})
		go func() { l.Unlock(); close(released) }()
		<-released
	}
	for name, locks := range map[string][2]sync.Locker{
		"mutexes":     {NewMutex("handed over 1"), NewMutex("handed over 2")},
		"read locks":  {NewRWMutex("handed over 3").RLocker(), NewMutex("handed over 4")},
		"write locks": {NewRWMutex("handed over 5"), NewMutex("handed over 6")},
	} {
		handOver(locks[0])
		for _, l := range locks {
			var of *named
			switch l := l.(type) {
			case *Mutex:
				of = &l.named
			case *RWMutex:
				of = &l.named
			case *rlocker:
				of = &(*RWMutex)(l).named
			}
			if want := l == locks[0]; of.res.Load().handedOver() != want {
				t.Errorf("%s: handed over is %v, want %v", name, !want, want)
			}
		}
	}
	// Another lock of the name has a holder who need not be the one to let it go.
	m := NewMutex("handed over 1")
	m.Lock()
	defer m.Unlock()
	var s holderSet
	m.holders(nil, &s)
	if len(s.list) != 1 || s.complete {
		t.Errorf("the holders are %+v", s)
	}
}
