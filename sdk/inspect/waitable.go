package inspect

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// waitable is a thing that can be waited for. The reporter asks it who could
// end a wait. Its methods are called concurrently with everything else and with
// no lock of the SDK held; they return what stands at the moment of the call.
type waitable interface {
	identified
	heldBy
}

// identified is the type under which a waitable is kept. It is not the whole of it for
// the build tag noinspect: the linker keeps what the methods of an interface name, and
// from a holder there is a way to everything.
type identified interface {
	// identify gives the resource a name, if it has none, from the kind and the
	// place of its first wait.
	identify(kind taskspan.Kind, place uintptr)
	// name returns what the resource is called, without a way to the resource itself.
	// It is not nil once identify has been called.
	name() resourceName
}

type heldBy interface {
	// holders adds to s who must let go before w can end.
	holders(w *waitView, s *holderSet)
}

// resourceName is what a resource is called. It outlives the resource, in the table and
// on tasks, and must not refer to it.
type resourceName interface {
	// identity returns the id and name of the resource, as they travel.
	identity() (id, name string)
}

// holderSet collects the holders of one wait.
type holderSet struct {
	list []holder
	// need is the weight of holders that must let go; 0 means all of them.
	need int64
	// complete says that nobody else can end the wait. Left false, the wait is
	// never proof of a deadlock.
	complete bool
	// inferred says that something of it is a guess: that the goroutine waits at all
	// (an open client span), or that a holder is who will release (see holdKind).
	inferred bool
}

func (s *holderSet) add(h holder) { s.list = append(s.list, h) }

func (s *holderSet) reset() { *s = holderSet{list: s.list[:0]} }

// holder is who must let go: a task, or the goroutine that acquired (resolved
// to a task only now, when somebody looks).
type holder struct {
	goroutine  uint64 // the goroutine, or 0 if task is set
	task       *Task
	generation uint64
	since      int64   // unix nanoseconds, 0 if not known
	weight     int64   // 0 means 1
	place      uintptr // where it was taken, 0 if not known
	opened     uintptr // where the end was opened, or the task of a group was started
	ends       nanos   // when the hold ends by itself, 0 if it does not or that is not known
}

// holdIdentity is what makes a holder the same one in two readings.
type holdIdentity struct {
	goroutine  uint64
	task       *Task
	generation uint64
	weight     int64
}

// running is the goroutine of the holder, 0 if it is a task that has not begun to run.
func (h *holder) running() uint64 {
	if h.task != nil {
		return h.task.goroutine.Load()
	}
	return h.goroutine
}

func (h *holder) identity() holdIdentity {
	return holdIdentity{h.goroutine, h.task, h.generation, h.weight}
}

// notAmong returns a function that reports whether a holder is not in a list. A lock
// can have a hundred thousand readers.
func notAmong(list []holder) func(holder) bool {
	if len(list) <= 16 {
		return func(h holder) bool {
			return !slices.ContainsFunc(list, func(o holder) bool { return o.identity() == h.identity() })
		}
	}
	known := make(map[holdIdentity]struct{}, len(list))
	for i := range list {
		known[list[i].identity()] = struct{}{}
	}
	return func(h holder) bool {
		_, is := known[h.identity()]
		return !is
	}
}

// lockName is the name under which a lock appears. Locks get one when they are
// named or first waited for; an uncontended lock without a name costs nothing.
type lockName struct {
	id       uint64
	name     string
	declared bool          // it was given and not made up
	first    uintptr       // of a lock that has no name yet: where it was taken first
	call     string        // of a call between processes, which is no lock: what is called
	number   atomic.Uint32 // of its class, see class; of a call, see callOrders.taken
	own      atomic.Uint32 // sides of which own releases need no second look; see isOwn
	handed   atomic.Bool   // this very lock was released by another goroutine than took it
}

var lastLockName atomic.Uint64

// named is the part of a primitive that holds its resource.
type named struct{ res atomic.Pointer[lockName] }

// setName gives the primitive a name. The first name stays.
func (n *named) setName(name string) { n.rename(name, true) }

// rename gives a name to a primitive that has none. One that only the orders of locks
// know keeps its id.
func (n *named) rename(name string, declared bool) {
	for {
		old := n.res.Load()
		r := &lockName{name: name, declared: declared}
		switch {
		case old == nil:
			r.id = lastLockName.Add(1)
		case old.first != 0:
			r.id = old.id
		default:
			return
		}
		if n.res.CompareAndSwap(old, r) {
			if old != nil && old.handed.Load() {
				r.handed.Store(true) // see handOver, which looks again
			}
			return
		}
	}
}

// identify names the resource after the kind and the function of its first
// wait: functions are few and mean something to a reader, addresses are neither.
func (n *named) identify(kind taskspan.Kind, place uintptr) {
	if r := n.res.Load(); r == nil || r.first != 0 {
		n.rename(inFunction(string(kind), place), false)
	}
}

// inFunction adds the function of a place to a name.
func inFunction(name string, place uintptr) string {
	if p := placeOf(place); p.function != "" {
		return name + " in " + shortFunction(p.function)
	}
	return name
}

// name is nil inside if the primitive has no name yet.
func (n *named) name() resourceName { return n.res.Load() }

func (r *lockName) identity() (id, name string) {
	if r == nil {
		return "", ""
	}
	if r.first != 0 {
		return fmt.Sprintf("r%d", r.id), inFunction("lock", r.first)
	}
	return fmt.Sprintf("r%d", r.id), r.name
}

// waitView is a copy of an open wait for those who look at it from outside.
type waitView struct {
	id        uint64
	goroutine uint64
	task      *Task // nil: a goroutine without a task
	kind      taskspan.Kind
	on        identified // a waitable
	start     nanos
	ctx       context.Context
	endsBy    nanos
	site      *site
	call      *remoteCall // that the wait is for, if it is for one
	lost      bool        // on is out of reach, and who holds it is not known
	// callerCancels says that a context which the wait has given up can be cancelled.
	callerCancels bool
}

// holders adds to s who must let go before the wait can end.
func (v *waitView) holders(s *holderSet) { v.on.(heldBy).holders(v, s) }

// deadline is when the wait ends by itself, 0 if it does not. Contexts are asked only
// here, when somebody looks at a wait: to ask costs a walk through all that they are made of.
func (v *waitView) deadline() nanos {
	if d, ok := v.ctx.Deadline(); ok {
		if at := nanosOf(d); v.endsBy == 0 || at < v.endsBy {
			return at
		}
	}
	return v.endsBy
}

// cancellable reports whether whoever made the wait's context can end the wait, which
// does not end by itself.
func (v *waitView) cancellable() bool {
	return (v.callerCancels || v.ctx.Done() != nil) && v.deadline() == 0
}
