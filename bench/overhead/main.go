// Command overhead measures what the SDK costs a service: the same shop, in several ways
// that take turns, so that whatever else the machine does meets all of them.
// `make bench-overhead` runs it.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"
)

var (
	lives   = flag.Int("lives", 10, "how often all processes are built and started anew")
	slice   = flag.Duration("slice", 250*time.Millisecond, "how long one is asked as fast as it answers, before the next is; and half of how long at a fixed rate")
	each    = flag.Int("slices", 8, "of each process, until the modes change places")
	clients = flag.Int("clients", 48, "who ask at once, as fast as it answers")
	words   = flag.Int("words", 10, "of each line of an order: how much there is to do in a request beside waiting")
	rate    = flag.Int("rate", 500, "requests a second when the rate is fixed")
	only    = flag.String("only", "", `"modes" or "programs"; both if it is empty`)
)

// comparison is of several cases, with the first one.
type comparison struct {
	name, title string
	switched    bool // the cases are modes of one program, and its processes change places
	cases       []comparisonCase
}

type comparisonCase struct {
	name string
	tags string // of the program's build
	mode string // that the program is switched to
}

var comparisons = []comparison{
	{"modes", "One program, in each mode", true, []comparisonCase{
		{"off (`ASYNC_INSPECT_ENABLED=false`)", "", "off"},
		{"`production`", "", "production"},
		{"`analysis`", "", "analysis"},
		{"`development`", "", "development"},
	}},
	{"programs", "Programs beside each other", false, []comparisonCase{
		{"without the SDK", "plain", "off"},
		{"compiled out (`noinspect`)", "noinspect", "off"},
		{"off (`ASYNC_INSPECT_ENABLED=false`)", "", "off"},
		{"OpenTelemetry alone, every span", "traced", "on"},
	}},
}

func main() {
	log.SetFlags(0)
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
	for _, c := range comparisons {
		if *only != "" && *only != c.name {
			continue
		}
		results := make([]series, len(c.cases))
		for life := range *lives {
			err := c.live(life, results, directory, "OTEL_EXPORTER_OTLP_ENDPOINT="+sink.endpoint, "DATABASE="+database)
			if err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "%s: orders with %d words a line; %d lives, %d clients, %d requests/s.\n\n",
			c.title, *words, *lives, *clients, *rate)
		c.table(out, results)
	}
	fmt.Fprintf(out, "%d spans and reports came to the collector.\n", sink.spans.Load())
	return nil
}

// live starts a process for each case, gives each its turns, and stops them. A process may
// be lucky with the places of its code and its memory, by some per cent and for as long as
// it lives. That is why there are several lives, each with a layout of its own (Curtsinger and
// Berger, "Stabilizer: statistically sound performance evaluation", 2013), and why the
// processes of one program take each mode in turn.
func (c comparison) live(life int, results []series, directory string, environment ...string) error {
	shops := make([]*process, len(c.cases))
	for i, one := range c.cases {
		var err error
		if shops[i], err = start(directory, one.tags, life+1, environment...); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		defer shops[i].stop()
	}
	rounds := make([]series, len(c.cases))
	for round := range c.cases {
		turns, err := c.round(shops, round+life)
		if err != nil {
			return err
		}
		for i, t := range turns {
			rounds[i] = append(rounds[i], t)
		}
		if c.switched {
			shops = append(shops[1:], shops[0])
		}
	}
	for i, r := range rounds {
		results[i] = append(results[i], r.mean())
	}
	return nil
}

// round gives each case its turns, beginning with the given one.
func (c comparison) round(shops []*process, first int) ([]measurement, error) {
	order := orderText(*words)
	for i, one := range c.cases {
		if err := shops[i].switchTo(one.mode); err != nil {
			return nil, err
		}
	}
	turns := make([]measurement, len(c.cases))
	for n := range c.cases {
		i := (n + first) % len(c.cases)
		var err error
		if turns[i].took, err = shops[i].atARate(order); err != nil { // which also warms it up
			return nil, fmt.Errorf("%s: %w", c.cases[i].name, err)
		}
	}
	if err := inSlices(shops, order, turns); err != nil {
		return nil, err
	}
	return turns, nil
}
