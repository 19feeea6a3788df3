package inspect

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A call to another process is in the orders of locks as a lock would be: the caller
// takes it while it holds locks, and whoever answers it holds it while it takes others.
// Both know it by the client span, which is in traceparent already, so an order through
// two services is an order, and nothing more travels with the call.
//
// There are too many calls to report each. Caller and answerer report those of the same
// traces without asking each other: each counts how many calls or requests of a name it
// has had since a while, and reports the n-th only if the trace id, hashed, ends with
// at least log2(n/callsInFull) zeros. What the one reports that has more of them, the
// other one reports as well. It is the first callsInFull of each name and then fewer
// and fewer: callsInFull·ln(n) of n.
const (
	callsInFull  = 32
	callCounters = 1024
	// maxCallOrders bounds the orders of calls that wait for the reporter.
	maxCallOrders = 512
)

type callOrders struct {
	// made and answered count calls and requests by their names since a while. Names
	// that share a counter are reported less.
	made, answered [callCounters]atomic.Uint32

	waiting atomic.Int32
	mu      sync.Mutex // guards list
	list    []*lockOrder
}

var callNameSeed = maphash.MakeSeed()

// chosen counts a call of a name and reports whether it is one to report.
func chosen(counters *[callCounters]atomic.Uint32, name string, id trace.TraceID) bool {
	n := counters[maphash.String(callNameSeed, name)%callCounters].Add(1)
	return bits.TrailingZeros64(mix(binary.BigEndian.Uint64(id[8:]))) >= max(0, bits.Len32(n/callsInFull)-1)
}

// again lets the next calls of each name be reported, for collectors that have
// restarted.
func (c *callOrders) again() {
	for i := range c.made {
		c.made[i].Store(0)
		c.answered[i].Store(0)
	}
}

// callName is what stands for a call in the held table and in orders.
func callName(id trace.TraceID, span trace.SpanID, called string) *lockName {
	if called == "" {
		called = "a call"
	}
	return &lockName{
		id: lastLockName.Add(1), name: taskspan.ResourceSpan + id.String() + "/" + span.String(), declared: true, call: called,
	}
}

// noteCalling is called before a goroutine waits for the answer of another process.
func noteCalling(ctx context.Context, client trace.SpanContext, called string) {
	t := holding.Load()
	if t == nil {
		return
	}
	g := goid.Get()
	if g == 0 {
		g = TaskFromContext(ctx).goroutineID()
	}
	var held [heldSlots]heldView
	k := 0
	if g != 0 {
		k = t.heldBy(g, &held)
	}
	if k == 0 || !chosen(&lockOrders.calls.made, called, client.TraceID()) {
		return
	}
	taken := heldView{lock: callName(client.TraceID(), client.SpanID(), called)}
	for i := range held[:k] {
		lockOrders.calls.add(newLockOrder(g, taken, held[:k], i))
	}
}

// noteAnswering notes that a task answers a call, and returns what ends that; nil if it
// is not one to report. The task runs on the goroutine that answers.
func noteAnswering(goroutine uint64, remote *remoteParent, task string) *lockName {
	t := holding.Load()
	if t == nil || !remote.valid() || remote.goroutine != goroutine || !chosen(&lockOrders.calls.answered, task, remote.trace) {
		return nil
	}
	r := callName(remote.trace, remote.span, task)
	t.hold(goroutine, r, false, 0)
	return r
}

func noteAnswered(goroutine uint64, r *lockName) {
	if t := holding.Load(); t != nil {
		t.release(goroutine, r)
	}
}

// taken notes a lock that is taken while a call, the i-th of what is held, is answered.
// Each lock is told once for a request, and at most 32 are: of two that come to one
// bit the second is left out, and another request has other bits.
func (c *callOrders) taken(goroutine uint64, taken heldView, held []heldView, i int) {
	call, spot := held[i].lock, taken.spot()
	bit := uint32(1) << (mix(spot^mix(call.id)) % 32)
	if spot == 0 || call.number.Or(bit)&bit != 0 {
		return
	}
	c.add(newLockOrder(goroutine, taken, held, i))
}

// add keeps an order for the reporter.
func (c *callOrders) add(order *lockOrder) {
	if order.handedOver() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) >= maxCallOrders {
		countLockOrder()
		return
	}
	c.list = append(c.list, order)
	c.waiting.Store(int32(len(c.list)))
}

// take returns at most n of the orders that are somebody's to report, and forgets them.
func (c *callOrders) take(his func(*lockOrder) bool, n int) (taken []*lockOrder) {
	if c.waiting.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, func(o *lockOrder) bool {
		if o.task != nil && !o.task.running() {
			return true // nobody will ask for it any more
		}
		if len(taken) == n || !his(o) {
			return false
		}
		taken = append(taken, o)
		return true
	})
	c.waiting.Store(int32(len(c.list)))
	return taken
}
