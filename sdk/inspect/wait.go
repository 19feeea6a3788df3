//go:build !noinspect

package inspect

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// inspectors counts the running Inspectors. At 0 nobody looks at waits, so none
// are entered into the table.
var inspectors atomic.Int32

// wait is a goroutine that blocks now. It lives in the table from just before
// it blocks until just after, and belongs to its shard in between and after.
type wait struct {
	links[wait]
	id        uint64
	goroutine uint64
	task      *Task // whom it blocks; nil: a goroutine without a task
	kind      taskspan.Kind
	on        waitable
	start     nanos
	ctx       context.Context // whose deadline ends it
	endsBy    nanos           // 0, or when it ends without that
	nested    bool            // began while the task waited already
	site      *site
}

func (w *wait) at() *links[wait] { return &w.links }

func (w *wait) view() waitView {
	return waitView{
		id: w.id, goroutine: w.goroutine, task: w.task, kind: w.kind, on: w.on,
		start: w.start, ctx: w.ctx, endsBy: w.endsBy, site: w.site,
	}
}

// beginWait enters the running goroutine into the table as blocked on a
// resource. The task is the one of ctx, or else the innermost one of the
// goroutine. The deadline of ctx is one of the wait; a wait that cannot be given
// up has the background as its ctx.
//
// It returns nil, which endWait takes, if nobody looks.
func beginWait(ctx context.Context, kind taskspan.Kind, on waitable) *wait {
	if inspectors.Load() == 0 {
		return nil
	}
	t := TaskFromContext(ctx)
	g := goid.Get()
	if g == 0 {
		g = t.pseudo()
	}
	depth := shallowStack
	if t == nil || t.ins.backtraces || kind == taskspan.WaitRemote {
		depth = deepStack
	}
	w := waitPool.Get().(*wait)
	*w = wait{goroutine: g, task: t, kind: kind, on: on, ctx: ctx, site: siteOf(depth)}
	on.identify(kind, w.site.place)
	w.start = now()

	s := shardOf(g)
	s.mu.Lock()
	if t == nil {
		w.task = s.current[g]
	}
	s.waitSeq++
	w.id = s.waitSeq*shards + g%shards
	pushBack(&s.waits, w)
	s.mu.Unlock()
	if w.task != nil && w.task.sampled {
		w.nested = w.task.blockage.open.Add(1) > 1
	}
	return w
}

// willEndBy notes that an open wait will end by itself.
func (w *wait) willEndBy(deadline nanos) {
	if w == nil {
		return
	}
	s := shardOf(w.goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.endsBy == 0 || deadline < w.endsBy {
		w.endsBy = deadline
	}
}

// endWait removes the wait from the table and books it on its task, if that has a span
// to show it on.
func endWait(w *wait) {
	if w == nil {
		return
	}
	s := shardOf(w.goroutine)
	s.mu.Lock()
	remove(&s.waits, w)
	s.mu.Unlock()

	if t := w.task; t != nil && t.sampled {
		blocked := now().sub(w.start)
		t.blockage.open.Add(-1)
		if !w.nested {
			t.blocked(w.on, blocked)
		}
		if t.recording() && blocked >= t.ins.minWait {
			t.waitSpan(w, blocked)
		}
	}
	w.task, w.on, w.ctx, w.site = nil, nil, nil, nil
	waitPool.Put(w)
}

var waitPool = sync.Pool{New: func() any { return new(wait) }}

// openWaits appends views of the waits that began at or before a time.
func openWaits(before nanos, into []waitView) []waitView {
	for i := range table {
		s := &table[i]
		s.mu.Lock()
		for w := s.waits.front; w != nil && w.start <= before; w = w.next {
			into = append(into, w.view())
		}
		s.mu.Unlock()
	}
	return into
}

// waitOf returns the open wait of a goroutine. A goroutine waits for one thing
// at a time, except inside Wait, whose function may wait again: the innermost
// wait is the one that blocks.
func waitOf(goroutine uint64) (waitView, bool) {
	s := shardOf(goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := s.waits.back; w != nil; w = w.prev {
		if w.goroutine == goroutine {
			return w.view(), true
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
