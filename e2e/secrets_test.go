package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// The secrets, and what of them must not be found anywhere.
const secretText = "ann@mail.example.org paid with 4111 1111-1111 1111 and eyJhbGciOiJIUzI1NiIs.eyJzdWIiOiIxMjM0NTY3.abcDEF"

var secretParts = []string{"ann@", "example.org", "4111", "1111-1111", "eyJhbG", "abcDEF", "hunter2"}

// A secret in every field of spans and reports comes out of the production configuration
// nowhere: not in the API, the page's stream, the metrics of both ports, the log, the
// backend, or CSV. Two processes whose instance ids look like card numbers stay two.
func TestNoSecretComesOutOfTheProductionConfiguration(t *testing.T) {
	t.Parallel()
	backend := startCollector(t)
	own := metrics(freeAddress(t))
	csv := filepath.Join(t.TempDir(), "csv")
	overlay := filepath.Join(t.TempDir(), "overlay.yaml")
	_, port, _ := strings.Cut(string(own), ":")
	writeFile(t, overlay, fmt.Sprintf(`
extensions:
  rate_limiter/read: {requests: 10000, burst: 10000} # this test asks often
processors:
  task_state: {log_interval: 1s}
exporters:
  csv_rotate: {directory: %q, rows: spans, rotation: {interval: 1s}}
service:
  pipelines: {traces: {exporters: [otlp_grpc, csv_rotate]}}
  telemetry:
    metrics:
      level: detailed
      readers: [{pull: {exporter: {prometheus: {host: localhost, port: %s, without_scope_info: true, without_type_suffix: true, without_units: true}}}}]
`, csv, port))
	p := prepareProduction(t, backend)
	p.arguments = slices.DeleteFunc(p.arguments, func(a string) bool { return strings.Contains(a, "metrics.level=none") })
	p.merge(overlay)
	p.start(t, p.http)

	for _, instance := range []string{"shop-1795694507123", "shop-1795694507124"} {
		sendSecrets(t, p, instance)
	}
	read := func(path string) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+p.inspector+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+p.read)
		response, err := p.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", path, response.Status, err)
		}
		return string(text)
	}
	var said map[string]string
	eventually(t, time.Minute, "both processes, the task and the spans everywhere", func() error {
		said = map[string]string{"log": p.log.String()}
		for _, path := range []string{
			"/api/v1/overview", "/api/v1/tasks?limit=1000", "/api/v1/deadlocks", "/api/v1/inversions", "/api/v1/graph", "/api/v1/processes",
			"/api/v1/resources", "/api/v1/sampling", "/api/v1/memory", "/api/v1/config", "/metrics", "/api/v1/graph?format=dot", "/api/v1/tasks?format=csv",
		} {
			said[path] = read(path)
		}
		var tasks struct {
			Tasks []struct{ TraceID, SpanID string }
		}
		if err := json.Unmarshal([]byte(strings.NewReplacer("trace_id", "traceid", "span_id", "spanid").Replace(said["/api/v1/tasks?limit=1000"])), &tasks); err != nil {
			return err
		}
		for _, task := range tasks.Tasks {
			path := "/api/v1/tasks/" + url.PathEscape(task.TraceID) + "/" + url.PathEscape(task.SpanID)
			said[path] = read(path)
		}
		text, err := get(http.DefaultClient, "http://"+string(own)+"/metrics")
		if err != nil {
			return err
		}
		said["own metrics"] = text
		spans, err := os.ReadFile(backend.spans)
		if err != nil {
			return err
		}
		said["backend"] = string(spans)
		for where, directory := range map[string]string{"CSV": csv, "state on disk": p.queue} {
			files, err := filepath.Glob(filepath.Join(directory, "*"))
			if err != nil {
				return err
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				said[where] += string(text)
			}
		}
		for where, what := range map[string][]string{
			"/api/v1/processes":        {"shop-1795694507123", "shop-1795694507124"},
			"/api/v1/deadlocks":        {`"kind":"local"`, "reported ****"},
			"/api/v1/tasks?limit=1000": {"reported ****", "plain ****"},
			"/metrics":                 {`task="counted **** paid with`, `task="plain ****`},
			"own metrics":              {`task="counted **** paid with`},
			"backend":                  {"plain **** paid with **** and ****", "link ****", "event ****", "status ****", "DEADLOCK"},
			"CSV":                      {"plain ****", "status ****"},
			"log":                      {"DEADLOCK", "reported ****"},
		} {
			for _, text := range what {
				if !strings.Contains(said[where], text) && !strings.Contains(strings.ToUpper(said[where]), text) {
					return fmt.Errorf("%s has no %q", where, text)
				}
			}
		}
		return nil
	})
	for where, text := range said {
		for _, secret := range secretParts {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s has %s: ...%s...", where, secret, text[max(0, at-100):min(len(text), at+100)])
			}
		}
	}
}

