package inspect

import (
	"context"
	"slices"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// An External is a lock outside of the process, such as one in Redis or etcd. Its
// name means the same in every process, so that waits on it and holds of it can be
// joined over a fleet.
//
//	lock := inspect.NewExternal("nightly report")
//	if err := lock.Acquire(ctx, redisLock.Lock); err != nil {
//		return err
//	}
//	defer lock.Release(ctx, redisLock.Unlock)
type External struct{ resource *externalLock }

// externalLock is held by whoever says so, in any process.
type externalLock struct{ thing }

func (*externalLock) holders(_ *waitView, s *holderSet) { s.complete = true }

// NewExternal returns a handle on the lock with that name. Several handles with
// one name are the same lock.
func NewExternal(name string) *External {
	return &External{resource: &externalLock{thing{id: taskspan.ResourceExternal + name, called: name}}}
}

// Acquire calls acquire, which takes the lock, and shows the running goroutine as
// waiting for it meanwhile. If acquire returns nil the goroutine holds the lock.
func (e *External) Acquire(ctx context.Context, acquire func(context.Context) error) error {
	w := beginWait(ctx, taskspan.WaitExternal, e.resource)
	err := acquire(ctx)
	if err == nil {
		held.add(holderOf(ctx), e.resource.id)
	}
	endWait(w)
	return err
}

// Release calls release, which lets the lock go. The goroutine is no longer known
// as the holder, whatever release returns: an error means that nobody knows.
func (e *External) Release(ctx context.Context, release func(context.Context) error) error {
	held.remove(holderOf(ctx), e.resource.id)
	return release(ctx)
}

// holderOf names the running goroutine, or the one of ctx's task where goroutines
// cannot be told apart.
func holderOf(ctx context.Context) uint64 {
	if g := goid.Get(); g != 0 {
		return g
	}
	return TaskFromContext(ctx).goroutineID()
}

// maxExternalHolds bounds the external locks of one process that are known as
// held; one more is not reported as held, which can hide a deadlock and no more.
const maxExternalHolds = 10_000

// held knows which external locks goroutines hold.
var held = externalHolds{of: make(map[uint64][]string)}

type externalHolds struct {
	mu    sync.Mutex
	of    map[uint64][]string
	total int
}

func (h *externalHolds) add(goroutine uint64, id string) {
	if handedOver.has(id) {
		return // who took it need not be who lets it go
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total < maxExternalHolds {
		h.of[goroutine] = append(h.of[goroutine], id)
		h.total++
	}
}

// remove forgets one hold: the goroutine's, or, if the lock is released by another
// goroutine than the one that acquired it, somebody's.
func (h *externalHolds) remove(goroutine uint64, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removeFrom(goroutine, id) {
		return
	}
	handedOver.add(id)
	for g := range h.of {
		if h.removeFrom(g, id) {
			return
		}
	}
}

func (h *externalHolds) removeFrom(goroutine uint64, id string) bool {
	ids := h.of[goroutine]
	i := slices.Index(ids, id)
	if i < 0 {
		return false
	}
	h.total--
	if len(ids) == 1 {
		delete(h.of, goroutine)
	} else {
		h.of[goroutine] = slices.Delete(slices.Clone(ids), i, i+1)
	}
	return true
}

// holdsOf returns the external locks that a goroutine holds.
func holdsOf(goroutine uint64) []string {
	held.mu.Lock()
	defer held.mu.Unlock()
	return slices.Clone(held.of[goroutine])
}
