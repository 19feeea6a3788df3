// Command overhead measures what the SDK costs a service: the same shop, built and
// configured in several ways, each a process of its own that is asked in turns, so that
// whatever else the machine does meets all of them. `make bench-overhead` runs it.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"time"
)

var (
	restarts = flag.Int("restarts", 10, "lives of all processes")
	rounds   = flag.Int("rounds", 3, "of each life, in which each process has its turn")
	turn     = flag.Duration("turn", 500*time.Millisecond, "how long it is asked as fast as it answers, and then at a fixed rate")
	clients  = flag.Int("clients", 48, "who ask at once, as fast as it answers")
	words    = flag.Int("words", 10, "of each line of an order: how much there is to do in a request beside waiting")
	rate     = flag.Int("rate", 500, "requests a second when the rate is fixed")
)

// cases are the ways in which the shop is run. All others are compared with the first.
var cases = []struct{ name, tags, environment string }{
	{"without the SDK", "plain", ""},
	{"OpenTelemetry alone, every span", "traced", ""},
	{"compiled out (`noinspect`)", "noinspect", ""},
	{"off (`ASYNC_INSPECT_ENABLED=false`)", "", "ASYNC_INSPECT_ENABLED=false"},
	{"`production`", "", "ASYNC_INSPECT_MODE=production"},
	{"`analysis`", "", "ASYNC_INSPECT_MODE=analysis"},
	{"`development`", "", "ASYNC_INSPECT_MODE=development"},
}

func main() {
	flag.Parse()
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer) error {
	directory, err := os.MkdirTemp("", "overhead")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	sink, err := listen()
	if err != nil {
		return err
	}
	defer sink.stop()
	database, stop, err := serveDatabase()
	if err != nil {
		return err
	}
	defer stop()
	results := make([]series, len(cases))
	for range *restarts {
		err := oneLife(results, directory, "OTEL_EXPORTER_OTLP_ENDPOINT="+sink.endpoint, "DATABASE="+database)
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Orders with %d words a line; %d lives of %d rounds of %v and %v, %d clients, %d requests/s; %d spans and reports came to the collector.\n\n",
		*words, *restarts, *rounds, *turn, *turn, *clients, *rate, sink.spans.Load())
	table(out, results)
	return nil
}

// oneLife starts all shops, gives each its turns, and stops them. A process may be lucky
// with the places that its memory gets, by some per cent and for as long as it lives;
// that is why there is more than one life.
func oneLife(results []series, directory string, environment ...string) error {
	order := orderText(*words)
	turns := make([]series, len(cases))
	shops := make([]*process, len(cases))
	for i, c := range cases {
		var err error
		if shops[i], err = start(directory, c.tags, append(environment, c.environment)...); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		defer shops[i].stop()
	}
	for round := -1; round < *rounds; round++ { // the first one warms up, and does not count
		for n := range shops {
			i := (n + round + len(shops)) % len(shops) // so that nobody is always the first
			m, err := shops[i].measure(order)
			if err != nil {
				return fmt.Errorf("%s: %w", cases[i].name, err)
			}
			if round >= 0 {
				turns[i] = append(turns[i], m)
			}
		}
	}
	// What a process does between its turns, such as sending spans, is its own cost.
	for i := range shops {
		if err := shops[i].settle(turns[i]); err != nil {
			return err
		}
		results[i] = append(results[i], turns[i]...)
	}
	return nil
}

// measurement is a turn.
type measurement struct {
	cpuAtStart time.Duration // of the process, since it began
	cpu        time.Duration // for each request, until its next turn
	requests   int
	throughput float64         // requests a second
	took       []time.Duration // of each order at the fixed rate
}

type series []measurement

func table(out io.Writer, results []series) {
	fmt.Fprintln(out, "| | CPU for a request, µs | more | requests/s | fewer | p99 at a fixed rate, ms | more |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
	cpu := func(m measurement) float64 { return float64(m.cpu.Nanoseconds()) / 1e3 }
	throughput := func(m measurement) float64 { return m.throughput }
	slower := func(m measurement) float64 { return 1 / m.throughput }
	for i, s := range results {
		fmt.Fprintf(out, "| %s | %.1f | %s | %.0f | %s | %.1f | %+.1f %% |\n", cases[i].name,
			s.median(cpu), s.more(results[0], cpu), s.median(throughput), s.more(results[0], slower), s.p99(), 100*(s.p99()/results[0].p99()-1))
	}
}

func (s series) median(of func(measurement) float64) float64 {
	values := make([]float64, len(s))
	for i, m := range s {
		values[i] = of(m)
	}
	return quantile(values, 0.5)
}

// p99 is of all rounds together, in milliseconds.
func (s series) p99() float64 {
	var all []float64
	for _, m := range s {
		for _, t := range m.took {
			all = append(all, t.Seconds()*1e3)
		}
	}
	return quantile(all, 0.99)
}

// more returns by how many per cent a value is above that of the same round of base: the
// median of the rounds, and where the middle half of them is.
func (s series) more(base series, of func(measurement) float64) string {
	if &s[0] == &base[0] {
		return ""
	}
	ratios := make([]float64, len(s))
	for i := range s {
		ratios[i] = 100 * (of(s[i])/of(base[i]) - 1)
	}
	return fmt.Sprintf("%+.1f %% (%+.1f to %+.1f)", quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
}

func quantile(of []float64, q float64) float64 {
	slices.Sort(of)
	return of[int(q*float64(len(of)-1)+0.5)]
}
