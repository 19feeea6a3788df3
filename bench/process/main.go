// Command process measures whole collectors: CPU seconds for a million spans, and peak
// memory, of one that only receives, one with adaptive_sampler and one with
// tail_sampling, under the same load over OTLP. `make bench-process` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/asyncinspect/asyncinspect/bench/gateway"
)

var (
	collector = flag.String("collector", "", "the program to measure")
	rate      = flag.Int("rate", 40_000, "spans a second; 0: as fast as it goes")
	seconds   = flag.Int("seconds", 30, "of load")
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
	fmt.Printf("%s for %d s, traces of ten spans, batches of a thousand\n\n", load, *seconds)
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
	cmd := exec.Command(*collector, "--config=yaml:"+config(processor))
	cmd.Stderr = os.Stderr
	if *memlimit != "" {
		cmd.Env = append(os.Environ(), "GOMEMLIMIT="+*memlimit)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()
	conn, err := grpc.NewClient(*endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := ptraceotlp.NewGRPCClient(conn)
	if err := ready(client); err != nil {
		return err
	}
	before, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	began := time.Now()
	sent, slowest, err := send(client)
	if err != nil {
		return err
	}
	took := time.Since(began)
	time.Sleep(7 * time.Second) // what is pending is decided
	after, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	peak, err := peakMemory(cmd.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("| %s | %.0f | %.2f | %d | %s |\n", name, float64(sent)/took.Seconds(),
		(after-before).Seconds()/float64(sent)*1e6, peak>>20, slowest.Round(time.Millisecond))
	return nil
}

// ready waits until the collector answers.
func ready(client ptraceotlp.GRPCClient) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := client.Export(ctx, ptraceotlp.NewExportRequest())
		cancel()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// send sends the load from four goroutines.
func send(client ptraceotlp.GRPCClient) (spans int64, slowest time.Duration, err error) {
	const senders, perBatch = 4, 1000
	var sent, longest atomic.Int64
	failed := make(chan error, senders)
	end := time.Now().Add(time.Duration(*seconds) * time.Second)
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			next := time.Now()
			for time.Now().Before(end) {
				if *rate > 0 {
					next = next.Add(time.Second * perBatch * senders / time.Duration(*rate))
					time.Sleep(time.Until(next))
				}
				request := ptraceotlp.NewExportRequestFromTraces(gateway.Batch(rnd, perBatch))
				began := time.Now()
				if _, err := client.Export(context.Background(), request); err != nil {
					failed <- err
					return
				}
				for took := int64(time.Since(began)); ; {
					if old := longest.Load(); took <= old || longest.CompareAndSwap(old, took) {
						break
					}
				}
				sent.Add(perBatch)
			}
		})
	}
	all.Wait()
	close(failed)
	return sent.Load(), time.Duration(longest.Load()), errors.Join(<-failed)
}

// cpu returns what a process has used, of all its threads, in ticks of ten
// milliseconds as Linux has them.
func cpu(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("cannot read %q", stat)
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// peakMemory returns the largest resident set that a process has had.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("VmHWM is not in its status")
}
