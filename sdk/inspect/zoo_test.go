//go:build !noinspect

package inspect

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
	"github.com/asyncinspect/asyncinspect/sdk/waitgraph"
)

var zooFor = flag.Duration("zoo", 0, "how long the animals of the zoo run at the same time; 0: each once, one after the other")

// The zoo is programs that are legal and end by themselves, though their waits and
// holds often make a circle: locks and permits that others release than took them,
// and what is near to that. None of them may ever be called a deadlock for certain,
// neither by Deadlocks nor by what reports say.
//
// Each animal is looked at where its circle is fullest: by the goroutine that is about
// to open it, once all that wait for it do.
var zoo = []struct {
	name string
	// looksStuck says that a look at it sees a circle, the first time that it runs in a
	// process: one that never does proves nothing.
	looksStuck bool
	run        func(*animal)
}{
	{"permits that a parent acquires and its workers release", true, (*animal).fanOut},
	{"a pool whose parent acquires all permits at the end", true, (*animal).drainedPool},
	{"a pool whose first job fails before it has a worker", true, (*animal).fanOutAfterAnError},
	{"a semaphore for each request", true, (*animal).semaphoresPerRequest},
	{"a semaphore for each request, the first of which fails", true, (*animal).semaphoresPerRequestAfterAnError},
	{"permits that go round in a ring", true, (*animal).tokenRing},
	{"two parents that share the permits of their workers", true, (*animal).twoParents},
	{"a parent that waits for a lock while its worker has the permit", true, (*animal).permitAndLock},
	{"a mutex that is a signal", true, (*animal).signal},
	{"a mutex that is a signal, for each request", true, (*animal).signalsPerRequest},
	{"two signals in opposite orders", true, (*animal).crossedSignals},
	{"a gate that somebody else opens", true, (*animal).gate},
	{"a mutex that is locked in a constructor and unlocked in Close", true, (*animal).openClose},
	{"a write lock that is handed over", true, (*animal).writeHandOver},
	{"a read lock that is released elsewhere", true, (*animal).readHandOver},
	{"a read lock that a reader waits behind", true, (*animal).readersAndWriter},
	{"locks that are taken with TryLock", false, (*animal).tryLocks},
	{"a convoy on one lock", false, (*animal).convoy},
	{"locks for each request, in opposite orders, one at a time", false, (*animal).locksPerRequest},
	{"a queue with a condition variable", false, (*animal).condition},
	{"children that need a lock that their parent has released", false, (*animal).children},
	{"a group with a limit", false, (*animal).limitedGroup},
	{"a pipeline with declared ends", false, (*animal).pipeline},
	{"a producer that is given its Sender", true, (*animal).handedSender},
	{"a consumer that is given its Receiver", true, (*animal).handedReceiver},
	{"a worker that is given both its ends", true, (*animal).handedEnds},
	{"a parent that has closed the end of a producer that it could not start", true, (*animal).handedSenderAfterAnError},
	{"producers that are given their Senders in a loop", true, (*animal).fanIn},
	{"a pipeline of three stages that are given their ends", true, (*animal).handedPipeline},
	{"a channel for each request, whose producer is given its Sender", true, (*animal).sendersPerRequest},
	{"an end that another goroutine closes", true, (*animal).endClosedElsewhere},
	{"an end whose channel another goroutine closes", true, (*animal).channelClosedElsewhere},
	{"a select of ends that are given to producers", true, (*animal).handedSelect},
	{"ends that go through a channel", true, (*animal).endsThroughAChannel},
	{"a group from which another goroutine takes a task", true, (*animal).groupDone},
	{"a group of tasks and of units", false, (*animal).groupOfUnits},
	{"a select of a slow and a stuck sender", false, (*animal).selectLoop},
	{"waits with a deadline in opposite orders", false, (*animal).deadlines},
}

// animal is one run of a program of the zoo.
type animal struct {
	t     *testing.T
	name  string
	named bool // its locks have names
	ctx   context.Context
	rig   *reporterRig // nil: it is not looked at by itself
	all   sync.WaitGroup
	stuck atomic.Bool // it has been seen in a circle
}

func (a *animal) title(of string) string {
	if !a.named {
		return ""
	}
	return a.name + ": " + of
}

func (a *animal) mutex(of string) *Mutex {
	m := new(Mutex)
	nameIt(m, a.title(of))
	return m
}

