package inspect

import (
	"context"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// An External is a lock outside of the process, such as one in Redis or etcd. Its name
// means the same in every process, so waits for it and holds of it are joined across
// the fleet. Declare what ends the lock. It determines how certain a deadlock through
// it is:
//
//   - With [WithTTL] the hold ends by itself. A deadlock through it is transient
//     and ends when the lock expires.
//   - With [UntilReleased] only its holder ends it, and waiters wait for the release.
//     Only such locks make a deadlock certain.
//   - Without either, the end is unknown, and a deadlock through it is at most suspected.
//
// A lock in Redis, whose key expires:
//
//	const ttl = 10 * time.Second
//	lock := inspect.NewExternal("nightly report")
//	if err := lock.Acquire(ctx, mutex.LockContext, inspect.WithTTL(ttl)); err != nil {
//		return err
//	}
//	defer lock.Release(ctx, unlock)
//
// Call Extend whenever the key's expiry is extended, and Lost when the lock turns
// out to be gone.
type External struct {
	*thing
	use externalUse // the default of each Acquire
}

// AcquireOption declares what ends an external lock, or a wait for it.
type AcquireOption interface{ applyAcquire(*externalUse) }

// WaitOption declares what ends a wait. Each is also an AcquireOption.
type WaitOption interface {
	AcquireOption
	applyWait(*externalUse)
}

// externalUse is what has been declared of one use of an external lock.
type externalUse struct {
	ttl           time.Duration // of the hold; 0: not declared
	timeout       time.Duration // of the wait; 0: not declared
	untilReleased bool
}

type withTTL time.Duration

func (o withTTL) applyAcquire(u *externalUse) { u.ttl, u.untilReleased = time.Duration(o), false }

// WithTTL declares that the lock expires after d, unless [External.Extend] moves its
// end. The time counts from the return of the function that takes the lock, so the
// declared end is never before the real one. If d is not positive, the option has no
// effect.
func WithTTL(d time.Duration) AcquireOption { return withTTL(max(d, 0)) }

type withTimeout time.Duration

func (o withTimeout) applyAcquire(u *externalUse) { u.timeout = time.Duration(o) }
func (o withTimeout) applyWait(u *externalUse)    { u.timeout = time.Duration(o) }

// WithTimeout declares that the wait ends within d, with or without the lock, for
// example because retries are limited or because of a server setting such as
// lock_timeout of PostgreSQL. A deadline of the context need not be declared.
// WithTimeout itself does not end the wait. If d is not positive, the option has no
// effect.
func WithTimeout(d time.Duration) WaitOption { return withTimeout(max(d, 0)) }

type untilReleased struct{}

func (untilReleased) applyAcquire(u *externalUse) { u.untilReleased, u.ttl = true, 0 }
func (untilReleased) applyWait(u *externalUse)    { u.untilReleased = true }

// UntilReleased declares that no TTL, lease or session can end the lock before its
// holder releases it, and that a waiter waits for the release unless its context is
// done. It also declares that the goroutine that acquires the lock calls Release: do not
// use it for a lock that is handed over to another goroutine.
func UntilReleased() WaitOption { return untilReleased{} }

// NewExternal returns a handle on the lock with that name. Several handles with
// one name are the same lock. The options are the defaults of every Acquire.
func NewExternal(name string, opts ...AcquireOption) *External {
	e := &External{thing: externalThing(name)}
	for _, o := range opts {
		o.applyAcquire(&e.use)
	}
	return e
}

// externalThing is what has that name outside, with or without the prefix.
func externalThing(name string) *thing {
	name = strings.TrimPrefix(name, taskspan.ResourceExternal)
	return &thing{id: taskspan.ResourceExternal + name, called: name}
}

// externalLock is an external lock as one wait sees it.
type externalLock struct {
	*thing
	declared bool // only a release, or what else ends the wait by a known time, ends it
}

// holders are the goroutines of this process that hold the lock. What other
// processes hold they report themselves.
func (e *externalLock) holders(_ *waitView, s *holderSet) {
	s.complete = true // whoever holds it, and nobody else
	s.inferred = !e.declared
	externals.addHolders(e.id, s)
}

// externalWait enters the running goroutine as waiting for something outside.
func externalWait(ctx context.Context, kind taskspan.Kind, t *thing, u externalUse) *wait {
	w := beginWait(ctx, kind, &externalLock{thing: t, declared: u.untilReleased || u.timeout > 0})
	if u.timeout > 0 {
		w.willEndBy(now() + nanos(u.timeout))
	}
	return w
}

// Acquire calls acquire, which takes the lock, and shows the running goroutine as
// waiting for it meanwhile. If acquire returns nil the goroutine holds the lock.
//
//go:noinline
func (e *External) Acquire(ctx context.Context, acquire func(context.Context) error, opts ...AcquireOption) error {
	if !compiledIn {
		return acquire(ctx)
	}
	_, place := goid.GetWithPC()
	use := e.use
	for _, o := range opts {
		o.applyAcquire(&use)
	}
	g := holderOf(ctx)
	noteTakingExternal(g, e.id, place)
	if err := e.wait(ctx, use, acquire); err != nil {
		return err
	}
	externals.add(&externalHold{
		goroutine: g, id: e.id, name: e.called, ends: use.ends(), ttl: use.ttl, task: taskOf(ctx), place: place,
	})
	return nil
}

// wait calls acquire as a wait for the lock. The wait ends before the lock counts as
// held: a goroutine that did both at a time would wait for itself.
func (e *External) wait(ctx context.Context, use externalUse, acquire func(context.Context) error) error {
	defer endWait(externalWait(ctx, taskspan.WaitExternal, e.thing, use))
	return acquire(ctx)
}

// Release calls release, which releases the lock, and returns its error. The goroutine
// no longer counts as the holder, even after an error: then nothing is known about the
// lock.
func (e *External) Release(ctx context.Context, release func(context.Context) error) error {
	if compiledIn {
		externals.release(holderOf(ctx), e.id)
	}
	return release(ctx)
}

// Extend declares that the lock now expires after d, counted from this call, as after
// an extension of its TTL. It applies to the hold of the running goroutine or, if that
// goroutine holds no lock of the name, to the newest hold in the process: a separate
// goroutine often renews a lease. Without a hold, or if d is not positive, it does
// nothing.
func (e *External) Extend(d time.Duration) {
	if compiledIn && d > 0 {
		externals.extend(goid.Get(), e.id, d)
	}
}

// Lost declares that the lock is gone without a release, for example because its
// extension failed. It removes the hold that Extend would apply to, and adds an event
// to the holder's task. Release may still be called.
func (e *External) Lost() {
	if compiledIn {
		externals.lost(goid.Get(), e.id)
	}
}

// ends is when a hold that begins now ends.
func (u *externalUse) ends() nanos {
	switch {
	case u.ttl > 0:
		return now() + nanos(u.ttl)
	case u.untilReleased:
		return endsByRelease
	}
	return endsUnknown
}

// taskOf returns the task of ctx, or else the innermost one of the goroutine.
func taskOf(ctx context.Context) *Task {
	if t := TaskFromContext(ctx); t != nil {
		return t
	}
	return currentTask()
}

// holderOf names the running goroutine, or the one of ctx's task where goroutines
// cannot be told apart.
func holderOf(ctx context.Context) uint64 {
	if g := goid.Get(); g != 0 {
		return g
	}
	return TaskFromContext(ctx).goroutineID()
}
