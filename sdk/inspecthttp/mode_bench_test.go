//go:build unix && !noinspect

package inspecthttp

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// BenchmarkModes is what each mode costs a service, in per cent of its CPU time. A
// request over a real connection is decoded, takes a lock for each of its lines, does
// its work in three steps, each a task of its own, and is encoded and compressed. Spans and reports
// are encoded as for a collector, and then forgotten.
//
// The modes take turns, so that other load on the machine meets all of them, and each
// is compared with the run without the SDK just before it; the median counts.
//
//	go test ./inspecthttp -run xxx -bench Modes -benchtime 200x
func BenchmarkModes(b *testing.B) {
	modes := []inspect.Mode{inspect.Production, inspect.Analysis, inspect.Development}
	more := make([][]float64, len(modes))
	var plain []float64
	order := orderText()
	for b.Loop() {
		for i, mode := range modes {
			off := serveOrders(b, order)
			plain = append(plain, float64(off.Microseconds())/requests)
			ins, err := inspect.Start(b.Context(), inspect.WithMode(mode), inspect.WithReportClient(forgettingClient{}),
				inspect.WithSpanExporter(otlptrace.NewUnstarted(forgettingClient{})))
			if err != nil {
				b.Fatal(err)
			}
			on := serveOrders(b, order)
			if err := ins.Shutdown(context.Background()); err != nil {
				b.Fatal(err)
			}
			more[i] = append(more[i], 100*(float64(on)/float64(off)-1))
		}
	}
	b.ReportMetric(median(plain), "cpu-µs/request")
	for i, mode := range modes {
		b.ReportMetric(median(more[i]), mode.String()+"-%")
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

const requests = 400 // in one turn

// serveOrders returns the CPU time of some requests. While the SDK is off the handler
// and the tasks do nothing.
func serveOrders(b *testing.B, order string) time.Duration {
	server := httptest.NewServer(NewHandler(http.HandlerFunc(new(orders).serve)))
	defer server.Close()
	runtime.GC()
	begun := cpuTime(b)
	for range requests {
		response, err := server.Client().Post(server.URL, "application/json", strings.NewReader(order))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	return cpuTime(b) - begun
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgettingClient encodes what it is sent, as a connection would.
type forgettingClient struct{}

func (forgettingClient) Start(context.Context) error { return nil }
func (forgettingClient) Stop(context.Context) error  { return nil }

func (forgettingClient) UploadTraces(_ context.Context, spans []*tracepb.ResourceSpans) error {
	_, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	return err
}

// orders is a small service.
type orders struct {
	mu    inspect.Mutex
	stock map[string]int
}

type orderLine struct {
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Note     string `json:"note"`
}

func orderText() string {
	lines := make([]orderLine, 200)
	for i := range lines {
		lines[i] = orderLine{fmt.Sprint("item ", i), i, strings.Repeat("as always, ", 5)}
	}
	text, err := json.Marshal(lines)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (o *orders) serve(w http.ResponseWriter, r *http.Request) {
	var lines []orderLine
	step(r.Context(), "decode", func() { _ = json.NewDecoder(r.Body).Decode(&lines) })
	var sum [sha256.Size]byte
	step(r.Context(), "reserve", func() {
		for _, line := range lines {
			o.reserve(line)
			sum = sha256.Sum256(append(sum[:], line.Note...))
		}
	})
	step(r.Context(), "answer", func() {
		z := compressors.Get().(*gzip.Writer)
		defer compressors.Put(z)
		z.Reset(w)
		_ = json.NewEncoder(z).Encode(lines)
		_, _ = fmt.Fprintf(z, "%x", sum)
		_ = z.Close()
	})
}

var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func step(ctx context.Context, name string, work func()) {
	_, task := inspect.Begin(ctx, name)
	defer task.End(nil)
	work()
}

func (o *orders) reserve(line orderLine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stock == nil {
		o.stock = make(map[string]int)
	}
	o.stock[line.Item] -= line.Quantity
}
