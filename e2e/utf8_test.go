package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Bytes that are no UTF-8, wherever a sender can put them, cost nobody a scrape: neither
// of the inspector's metrics nor of the collector's own.
func TestBytesThatAreNoUTF8CostNoScrape(t *testing.T) {
	t.Parallel()
	inspector := metrics(freeAddress(t))
	collector := startCollector(t,
		"exporters:\n  file", fmt.Sprintf("extensions:\n  inspector: {endpoint: %q}\nexporters:\n  file", inspector),
		"service:\n", "service:\n  extensions: [inspector]\n")
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL("http://"+collector.http+"/v1/traces"),
		otlptracehttp.WithHTTPClient(&http.Client{Transport: spoiling{}, Timeout: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	// Twice: a process that reports, and one that is plain.
	for _, epoch := range []int64{time.Now().UnixNano(), 0} {
		sendPlaceholders(t, exporter, epoch)
	}
	eventually(t, 30*time.Second, "the tasks in both metrics", func() error {
		for metric, from := range map[string]metrics{
			"async_inspect_tasks_total": inspector, "otelcol_processor_task_state_started_tasks": collector.metrics,
		} {
			if n, err := from.sum(metric, map[string]string{"task": "GET /caf\uFFFD"}); err != nil || n != 1 {
				return fmt.Errorf("%s is %v (%v)", metric, n, err)
			}
		}
		return nil
	})
	for _, url := range []string{
		"http://" + string(inspector) + "/metrics", "http://" + string(inspector) + "/api/v1/overview",
		"http://" + string(inspector) + "/api/v1/tasks", "http://" + string(collector.metrics) + "/metrics",
	} {
		if text, err := get(http.DefaultClient, url); err != nil || !utf8.ValidString(text) {
			t.Errorf("%s: %v, valid: %v", url, err, utf8.ValidString(text))
		}
	}
}

// placeholder stands for bytes that are no UTF-8 until the request is sent, for the
// exporter refuses them.
const placeholder = "@!~"

type spoiling struct{}

func (spoiling) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	request.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte(placeholder), []byte("\xff\xfe\xfd"))))
	return http.DefaultTransport.RoundTrip(request)
}

// sendPlaceholders sends a task and a report of another one with the placeholder in
// every text that there is. An epoch of 0 means a process that does not report.
func sendPlaceholders(t *testing.T, exporter sdktrace.SpanExporter, epoch int64) {
	t.Helper()
	text := func(key string) attribute.KeyValue { return attribute.String(key, "text "+placeholder) }
	attributes := []attribute.KeyValue{text("service.name"), text("other"), text("service.instance.id")}
	if epoch != 0 {
		// A process has a whole name, or it is none.
		attributes = []attribute.KeyValue{
			attribute.String("service.name", "cafe"), attribute.String("service.instance.id", "1"),
			attribute.Int64(taskspan.ProcessEpoch, epoch), text("other"),
		}
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(resource.NewSchemaless(attributes...)))
	ctx, span := provider.Tracer("scope "+placeholder).Start(context.Background(), "GET /caf"+placeholder, trace.WithSpanKind(trace.SpanKindServer))
	span.SetAttributes(text("key " + placeholder))
	span.AddEvent("event "+placeholder, trace.WithAttributes(text("detail")))
	span.SetStatus(codes.Error, "status "+placeholder)
	if epoch != 0 {
		_, open := provider.Tracer(taskspan.ScopeReport, trace.WithInstrumentationVersion(taskspan.Version)).Start(ctx, "report "+placeholder,
			trace.WithLinks(trace.Link{SpanContext: span.SpanContext(), Attributes: []attribute.KeyValue{text(taskspan.HoldTaskName)}}))
		open.SetAttributes(
			attribute.String(taskspan.Report, string(taskspan.ReportWait)), attribute.Int(taskspan.ReportSequence, 1),
			text(taskspan.TaskName), attribute.String(taskspan.TaskState, string(taskspan.Blocked)), attribute.Int64(taskspan.TaskStart, epoch),
			attribute.Int(taskspan.WaitID, 1), attribute.Int(taskspan.WaitRevision, 1), attribute.Bool(taskspan.WaitOpen, true),
			attribute.String(taskspan.WaitKind, string(taskspan.WaitMutex)), text(taskspan.WaitResourceID), text(taskspan.WaitResourceName),
			text(taskspan.CodeFunctionName), text(taskspan.CodeFilePath))
		open.End()
	}
	span.End()
	if err := provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
