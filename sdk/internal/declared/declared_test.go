package declared

import (
	"context"
	"testing"
)

func TestOnlyAMarkedContextIsDeclared(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if In(ctx) {
		t.Error("declared without a mark")
	}
	if marked := Mark(ctx); !In(marked) || !In(context.WithoutCancel(marked)) || In(ctx) {
		t.Error("the mark is lost, or on the wrong context")
	}
}
