package deadlock

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// leftBy makes the holder one that has ended.
func leftBy(task string) func(*report.Report) {
	return func(r *report.Report) {
		r.Wait.Holders[0].Ended, r.Wait.Holders[0].TaskName = true, task
		r.Wait.Holders[0].Place = report.Place{Function: "shop.(*Stock).take", File: "/src/shop/stock.go", Line: 41}
	}
}

// Who waits for what an ended holder has taken is stuck, once for the resource: the one
// that came first stands for it, the others are behind.
func TestAbandoned(t *testing.T) {
	d := New(roomy, skew)
	shop := newSpeaker("shop")
	d.Apply(shop.stuck(2, 0, 1, taskspan.WaitMutex, "stock", leftBy("restock"), 90), at(1))
	d.Apply(shop.stuck(3, 0.5, 1, taskspan.WaitMutex, "stock", leftBy("restock"), 90), at(1))
	d.Apply(shop.stuck(4, 0, 1, taskspan.WaitMutex, "till", nil, 3), at(1))   // behind one of them
	d.Apply(shop.stuck(5, 0, 1, taskspan.WaitMutex, "other", nil, 91), at(1)) // its holder works
	found, _ := d.Evaluate(at(2))
	require.Len(t, found, 1)
	dl := found[0]
	require.Equal(t, Abandoned, dl.Kind)
	require.Equal(t, Suspected, dl.Confidence)
	require.Len(t, dl.Core, 1)
	require.Equal(t, id(2), dl.Core[0].ID)
	require.Equal(t, 2, dl.Victims)
	for _, text := range []string{dl.Story(at(2)), dl.CycleText()} {
		require.Contains(t, text, `never unlocked: taken at shop.(*Stock).take shop/stock.go:41 by task "restock", which has ended`)
	}
	require.Contains(t, dl.Headline(), "may be waiting forever")
	require.Contains(t, dl.Suggestion(), "deferred call")

	// The first gives up: the next one stands for the lock.
	d.Apply(shop.stuck(2, 0, 3, taskspan.WaitMutex, "stock", func(r *report.Report) { r.Wait.Open = false }, 90), at(3))
	found, ended := d.Evaluate(at(3))
	require.Empty(t, ended, "the lock is still not released")
	require.Len(t, found, 1)
	require.Equal(t, dl.ID, found[0].ID)
	require.Len(t, found[0].Added, 1)
	require.Equal(t, id(3), found[0].Core[0].ID)
	require.Equal(t, 1, found[0].Victims)

	// Somebody has released it after all.
	d.Apply(shop.stuck(3, 0.5, 4, taskspan.WaitMutex, "stock", func(r *report.Report) { r.Wait.Open = false }, 90), at(4))
	found, ended = d.Evaluate(at(4))
	require.Empty(t, found)
	require.Len(t, ended, 1)
	require.Equal(t, Released, ended[0].How)
	require.Empty(t, d.left)
}

// A holder that has ended is told later, by a new revision; and a lock that others may
// release, one of whose many holders will, or that is another process's, is not abandoned.
func TestWhatIsNotAbandoned(t *testing.T) {
	for name, change := range map[string]func(*report.Report){
		"not complete": func(r *report.Report) { leftBy("x")(r); r.Wait.Complete = false },
		"one permit of another is enough": func(r *report.Report) {
			leftBy("x")(r)
			r.Wait.Holders = append(r.Wait.Holders, held(92))
			r.Wait.Need = 1
		},
		"a remote call": func(r *report.Report) { leftBy("x")(r); r.Wait.ResourceID = "span:x" },
	} {
		t.Run(name, func(t *testing.T) {
			d := New(roomy, skew)
			shop := newSpeaker("shop")
			d.Apply(shop.stuck(2, 0, 1, taskspan.WaitSemaphore, "stock", change, 90), at(1))
			found, _ := d.Evaluate(at(2))
			require.Empty(t, found)
		})
	}
	d := New(roomy, skew)
	shop := newSpeaker("shop")
	d.Apply(shop.stuck(2, 0, 1, taskspan.WaitMutex, "stock", nil, 90), at(1))
	found, _ := d.Evaluate(at(2))
	require.Empty(t, found)
	d.Apply(shop.stuck(2, 0, 12, taskspan.WaitMutex, "stock", func(r *report.Report) { leftBy("")(r); r.Wait.Revision = 2 }, 90), at(12))
	found, _ = d.Evaluate(at(12))
	require.Len(t, found, 1)
	require.Contains(t, found[0].CycleText(), "by a goroutine that has ended")
}
