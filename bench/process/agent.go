package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const kafka = "Kafka"

// agentCases are merged over the configuration of the agent.
var agentCases = []struct{ name, overlay string }{
	{"as it is", ""},
	{kafka, ""},
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
		if err := measureAgent(c.name, c.overlay); err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
	}
}

// measureAgent runs an agent, and the gateways and a detector that it sends to, which
// are one process and throw away what they get.
func measureAgent(name, overlay string) error {
	link := direct()
	if name == kafka {
		broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(12, "async_inspect_spans"), kfake.SeedTopics(1, "async_inspect_reports"))
		if err != nil {
			return err
		}
		defer broker.Close()
		if link, err = overKafka(broker.ListenAddrs()); err != nil {
			return err
		}
	}
	var receivers []string
	for name, config := range link.receivers {
		receivers = append(receivers, name+": "+config)
	}
	sinks, err := start("--config=yaml:receivers: {" + strings.Join(receivers, ", ") + "}\n" +
		"exporters: {nop: }\nservice:\n" + telemetry(28889) +
		"  pipelines: {traces: {receivers: [" + strings.Join(slices.Collect(maps.Keys(link.receivers)), ", ") + "], exporters: [nop]}}\n")
	if err != nil {
		return err
	}
	defer sinks.stop()
	arguments := append([]string{
		"--config=embedded:agent", "--config=yaml:service:\n" + telemetry(28888),
		"--set=receivers.otlp.protocols.grpc.endpoint=" + *endpoint, "--set=receivers.otlp.protocols.http.endpoint=127.0.0.1:24318",
		"--set=extensions.health_check.endpoint=127.0.0.1:23133", "--set=extensions.inspector.endpoint=127.0.0.1:23190",
	}, link.arguments...)
	if overlay != "" {
		arguments = append(arguments, "--config=yaml:"+overlay)
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
