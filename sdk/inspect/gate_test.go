package inspect_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// What is not about inspection is the same while the SDK is on, off and compiled out:
// these tests run with and without the build tag, and both ways with the SDK turned off.
func eachWay(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, env := range []string{"", "ASYNC_INSPECT_ENABLED=false", "OTEL_SDK_DISABLED=true"} {
		t.Run(env, func(t *testing.T) {
			for _, kv := range os.Environ() {
				if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "ASYNC_INSPECT_") {
					t.Setenv(name, "")
				}
			}
			if name, value, set := strings.Cut(env, "="); set {
				t.Setenv(name, value)
			}
			test(t)
		})
	}
}

// keep samples what has its name.
type keep string

func (k keep) ShouldSample(name string) bool { return name == string(k) }

func TestTheServicesOwnTracingIsTheSame(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		ctx := t.Context()
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
		res, err := inspect.NewResource(ctx, inspect.WithServiceName("shop"), inspect.WithResourceAttributes(attribute.String("region", "north")))
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[attribute.Key]string{"service.name": "shop", "region": "north", "deployment.environment.name": "test"} {
			if got, _ := res.Set().Value(key); got.String() != want {
				t.Errorf("%s is %q, want %q", key, got.String(), want)
			}
		}
		for _, key := range []attribute.Key{"service.instance.id", "process.pid", "host.name"} {
			if !res.Set().HasValue(key) {
				t.Errorf("the resource has no %s", key)
			}
		}

		for _, test := range []struct {
			name    string
			sampler sdktrace.Sampler
			want    []string
		}{
			{"OTelSampler", sdktrace.ParentBased(inspect.OTelSampler(keep("checkout"))), []string{"checkout", "inner"}},
			{"WrapSampler of always", inspect.WrapSampler(sdktrace.AlwaysSample()), []string{"checkout", "inner", "inner", "search"}},
			{"WrapSampler of never", inspect.WrapSampler(sdktrace.NeverSample()), nil},
		} {
			exporter := tracetest.NewInMemoryExporter()
			p := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSyncer(exporter), sdktrace.WithSampler(test.sampler),
				sdktrace.WithSpanProcessor(inspect.NewSpanProcessor()))
			ins, err := inspect.Start(ctx, inspect.WithResource(res), inspect.WithTracerProvider(p), inspect.WithReports(false))
			if err != nil {
				t.Fatal(err)
			}
			// The epoch promises heartbeats. Without them the collector counts the spans.
			if on := inspect.Enabled(ctx); res.Set().HasValue("async_inspect.process.epoch") != on {
				t.Errorf("the resource has an epoch: %v; on: %v", !on, on)
			}
			for _, name := range []string{"checkout", "search"} {
				ctx, span := p.Tracer("app").Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
				_, inner := p.Tracer("app").Start(ctx, "inner", trace.WithSpanKind(trace.SpanKindClient))
				inner.End()
				span.End()
			}
			if err := ins.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			var got []string
			for _, s := range exporter.GetSpans() {
				got = append(got, s.Name)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("%s: exported %q, want %q", test.name, got, test.want)
			}
		}
	})
}

func TestProvidersThatAreGivenAreTheSame(t *testing.T) {
	before, propagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	defer func() { otel.SetTracerProvider(before); otel.SetTextMapPropagator(propagator) }()
	eachWay(t, func(t *testing.T) {
		otel.SetTracerProvider(noop.NewTracerProvider())
		p := sdktrace.NewTracerProvider()
		ins, err := inspect.New(t.Context(), inspect.WithTracerProvider(p), inspect.WithReports(false))
		if err != nil {
			t.Fatal(err)
		}
		if got := ins.TracerProvider(); got != trace.TracerProvider(p) {
			t.Errorf("the Inspector's provider is %v", got)
		}
		if otel.GetTracerProvider() == trace.TracerProvider(p) {
			t.Error("the provider became the global one and was not to")
		}
		_ = ins.Shutdown(t.Context())

		ins, err = inspect.New(t.Context(), inspect.WithTracerProvider(p), inspect.WithReports(false), inspect.WithGlobalTracerProvider())
		if err != nil {
			t.Fatal(err)
		}
		defer ins.Shutdown(t.Context())
		if otel.GetTracerProvider() != trace.TracerProvider(p) {
			t.Error("the provider is not the global one")
		}
	})
}

// closing notes that it was shut down.
type closing struct {
	tracetest.NoopExporter
	times int
	err   error
}

func (c *closing) Shutdown(context.Context) error { c.times++; return c.err }

func TestExportersThatAreGivenAreShutDown(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		c := &closing{err: errors.New("disk full")}
		ins, err := inspect.New(t.Context(), inspect.WithSpanExporter(c), inspect.WithReports(false))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := ins.Shutdown(t.Context()); !errors.Is(err, c.err) {
				t.Errorf("Shutdown returned %v, the exporter %v", err, c.err)
			}
		}
		if c.times != 1 {
			t.Errorf("the exporter was shut down %d times", c.times)
		}
	})
}

// A resource that cannot be made is an error in every build, and so is a variable from
// which one cannot tell whether the SDK is on.
func TestErrorsThatAreTheSame(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		for _, test := range []struct {
			option inspect.Option
			want   string
		}{{inspect.WithServiceName(""), "WithServiceName"}, {inspect.WithResource(nil), "WithResource"}} {
			if _, err := inspect.NewResource(t.Context(), test.option); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: the error is %v", test.want, err)
			}
		}
		if _, err := inspect.NewResource(t.Context(), inspect.WithSamplingRate(7)); err != nil {
			t.Errorf("the sampling rate is an error of the resource: %v", err)
		}
		t.Setenv("ASYNC_INSPECT_ENABLED", "perhaps")
		if _, err := inspect.New(t.Context()); err == nil || !strings.Contains(err.Error(), "ASYNC_INSPECT_ENABLED") {
			t.Errorf("ASYNC_INSPECT_ENABLED=perhaps: the error is %v", err)
		}
	})
}

