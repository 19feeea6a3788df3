package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func ExampleGo() {
	ctx := context.Background()
	job := inspect.Go(ctx, "count", func(context.Context) error { return errors.New("lost count") })
	fmt.Println(job.Wait(ctx))
	// Output: lost count
}

func ExampleGroup() {
	group, _ := inspect.NewGroup(context.Background(), "pages")
	group.SetLimit(2)
	var mu sync.Mutex
	pages := 0
	for range 5 {
		group.Go("fetch page", func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			pages++
			return nil
		})
	}
	fmt.Println(group.Wait(), pages)
	// Output: <nil> 5
}

func ExamplePoint() {
	ctx, task := inspect.Begin(context.Background(), "import")
	defer task.End(nil)
	for range 3 {
		inspect.Point(ctx, "page imported")
	}
	// Output:
}

// A Mutex takes the place of a sync.Mutex; LockContext is for code that has a context.
func ExampleMutex() {
	var stock struct {
		inspect.Mutex
		boxes int
	}
	stock.SetName("stock")
	stock.Lock()
	stock.boxes++
	stock.Unlock()

	if err := stock.LockContext(context.Background()); err == nil {
		fmt.Println(stock.boxes)
		stock.Unlock()
	}
	// Output: 1
}

func ExampleRWMutex() {
	prices := map[string]int{"tea": 3}
	lock := inspect.NewRWMutex("prices")

	lock.RLock()
	fmt.Println(prices["tea"])
	lock.RUnlock()

	lock.Lock()
	prices["tea"]++
	lock.Unlock()
	fmt.Println(prices["tea"])
	// Output:
	// 3
	// 4
}

func ExampleSemaphore() {
	ctx := context.Background()
	calls := inspect.NewSemaphore("calls to the bank", 4)
	if err := calls.Acquire(ctx, 1); err != nil {
		return
	}
	defer calls.Release(1)
	fmt.Println(calls.TryAcquire(4))
	// Output: false
}

func ExampleWaitGroup() {
	ctx := context.Background()
	var workers inspect.WaitGroup
	for range 3 {
		workers.Go(ctx, "worker", func(context.Context) error { return nil })
	}
	workers.Wait()
	fmt.Println("done")
	// Output: done
}

func ExampleCond() {
	var mu inspect.Mutex
	full := inspect.NewCond("shelf", &mu)
	shelf := 0
	go func() {
		mu.Lock()
		shelf++
		mu.Unlock()
		full.Signal()
	}()
	mu.Lock()
	for shelf == 0 {
		full.Wait()
	}
	fmt.Println(shelf)
	mu.Unlock()
	// Output: 1
}

func ExampleChan() {
	ctx := context.Background()
	parcels := inspect.NewChan[string]("parcels", 8)
	inspect.Go(ctx, "packer", func(ctx context.Context) error {
		// With a Sender it is known who sends: who waits for a parcel waits for this task.
		out := parcels.Sender(ctx)
		defer parcels.Close()
		defer out.Close()
		for _, item := range []string{"tea", "cake"} {
			if err := out.Send(ctx, item); err != nil {
				return err
			}
		}
		return nil
	})
	for parcel := range parcels.All(ctx) {
		fmt.Println(parcel)
	}
	// Output:
	// tea
	// cake
}

func ExampleSelect() {
	ctx := context.Background()
	orders, returns := inspect.NewChan[int]("orders", 1), inspect.NewChan[int]("returns", 1)
	_ = returns.Send(ctx, 7)
	var order, back int
	chosen, err := inspect.Select(ctx, inspect.ReceiveCase(orders, &order), inspect.ReceiveCase(returns, &back))
	fmt.Println(chosen, back, err)
	// Output: 1 7 <nil>
}

// A plain channel needs no other type: RawCase waits on it beside other cases.
func ExampleRawCase() {
	ctx := context.Background()
	orders, stop := inspect.NewChan[int]("orders", 1), make(chan struct{})
	close(stop)
	chosen, err := inspect.Select(ctx, inspect.ReceiveCase(orders, nil), inspect.RawCase(stop, nil))
	fmt.Println(chosen, err)
	// Output: 1 inspect: channel closed
}

func ExampleSleep() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println(inspect.Sleep(ctx, time.Hour))
	// Output: context canceled
}

// Wait shows whatever blocks and has no primitive here.
func ExampleWait() {
	err := inspect.Wait(context.Background(), taskspan.WaitIO, "price list", func(context.Context) error {
		return errors.New("the printer is out of paper")
	})
	fmt.Println(err)
	// Output: the printer is out of paper
}

// An External makes a lock outside of the process known under its name in all of them.
func ExampleExternal() {
	ctx := context.Background()
	lockInRedis := func(context.Context) error { return nil } // with a key that expires after 10 s
	unlockInRedis := func(context.Context) error { return nil }
	extendInRedis := func() error { return nil }

	const ttl = 10 * time.Second
	report := inspect.NewExternal("nightly report", inspect.WithTTL(ttl))
	if err := report.Acquire(ctx, lockInRedis); err != nil {
		return
	}
	fmt.Println("reporting")
	if err := extendInRedis(); err != nil {
		report.Lost() // somebody else may have it by now
	} else {
		report.Extend(ttl)
	}
	fmt.Println("reporting on")
	_ = report.Release(ctx, unlockInRedis)
	// Output:
	// reporting
	// reporting on
}

func ExampleFlight() {
	var prices inspect.Flight[int]
	price, err, _ := prices.Do(context.Background(), "tea", func(context.Context) (int, error) { return 3, nil })
	fmt.Println(price, err)
	// Output: 3 <nil>
}
