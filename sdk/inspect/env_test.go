//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
)

// clearEnv makes a test independent of where it runs.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "ASYNC_INSPECT_") {
			t.Setenv(name, "")
		}
	}
}

func TestModesSetTheirDefaults(t *testing.T) {
	clearEnv(t)
	for _, test := range []struct {
		mode                    Mode
		rate                    float64
		backtraces, allocations bool
	}{
		{Development, 1, true, true},
		{Analysis, 0.1, true, false},
		{Production, 0.01, false, false},
	} {
		c, err := newConfig([]Option{WithMode(test.mode)})
		if err != nil {
			t.Fatal(err)
		}
		if c.rate != test.rate || c.backtraces != test.backtraces || c.allocations != test.allocations {
			t.Errorf("%v: rate %v, backtraces %v, allocations %v", test.mode, c.rate, c.backtraces, c.allocations)
		}
	}
	c, err := newConfig(nil)
	if err != nil || c.mode != Development {
		t.Errorf("without options the mode is %v (%v)", c.mode, err)
	}
	if c.maxTasks != 10_000 || c.maxEvents != 100_000 {
		t.Errorf("limits are %d tasks and %d events", c.maxTasks, c.maxEvents)
	}
}

// Options go before ASYNC_INSPECT_*, that before OTEL_*, and that before the mode.
func TestPrecedence(t *testing.T) {
	rate := func(c *config) string { return fmt.Sprint(c.rate, " every span:", c.everySpan) }
	endpoint := func(c *config) string { return c.target() }
	lookLimit := func(c *config) string { return fmt.Sprint(c.lookLimit) }
	limits := func(c *config) string { return fmt.Sprint(c.maxTasks, " ", c.maxEvents, " ", c.maxTaskEvents) }
	mode := func(c *config) string { return c.mode.String() }
	for _, test := range []struct {
		name string
		env  string
		opts []Option
		get  func(*config) string
		want string
	}{
		{"mode alone", "ASYNC_INSPECT_MODE=production", nil, rate, "0.01 every span:false"},
		{"mode, any case", "ASYNC_INSPECT_MODE=Production", nil, mode, "production"},
		{"option over mode variable", "ASYNC_INSPECT_MODE=production", []Option{WithMode(Analysis)}, mode, "analysis"},
		{"mode option stands anywhere", "", []Option{WithSamplingRate(0.5), WithMode(Production)}, rate, "0.5 every span:false"},
		{"OTEL over mode", "ASYNC_INSPECT_MODE=production OTEL_TRACES_SAMPLER=parentbased_always_on", nil, rate, "1 every span:false"},
		{"own over OTEL", "ASYNC_INSPECT_SAMPLING=0.25 OTEL_TRACES_SAMPLER=always_on", nil, rate, "0.25 every span:false"},
		{"option over own", "ASYNC_INSPECT_SAMPLING=0.25", []Option{WithSamplingRate(0.75)}, rate, "0.75 every span:false"},
		{"variable over mode option", "ASYNC_INSPECT_SAMPLING=0.25", []Option{WithMode(Production)}, rate, "0.25 every span:false"},
		{"parentbased_traceidratio", "OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.125", nil, rate, "0.125 every span:false"},
		{"traceidratio", "OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0.125", nil, rate, "0.125 every span:true"},
		{"ratio without argument", "OTEL_TRACES_SAMPLER=traceidratio", nil, rate, "1 every span:true"},
		{"always_off", "OTEL_TRACES_SAMPLER=always_off", nil, rate, "0 every span:true"},
		{"argument without a sampler", "ASYNC_INSPECT_MODE=production OTEL_TRACES_SAMPLER_ARG=0.125", nil, rate, "0.01 every span:false"},
		{"argument of another sampler", "OTEL_TRACES_SAMPLER=parentbased_always_off OTEL_TRACES_SAMPLER_ARG=rubbish", nil, rate, "0 every span:false"},

		{"nothing", "", nil, endpoint, "http://localhost:4317"},
		{"nothing, http", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", nil, endpoint, "http://localhost:4318/v1/traces"},
		{"protocol of traces", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", nil, endpoint, "http://localhost:4318/v1/traces"},
		{"protocol option", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", []Option{WithProtocol("grpc")}, endpoint, "http://localhost:4317"},
		{"OTEL endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1", nil, endpoint, "http://a:1"},
		{"OTEL endpoint of traces", "OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1 OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://b:2", nil, endpoint, "https://b:2"},
		{"OTEL endpoint, http", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1/base/", nil, endpoint, "http://a:1/base/v1/traces"},
		{"OTEL endpoint of traces, http", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a:1/mine", nil, endpoint, "http://a:1/mine"},
		{"OTEL endpoint of traces, http, no path", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a:1", nil, endpoint, "http://a:1/"},
		{"own endpoint over OTEL", "ASYNC_INSPECT_OTLP_ENDPOINT=http://o:3 OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a:1/x", nil, endpoint, "http://o:3"},
		{"own endpoint, http", "ASYNC_INSPECT_OTLP_ENDPOINT=http://o:3 OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://a:1/x", nil, endpoint, "http://o:3/v1/traces"},
		{"option over own endpoint", "ASYNC_INSPECT_OTLP_ENDPOINT=http://o:3", []Option{WithEndpoint("http://p:4")}, endpoint, "http://p:4"},
		{"whole URL, http", "", []Option{WithProtocol("http/protobuf"), WithEndpoint("https://p:4/v1/traces")}, endpoint, "https://p:4/v1/traces"},
		{"host and port means TLS", "ASYNC_INSPECT_OTLP_ENDPOINT=collector:4317", nil, endpoint, "https://collector:4317"},
		{"but not to this host", "ASYNC_INSPECT_OTLP_ENDPOINT=localhost:5", nil, endpoint, "http://localhost:5"},
		{"nor to its address", "ASYNC_INSPECT_OTLP_ENDPOINT=[::1]:5", nil, endpoint, "http://[::1]:5"},
		{"nor with the variable", "ASYNC_INSPECT_OTLP_ENDPOINT=collector:4317 OTEL_EXPORTER_OTLP_INSECURE=true", nil, endpoint, "http://collector:4317"},
		{"nor with the option", "", []Option{WithInsecure(), WithEndpoint("collector:4317")}, endpoint, "http://collector:4317"},

		{"look limit", "ASYNC_INSPECT_LOOK_LIMIT=7", nil, lookLimit, "7"},
		{"look limit by option", "ASYNC_INSPECT_LOOK_LIMIT=7", []Option{WithLookLimit(9)}, lookLimit, "9"},
		{"look limit by default", "", nil, lookLimit, "5000"},
		{"limits", "ASYNC_INSPECT_MAX_TASKS=5 ASYNC_INSPECT_MAX_EVENTS=6 ASYNC_INSPECT_MAX_TASK_EVENTS=3", nil, limits, "5 6 3"},
		{
			"limits by option", "ASYNC_INSPECT_MAX_TASKS=5 ASYNC_INSPECT_MAX_EVENTS=6 ASYNC_INSPECT_MAX_TASK_EVENTS=3",
			[]Option{WithMaxTasks(7), WithMaxEvents(8), WithMaxTaskEvents(9)},
			limits, "7 8 9",
		},
		{"empty is not set", "ASYNC_INSPECT_MAX_TASKS=", nil, limits, "10000 100000 128"},
		{
			"batches", "OTEL_BSP_SCHEDULE_DELAY=1 OTEL_BSP_EXPORT_TIMEOUT=2 OTEL_BSP_MAX_QUEUE_SIZE=3 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=4", nil,
			func(c *config) string { return fmt.Sprint(c.batch.delay, c.batch.timeout, c.batch.queue, c.batch.size) }, "1ms 2ms 3 3",
		},
		{
			"no exporter", "OTEL_TRACES_EXPORTER=none", nil,
			func(c *config) string { return fmt.Sprint(c.export, c.reports) }, "false false",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			setEnv(t, test.env)
			c, err := newConfig(test.opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := test.get(c); got != test.want {
				t.Errorf("is %s, want %s", got, test.want)
			}
		})
	}
}

func setEnv(t *testing.T, env string) {
	t.Helper()
	for _, kv := range strings.Fields(env) {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

// An error names the variable or option, what it was, and what it can be.
func TestBadValuesAreNamed(t *testing.T) {
	for _, test := range []struct {
		env  string
		opts []Option
		want []string
	}{
		{env: "ASYNC_INSPECT_ENABLED=perhaps", want: []string{"ASYNC_INSPECT_ENABLED", `"perhaps"`, "true", "false"}},
		{env: "OTEL_SDK_DISABLED=perhaps", want: []string{"OTEL_SDK_DISABLED", `"perhaps"`}},
		{env: "ASYNC_INSPECT_MODE=prod", want: []string{"ASYNC_INSPECT_MODE", `"prod"`, "development, analysis or production"}},
		{env: "ASYNC_INSPECT_SAMPLING=10%", want: []string{"ASYNC_INSPECT_SAMPLING", `"10%"`, "between 0 and 1"}},
		{env: "ASYNC_INSPECT_SAMPLING=1.5", want: []string{"ASYNC_INSPECT_SAMPLING", `"1.5"`}},
		{env: "ASYNC_INSPECT_SAMPLING=NaN", want: []string{"ASYNC_INSPECT_SAMPLING", `"NaN"`}},
		{env: "ASYNC_INSPECT_MAX_TASKS=0", want: []string{"ASYNC_INSPECT_MAX_TASKS", `"0"`, "between 1 and"}},
		{env: "ASYNC_INSPECT_MAX_EVENTS=1e5", want: []string{"ASYNC_INSPECT_MAX_EVENTS", `"1e5"`}},
		{env: "ASYNC_INSPECT_MAX_TASK_EVENTS=0", want: []string{"ASYNC_INSPECT_MAX_TASK_EVENTS", `"0"`}},
		{env: "ASYNC_INSPECT_MAX_EVENTS=99999999999", want: []string{"ASYNC_INSPECT_MAX_EVENTS", `"99999999999"`}},
		{env: "ASYNC_INSPECT_OTLP_ENDPOINT=ftp://x", want: []string{"ASYNC_INSPECT_OTLP_ENDPOINT", `"ftp://x"`, "host:port"}},
		{env: "ASYNC_INSPECT_OTLP_ENDPOINT=http://user:secret@x", want: []string{"ASYNC_INSPECT_OTLP_ENDPOINT"}},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=:4317", want: []string{"OTEL_EXPORTER_OTLP_ENDPOINT"}},
		{env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=unix:///x", want: []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "unix"}},
		{env: "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", want: []string{"OTEL_EXPORTER_OTLP_PROTOCOL", `"http/json"`, "grpc or http/protobuf"}},
		{env: "OTEL_EXPORTER_OTLP_INSECURE=yes", want: []string{"OTEL_EXPORTER_OTLP_INSECURE", `"yes"`}},
		{env: "OTEL_TRACES_EXPORTER=console", want: []string{"OTEL_TRACES_EXPORTER", `"console"`, "otlp or none"}},
		{env: "OTEL_TRACES_SAMPLER=jaeger_remote", want: []string{"OTEL_TRACES_SAMPLER", `"jaeger_remote"`, "traceidratio"}},
		{env: "OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=2", want: []string{"OTEL_TRACES_SAMPLER_ARG", `"2"`}},
		{env: "OTEL_TRACES_SAMPLER_ARG=3", want: []string{"OTEL_TRACES_SAMPLER_ARG", `"3"`}},
		{env: "OTEL_BSP_MAX_QUEUE_SIZE=-1", want: []string{"OTEL_BSP_MAX_QUEUE_SIZE", `"-1"`}},

		{opts: []Option{WithMode(7)}, want: []string{"WithMode", "Mode(7)", "Development"}},
		{opts: []Option{WithServiceName("")}, want: []string{"WithServiceName"}},
		{opts: []Option{WithResource(nil)}, want: []string{"WithResource"}},
		{opts: []Option{WithEndpoint("")}, want: []string{"WithEndpoint", `""`}},
		{opts: []Option{WithProtocol("http")}, want: []string{"WithProtocol", `"http"`, "grpc or http/protobuf"}},
		{opts: []Option{WithSamplingRate(-0.1)}, want: []string{"WithSamplingRate", "-0.1", "between 0 and 1"}},
		{opts: []Option{WithAdaptiveSampler(AdaptiveConfig{MinRate: 0.5})}, want: []string{"WithAdaptiveSampler", "0.5", "0.1"}},
		{opts: []Option{WithAdaptiveSampler(AdaptiveConfig{TargetOverhead: 2})}, want: []string{"WithAdaptiveSampler", "TargetOverhead", "2"}},
		{opts: []Option{WithSampler(nil)}, want: []string{"WithSampler: "}},
		{opts: []Option{WithOTelSampler(nil)}, want: []string{"WithOTelSampler"}},
		{opts: []Option{WithTracerProvider(nil)}, want: []string{"WithTracerProvider"}},
		{opts: []Option{WithSpanExporter(nil)}, want: []string{"WithSpanExporter"}},
		{opts: []Option{WithReportClient(nil)}, want: []string{"WithReportClient"}},
		{opts: []Option{WithLookLimit(0)}, want: []string{"WithLookLimit", "is 0", "between 1 and"}},
		{opts: []Option{WithMaxTaskEvents(-1)}, want: []string{"WithMaxTaskEvents", "-1", "between 1 and"}},
		{opts: []Option{WithMaxTasks(0)}, want: []string{"WithMaxTasks", "0", "between 1 and"}},
		{opts: []Option{WithMaxEvents(-1)}, want: []string{"WithMaxEvents", "-1"}},
		{opts: []Option{WithStuckAfter(time.Millisecond)}, want: []string{"WithStuckAfter", "1ms", "10ms"}},
		{opts: []Option{WithLongTask(0)}, want: []string{"WithLongTask"}},
		{opts: []Option{WithMinWait(-1)}, want: []string{"WithMinWait"}},
		{opts: []Option{WithHeartbeatInterval(time.Hour)}, want: []string{"WithHeartbeatInterval", "1h"}},
		{opts: []Option{WithOTelSampler(trace.AlwaysSample()), WithSampler(envSampler{})}, want: []string{"WithSampler", "WithOTelSampler", "only one"}},
		{opts: []Option{WithTracerProvider(trace.NewTracerProvider()), WithSampler(envSampler{})}, want: []string{"WithTracerProvider", "sampler"}},
		{
			env: "ASYNC_INSPECT_MAX_TASKS=x ASYNC_INSPECT_SAMPLING=y", opts: []Option{WithStuckAfter(0)},
			want: []string{"ASYNC_INSPECT_MAX_TASKS", "ASYNC_INSPECT_SAMPLING", "WithStuckAfter"},
		},
	} {
		t.Run(test.env+strings.Join(test.want[:1], ""), func(t *testing.T) {
			clearEnv(t)
			setEnv(t, test.env)
			ins, err := New(context.Background(), test.opts...)
			if err == nil {
				_ = ins.Shutdown(context.Background())
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %s:\n%v", want, err)
				}
			}
		})
	}
}

type envSampler struct{}

func (envSampler) ShouldSample(string) bool { return true }

// Who runs the service can always turn the SDK off, whatever else is wrong.
func TestOffIsOff(t *testing.T) {
	for _, env := range []string{
		"ASYNC_INSPECT_ENABLED=false", "ASYNC_INSPECT_ENABLED=0", "OTEL_SDK_DISABLED=true", "OTEL_SDK_DISABLED=TRUE",
		"ASYNC_INSPECT_ENABLED=true OTEL_SDK_DISABLED=true", "ASYNC_INSPECT_ENABLED=false ASYNC_INSPECT_MODE=rubbish",
	} {
		t.Run(env, func(t *testing.T) {
			clearEnv(t)
			setEnv(t, env)
			ins, err := Start(context.Background(), WithServiceName(""))
			if err != nil || ins == nil {
				t.Fatal(ins, err)
			}
			if Default() != nil {
				t.Error("there is a default Inspector")
			}
			ctx := context.Background()
			if got, task := ins.Begin(ctx, "x"); task != nil || got != ctx {
				t.Error("it begins tasks")
			}
			if ins.reporter != nil || ins.own != nil {
				t.Error("it has a reporter or a provider")
			}
			if err := ins.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// Each limit of an option from both sides.
func TestLimitsOfOptions(t *testing.T) {
	clearEnv(t)
	adaptive := func(least, most, overhead float64) Option {
		return WithAdaptiveSampler(AdaptiveConfig{MinRate: least, MaxRate: most, TargetOverhead: overhead})
	}
	aboveMax := math.MaxInt32
	aboveMax++ // below 0 where an int has 32 bits, which does not fit either
	for name, of := range map[string]struct{ fit, unfit []Option }{
		"rate": {
			[]Option{WithSamplingRate(0), WithSamplingRate(0.3), WithSamplingRate(1)},
			[]Option{WithSamplingRate(-1e-9), WithSamplingRate(1 + 1e-9), WithSamplingRate(math.NaN())},
		},
		"adaptive": {
			[]Option{adaptive(0.2, 0.2, 0.5), adaptive(1e-9, 1, 1e-9), adaptive(1, 1, 0.999)},
			[]Option{adaptive(0.3, 0.2, 0.5), adaptive(-0.1, 0.2, 0.5), adaptive(0.1, 1.1, 0.5), adaptive(0.1, 0.2, 1), adaptive(0.1, 0.2, -0.1)},
		},
		"tasks":       {[]Option{WithMaxTasks(1), WithMaxTasks(math.MaxInt32)}, []Option{WithMaxTasks(0), WithMaxTasks(-1), WithMaxTasks(aboveMax)}},
		"events":      {[]Option{WithMaxEvents(1), WithMaxEvents(math.MaxInt32)}, []Option{WithMaxEvents(0), WithMaxEvents(aboveMax)}},
		"task events": {[]Option{WithMaxTaskEvents(1), WithMaxTaskEvents(math.MaxInt32)}, []Option{WithMaxTaskEvents(0), WithMaxTaskEvents(aboveMax)}},
		"stuck":       {[]Option{WithStuckAfter(10 * time.Millisecond), WithStuckAfter(time.Hour)}, []Option{WithStuckAfter(10*time.Millisecond - 1), WithStuckAfter(time.Hour + 1)}},
		"long": {
			[]Option{WithLongTask(10 * time.Millisecond), WithLongTask(24 * time.Hour)},
			[]Option{WithLongTask(10*time.Millisecond - 1), WithLongTask(24*time.Hour + 1)},
		},
		"wait": {[]Option{WithMinWait(0), WithMinWait(time.Hour)}, []Option{WithMinWait(-1), WithMinWait(time.Hour + 1)}},
		"heartbeats": {
			[]Option{WithHeartbeatInterval(100 * time.Millisecond), WithHeartbeatInterval(10 * time.Minute)},
			[]Option{WithHeartbeatInterval(100*time.Millisecond - 1), WithHeartbeatInterval(10*time.Minute + 1)},
		},
		"samplers": {
			[]Option{WithSampler(everything{}), WithOTelSampler(trace.AlwaysSample())},
			[]Option{
				options(WithSampler(everything{}), WithOTelSampler(trace.AlwaysSample())), options(adaptive(0.1, 0.2, 0.3), WithSampler(everything{})),
				options(adaptive(0.1, 0.2, 0.3), WithOTelSampler(trace.AlwaysSample())),
			},
		},
		"headers": {
			[]Option{WithHeaders(map[string]string{"a-Z_0.9": " ~!"})},
			[]Option{WithHeaders(map[string]string{"": "x"}), WithHeaders(map[string]string{"a b": "x"}), WithHeaders(map[string]string{"a": "\x1f"}), WithHeaders(map[string]string{"a": "\x7f"})},
		},
	} {
		for i, o := range of.fit {
			if _, err := newConfig([]Option{o}); err != nil {
				t.Errorf("%s %d: %v", name, i, err)
			}
		}
		for i, o := range of.unfit {
			if _, err := newConfig([]Option{o}); err == nil {
				t.Errorf("%s %d: no error", name, i)
			}
		}
	}
}

// options are several as one.
func options(all ...Option) Option {
	return optionFunc(func(c *config) {
		for _, o := range all {
			o.apply(c)
		}
	})
}

type everything struct{}

func (everything) ShouldSample(string) bool { return true }
