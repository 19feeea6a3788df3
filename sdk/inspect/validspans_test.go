//go:build !noinspect

package inspect

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// strictClient encodes what it gets, as the network does: one invalid byte fails the
// batch.
type strictClient struct {
	keepingClient
	refused int
}

func (c *strictClient) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	for _, s := range spans {
		if _, err := proto.Marshal(s); err != nil {
			c.mu.Lock()
			c.refused++
			c.mu.Unlock()
			return err
		}
	}
	return c.keepingClient.UploadTraces(ctx, spans)
}

const latin1 = "caf\xe9"

// latin1Attributes have an invalid byte in every kind of text that they can have.
func latin1Attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("text", latin1),
		attribute.StringSlice("texts", []string{"good", latin1}),
		attribute.Slice("mixed", attribute.IntValue(1), attribute.StringValue(latin1), attribute.SliceValue(attribute.StringSliceValue([]string{latin1}))),
		attribute.String("key "+latin1, "good"),
		attribute.Int("number", 7),
		attribute.ByteSlice("bytes", []byte(latin1)), // bytes may be anything
	}
}

// useBadTexts makes tasks with an invalid byte in every text that the SDK takes.
func useBadTexts(t *testing.T, ins *Inspector) (tasks int) {
	t.Helper()
	ctx, task := ins.Begin(t.Context(), "open "+latin1, WithAttributes(latin1Attributes()...))
	task.Point("point "+latin1, latin1Attributes()...)
	Point(ctx, "point "+latin1, latin1Attributes()...)
	child, root := ins.Begin(ctx, "root", WithNewRoot(), WithAttributes(latin1Attributes()...))
	root.EndPanic("panic in " + latin1)
	task.End(errors.New("cannot open " + latin1 + ".txt"))
	_, late := ins.Begin(child, "late "+latin1)

	// A wait that lasts, on a lock with such a name, is a span, too.
	m := NewMutex("lock " + latin1)
	m.Lock()
	var waiter sync.WaitGroup
	waiting := make(chan *Task)
	waiter.Go(func() {
		_, w := ins.Begin(t.Context(), "waiter")
		waiting <- w
		m.Lock()
		m.Unlock() //nolint:staticcheck // the wait is the point
		w.End(nil)
	})
	w := <-waiting
	lockHolders(t, w.goroutine.Load())
	time.Sleep(time.Millisecond) // longer than min_wait
	m.Unlock()
	waiter.Wait()
	late.End(nil)
	return 4
}

