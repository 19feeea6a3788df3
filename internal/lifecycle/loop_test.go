package lifecycle_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"

	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/lifecycle"
)

func TestALoopTicksUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lifecycle.Loop
		require.False(t, l.Stop(), "it was not started")
		began := time.Now()
		var at []time.Duration
		var last context.Context
		l.Start(3*time.Second, func(ctx context.Context, now time.Time) {
			at = append(at, now.Sub(began))
			last = ctx
		})
		time.Sleep(7 * time.Second)
		require.True(t, l.Stop())
		require.Equal(t, []time.Duration{3 * time.Second, 6 * time.Second}, at)
		require.Error(t, last.Err())
		time.Sleep(time.Minute)
		require.Len(t, at, 2)
	})
}

// Stop ends a call that waits for its context, and waits until it has returned.
func TestStopWaitsForTheTickInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lifecycle.Loop
		returned := false
		l.Start(time.Second, func(ctx context.Context, _ time.Time) {
			<-ctx.Done()
			time.Sleep(5 * time.Second)
			returned = true
		})
		time.Sleep(2 * time.Second)
		require.True(t, l.Stop())
		require.True(t, returned)
	})
}

type shower struct {
	component.StartFunc
	component.ShutdownFunc
	shown int
}

func (s *shower) show() func() {
	s.shown++
	return func() { s.shown-- }
}

func TestShowFindsEveryExtensionOfAKind(t *testing.T) {
	a, b := new(shower), new(shower)
	host := &hosttest.Host{Extensions: map[component.ID]component.Component{
		component.MustNewID("a"): a, component.MustNewID("b"): b, component.MustNewID("other"): struct {
			component.StartFunc
			component.ShutdownFunc
		}{},
	}}
	remove := lifecycle.Show(host, func(s interface{ show() func() }) func() { return s.show() })
	require.Equal(t, []int{1, 1}, []int{a.shown, b.shown})
	remove()
	require.Equal(t, []int{0, 0}, []int{a.shown, b.shown})
}
