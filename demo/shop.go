package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/inspecthttp"
)

const (
	packers        = 3
	clerks         = 4
	callsToBank    = 4 // at once
	sittingOnStock = 15 * time.Second
	slowBank       = 15 * time.Second
)

// shop is the service that takes orders.
type shop struct {
	counts  *counts
	stock   *stock
	bank    string // its address
	client  *http.Client
	calls   *inspect.Semaphore    // to the bank
	parcels *inspect.Chan[parcel] // from orders to packers
	workers sync.WaitGroup        // who is not an order
}

type parcel struct{ item string }

func newShop(c *counts, bank string) *shop {
	return &shop{
		counts: c,
		stock:  newStock(),
		bank:   bank,
		client: &http.Client{
			Transport: inspecthttp.NewTransport(http.DefaultTransport),
			Timeout:   slowBank + 5*time.Second,
		},
		calls:   inspect.NewSemaphore("calls to the bank", callsToBank),
		parcels: inspect.NewChan[parcel]("parcels", 64),
	}
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /orders/{item}", counted(s.counts, s.order))
	mux.HandleFunc("POST /chaos/{what}", s.chaos)
	return mux
}

// order is one customer's order.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	item := r.PathValue("item")
	err := s.buy(r.Context(), item)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusCreated)
	case r.Context().Err() != nil:
		// The customer has left; nobody reads the answer.
	case err == errSoldOut:
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *shop) buy(ctx context.Context, item string) error {
	err := s.counts.task(ctx, "reserve", func(ctx context.Context) error {
		return s.stock.reserve(ctx, item)
	})
	if err != nil {
		return err
	}
	if err := s.counts.task(ctx, "pay", s.pay); err != nil {
		return err
	}
	inspect.Point(ctx, "paid")
	return s.parcels.Send(ctx, parcel{item: item})
}

func (s *shop) pay(ctx context.Context) error {
	if err := s.calls.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.calls.Release(1)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.bank+"/payments", nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("bank: %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// work starts the packers and clerks, who work until ctx is done.
func (s *shop) work(ctx context.Context) {
	for range packers {
		s.workers.Go(func() { s.pack(ctx) })
	}
	for i := range clerks {
		s.workers.Go(func() { s.carry(ctx, i%2 == 0) })
	}
	s.workers.Go(func() {
		for tick(ctx, time.Second) {
			s.stock.reprice()
		}
	})
}

// settle waits until all workers have gone home, but not for ever: some may be
// stuck.
func (s *shop) settle(atMost time.Duration) {
	gone := make(chan struct{})
	go func() { s.workers.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(atMost):
	}
}

func (s *shop) pack(ctx context.Context) {
	for {
		p, err := s.parcels.Receive(ctx)
		if err != nil {
			return
		}
		// The order is done; packing goes on without it.
		_ = s.counts.task(ctx, "pack", func(ctx context.Context) error {
			pause(2 * time.Millisecond)
			inspect.Point(ctx, "packed "+p.item)
			return nil
		})
	}
}

func (s *shop) carry(ctx context.Context, south bool) {
	from, to := &s.stock.south, &s.stock.north
	if south {
		from, to = to, from
	}
	for tick(ctx, 20*time.Millisecond) {
		_ = s.counts.task(ctx, "move box", func(ctx context.Context) error {
			return s.stock.move(ctx, from, to)
		})
	}
}

// chaos makes the shop misbehave on demand.
func (s *shop) chaos(w http.ResponseWriter, r *http.Request) {
	ctx := context.WithoutCancel(r.Context())
	switch what := r.PathValue("what"); what {
	case "block":
		s.workers.Go(func() {
			_ = s.counts.task(ctx, "stocktaking", func(ctx context.Context) error {
				return s.stock.sitOn(ctx, sittingOnStock)
			})
		})
	case "slow-bank":
		response, err := http.Post(s.bank+"/slow", "", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		response.Body.Close()
	case "deadlock":
		s.stock.careless.Store(true)
	case "counts":
		_ = json.NewEncoder(w).Encode(s.counts.snapshot())
		return
	default:
		http.Error(w, "no such chaos: "+what+"; there are block, slow-bank, deadlock and counts", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// counted counts requests as the SDK does: one task for each, named for its route.
func counted(c *counts, handle http.HandlerFunc) http.Handler {
	h := inspecthttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(w, r)
		r.Context().Value(settled{}).(func())()
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Pattern
		c.started(name)
		// A customer who leaves while the books are being closed must not be in one of
		// them only: once it is handled, a request is cancelled or it is not.
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		stop := context.AfterFunc(r.Context(), cancel)
		ctx = context.WithValue(ctx, settled{}, func() {
			if !stop() {
				cancel()
			}
		})
		status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(status, r.WithContext(ctx))
		var err error
		switch {
		case ctx.Err() != nil:
			err = context.Canceled
		case status.status >= http.StatusInternalServerError:
			err = fmt.Errorf("status %d", status.status)
		}
		c.ended(name, err)
	})
}

// settled is the key of a function in a context.
type settled struct{}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// tick waits about d and reports whether to go on.
func tick(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// customers order things, some of them impatient, until ctx is done. They are
// not tasks of the shop.
func customers(ctx context.Context, shop string, perSecond int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	items := []string{"tea", "coffee", "cake"}
	queue := make(chan struct{}, 32) // more customers than this go elsewhere
	for n := 0; tick(ctx, time.Second/time.Duration(perSecond)); n++ {
		select {
		case queue <- struct{}{}:
		default:
			continue
		}
		go func() {
			defer func() { <-queue }()
			patience := 20 * time.Second
			if n%20 == 0 {
				patience = 2 * time.Millisecond // gone before the bank has answered
			}
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			url := strings.Join([]string{shop, "orders", items[n%len(items)]}, "/")
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
			if err != nil {
				return
			}
			response, err := client.Do(request)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}()
	}
}
