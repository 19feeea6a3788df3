package turn

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryoneWhoAsksBeforeARunSharesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		b := NewBell(stopped)
		failed := errors.New("failed")
		answers := make(chan error, 3)
		ask := func() { answers <- b.Ask(t.Context()) }
		go ask()
		go ask()
		synctest.Wait()
		<-b.Rung()
		first := b.Take()
		go ask() // the run has begun: this one needs another
		synctest.Wait()
		first.End(failed)
		for range 2 {
			if err := <-answers; err != failed {
				t.Errorf("the answer is %v, want that of the run", err)
			}
		}
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatal("who asked after the run began was answered by it")
		}
		<-b.Rung()
		b.Take().End(nil)
		if err := <-answers; err != nil {
			t.Errorf("the second run's answer is %v", err)
		}
		b.Take().End(nil) // nobody has asked: no effect
	})
}

func TestAskEndsWithItsContextAndWithTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		b := NewBell(stopped)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends: %v", err)
		}
		close(stopped)
		if err := b.Ask(t.Context()); err != ErrStopped {
			t.Errorf("after the worker: %v", err)
		}
	})
}

// A run that was the last thing the worker did answers who has asked for it.
func TestTheLastRunOfAWorkerIsAnswered(t *testing.T) {
	failed := errors.New("failed")
	stopped := make(chan struct{})
	close(stopped)
	for range 100 { // both are ready, and select takes either
		b := NewBell(stopped)
		b.next = &Turn{done: make(chan struct{})}
		b.next.End(failed)
		if err := b.Ask(t.Context()); err != failed {
			t.Fatalf("the answer is %v, want that of the run", err)
		}
	}
}