func (a *animal) rwmutex(of string) *RWMutex {
	m := new(RWMutex)
	nameIt(m, a.title(of))
	return m
}

func (a *animal) semaphore(of string, size int64) *Semaphore { return NewSemaphore(a.title(of), size) }

// task runs fn as a task of its own.
func (a *animal) task(name string, fn func(ctx context.Context)) {
	a.all.Add(1)
	TaskFromContext(a.ctx).ins.Go(a.ctx, name, func(ctx context.Context) error {
		defer a.all.Done()
		fn(ctx)
		return nil
	})
}

// look is called before a circle is opened, when n goroutines wait in it.
func (a *animal) look(n int) {
	a.t.Helper()
	if a.rig == nil { // others look
		if rand.N(20) == 0 {
			time.Sleep(rand.N(time.Second)) // long enough for a report
		}
		time.Sleep(rand.N(3 * time.Millisecond))
		return
	}
	deadline := time.Now().Add(30 * time.Second)
	for len(openWaits(now(), nil)) < n {
		if time.Now().After(deadline) {
			a.t.Fatalf("%d wait after 30 s, want %d", len(openWaits(now(), nil)), n)
		}
		time.Sleep(50 * time.Microsecond)
	}
	for _, d := range Deadlocks() {
		a.stuck.Store(true)
		if d.Confidence != taskspan.Suspected {
			a.t.Errorf("it is called %v", d)
		}
	}
	for range 2 {
		a.rig.at += nanos(1100 * time.Millisecond)
		a.rig.scan(a.rig.at)
		if told := certainlyStuck(a.rig.waits); len(told) > 0 {
			a.t.Errorf("the reports say that these wait for each other for certain: %v", told)
		}
	}
}

// certainlyStuck is what a collector makes of reports: who waits in a circle of waits
// that are complete, have no deadline and are not inferred. Waits on channels count from
// an age on, as in Deadlocks; a reporter tells of none that is younger than a second.
func certainlyStuck(waits map[uint64]*toldWait) (stuck []string) {
	var g waitgraph.Graph
	number, names := make(map[wire.Node]waitgraph.Task), []string{}
	node := func(n wire.Node, name string) waitgraph.Task {
		if _, known := number[n]; !known {
			number[n] = g.AddTask()
			names = append(names, name)
		}
		return number[n]
	}
	for _, w := range waits {
		node(w.last.Node, w.last.Name+" waits for "+w.last.ResourceName)
	}
	for _, w := range waits {
		if w.differs || !w.last.Complete || w.last.Inferred || w.last.Deadline != 0 || len(w.last.Holders) == 0 {
			continue
		}
		var holders []waitgraph.Holder
		for _, h := range w.last.Holders {
			n, waiting := number[h.Node]
			if !waiting {
				n = waitgraph.Unknown
			}
			holders = append(holders, waitgraph.Holder{Task: n, Weight: h.Weight})
		}
		g.Wait(number[w.last.Node], w.last.Need, holders...)
	}
	g.Solve()
	for i, name := range names {
		if g.Stuck(waitgraph.Task(i)) {
			stuck = append(stuck, name)
		}
	}
	return stuck
}

func TestTheZooIsNeverCertainlyDeadlocked(t *testing.T) {
	for _, z := range zoo {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/named %v", z.name, named), func(t *testing.T) {
				forgetHolds(t)
				watched(t)
				rig := newReporterRig(t)
				for round := range 3 { // in a process that knows nothing, and in one that has seen it
					a := &animal{t: t, name: z.name, named: named, rig: rig}
					a.runOnce(rig.ins, z.run)
					if round == 0 && z.looksStuck && !a.stuck.Load() {
						t.Error("nobody has seen a circle, so this proves nothing")
					}
				}
			})
		}
	}
}

// runOnce runs an animal to its end.
func (a *animal) runOnce(ins *Inspector, run func(*animal)) {
	a.t.Helper()
	ctx, task := ins.Begin(context.Background(), a.name)
	defer task.End(nil)
	a.ctx = ctx
	run(a)
	ended := make(chan struct{})
	go func() { a.all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		a.t.Fatalf("it has not ended in 30 s; these are open: %v", ins.Tasks())
	}
}

