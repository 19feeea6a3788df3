// Command places waits in many ways and prints where, as the SDK sees it.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"example.com/driver"
	"example.com/local"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/inspecthttp"
)

type server struct {
	pool *pool
	jobs *inspect.Chan[int]
	mu   inspect.Mutex
}

func (s *server) handle(ctx context.Context) { s.nested(ctx) } // here: handle

func (s *server) nested(ctx context.Context) {
	_ = s.pool.conn(ctx) // here: nested
}

func (s *server) marked(ctx context.Context) {
	_ = s.pool.marked(ctx) // here: marked
}

func (s *server) consume(ctx context.Context) {
	for v := range s.jobs.All(ctx) { // here: consume
		_ = v
	}
}

func (s *server) consumeEnd(ctx context.Context) {
	end := s.jobs.Receiver(ctx)
	defer end.Close()
	for v := range end.All(ctx) { // here: consume end
		_ = v
	}
}

func (s *server) callback(context.Context) {
	driver.Each(func(int) { // here: each
		s.mu.Lock() // here: callback
	})
}

func (s *server) locked(context.Context) {
	s.mu.Lock() // here: locked
}

func (s *server) local(ctx context.Context) {
	local.Receive(ctx, s.jobs) // here: local
}

func (s *server) fetch(ctx context.Context, client *http.Client, url string) {
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		panic(err)
	}
	_, _ = client.Do(r) // here: fetch
}

func generic[T any](ctx context.Context, c *inspect.Chan[T]) {
	_, _ = c.Receive(ctx) // here: generic
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ins, err := inspect.Start(ctx, inspect.WithMode(inspect.Production), inspect.WithReports(false), inspect.WithoutExport())
	if err != nil {
		panic(err)
	}
	defer func() { _ = ins.Shutdown(context.Background()) }()

	s := &server{pool: &pool{inspect.NewSemaphore("places", 1)}, jobs: inspect.NewChan[int]("jobs", 0)}
	_ = s.pool.places.Acquire(ctx, 1)
	s.mu.Lock()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	client := &http.Client{Transport: inspecthttp.NewTransport(nil)}

	cases := map[string]func(context.Context){
		"pool":            s.handle,
		"marked":          s.marked,
		"range":           s.consume,
		"range of an end": s.consumeEnd,
		"callback":        s.callback,
		"locked":          s.locked,
		"local":           s.local,
		"generic":         func(ctx context.Context) { generic(ctx, s.jobs) },             // here: generic caller
		"http":            func(ctx context.Context) { s.fetch(ctx, client, silent.URL) }, // here: fetch caller
	}
	for name, wait := range cases {
		inspect.Go(ctx, name, func(ctx context.Context) error {
			wait(ctx) // here: run
			return nil
		})
	}
	driver.Serve(ctx, func(ctx context.Context) {
		ctx, task := driver.Begin(ctx, "begun in a driver") // here: begin driver
		defer task.End(nil)
		s.locked(ctx) // here: locked caller
	})
	go func() {
		ctx, task := begin(ctx, "begun in a helper") // here: begin helper
		defer task.End(nil)
		s.locked(ctx) // here: locked caller 2
	}()
	driver.Background(ctx, s.jobs)
	local.Background(ctx, s.jobs)

	want := len(cases) + 4
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		n := 0
		for _, t := range ins.Tasks() {
			if t.Wait != nil {
				n++
			}
		}
		if n == want {
			break
		}
		if time.Now().After(deadline) {
			fmt.Printf("only %d of %d wait: %+v\n", n, want, ins.Tasks())
			os.Exit(1)
		}
	}
	for _, t := range ins.Tasks() {
		fmt.Printf("%s\twaits\t%s", t.Name, place(t.Wait.Place))
		for _, p := range t.Wait.Callers {
			fmt.Printf("\t%s", place(p))
		}
		fmt.Println()
		if t.Begun.Line != 0 {
			fmt.Printf("%s\tbegun\t%s\n", t.Name, place(t.Begun))
		}
	}
}

func place(p inspect.Place) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }
