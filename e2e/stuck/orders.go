package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/inspecthttp"
)

// Locks are taken in orders that contradict each other, one after the other: nothing hangs.

func done(context.Context) error { return nil }

// orderUnnamed: two fields without names.
func orderUnnamed(ctx context.Context) {
	var shelf struct {
		goods  inspect.Mutex
		prices inspect.RWMutex
	}
	_ = inspect.Go(ctx, "sell", func(context.Context) error {
		shelf.goods.Lock()
		defer shelf.goods.Unlock()
		shelf.prices.RLock()
		defer shelf.prices.RUnlock()
		return nil
	}).Wait(ctx)
	_ = inspect.Go(ctx, "sale", func(context.Context) error {
		shelf.prices.Lock()
		defer shelf.prices.Unlock()
		shelf.goods.Lock()
		defer shelf.goods.Unlock()
		return nil
	}).Wait(ctx)
}

// readTwice: a read lock that a goroutine takes twice.
func readTwice(ctx context.Context) {
	var config inspect.RWMutex
	_ = inspect.Go(ctx, "reload", func(context.Context) error {
		config.RLock()
		defer config.RUnlock()
		config.RLock()
		defer config.RUnlock()
		return nil
	}).Wait(ctx)
}

// orderExternal: two services, and locks outside of both.
func orderExternal(ctx context.Context, role string) {
	first, second := inspect.NewExternal("orders of both"), inspect.NewExternal("payments of both")
	if role == "other" {
		first, second = second, first
	} else {
		child("order-external", "other")
	}
	_ = inspect.Go(ctx, "settle", func(ctx context.Context) error {
		_ = first.Acquire(ctx, done, inspect.WithTTL(1<<40))
		_ = second.Acquire(ctx, done, inspect.WithTTL(1<<40))
		_ = second.Release(ctx, done)
		return first.Release(ctx, done)
	}).Wait(ctx)
}

// orderCall: the front holds a lock while it calls the back, which takes another one;
// elsewhere the back takes them the other way round.
func orderCall(ctx context.Context, role string) {
	cart, ledger := inspect.NewExternal("cart of call"), inspect.NewExternal("ledger of call")
	take := func(ctx context.Context, locks ...*inspect.External) {
		for _, l := range locks {
			_ = l.Acquire(ctx, done, inspect.UntilReleased())
			defer func() { _ = l.Release(ctx, done) }()
		}
	}
	if role == "back" {
		l := listen()
		book := inspecthttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { take(r.Context(), ledger) }))
		go func() { log.Fatal(http.Serve(l, book)) }()
		_ = inspect.Go(ctx, "close the books", func(ctx context.Context) error { take(ctx, ledger, cart); return nil }).Wait(ctx)
		fmt.Println("http://" + l.Addr().String())
		return
	}
	back := child("order-call", "back")
	client := &http.Client{Transport: inspecthttp.NewTransport(http.DefaultTransport)}
	_ = inspect.Go(ctx, "buy", func(ctx context.Context) error {
		_ = cart.Acquire(ctx, done, inspect.UntilReleased())
		defer func() { _ = cart.Release(ctx, done) }()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, back+"/book", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}).Wait(ctx)
}