// With the build tag, locks are as large as those of package sync.
func TestCompiledOutLocksAreThoseOfPackageSync(t *testing.T) {
	if compiledIn() {
		t.Skip("with the build tag noinspect")
	}
	for _, test := range []struct {
		name       string
		ours, sync uintptr
	}{
		{"Mutex", unsafe.Sizeof(inspect.Mutex{}), unsafe.Sizeof(sync.Mutex{})},
		{"RWMutex", unsafe.Sizeof(inspect.RWMutex{}), unsafe.Sizeof(sync.RWMutex{})},
	} {
		if test.ours != test.sync {
			t.Errorf("a %s takes %d bytes, that of package sync %d", test.name, test.ours, test.sync)
		}
	}
}

// compiledIn reports whether this build inspects.
func compiledIn() bool {
	ins, err := inspect.New(context.Background(), inspect.WithReports(false), inspect.WithoutExport())
	if err != nil {
		return false
	}
	defer ins.Shutdown(context.Background())
	_, task := ins.Begin(context.Background(), "probe")
	task.End(nil)
	return task != nil
}

// everything uses all of the API that an application uses.
const everything = `package main

import (
	"context"
	"sync"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func main() {
	ctx := context.Background()
	ins, err := inspect.Start(ctx, inspect.WithServiceName("shop"))
	if err != nil {
		panic(err)
	}
	defer ins.Shutdown(ctx)
	ctx, task := inspect.Begin(ctx, "checkout")
	defer task.End(nil)
	task.Point("here")
	var (
		locks = []sync.Locker{new(inspect.Mutex), new(inspect.RWMutex)}
		wg    inspect.WaitGroup
		one   inspect.Flight[int]
	)
	for _, l := range locks {
		l.Lock()
		l.Unlock()
	}
	c := inspect.NewChan[int]("jobs", 1)
	s := inspect.NewSemaphore("places", 2)
	g, ctx := inspect.NewGroup(ctx, "group")
	g.SetLimit(1)
	g.Go("send", func(ctx context.Context) error { return c.Sender(ctx).Send(ctx, 3) })
	g.Wait()
	inspect.Select(ctx, inspect.ReceiveCase(c, nil), inspect.DefaultCase())
	s.Acquire(ctx, 1)
	s.Release(1)
	wg.Go(ctx, "x", func(context.Context) error { return nil })
	wg.Wait()
	one.Do(ctx, "key", func(context.Context) (int, error) { return 1, nil })
	inspect.NewCond("ready", locks[0]).Broadcast()
	inspect.NewExternal("lock").Acquire(ctx, func(context.Context) error { return nil })
	inspect.Go(ctx, "y", func(context.Context) error { return nil }).Wait(ctx)
	inspect.Wait(ctx, taskspan.WaitIO, "disk", func(context.Context) error { return nil })
	inspect.Sleep(ctx, 1)
	inspect.Deadlocks()
	inspect.Tasks()
}
`

// With the build tag nothing of the inspection is linked: neither the reporter, nor what
// it sends with, nor what a type drags along.
func TestCompiledOutIsNotLinked(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two programs")
	}
	symbols := func(tags string) (names []string) {
		dir := t.TempDir()
		source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "main")
		if err := os.WriteFile(source, []byte(everything), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "build", "-tags", tags, "-o", program, source).CombinedOutput(); err != nil {
			t.Fatalf("build with the tags %q: %v\n%s", tags, err, out)
		}
		out, err := exec.Command("go", "tool", "nm", program).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); len(fields) > 2 {
				names = append(names, strings.Join(fields[2:], " "))
			}
		}
		return names
	}
	const sdk = "github.com/asyncinspect/asyncinspect/sdk/"
	inspection := []string{
		sdk + "internal/sender.", sdk + "internal/wire.(", sdk + "waitgraph.",
		sdk + "inspect.(*reporter)", sdk + "inspect.(*Inspector).start", sdk + "inspect.(*Inspector).newTask",
		sdk + "inspect.(*Inspector).TasksHandler", // not called: only the type would keep it
		sdk + "inspect.enterWait", sdk + "inspect.siteHere", sdk + "inspect.table", sdk + "inspect.readers",
		"google.golang.org/grpc", "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc.",
		"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp.", "go.opentelemetry.io/otel/sdk/trace.(*tracer)",
	}
	with, without := symbols(""), symbols("noinspect")
	for _, prefix := range inspection {
		of := func(names []string) int {
			n := 0
			for _, name := range names {
				if strings.HasPrefix(name, prefix) {
					n++
				}
			}
			return n
		}
		if of(with) == 0 && !strings.HasSuffix(prefix, "TasksHandler") {
			t.Errorf("without the tag nothing is called %s: the test does not look right", prefix)
		}
		if n := of(without); n > 0 {
			t.Errorf("with the tag %d symbols are called %s", n, prefix)
		}
	}
	if runtime.GOARCH == "amd64" && len(without)*3 > len(with)*2 {
		t.Errorf("%d symbols with the tag, %d without", len(without), len(with))
	}
}