func TestAnInvalidByteLosesNoSpanOfOurProvider(t *testing.T) {
	clearEnv(t)
	client, reports := new(strictClient), new(strictClient)
	exporter, err := otlptrace.New(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	ins, err := New(t.Context(), WithSpanExporter(exporter), WithReportClient(reports), WithMinWait(time.Microsecond),
		WithServiceName("service "+latin1), WithResourceAttributes(latin1Attributes()...))
	if err != nil {
		t.Fatal(err)
	}
	tasks := useBadTexts(t, ins)
	addPlainSpan(ins.TracerProvider())
	if err := ins.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if client.refused+reports.refused > 0 {
		t.Errorf("%d batches of spans and %d of reports cannot be encoded", client.refused, reports.refused)
	}
	spans := client.spans()
	names := make(map[string]int)
	for _, s := range spans {
		names[s.Name]++
	}
	for _, want := range []string{"open caf\uFFFD", "root", "late caf\uFFFD", "waiter", "wait mutex lock caf\uFFFD", "plain caf\uFFFD"} {
		if names[want] != 1 {
			t.Errorf("%d spans called %q: %v", names[want], want, names)
		}
	}
	if len(spans) != tasks+2 {
		t.Errorf("%d spans: %v", len(spans), names)
	}
	if len(reports.spans()) == 0 {
		t.Error("no report has arrived")
	}
}

// addPlainSpan has an invalid byte wherever a span can have a text.
func addPlainSpan(p trace.TracerProvider) {
	tracer := p.Tracer("scope "+latin1, trace.WithInstrumentationVersion("version "+latin1), trace.WithSchemaURL("schema "+latin1),
		trace.WithInstrumentationAttributes(latin1Attributes()...))
	linked := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	_, span := tracer.Start(context.Background(), "plain "+latin1, trace.WithAttributes(latin1Attributes()...),
		trace.WithLinks(trace.Link{SpanContext: linked, Attributes: latin1Attributes()}))
	span.AddEvent("event "+latin1, trace.WithAttributes(latin1Attributes()...))
	span.RecordError(errors.New("error " + latin1))
	span.SetStatus(codes.Error, "status "+latin1)
	span.End()
}

// With somebody else's provider the SDK itself puts no invalid text on a span.
func TestAnInvalidByteLosesNoSpanOfAnotherProvider(t *testing.T) {
	clearEnv(t)
	client := new(strictClient)
	exporter, err := otlptrace.New(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	res, err := NewResource(t.Context(), WithServiceName("service "+latin1), WithResourceAttributes(latin1Attributes()...))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(res))
	ins, err := New(t.Context(), WithTracerProvider(provider), WithResource(res), WithReports(false), WithMinWait(time.Microsecond))
	if err != nil {
		t.Fatal(err)
	}
	tasks := useBadTexts(t, ins)
	if err := errors.Join(ins.Shutdown(t.Context()), provider.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	if n := len(client.spans()); client.refused > 0 || n != tasks+1 {
		t.Errorf("%d spans arrived, want %d; %d batches cannot be encoded", n, tasks+1, client.refused)
	}
	failed := false
	for _, s := range client.spans() {
		for _, e := range s.Events {
			for _, a := range e.Attributes {
				failed = failed || e.Name == "exception" && a.Value.GetStringValue() == "cannot open caf\uFFFD.txt" && strings.Contains(s.Status.Message, "caf\uFFFD")
			}
		}
	}
	if !failed {
		t.Error("no span tells the error")
	}
}

// NewSpanExporter makes the texts of any span valid and changes nothing else.
func TestSpanExporterReplacesInvalidBytesOnly(t *testing.T) {
	res := resource.NewWithAttributes("https://schema/"+latin1, latin1Attributes()...)
	export := func(wrap func(sdktrace.SpanExporter) sdktrace.SpanExporter, res *resource.Resource, spans func(trace.TracerProvider)) tracetest.SpanStubs {
		exporter := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(wrap(exporter)), sdktrace.WithResource(res))
		spans(provider)
		return exporter.GetSpans()
	}
	got := export(NewSpanExporter, res, addPlainSpan)[0]
	want := func() []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("text", "caf\uFFFD"),
			attribute.StringSlice("texts", []string{"good", "caf\uFFFD"}),
			attribute.Slice("mixed", attribute.IntValue(1), attribute.StringValue("caf\uFFFD"), attribute.SliceValue(attribute.StringSliceValue([]string{"caf\uFFFD"}))),
			attribute.String("key caf\uFFFD", "good"),
			attribute.Int("number", 7),
			attribute.ByteSlice("bytes", []byte(latin1)),
		}
	}
	set := attribute.NewSet(want()...)
	for what, pair := range map[string][2]any{
		"name":             {got.Name, "plain caf\uFFFD"},
		"attributes":       {got.Attributes, want()},
		"event":            {got.Events[0].Name, "event caf\uFFFD"},
		"event attributes": {got.Events[0].Attributes, want()},
		"error":            {got.Events[1].Attributes[1], attribute.String("exception.message", "error caf\uFFFD")},
		"link attributes":  {got.Links[0].Attributes, want()},
		"linked span":      {got.Links[0].SpanContext.SpanID(), trace.SpanID{2}},
		"status":           {got.Status, sdktrace.Status{Code: codes.Error, Description: "status caf\uFFFD"}},
		"resource":         {got.Resource, resource.NewWithAttributes("https://schema/caf\uFFFD", want()...)},
		"scope": {got.InstrumentationScope, instrumentation.Scope{
			Name: "scope caf\uFFFD", Version: "version caf\uFFFD", SchemaURL: "schema caf\uFFFD", Attributes: set,
		}},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}

	// What is valid is handed on as it is, also beside what is not.
	good := func(p trace.TracerProvider) {
		_, span := p.Tracer("scope").Start(context.Background(), "café", trace.WithAttributes(attribute.String("text", "ä\U0001F512")))
		span.AddEvent("event")
		span.End()
	}
	var seen []sdktrace.ReadOnlySpan
	watch := func(sdktrace.SpanExporter) sdktrace.SpanExporter {
		return NewSpanExporter(exporterFunc(func(spans []sdktrace.ReadOnlySpan) { seen = append(seen, spans...) }))
	}
	export(watch, resource.Empty(), good)
	if _, changed := seen[0].(*validSpan); changed || seen[0].Name() != "café" {
		t.Errorf("a valid span was changed: %T", seen[0])
	}
}

