package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /orders", handler(newShop(os.Getenv("DATABASE")).order))
	w := new(watcher)
	mux.HandleFunc("POST /mode/{mode}", func(_ http.ResponseWriter, r *http.Request) { w.switchTo(ctx, r.PathValue("mode")) })
	mux.HandleFunc("GET /flush", func(http.ResponseWriter, *http.Request) { w.flush() })
	mux.HandleFunc("GET /cpu", cpu)
	server := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Println(listener.Addr()) // the measuring program reads it
	_ = server.Serve(listener)
	w.end()
}

// watcher is what watches the shop, if anything does.
type watcher struct{ flush, stop func() }

// switchTo ends what watches the shop and starts it in another mode.
func (w *watcher) switchTo(ctx context.Context, mode string) {
	w.end()
	var err error
	if w.flush, w.stop, err = watch(ctx, mode); err != nil {
		log.Fatal(err)
	}
	runtime.GC() // no turn clears away what another one has left
}

func (w *watcher) end() {
	if w.stop != nil {
		w.stop()
	}
}

// cpu answers with the CPU time of this process, in nanoseconds.
func cpu(w http.ResponseWriter, _ *http.Request) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, u.Utime.Nano()+u.Stime.Nano())
}

const (
	shelves  = 8
	articles = 100_000
)

type shop struct {
	shelves  [shelves]shelf
	prices   rwMutex
	price    map[string]int
	database *database
}

type shelf struct {
	mu    mutex
	stock map[string]int
}

func newShop(database string) *shop {
	s := &shop{price: make(map[string]int), database: newDatabase(database)}
	for i := range s.shelves {
		s.shelves[i].stock = make(map[string]int)
	}
	for i := range articles {
		name := fmt.Sprint("item ", i)
		s.price[name] = len(name)
		s.shelves[shelfOf(name)].stock[name] = i
	}
	return s
}

func shelfOf(item string) int { return int(item[len(item)-1]) % shelves }

type line struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Note     string `json:"note"`
}

type receipt struct {
	Lines    []line
	Total    int
	Customer string
	Credit   string
	Discount string
	Seal     string
}

// order takes an order: what it says is looked up in the database, in three queries at
// once, then it is taken from the shelves, and a receipt is made.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	var lines []line
	if err := json.NewDecoder(r.Body).Decode(&lines); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := receipt{Lines: lines}
	if err := together(r.Context(),
		s.lookUp("customer", &out.Customer),
		s.lookUp("credit", &out.Credit),
		s.lookUp("discount", &out.Discount),
	); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	sum := sha256.Sum256([]byte(out.Customer))
	for _, l := range lines {
		out.Total += s.priceOf(l.Item) * l.Quantity
		s.take(l)
		sum = sha256.Sum256(append(sum[:], l.Note...))
	}
	out.Seal = fmt.Sprintf("%x", sum)
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(w)
	_ = json.NewEncoder(z).Encode(out)
	_ = z.Close()
}

var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// lookUp is a query whose answer goes to a field.
func (s *shop) lookUp(table string, into *string) step {
	return step{table, func(ctx context.Context) (err error) {
		*into, err = s.database.query(ctx, table, "42")
		return err
	}}
}

func (s *shop) priceOf(item string) int {
	s.prices.RLock()
	defer s.prices.RUnlock()
	return s.price[item]
}

func (s *shop) take(l line) {
	from := &s.shelves[shelfOf(l.Item)]
	from.mu.Lock()
	defer from.mu.Unlock()
	from.stock[l.Item] -= l.Quantity
}

// step is a part of the work that has a name.
type step struct {
	name string
	do   func(context.Context) error
}