// All animals at once, many times, with whatever mixtures come of it.
func TestTheWholeZooAtOnce(t *testing.T) {
	if *zooFor == 0 {
		*zooFor = 300 * time.Millisecond
	}
	forgetHolds(t)
	watched(t)
	rig := newReporterRig(t)
	rig.config.stuckAfter = 0 // a report for each wait, however young
	end := time.Now().Add(*zooFor)
	var animals sync.WaitGroup
	for _, z := range zoo {
		for _, named := range []bool{true, false} {
			animals.Go(func() {
				for time.Now().Before(end) && !t.Failed() {
					a := &animal{t: t, name: z.name, named: named}
					a.runOnce(rig.ins, z.run)
				}
			})
		}
	}
	ended := make(chan struct{})
	go func() { animals.Wait(); close(ended) }()
	suspected, reported := 0, 0
	for over := false; !over; {
		select {
		case <-ended:
			over = true
		default:
		}
		for _, d := range Deadlocks() {
			if suspected++; d.Confidence != taskspan.Suspected {
				t.Errorf("it is called %v", d)
			}
		}
		rig.scan(now())
		reported = max(reported, len(rig.waits))
		if told := certainlyStuck(rig.waits); len(told) > 0 {
			t.Errorf("the reports say that these wait for each other for certain: %s", strings.Join(told, "; "))
		}
		if t.Failed() {
			<-ended // of its own accord, soon
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("%d suspected deadlocks were seen, and %d waits at most were reported at a time", suspected, reported)
}

// The animals.

func (a *animal) fanOut() { a.fanOutOver(a.semaphore("jobs", 2), 4, -1) }

// fanOutOver lets a parent acquire a permit for each of n workers, which release them,
// one when it is told. Before the worker of number fails, an acquisition is given back
// by the parent itself.
func (a *animal) fanOutOver(s *Semaphore, n, fails int) {
	finish := make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		for i := range n {
			if err := s.Acquire(ctx, 1); err != nil {
				a.t.Error(err)
			}
			if i == fails { // no worker for this one
				s.Release(1)
				continue
			}
			a.task("worker", func(context.Context) {
				<-finish
				s.Release(1)
			})
		}
	})
	workers := n
	if fails >= 0 {
		workers--
	}
	for i := range workers {
		if i < workers-int(s.size) {
			a.look(1) // the parent waits for itself
		}
		finish <- struct{}{}
	}
}

func (a *animal) drainedPool() {
	const size = 3
	s, finish := a.semaphore("pool", size), make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		for range size - 1 {
			_ = s.Acquire(ctx, 1)
			a.task("worker", func(context.Context) { <-finish; s.Release(1) })
		}
		_ = s.Acquire(ctx, size) // until all have ended
		s.Release(size)
	})
	for range size - 1 {
		a.look(1)
		finish <- struct{}{}
	}
}

func (a *animal) fanOutAfterAnError() {
	for _, size := range []int64{1, 2, 3} {
		s := a.semaphore(fmt.Sprint("jobs of ", size), size)
		a.fanOutOver(s, 5, 0)
	}
}

func (a *animal) semaphoresPerRequest() {
	for range 3 {
		a.fanOutOver(a.semaphore("request", 2), 3, -1)
		a.all.Wait()
	}
}

func (a *animal) semaphoresPerRequestAfterAnError() {
	first := a.semaphore("request", 2)
	_ = first.Acquire(a.ctx, 1) // it fails at once
	first.Release(1)
	a.semaphoresPerRequest()
}

func (a *animal) tokenRing() {
	const n = 3
	tokens := make([]*Semaphore, n)
	for i := range tokens {
		tokens[i] = a.semaphore(fmt.Sprint("token ", i), 1)
	}
	begin := make(chan struct{})
	var met sync.WaitGroup
	met.Add(n)
	for i := range n {
		a.task("station", func(ctx context.Context) {
			_ = tokens[i].Acquire(ctx, 1)
			met.Done()
			met.Wait()
			_ = tokens[(i+1)%n].Acquire(ctx, 1) // the next one's, which the conductor gives back
		})
	}
	a.task("conductor", func(context.Context) {
		met.Wait()
		<-begin
		for _, s := range tokens {
			s.Release(1)
		}
	})
	a.look(n)
	close(begin)
}

func (a *animal) twoParents() {
	s, finish := a.semaphore("shared", 2), make(chan struct{})
	var met sync.WaitGroup
	met.Add(2)
	for range 2 {
		a.task("parent", func(ctx context.Context) {
			_ = s.Acquire(ctx, 1)
			a.task("worker", func(context.Context) { <-finish; s.Release(1) })
			met.Done()
			met.Wait()
			_ = s.Acquire(ctx, 1)
			a.task("worker", func(context.Context) { <-finish; s.Release(1) })
		})
	}
	a.look(2)
	for range 4 {
		finish <- struct{}{}
	}
}

func (a *animal) permitAndLock() {
	s, m, finish := a.semaphore("connections", 1), a.mutex("registry"), make(chan struct{})
	var met sync.WaitGroup
	met.Add(2)
	a.task("parent", func(ctx context.Context) {
		_ = s.Acquire(ctx, 1)
		a.task("worker", func(context.Context) { <-finish; s.Release(1) })
		met.Done()
		met.Wait()
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	a.task("other", func(ctx context.Context) {
		m.Lock()
		met.Done()
		met.Wait()
		_ = s.Acquire(ctx, 1)
		a.task("worker", func(context.Context) { <-finish; s.Release(1) })
		m.Unlock()
	})
	a.look(2)
	finish <- struct{}{}
	finish <- struct{}{}
}

func (a *animal) signal() { a.signalBy(a.mutex("done")) }

func (a *animal) signalBy(m *Mutex) {
	finish := make(chan struct{})
	a.task("starter", func(context.Context) {
		m.Lock()
		a.task("worker", func(context.Context) { <-finish; m.Unlock() })
		m.Lock()   // until the worker has done its work
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) signalsPerRequest() {
	for range 3 {
		a.signalBy(a.mutex(unique("done")))
		a.all.Wait()
	}
}

func (a *animal) crossedSignals() {
	x, y := a.mutex("x"), a.mutex("y")
	var met sync.WaitGroup
	met.Add(2)
	side := func(mine, other *Mutex) {
		a.task("side", func(context.Context) {
			mine.Lock()
			met.Done()
			met.Wait()
			other.Lock()
		})
	}
	side(x, y)
	side(y, x)
	finish := make(chan struct{})
	a.task("referee", func(context.Context) { met.Wait(); <-finish; x.Unlock(); y.Unlock() })
	a.look(2)
	finish <- struct{}{}
}

func (a *animal) gate() {
	gate, desk, finish := a.mutex("gate"), a.mutex("desk"), make(chan struct{})
	shut, seated := make(chan struct{}), make(chan struct{})
	a.task("keeper", func(context.Context) {
		gate.Lock()
		close(shut)
		<-seated
		desk.Lock()   // the visitor has it
		desk.Unlock() //nolint:staticcheck // the wait is the point
	})
	a.task("visitor", func(context.Context) {
		<-shut
		desk.Lock()
		close(seated)
		gate.Lock()
		gate.Unlock() //nolint:staticcheck // as above
		desk.Unlock()
	})
	a.task("janitor", func(context.Context) { <-shut; <-finish; gate.Unlock() })
	a.look(2)
	finish <- struct{}{}
}

type file struct{ inUse *Mutex }

func (f *file) open()  { f.inUse.Lock() }
func (f *file) close() { f.inUse.Unlock() }

func (a *animal) openClose() {
	f, finish := &file{a.mutex("file")}, make(chan struct{})
	a.task("opener", func(context.Context) {
		f.open()
		a.task("closer", func(context.Context) { <-finish; f.close() })
		f.open()
		f.close()
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) writeHandOver() {
	m, finish := a.rwmutex("config"), make(chan struct{})
	a.task("loader", func(context.Context) {
		m.Lock()
		a.task("parser", func(context.Context) { <-finish; m.Unlock() })
		m.RLock()
		m.RUnlock() //nolint:staticcheck // the wait is the point
	})
	a.look(1)
	finish <- struct{}{}
	a.all.Wait()
	a.task("loader", func(context.Context) {
		m.Lock()
		a.task("parser", func(context.Context) { <-finish; m.Unlock() })
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) readHandOver() {
	m, finish := a.rwmutex("snapshot"), make(chan struct{})
	a.task("reader", func(context.Context) {
		m.RLock()
		a.task("consumer", func(context.Context) { <-finish; m.RUnlock() })
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) readersAndWriter() {
	m, finish, reads, written := a.rwmutex("index"), make(chan struct{}), make(chan struct{}), make(chan struct{})
	writing := make(chan uint64, 1)
	a.task("reader", func(context.Context) {
		m.RLock()
		a.task("consumer", func(context.Context) { <-finish; m.RUnlock() })
		close(reads)
		waitUntilBlocked(<-writing, written)
		m.RLock()   // behind the writer
		m.RUnlock() //nolint:staticcheck // the wait is the point
	})
	a.task("writer", func(context.Context) {
		<-reads
		writing <- goidOfTest()
		m.Lock()
		close(written)
		m.Unlock() //nolint:staticcheck // as above
	})
	a.look(2)
	finish <- struct{}{}
}

// waitUntilBlocked returns when a goroutine waits, or has got what it wanted.
func waitUntilBlocked(goroutine uint64, got <-chan struct{}) {
	for {
		select {
		case <-got:
			return
		default:
		}
		if _, waits := waitOf(goroutine); waits {
			return
		}
		time.Sleep(10 * time.Microsecond)
	}
}

func (a *animal) tryLocks() {
	x, y := a.mutex("x"), a.mutex("y")
	side := func(first, second *Mutex) {
		a.task("polite", func(context.Context) {
			for range 20 {
				first.Lock()
				if second.TryLock() {
					second.Unlock()
				}
				first.Unlock()
			}
		})
	}
	side(x, y)
	side(y, x)
	a.look(0)
}

func (a *animal) convoy() {
	m, other, finish := a.mutex("stock"), a.mutex("shelf"), make(chan struct{})
	held := make(chan struct{})
	a.task("holder", func(context.Context) { m.Lock(); close(held); <-finish; m.Unlock() })
	<-held
	for range 3 {
		a.task("waiter", func(context.Context) {
			m.Lock()
			other.Lock()
			other.Unlock() //nolint:staticcheck // a second lock, in the same order
			m.Unlock()
		})
	}
	a.look(3)
	finish <- struct{}{}
}

func (a *animal) locksPerRequest() {
	for range 3 {
		x, y := a.mutex("cart"), a.mutex("user")
		for _, locks := range [][2]*Mutex{{x, y}, {y, x}} {
			a.task("request", func(context.Context) {
				locks[0].Lock()
				locks[1].Lock()
				locks[1].Unlock()
				locks[0].Unlock()
			})
			a.all.Wait()
		}
		a.look(0)
	}
}

func (a *animal) condition() {
	m := a.mutex("queue")
	c, items := NewCond(a.title("not empty"), m), 0
	for range 2 {
		a.task("consumer", func(context.Context) {
			m.Lock()
			for items == 0 {
				c.Wait()
			}
			items--
			m.Unlock()
		})
	}
	a.look(2)
	a.task("producer", func(context.Context) {
		for range 2 {
			m.Lock()
			items++
			m.Unlock()
			c.Signal()
		}
	})
}

func (a *animal) children() {
	m, finish := a.mutex("results"), make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		var children WaitGroup
		m.Lock()
		for range 2 {
			children.Go(ctx, "child", func(context.Context) error {
				m.Lock()
				defer m.Unlock()
				<-finish
				return nil
			})
		}
		m.Unlock()
		children.Wait()
	})
	a.look(2) // the parent, and one of the children
	finish <- struct{}{}
	finish <- struct{}{}
}

func (a *animal) limitedGroup() {
	finish := make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		g, _ := NewGroup(ctx, a.title("items"))
		g.SetLimit(1)
		for range 3 {
			g.Go("item", func(context.Context) error { <-finish; return nil })
		}
		_ = g.Wait()
	})
	for range 3 {
		a.look(1)
		finish <- struct{}{}
	}
}

func (a *animal) pipeline() {
	numbers, squares := NewChan[int](a.title("numbers"), 0), NewChan[int](a.title("squares"), 1)
	begin := make(chan struct{})
	a.task("source", func(ctx context.Context) {
		out := numbers.Sender(ctx)
		defer out.Close()
		<-begin
		for i := range 5 {
			_ = out.Send(ctx, i)
		}
		numbers.Close()
	})
	a.task("square", func(ctx context.Context) {
		in, out := numbers.Receiver(ctx), squares.Sender(ctx)
		defer in.Close()
		defer out.Close()
		for {
			n, err := in.Receive(ctx)
			if err != nil {
				squares.Close()
				return
			}
			_ = out.Send(ctx, n*n)
		}
	})
	a.task("sink", func(ctx context.Context) {
		in := squares.Receiver(ctx)
		defer in.Close()
		for {
			if _, err := in.Receive(ctx); err != nil {
				return
			}
		}
	})
	a.look(2)
	close(begin)
}

func (a *animal) channel(of string, capacity int) *Chan[int] {
	return NewChan[int](a.title(of), capacity)
}

func (a *animal) handedSender() { a.producerOf(a.channel("values", 0)) }

// producerOf lets a parent open the end of its producer, and wait for that. It looks at it
// and waits until it is over.
func (a *animal) producerOf(c *Chan[int]) {
	finish := make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		out := c.Sender(ctx)
		a.task("producer", func(ctx context.Context) {
			defer out.Close()
			<-finish
			_ = out.Send(ctx, 1)
		})
		_, _ = c.Receive(ctx) // looks as if it waited for itself
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) handedSenderAfterAnError() {
	c := a.channel("values", 0)
	out := c.Sender(a.ctx) // and there is no producer for it
	out.Close()
	a.producerOf(c)
}

func (a *animal) sendersPerRequest() {
	for range 3 {
		a.producerOf(a.channel("request", 0))
		a.all.Wait()
	}
}

func (a *animal) handedReceiver() {
	c, finish := a.channel("values", 1), make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		in := c.Receiver(ctx)
		a.task("consumer", func(ctx context.Context) {
			defer in.Close()
			<-finish
			for range 2 {
				_, _ = in.Receive(ctx)
			}
		})
		for i := range 2 {
			_ = c.Send(ctx, i)
		}
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) handedEnds() {
	jobs, results, finish := a.channel("jobs", 0), a.channel("results", 0), make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		in, out := jobs.Receiver(ctx), results.Sender(ctx)
		a.task("worker", func(ctx context.Context) {
			defer in.Close()
			defer out.Close()
			<-finish
			job, _ := in.Receive(ctx)
			<-finish
			_ = out.Send(ctx, job)
		})
		_ = jobs.Send(ctx, 1)
		_, _ = results.Receive(ctx)
	})
	for range 2 {
		a.look(1)
		finish <- struct{}{}
	}
}

func (a *animal) fanIn() {
	const n = 3
	c, finish := a.channel("values", 0), make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		for i := range n {
			out := c.Sender(ctx)
			a.task("producer", func(ctx context.Context) {
				defer out.Close()
				<-finish
				_, _ = Select(ctx, out.Case(i))
			})
		}
		for range n {
			_, _ = c.Receive(ctx)
		}
	})
	for range n {
		a.look(1)
		finish <- struct{}{}
	}
}

func (a *animal) handedPipeline() {
	numbers, squares, sums := a.channel("numbers", 0), a.channel("squares", 1), a.channel("sums", 0)
	begin := make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		stage := func(name string, in *Receiver[int], out *Sender[int], shut func(), f func(int) int) {
			a.task(name, func(ctx context.Context) {
				defer shut()
				defer out.Close()
				defer in.Close()
				for v := range in.All(ctx) {
					_ = out.Send(ctx, f(v))
				}
			})
		}
		out := numbers.Sender(ctx)
		a.task("source", func(ctx context.Context) {
			defer numbers.Close()
			defer out.Close()
			<-begin
			for i := range 4 {
				_ = out.Send(ctx, i)
			}
		})
		sum := 0
		stage("square", numbers.Receiver(ctx), squares.Sender(ctx), squares.Close, func(v int) int { return v * v })
		stage("sum", squares.Receiver(ctx), sums.Sender(ctx), sums.Close, func(v int) int { sum += v; return sum })
		for range sums.All(ctx) { // parent and stages look as if they waited for the parent
		}
	})
	a.look(3)
	close(begin)
}

