package inspecttest_test

import (
	"context"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/inspect/inspecttest"
)

func checkout(ctx context.Context) error {
	_, task := inspect.Begin(ctx, "checkout")
	defer task.End(nil)
	return nil
}

// At the top of a test, or in its setup.
func Example() {
	testCheckout := func(t *testing.T) {
		inspecttest.AssertNoLeakedTasks(t)
		inspecttest.AssertNoDeadlock(t)

		if err := checkout(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	_ = testCheckout // go test calls it
	// Output:
}