type exporterFunc func([]sdktrace.ReadOnlySpan)

func (f exporterFunc) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	f(spans)
	return nil
}
func (exporterFunc) Shutdown(context.Context) error { return nil }

// The spans belong to the processor, which may hand them to another exporter, too.
func TestSpanExporterLeavesTheBatchAlone(t *testing.T) {
	stubs := tracetest.SpanStubs{
		{Name: "good", Resource: resource.Empty()},
		{Name: latin1, Resource: resource.Empty(), Attributes: latin1Attributes()},
		{Name: "last", Resource: resource.Empty()},
	}
	batch := stubs.Snapshots()
	before := append([]sdktrace.ReadOnlySpan(nil), batch...)
	var names []string
	e := NewSpanExporter(exporterFunc(func(spans []sdktrace.ReadOnlySpan) {
		for _, s := range spans {
			names = append(names, s.Name())
		}
	}))
	if err := e.ExportSpans(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if want := []string{"good", "caf\uFFFD", "last"}; !reflect.DeepEqual(names, want) {
		t.Errorf("exported %q, want %q", names, want)
	}
	for i := range batch {
		if batch[i].Name() != before[i].Name() {
			t.Errorf("span %d of the batch has been replaced", i)
		}
	}
	if !reflect.DeepEqual(stubs[1].Attributes, latin1Attributes()) {
		t.Error("the span's attributes have been changed")
	}
}

// A process whose names exceed the limit would be refused.
func TestTheNamesOfAProcessKeepToTheLimit(t *testing.T) {
	clearEnv(t)
	res, err := NewResource(t.Context(), WithServiceName(strings.Repeat("s", 300)),
		WithResourceAttributes(attribute.String(taskspan.ServiceInstanceID, strings.Repeat("i", 301)), attribute.String("other", strings.Repeat("o", 302))))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[attribute.Key]int{taskspan.ServiceName: 256, taskspan.ServiceInstanceID: 256, "other": 302} {
		if got, _ := res.Set().Value(key); len(got.AsString()) != want {
			t.Errorf("%s has %d bytes, want %d", key, len(got.AsString()), want)
		}
	}
}

// Each span of a batch is looked at with its own resource and scope.
func TestABatchOfSeveralOrigins(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	var batch tracetest.SpanStubs
	origins := []struct{ resource, scope string }{
		{"good", "good"}, {"good", "bad\xff"}, {"good", "good"}, {"bad\xff", "good"}, {"good", "good"}, {"bad\xff", "worse\xff"}, {"worse\xff", "worse\xff"},
	}
	for _, o := range origins {
		batch = append(batch, tracetest.SpanStub{
			Name: "x", Resource: resource.NewSchemaless(attribute.String("is", o.resource)), InstrumentationScope: instrumentation.Scope{Name: o.scope},
		})
	}
	if err := NewSpanExporter(exporter).ExportSpans(context.Background(), batch.Snapshots()); err != nil {
		t.Fatal(err)
	}
	valid := func(s string) string { return strings.ReplaceAll(s, "\xff", "\uFFFD") }
	for i, s := range exporter.GetSpans() {
		is, _ := s.Resource.Set().Value("is")
		if is.AsString() != valid(origins[i].resource) || s.InstrumentationScope.Name != valid(origins[i].scope) {
			t.Errorf("span %d has the resource %q and the scope %q", i, is.AsString(), s.InstrumentationScope.Name)
		}
	}
	if n := len(exporter.GetSpans()); n != len(origins) {
		t.Errorf("%d spans arrive", n)
	}
}
