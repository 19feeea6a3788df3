package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// bank is the service that the shop calls.
type bank struct {
	counts *counts
	ledger inspect.Mutex // guards balance
	total  int
	slow   atomic.Int64 // unix nanoseconds until which the bank is slow
}

func newBank(c *counts) *bank {
	b := &bank{counts: c}
	b.ledger.SetName("ledger")
	return b
}

func (b *bank) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /payments", counted(b.counts, b.pay))
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, _ *http.Request) {
		b.slow.Store(time.Now().Add(slowBank).UnixNano())
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

func (b *bank) pay(w http.ResponseWriter, r *http.Request) {
	err := b.counts.task(r.Context(), "book payment", func(ctx context.Context) error {
		if err := b.ledger.LockContext(ctx); err != nil {
			return err
		}
		defer b.ledger.Unlock()
		if late := time.Until(time.Unix(0, b.slow.Load())); late > 0 {
			return inspect.Sleep(ctx, late)
		}
		pause(time.Millisecond)
		b.total += 1 + rand.IntN(9)
		return nil
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