func (a *animal) endClosedElsewhere() {
	c, finish := a.channel("done", 0), make(chan struct{})
	a.task("opener", func(ctx context.Context) {
		end := c.Sender(ctx)
		a.task("closer", func(context.Context) { <-finish; end.Close(); c.Close() })
		_, _ = c.Receive(ctx)
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) channelClosedElsewhere() {
	c, finish := a.channel("done", 0), make(chan struct{})
	a.task("opener", func(ctx context.Context) {
		defer c.Sender(ctx).Close()
		a.task("closer", func(context.Context) { <-finish; c.Close() })
		_, _ = c.Receive(ctx)
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) handedSelect() {
	left, right, finish := a.channel("left", 0), a.channel("right", 0), make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		for _, c := range []*Chan[int]{left, right} {
			out := c.Sender(ctx)
			a.task("producer", func(ctx context.Context) {
				defer out.Close()
				<-finish
				_ = out.Send(ctx, 1)
			})
		}
		for range 2 {
			_, _ = Select(ctx, ReceiveCase(left, nil), ReceiveCase(right, nil))
		}
	})
	for range 2 {
		a.look(1)
		finish <- struct{}{}
	}
}

func (a *animal) endsThroughAChannel() {
	c, ends, finish := a.channel("values", 0), make(chan *Sender[int], 1), make(chan struct{})
	a.task("worker", func(ctx context.Context) {
		out := <-ends
		defer out.Close()
		<-finish
		_ = out.Send(ctx, 1)
	})
	a.task("opener", func(ctx context.Context) {
		ends <- c.Sender(ctx)
		_, _ = c.Receive(ctx)
	})
	a.look(1)
	finish <- struct{}{}
}

func (a *animal) groupDone() {
	m, finish := a.mutex("held by the parent"), make(chan struct{})
	m.Lock() // so that its kind is known
	m.Unlock()
	a.task("parent", func(ctx context.Context) {
		var g WaitGroup
		nameIt(&g, a.title("children"))
		m.Lock()
		g.Go(ctx, "child", func(context.Context) error {
			m.Lock()
			defer m.Unlock()
			return nil
		})
		a.task("releaser", func(context.Context) { <-finish; g.Done() })
		g.Wait() // for a child that waits for the parent
		g.Add(1)
		m.Unlock()
		g.Wait()
	})
	a.look(2)
	finish <- struct{}{}
}

func (a *animal) groupOfUnits() {
	finish := make(chan struct{})
	a.task("parent", func(ctx context.Context) {
		var g WaitGroup
		nameIt(&g, a.title("children and units"))
		g.Add(2)
		g.Go(ctx, "child", func(context.Context) error { <-finish; g.Done(); return nil })
		a.task("worker", func(context.Context) { <-finish; g.Done() })
		g.Wait()
	})
	for range 2 {
		a.look(1)
		finish <- struct{}{}
	}
}

func (a *animal) selectLoop() {
	stuck, slow, m := NewChan[int](a.title("stuck"), 0), NewChan[int](a.title("slow"), 0), a.mutex("held by the receiver")
	begin, received := make(chan struct{}), make(chan struct{})
	locked := make(chan struct{})
	a.task("receiver", func(ctx context.Context) {
		m.Lock()
		close(locked)
		var v int
		_, _ = Select(ctx, ReceiveCase(stuck, &v), ReceiveCase(slow, &v))
		m.Unlock()
		close(received)
	})
	a.task("waits for the receiver", func(ctx context.Context) {
		out := stuck.Sender(ctx)
		defer out.Close()
		<-locked
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
	})
	a.task("slow", func(ctx context.Context) {
		out := slow.Sender(ctx)
		defer out.Close()
		<-begin
		_ = out.Send(ctx, 1)
		<-received
	})
	a.look(2)
	close(begin)
}

func (a *animal) deadlines() {
	x, y := a.mutex("x"), a.mutex("y")
	// Both are known to be released by who takes them.
	for _, m := range []*Mutex{x, y} {
		m.Lock()
		m.Unlock() //nolint:staticcheck // the pair is what is learned from
	}
	var met sync.WaitGroup
	met.Add(2)
	enough, cancel := context.WithTimeout(a.ctx, 50*time.Millisecond)
	side := func(first, second *Mutex) {
		a.task("careful", func(context.Context) {
			first.Lock()
			defer first.Unlock()
			met.Done()
			met.Wait()
			if second.LockContext(enough) == nil {
				second.Unlock()
			}
		})
	}
	side(x, y)
	side(y, x)
	a.look(2)
	a.all.Wait()
	cancel()
}
