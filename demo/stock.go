package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// errSoldOut is how an order fails now and then.
var errSoldOut = errors.New("sold out")

// stock is what the shop can sell, in two warehouses.
type stock struct {
	lock  inspect.Mutex // guards items
	items map[string]int

	catalog inspect.RWMutex // guards prices
	prices  map[string]int

	north, south warehouse
	careless     atomic.Bool // clerks lock warehouses in the order they think of them
}

type warehouse struct {
	inspect.Mutex
	boxes int
}

func newStock() *stock {
	s := &stock{
		items:  map[string]int{"tea": 1 << 30, "coffee": 1 << 30, "cake": 1 << 30},
		prices: map[string]int{"tea": 3, "coffee": 4, "cake": 5},
	}
	s.lock.SetName("stock")
	s.catalog.SetName("catalog")
	s.north.SetName("warehouse north")
	s.south.SetName("warehouse south")
	// Each lock is released once by who took it before the first clerk comes: a deadlock
	// is certain from the first move on.
	for _, w := range []*warehouse{&s.north, &s.south} {
		w.Lock()
		w.boxes = 1000
		w.Unlock()
	}
	return s
}

// reserve takes one item off the shelf.
func (s *stock) reserve(ctx context.Context, item string) error {
	s.catalog.RLock()
	_, sold := s.prices[item]
	s.catalog.RUnlock()
	if !sold {
		return fmt.Errorf("no such item: %s", item)
	}
	if err := s.lock.LockContext(ctx); err != nil {
		return err
	}
	defer s.lock.Unlock()
	pause(200 * time.Microsecond)
	if rand.IntN(50) == 0 {
		return errSoldOut
	}
	s.items[item]--
	return nil
}

// sitOn holds the stock lock for a while, as a slow report or a forgotten
// debugger would.
func (s *stock) sitOn(ctx context.Context, d time.Duration) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	return inspect.Sleep(ctx, d)
}

// move carries a box from one warehouse to the other. Careful clerks always
// lock the north first. Careless ones lock where they are and walk over: two of
// them on opposite ways wait for each other for ever.
func (s *stock) move(_ context.Context, from, to *warehouse) error {
	first, second := from, to
	if !s.careless.Load() {
		first, second = &s.north, &s.south
	}
	first.Lock()
	defer first.Unlock()
	pause(time.Millisecond)
	second.Lock()
	defer second.Unlock()
	from.boxes--
	to.boxes++
	return nil
}

// reprice changes the catalog, with the write lock.
func (s *stock) reprice() {
	s.catalog.Lock()
	defer s.catalog.Unlock()
	for item := range s.prices {
		s.prices[item] += rand.IntN(3) - 1
	}
}

// pause stands for work that takes time.
func pause(d time.Duration) { time.Sleep(d/2 + rand.N(d)) }
