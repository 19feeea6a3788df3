package inspect

import (
	"context"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Sleep waits for d, or until ctx is done and then returns its error. It shows as
// a wait that will end by itself, at a time that is known.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	w := beginWait(ctx, taskspan.WaitSleep, sleeping)
	w.willEndBy(now() + nanos(d))
	defer endWait(w)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleeping is what everybody waits for who sleeps.
var sleeping = &thing{id: "sleep", called: "sleep"}

// thing is a resource of which nothing is known but its name.
type thing struct{ id, called string }

func (t *thing) identify(taskspan.Kind, uintptr)   {}
func (t *thing) name() resourceName                { return t }
func (t *thing) identity() (id, name string)       { return t.id, t.called }
func (t *thing) holders(_ *waitView, _ *holderSet) {}
