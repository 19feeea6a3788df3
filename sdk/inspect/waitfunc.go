package inspect

import (
	"context"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Wait runs fn and shows the running goroutine as waiting until fn returns: for
// everything that has no primitive here, such as a call to a library that blocks.
//
//	err := inspect.Wait(ctx, taskspan.WaitIO, "price list", func(ctx context.Context) error {
//		return download(ctx)
//	})
//
// A resource whose name begins with "ext:" is the same thing in every process, and
// is held by the tasks that have acquired an [External] of that name. Who holds
// any other resource is not known, so such a wait is never proof of a deadlock.
// The wait begins at once, so Wait costs about as much as a contended lock.
func Wait(ctx context.Context, kind taskspan.Kind, resource string, fn func(context.Context) error) error {
	w := beginWait(ctx, kind, &thing{id: resource, called: resource})
	defer endWait(w)
	return fn(ctx)
}
