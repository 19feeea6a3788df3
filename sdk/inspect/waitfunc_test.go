//go:build !noinspect

package inspect

import (
	"context"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A wait of a kind that no collector knows would be refused, and be shown nowhere.
func TestWaitOfAnUnknownKindIsIO(t *testing.T) {
	ins, err := Start(t.Context(), WithoutExport(), WithReports(false))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(context.Background())
	for _, c := range []struct{ given, want taskspan.Kind }{
		{"redis", taskspan.WaitIO},
		{"", taskspan.WaitIO},
		{"k\xff", taskspan.WaitIO},
		{taskspan.WaitSleep, taskspan.WaitSleep},
		{taskspan.WaitSemaphore, taskspan.WaitSemaphore},
	} {
		ctx, task := Begin(t.Context(), "wait of a kind")
		var got taskspan.Kind
		Wait(ctx, c.given, "thing", func(context.Context) error {
			for _, i := range Tasks() {
				if i.Name == "wait of a kind" && i.Wait != nil {
					got = i.Wait.Kind
				}
			}
			return nil
		})
		task.End(nil)
		if got != c.want {
			t.Errorf("a wait of kind %q is shown as %q, want %q", c.given, got, c.want)
		}
	}
}
