package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// plainTraces is how many traces each of the services below sends; one in plainErrors
// of them fails.
const plainTraces, plainErrors = 3000, 50

// Services that know nothing of async-inspect get states, exact counts, sampling
// and CSV from the default configuration.
func TestPlainServices(t *testing.T) {
	for _, c := range []struct {
		service string
		tasks   []string // one of each in every trace
		send    func(*testing.T, *defaults)
	}{
		{"telemetrygen", []string{"lets-go", "okey-dokey-0", "okey-dokey-1"}, runTelemetrygen},
		{"stock", []string{"GET /things"}, runStockSDK},
	} {
		t.Run(c.service, func(t *testing.T) {
			t.Parallel()
			const budget = 300
			collector := startDefault(t, nil, nil, "processors.adaptive_sampler.target.spans_per_second="+strconv.Itoa(budget))
			metrics, began := metrics(collector.inspector), time.Now()
			c.send(t, collector)

			eventually(t, time.Minute, "a decision about every trace", func() error {
				kept, err := metrics.sum("async_inspect_sampling_traces_total", map[string]string{"outcome": "kept"})
				if err != nil {
					return err
				}
				dropped, err := metrics.sum("async_inspect_sampling_traces_total", map[string]string{"outcome": "dropped"})
				if err == nil && kept+dropped != plainTraces {
					err = fmt.Errorf("%v are kept and %v dropped", kept, dropped)
				}
				return err
			})
			seconds := time.Since(began).Seconds()
			failed := float64(plainTraces / plainErrors)
			var differ []error
			count := func(metric string, labels map[string]string, want float64) {
				if got, err := metrics.sum(metric, labels); err != nil || got != want {
					differ = append(differ, fmt.Errorf("%s%v is %v (%v), want %v", metric, labels, got, err, want))
				}
			}
			count("async_inspect_tasks_total", nil, plainTraces*float64(len(c.tasks)))
			for _, task := range c.tasks {
				count("async_inspect_tasks_total", map[string]string{"service": c.service, "task": task}, plainTraces)
				count("async_inspect_tasks_ended_total", map[string]string{"service": c.service, "task": task, "state": "completed"}, plainTraces-failed)
				count("async_inspect_tasks_ended_total", map[string]string{"service": c.service, "task": task, "state": "failed"}, failed)
			}
			if err := errors.Join(differ...); err != nil {
				t.Error(err)
			}
			var listed struct {
				Tasks []struct{ Service, Name, State string }
			}
			getJSON(t, "http://"+collector.inspector+"/api/v1/tasks?state=failed&limit=1000&name="+url.QueryEscape(c.tasks[len(c.tasks)-1]), &listed)
			if len(listed.Tasks) != int(failed) || listed.Tasks[0].Service != c.service {
				t.Errorf("%d failed tasks are listed, want %v: %+v", len(listed.Tasks), failed, listed.Tasks)
			}

			collector.stop(t)
			for _, task := range c.tasks {
				rows := readTasks(t, collector.csv)[task]
				var failures, ordinary int
				var completed, variance float64
				for _, row := range rows {
					switch row.state {
					case "failed":
						failures++
						if row.adjusted != 1 {
							t.Errorf("%s: a failed task stands for %v", task, row.adjusted)
						}
					case "completed":
						ordinary++
						completed += row.adjusted
						variance += row.adjusted * (row.adjusted - 1)
					default:
						t.Errorf("%s: a task is %q", task, row.state)
					}
				}
				want := plainTraces - failed
				t.Logf("%s: rows of %d failed tasks and of %d others, which stand for %.0f±%.0f of %v", task, failures, ordinary, completed, math.Sqrt(variance), want)
				if failures != int(failed) {
					t.Errorf("%s: %d of %v failures are rows", task, failures, failed)
				}
				if most := budget * (seconds + 2) / float64(len(c.tasks)); float64(ordinary) > most {
					t.Errorf("%s: %d ordinary ones were kept, the budget and its burst are %.0f", task, ordinary, most)
				}
				// A deviation of five is less than one in a million.
				if math.Abs(completed-want) > 5*math.Sqrt(variance) || math.Sqrt(variance) > want/4 {
					t.Errorf("%s: the adjusted counts are %.0f±%.0f, want %v", task, completed, math.Sqrt(variance), want)
				}
			}
		})
	}
}

// runTelemetrygen sends traces of one client span and two server spans below it, over
// gRPC, span by span.
func runTelemetrygen(t *testing.T, to *defaults) {
	t.Helper()
	for status, traces := range map[string]int{"Unset": plainTraces - plainTraces/plainErrors, "Error": plainTraces / plainErrors} {
		// What it exits with says nothing; the far end is counted.
		said, err := exec.Command(program(t, "ASYNCINSPECT_TELEMETRYGEN"), "traces", "--otlp-endpoint", to.grpc, "--otlp-insecure", "--batch=false",
			"--rate", "0", "--child-spans", "2", "--traces", strconv.Itoa(traces), "--status-code", status).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
}

// runStockSDK sends traces of a server span and an inner one, over HTTP.
func runStockSDK(t *testing.T, to *defaults) {
	t.Helper()
	ctx := context.Background()
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL("http://"+to.http+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithBlocking()),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "stock"))))
	tracer := provider.Tracer("plain")
	for i := range plainTraces {
		ctx, server := tracer.Start(ctx, "GET /things", trace.WithSpanKind(trace.SpanKindServer))
		_, inner := tracer.Start(ctx, "not a task")
		inner.End()
		if i%plainErrors == 0 {
			server.SetStatus(codes.Error, "out of things")
		}
		server.End()
	}
	if err := provider.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

// taskRow is what is read of a row for a task.
type taskRow struct {
	state    string
	adjusted float64
}

// readTasks reads the finished files of a directory, by the name of the task.
func readTasks(t *testing.T, directory string) map[string][]taskRow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(directory, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files in %s (%v)", len(files), directory, err)
	}
	tasks := make(map[string][]taskRow)
	for _, file := range files {
		column, rows := readCSV(t, file)
		for _, row := range rows {
			adjusted, err := strconv.ParseFloat(row[column["adjusted_count"]], 64)
			if err != nil {
				t.Fatal(err)
			}
			name := row[column["name"]]
			tasks[name] = append(tasks[name], taskRow{state: row[column["state"]], adjusted: adjusted})
		}
	}
	return tasks
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	if err := askJSON(url, into); err != nil {
		t.Fatal(err)
	}
}

// askJSON decodes the answer to a GET.
func askJSON(url string, into any) error {
	text, err := get(http.DefaultClient, url)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}
