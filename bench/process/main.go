// Command process measures whole collectors: CPU seconds for a million spans, and peak
// memory, under the same load over OTLP. `make bench-process` compares one that only
// receives, one with adaptive_sampler and one with tail_sampling; `make bench-agent` the
// agent tier with other ways to do the same.
package main

import (
	"flag"
	"fmt"
	"log"
	"strings"
	"time"
)

var (
	collector = flag.String("collector", "", "the program to measure")
	rate      = flag.Int("rate", 40_000, "spans a second; 0: as fast as it goes")
	seconds   = flag.Int("seconds", 30, "of load")
	perBatch  = flag.Int("batch", 1000, "spans in a request")
	agent     = flag.Bool("agent", false, "measure the agent of two tiers; -collector is the distribution")
	endpoint  = flag.String("endpoint", "127.0.0.1:14317", "where the collector listens")
	only      = flag.String("only", "", "the name of one case")
	memlimit  = flag.String("gomemlimit", "", "GOMEMLIMIT of the collector")
)

const wait = "5s" // of both samplers, after the root or the first span

var cases = []struct{ name, processor string }{
	{"bare", ""},
	{"adaptive_sampler", "adaptive_sampler: {decision_delay: " + wait + ", trace_timeout: 10s, min_rate: 0.1, max_rate: 0.1, target: {spans_per_second: 0}, " + policies + "}"},
	{"adaptive_sampler, 1,000 spans/s", "adaptive_sampler: {decision_delay: " + wait + ", trace_timeout: 10s, target: {spans_per_second: 1000}, " + policies + "}"},
	{"adaptive_sampler, 64 MiB", "adaptive_sampler: {decision_delay: " + wait + ", trace_timeout: 10s, memory: {limit_mib: 64}, " + policies + "}"},
	{"tail_sampling", `tail_sampling: {decision_wait: ` + wait + `, num_traces: 1000000, policies: [
    {name: errors, type: status_code, status_code: {status_codes: [ERROR]}},
    {name: slow, type: latency, latency: {threshold_ms: 2000}},
    {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 10}}]}`},
}

const policies = "policies: [{name: errors, type: status_code, status_codes: [ERROR], rate: 1}, {name: slow, type: latency, threshold: 2s, rate: 1}]"

func main() {
	flag.Parse()
	load := fmt.Sprintf("%d spans/s", *rate)
	if *rate == 0 {
		load = "as fast as it goes"
	}
	fmt.Printf("%s for %d s, traces of ten spans, batches of %d\n\n", load, *seconds, *perBatch)
	if *agent {
		agents()
		return
	}
	fmt.Println("| | spans/s | CPU s per million spans | peak memory, MiB | slowest call |")
	fmt.Println("|---|---|---|---|---|")
	for _, c := range cases {
		if *only != "" && c.name != *only {
			continue
		}
		if err := measure(c.name, c.processor); err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
	}
}

func config(processor string) string {
	name, _, _ := strings.Cut(processor, ":")
	section := ""
	if processor != "" {
		section = "processors:\n  " + processor + "\n"
	}
	return "receivers: {otlp: {protocols: {grpc: {endpoint: '" + *endpoint + "', max_recv_msg_size_mib: 64}}}}\n" + section +
		"exporters: {nop: }\nservice:\n  telemetry: {metrics: {level: none}, logs: {level: error}}\n" +
		"  pipelines: {traces: {receivers: [otlp], processors: [" + name + "], exporters: [nop]}}\n"
}

func measure(name, processor string) error {
	p, err := start("--config=yaml:" + config(processor))
	if err != nil {
		return err
	}
	defer p.stop()
	l, err := p.load()
	if err != nil {
		return err
	}
	peak, err := peakMemory(p.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("| %s | %.0f | %.2f | %d | %s |\n", name, l.rate, perMillion(l.cpu, l.spans), peak>>20, l.slowest.Round(time.Millisecond))
	return nil
}

func perMillion(cpu time.Duration, spans int64) float64 { return cpu.Seconds() / float64(spans) * 1e6 }
