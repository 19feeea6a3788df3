package inspect

import (
	"context"
	"strings"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Wait runs fn and shows the running goroutine as waiting until fn returns: for
// everything that has no primitive here, such as a call to a library that blocks.
//
//	err := inspect.Wait(ctx, taskspan.WaitIO, "price list", func(ctx context.Context) error {
//		return download(ctx)
//	})
//
// A resource whose name begins with "ext:" is the same thing in every process: the
// [External] with the rest of that name. It is held by the tasks that have acquired
// it. Who holds any other resource is not known, so such a wait is never proof of a
// deadlock. The wait begins at once, so Wait costs about as much as a contended lock.
//
// A kind that package taskspan does not have counts as [taskspan.WaitIO]: a collector
// would refuse the report of such a wait, and show its task as running.
func Wait(ctx context.Context, kind taskspan.Kind, resource string, fn func(context.Context) error, opts ...WaitOption) error {
	if !kind.Known() {
		kind = taskspan.WaitIO
	}
	var use externalUse
	for _, o := range opts {
		o.applyWait(&use)
	}
	var w *wait
	if strings.HasPrefix(resource, taskspan.ResourceExternal) {
		w = externalWait(ctx, kind, externalThing(resource), use)
	} else if w = beginWait(ctx, kind, &thing{id: resource, called: resource}); use.timeout > 0 {
		w.willEndBy(now() + nanos(use.timeout))
	}
	defer endWait(w)
	return fn(ctx)
}
