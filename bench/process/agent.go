package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const gateways = 3

// agentCases are merged over the configuration of the agent.
var agentCases = []struct{ name, yaml string }{
	{"as it is", ""},
	{"gzip", compression("gzip")},
	{"zstd", compression("zstd")},
	{"no compression", compression("none")},
	{"conditions on spans", "processors:\n" +
		"  filter/reports: {trace_conditions: null, traces: {span: ['instrumentation_scope.name != \"async_inspect/report\"']}}\n" +
		"  filter/spans: {trace_conditions: null, traces: {span: ['instrumentation_scope.name == \"async_inspect/report\"']}}\n"},
}

func compression(c string) string {
	return "exporters: {load_balancing/gateways: {protocol: {otlp: {compression: " + c + "}}}}\n"
}

func agents() {
	fmt.Println("| | spans/s | agent: CPU s per million spans | peak memory, MiB | gateways: CPU s per million spans, receiving | bytes of a span | arrived |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, c := range agentCases {
		if *only != "" && c.name != *only {
			continue
		}
		if err := measureAgent(c.name, c.yaml); err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
	}
}

// measureAgent runs an agent, and the gateways and a detector that it sends to, which
// are one process and throw away what they get.
func measureAgent(name, yaml string) error {
	var receivers, names, addresses []string
	for i := range gateways + 1 {
		address := fmt.Sprint("127.0.0.1:", 25317+i)
		receivers = append(receivers, fmt.Sprintf("otlp/%d: {protocols: {grpc: {endpoint: '%s'}}}", i, address))
		names = append(names, fmt.Sprint("otlp/", i))
		addresses = append(addresses, address)
	}
	sinks, err := start("--config=yaml:receivers: {" + strings.Join(receivers, ", ") + "}\n" +
		"exporters: {nop: }\nservice:\n" + telemetry(28889) +
		"  pipelines: {traces: {receivers: [" + strings.Join(names, ", ") + "], exporters: [nop]}}\n")
	if err != nil {
		return err
	}
	defer sinks.stop()
	arguments := []string{
		"--config=embedded:agent", "--config=yaml:service:\n" + telemetry(28888),
		"--set=receivers.otlp.protocols.grpc.endpoint=" + *endpoint,
		"--set=extensions.health_check.endpoint=127.0.0.1:23133", "--set=extensions.inspector.endpoint=127.0.0.1:23190", "--set=receivers.otlp.protocols.http.endpoint=127.0.0.1:24318",
		"--set=exporters.load_balancing/gateways.resolver.static.hostnames=[" + strings.Join(addresses[:gateways], ",") + "]",
		"--set=exporters.load_balancing/detectors.resolver.static.hostnames=[" + addresses[gateways] + "]",
	}
	if yaml != "" {
		arguments = append(arguments, "--config=yaml:"+yaml)
	}
	a, err := start(arguments...)
	if err != nil {
		return err
	}
	defer a.stop()
	l, err := a.load()
	if err != nil {
		return err
	}
	peak, err := peakMemory(a.Process.Pid)
	if err != nil {
		return err
	}
	used, err := cpu(sinks.Process.Pid)
	if err != nil {
		return err
	}
	bytes, err := received(sinks.Process.Pid)
	if err != nil {
		return err
	}
	arrived, err := accepted(28889)
	if err != nil {
		return err
	}
	fmt.Printf("| %s | %.0f | %.2f | %d | %.2f | %d | %.2f %% |\n", name, l.rate, perMillion(l.cpu, l.spans), peak>>20,
		perMillion(used, arrived), bytes/arrived, float64(arrived)/float64(l.spans)*100)
	return nil
}

func telemetry(port int) string {
	return fmt.Sprintf("  telemetry: {logs: {level: error}, metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d}}}}]}}\n", port)
}

var acceptedSpans = regexp.MustCompile(`(?m)^otelcol_receiver_accepted_spans(?:__spans__|_total)*\{.*\} (\S+)$`)

// accepted returns how many spans a collector says that it has taken.
func accepted(port int) (spans int64, err error) {
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	for _, m := range acceptedSpans.FindAllSubmatch(body, -1) {
		n, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return 0, err
		}
		spans += int64(n)
	}
	if spans == 0 {
		return 0, errors.New("nothing has arrived")
	}
	return spans, nil
}
