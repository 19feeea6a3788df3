package inspect

import (
	"context"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// inspectors counts the running Inspectors. At 0 nobody looks at waits, so none
// are entered into the table.
var inspectors atomic.Int32

// inspecting reports whether an Inspector runs.
func inspecting() bool { return compiledIn && inspectors.Load() > 0 }

// openWait is the entry of a blocked goroutine in the table. It is in its shard's list
// from just before the goroutine blocks until just after, and belongs to the shard in
// between.
//
// The table is a global, so an entry must not reach the lock, the channel or the context
// that the goroutine waits on: as long as they are reachable, the runtime's goroutine leak
// profile assumes that somebody can still wake the goroutine. They are in a wait, which
// only the frame that blocks keeps alive. For the same reason nobody may wake a goroutine
// through the weak pointer: the profile may have declared the goroutine leaked, and the
// runtime aborts the program when a leaked goroutine becomes ready.
type openWait struct {
	links[openWait]
	id        uint64
	goroutine uint64
	task      *Task // whom it blocks; nil: a goroutine without a task
	kind      taskspan.Kind
	name      resourceName
	start     nanos
	endsBy    nanos // 0, or when it ends without its context
	nested    bool  // began while the task waited already
	// cancellable is whether the context that the wait has given up can be cancelled.
	cancellable bool
	site        *site
	call        *remoteCall        // that the wait is for, if it is for one
	frame       weak.Pointer[wait] // made once for each wait, which is used again
}

func (o *openWait) at() *links[openWait] { return &o.links }

// wait is what the frame of a blocked goroutine has in its hands: its entry, and what
// only it may refer to.
type wait struct {
	*openWait
	on  identified      // a waitable
	ctx context.Context // whose deadline ends it
}

// glance copies an open wait without what only the frame may refer to.
func (o *openWait) glance() waitView {
	return waitView{
		id: o.id, goroutine: o.goroutine, task: o.task, kind: o.kind,
		start: o.start, endsBy: o.endsBy, site: o.site, call: o.call, callerCancels: o.cancellable,
	}
}

// view copies an open wait. What the frame refers to is reachable as long as the view is
// in use.
func (o *openWait) view() waitView {
	v := o.glance()
	if w := o.frame.Value(); w != nil {
		v.on, v.ctx = w.on, w.ctx
	} else {
		v.on, v.ctx, v.lost = unreachable{o.name}, context.Background(), true
	}
	return v
}

// unreachable is a resource that the runtime has found out of everybody's reach, the
// blocked goroutine's included. Its name is left. Nobody can release it, but who holds it
// cannot be read any more, so it proves nothing.
type unreachable struct{ resourceName }

func (unreachable) identify(taskspan.Kind, uintptr)   {}
func (u unreachable) name() resourceName              { return u.resourceName }
func (unreachable) holders(_ *waitView, _ *holderSet) {}

// beginWait enters the running goroutine into the table as blocked on a
// resource. The task is the one of ctx, or else the innermost one of the
// goroutine. The deadline of ctx is one of the wait; a wait that cannot be given
// up has the background as its ctx.
//
// The caller keeps the wait until it calls endWait; nobody else does.
//
// It returns nil, which endWait takes, if nobody looks.
//
// The type parameter is for the build tag noinspect: a resource that became an interface
// at each call would keep its type, and all that can be reached from there, in the
// program.
func beginWait[W waitable](ctx context.Context, kind taskspan.Kind, on W) *wait {
	if !compiledIn {
		return nil
	}
	return enterWait(ctx, kind, on)
}

func enterWait(ctx context.Context, kind taskspan.Kind, on waitable) *wait {
	if !inspecting() {
		return nil
	}
	t := TaskFromContext(ctx)
	g := goid.Get()
	if g == 0 {
		g = t.pseudo()
	}
	w := waitPool.Get().(*wait)
	w.on, w.ctx = on, ctx
	site := siteHere()
	on.identify(kind, site.place)
	o := w.openWait
	o.goroutine, o.task, o.kind, o.name, o.site = g, t, kind, on.name(), site
	o.start, o.endsBy, o.nested, o.cancellable = now(), 0, false, false
	o.call, _ = on.(*remoteCall)

	s := shardOf(g)
	s.mu.Lock()
	if t == nil {
		o.task = s.current.of(g)
	}
	s.waitSeq++
	o.id = s.waitSeq*shards + g%shards
	pushBack(&s.waits, o)
	s.mu.Unlock()
	if o.task != nil && o.task.sampled {
		o.nested = o.task.openWaits.Add(1) > 1
	}
	return w
}

// willEndBy notes that an open wait will end by itself.
func (w *wait) willEndBy(deadline nanos) {
	if !compiledIn || w == nil {
		return
	}
	s := shardOf(w.goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.endsBy == 0 || deadline < w.endsBy {
		w.endsBy = deadline
	}
}

// detach makes an open wait one that no frame keeps: whoever keeps it instead is a global,
// so the wait gives up the context and keeps the context's deadline. What it is for must
// not reach the application either.
func (w *wait) detach() {
	if w == nil {
		return
	}
	deadline, limited := w.ctx.Deadline()
	if limited {
		w.willEndBy(nanosOf(deadline))
	}
	s := shardOf(w.goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	w.cancellable = !limited && w.ctx.Done() != nil
	w.ctx = context.Background()
}

// endWait removes the wait from the table and books it on its task, if that has a span
// to show it on.
func endWait(w *wait) {
	if !compiledIn || w == nil {
		return
	}
	s := shardOf(w.goroutine)
	s.mu.Lock()
	remove(&s.waits, w.openWait)
	s.mu.Unlock()

	if t := w.task; t != nil && t.sampled {
		blocked := now().sub(w.start)
		t.openWaits.Add(-1)
		if g := guessOf(w.call); g == nil || blocked < lookedAtAfter || g.waiting() {
			if !w.nested {
				t.blocked(w.name, blocked)
			}
			if t.recording() && blocked >= t.ins.minWait {
				t.waitSpan(w, blocked)
			}
		}
	}
	w.on, w.ctx = nil, nil
	w.task, w.name, w.site, w.call = nil, nil, nil, nil
	waitPool.Put(w)
}

// waitPool has waits with their entries. The weak pointer of an entry is the costly part,
// and is the same for each use.
var waitPool = sync.Pool{New: func() any {
	w := &wait{openWait: new(openWait)}
	w.frame = weak.Make(w)
	return w
}}

// openWaits appends views of the waits that began at or before a time.
func openWaits(before nanos, into []waitView) []waitView {
	return openWaitsBut(before, into, func(*openWait) bool { return false })
}

// openWaitsBut is openWaits without those that rest. It calls rests with the shard locked.
func openWaitsBut(before nanos, into []waitView, rests func(*openWait) bool) []waitView {
	for i := range table {
		s := &table[i]
		s.mu.Lock()
		for w := s.waits.front; w != nil && w.start <= before; w = w.next {
			if !rests(w) {
				into = append(into, w.view())
			}
		}
		s.mu.Unlock()
	}
	return into
}

// waitOf returns the open wait of a goroutine. A goroutine waits for one thing
// at a time, except inside Wait, whose function may wait again: the innermost
// wait is the one that blocks.
func waitOf(goroutine uint64) (waitView, bool) { return readWaitOf(goroutine, (*openWait).view) }

// glanceAt is waitOf for who does not ask what the goroutine waits for.
func glanceAt(goroutine uint64) (waitView, bool) { return readWaitOf(goroutine, (*openWait).glance) }

func readWaitOf(goroutine uint64, read func(*openWait) waitView) (waitView, bool) {
	s := shardOf(goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := s.waits.back; w != nil; w = w.prev {
		if g := guessOf(w.call); w.goroutine == goroutine && (g == nil || g.waiting()) {
			return read(w), true
		}
	}
	return waitView{}, false
}

// stillOpen reports whether the wait has not ended.
func stillOpen(id, goroutine uint64) bool {
	s := shardOf(goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := s.waits.front; w != nil; w = w.next {
		if w.id == id {
			return true
		}
	}
	return false
}