// sendSecrets sends, as one process, a plain trace, a heartbeat and two tasks that wait for
// each other, with the secrets in each field that has a text.
func sendSecrets(t *testing.T, p *production, instance string) {
	t.Helper()
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL("https://"+p.http+"/v1/traces"),
		otlptracehttp.WithHTTPClient(&http.Client{Transport: p.client.Transport, Timeout: time.Minute}),
		otlptracehttp.WithHeaders(map[string]string{"Authorization": "Bearer " + p.ingest}))
	if err != nil {
		t.Fatal(err)
	}
	text := func(key string) attribute.KeyValue { return attribute.String(key, key+" "+secretText) }
	list := func(key string) attribute.KeyValue { return attribute.StringSlice(key, []string{secretText}) }
	attributes := []attribute.KeyValue{text("note"), list("notes"), attribute.String("user.password", "hunter2")}
	epoch := time.Now().Add(-time.Minute).UnixNano()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(resource.NewSchemaless(append(attributes,
		attribute.String("service.name", "shop"), attribute.String("service.instance.id", instance), attribute.Int64(taskspan.ProcessEpoch, epoch))...)))

	ctx, plain := provider.Tracer("scope "+secretText, trace.WithInstrumentationVersion(secretText), trace.WithInstrumentationAttributes(attributes...)).
		Start(context.Background(), "plain "+secretText, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...),
			trace.WithLinks(trace.Link{
				SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: [16]byte{1}, SpanID: [8]byte{2}}),
				Attributes:  append(slices.Clone(attributes), attribute.String("of", "link "+secretText)),
			}))
	plain.AddEvent("event "+secretText, trace.WithAttributes(attributes...))
	plain.SetStatus(codes.Error, "status "+secretText)
	_, wait := provider.Tracer("plain").Start(ctx, taskspan.WaitSpanPrefix+"mutex "+secretText, trace.WithAttributes(
		attribute.String(taskspan.WaitKind, "mutex"), text(taskspan.WaitResourceName), attribute.String(taskspan.WaitResourceID, "m1")))
	wait.End()
	plain.End()

	reports := provider.Tracer(taskspan.ScopeReport, trace.WithInstrumentationVersion(taskspan.Version))
	_, beat := reports.Start(context.Background(), taskspan.SpanHeartbeat)
	beat.SetAttributes(
		attribute.String(taskspan.Report, string(taskspan.ReportHeartbeat)), attribute.Int(taskspan.ReportSequence, 1),
		attribute.Int(taskspan.HeartbeatIntervalMS, 60_000), attribute.Int(taskspan.TasksStarted, 3), attribute.Int(taskspan.TasksBlocked, 2),
		attribute.StringSlice(taskspan.TasksByName, []string{fmt.Sprintf(`{"name":%q,"started":3,"blocked":2}`, "counted "+secretText)}),
		attribute.IntSlice(taskspan.WaitsIDs, []int{1, 2}), attribute.IntSlice(taskspan.WaitsRevisions, []int{1, 1}))
	beat.End()

	// Two tasks of one trace, each of which waits for what the other holds.
	var tasks [2]context.Context
	for i := range tasks {
		tasks[i], _ = provider.Tracer("tasks").Start(context.Background(), "open") // they do not end
	}
	for i := range tasks {
		holder := trace.SpanContextFromContext(tasks[1-i])
		_, report := reports.Start(tasks[i], "report "+secretText, trace.WithTimestamp(time.Now().Add(-5*time.Second)),
			trace.WithLinks(trace.Link{SpanContext: holder, Attributes: []attribute.KeyValue{
				text(taskspan.HoldTaskName), attribute.Int(taskspan.HoldGeneration, 1), attribute.Int64(taskspan.HoldSince, epoch), text(taskspan.CodeFunctionName), text(taskspan.CodeFilePath),
			}}))
		report.SetAttributes(
			attribute.String(taskspan.Report, string(taskspan.ReportWait)), attribute.Int(taskspan.ReportSequence, 2+i),
			attribute.String(taskspan.TaskName, "reported "+secretText), attribute.String(taskspan.TaskState, string(taskspan.Blocked)),
			attribute.Int64(taskspan.TaskStart, epoch), attribute.Int(taskspan.WaitID, 1+i), attribute.Int(taskspan.WaitRevision, 1),
			attribute.Bool(taskspan.WaitOpen, true), attribute.Bool(taskspan.WaitHoldersComplete, true), attribute.String(taskspan.WaitKind, string(taskspan.WaitMutex)),
			attribute.String(taskspan.WaitResourceID, fmt.Sprint("m", i)), text(taskspan.WaitResourceName),
			attribute.StringSlice(taskspan.WaitCallers, []string{"main.caller" + strings.ReplaceAll(secretText, " ", "_") + " main.go:1"}),
			text(taskspan.CodeFunctionName), text(taskspan.CodeFilePath), text(taskspan.CodeStacktrace))
		report.End()
	}
	if err := provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
