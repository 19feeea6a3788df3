package inspect

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Option configures an Inspector. What the code sets goes before what the
// environment says; see the package documentation for the order.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// Sampler decides about a whole trace by the name of its first task. ShouldSample
// is called concurrently.
type Sampler interface {
	ShouldSample(taskName string) bool
}

// AdaptiveConfig bounds the adaptive sampler. A zero field takes its default.
type AdaptiveConfig struct {
	MinRate        float64 // default 0.001
	MaxRate        float64 // default 0.1
	TargetOverhead float64 // share of the process's CPU time, default 0.02
}

const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// config is what an Inspector is made from: the mode's defaults, then the
// environment, then the options.
type config struct {
	enabled     bool
	mode        Mode
	rate        float64
	adaptive    *AdaptiveConfig
	sampler     Sampler
	otelSampler sdktrace.Sampler

	serviceName string
	attributes  []attribute.KeyValue

	endpoint string // "": the OTLP exporter's own environment decides
	protocol string
	headers  map[string]string
	export   bool // spans are exported

	provider       trace.TracerProvider // somebody else's
	globalProvider bool
	spanExporter   sdktrace.SpanExporter
	reportClient   otlptrace.Client

	maxTasks    int
	maxEvents   int
	backtraces  bool
	allocations bool
	labels      bool
	remoteWaits bool
	reports     bool
	logger      *slog.Logger

	stuckAfter        time.Duration
	longTask          time.Duration
	minWait           time.Duration
	heartbeatInterval time.Duration
}

func defaultConfig() *config {
	return &config{
		enabled: true, export: true, protocol: protocolGRPC,
		maxTasks: 10_000, maxEvents: 100_000,
		labels: true, remoteWaits: true, reports: true, logger: slog.Default(),
		stuckAfter: time.Second, longTask: 30 * time.Second,
		minWait: 10 * time.Millisecond, heartbeatInterval: 5 * time.Second,
	}
}

// validate names every value that cannot be used, by the option that sets it.
func (c *config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !(c.rate >= 0 && c.rate <= 1) {
		bad("sampling rate (WithSamplingRate, ASYNC_INSPECT_SAMPLING): must be between 0 and 1, is %v", c.rate)
	}
	if a := c.adaptive; a != nil {
		if !(a.MinRate > 0 && a.MinRate <= a.MaxRate && a.MaxRate <= 1) {
			bad("WithAdaptiveSampler: must be 0 < MinRate <= MaxRate <= 1, are %v and %v", a.MinRate, a.MaxRate)
		}
		if !(a.TargetOverhead > 0 && a.TargetOverhead < 1) {
			bad("WithAdaptiveSampler: TargetOverhead must be between 0 and 1, is %v", a.TargetOverhead)
		}
	}
	if c.maxTasks <= 0 || c.maxTasks > math.MaxInt32 {
		bad("max tasks (WithMaxTasks, ASYNC_INSPECT_MAX_TASKS): must be between 1 and %d, is %d", math.MaxInt32, c.maxTasks)
	}
	if c.maxEvents <= 0 || c.maxEvents > math.MaxInt32 {
		bad("max events (WithMaxEvents, ASYNC_INSPECT_MAX_EVENTS): must be between 1 and %d, is %d", math.MaxInt32, c.maxEvents)
	}
	if c.protocol != protocolGRPC && c.protocol != protocolHTTP {
		bad("protocol (WithProtocol, OTEL_EXPORTER_OTLP_PROTOCOL): must be %s or %s, is %q", protocolGRPC, protocolHTTP, c.protocol)
	}
	for _, d := range []struct {
		name     string
		value    time.Duration
		at, upTo time.Duration
	}{
		{"WithStuckAfter", c.stuckAfter, 10 * time.Millisecond, time.Hour},
		{"WithLongTask", c.longTask, 10 * time.Millisecond, 24 * time.Hour},
		{"WithMinWait", c.minWait, 0, time.Hour},
		{"WithHeartbeatInterval", c.heartbeatInterval, 100 * time.Millisecond, 10 * time.Minute},
	} {
		if d.value < d.at || d.value > d.upTo {
			bad("%s: must be between %v and %v, is %v", d.name, d.at, d.upTo, d.value)
		}
	}
	samplers := 0
	for _, set := range []bool{c.adaptive != nil, c.sampler != nil, c.otelSampler != nil} {
		if set {
			samplers++
		}
	}
	if samplers > 1 {
		bad("WithAdaptiveSampler, WithSampler and WithOTelSampler: only one of them can decide")
	}
	if c.provider != nil && samplers > 0 {
		bad("WithTracerProvider: its own sampler decides, so no sampler can be given; wrap its sampler instead")
	}
	return errors.Join(errs...)
}

// WithMode sets the defaults for a purpose. Options for single values go before it.
func WithMode(m Mode) Option { return modeOption(m) }

// modeOption is applied before all other options, wherever it stands.
type modeOption Mode

func (m modeOption) apply(*config) {}

// WithServiceName sets service.name.
func WithServiceName(name string) Option {
	return optionFunc(func(c *config) { c.serviceName = name })
}

// WithResourceAttributes adds attributes to the resource, such as
// deployment.environment.name or a fixed service.instance.id.
func WithResourceAttributes(attrs ...attribute.KeyValue) Option {
	return optionFunc(func(c *config) { c.attributes = append(c.attributes, attrs...) })
}

// WithEndpoint sets where spans and reports go: host:port, or a URL, whose scheme
// says whether TLS is used. The default is localhost:4317 without TLS.
func WithEndpoint(endpoint string) Option {
	return optionFunc(func(c *config) { c.endpoint = endpoint })
}

// WithProtocol sets the OTLP protocol: grpc, the default, or http/protobuf.
func WithProtocol(protocol string) Option {
	return optionFunc(func(c *config) { c.protocol = protocol })
}

// WithHeaders sets headers that go with every export, such as an authorization.
func WithHeaders(headers map[string]string) Option {
	return optionFunc(func(c *config) { c.headers = headers })
}

// WithSamplingRate samples this share of traces, decided by the trace id, so that
// services with the same rate keep the same traces.
func WithSamplingRate(rate float64) Option {
	return optionFunc(func(c *config) { c.rate, c.adaptive, c.sampler, c.otelSampler = rate, nil, nil, nil })
}

// WithAdaptiveSampler lets the SDK's own measured share of the CPU steer the rate.
func WithAdaptiveSampler(a AdaptiveConfig) Option {
	return optionFunc(func(c *config) {
		if a.MinRate == 0 {
			a.MinRate = 0.001
		}
		if a.MaxRate == 0 {
			a.MaxRate = 0.1
		}
		if a.TargetOverhead == 0 {
			a.TargetOverhead = 0.02
		}
		c.adaptive = &a
	})
}

// WithSampler lets s decide about each trace that begins in this process.
func WithSampler(s Sampler) Option { return optionFunc(func(c *config) { c.sampler = s }) }

// WithOTelSampler lets any OpenTelemetry sampler decide about each trace that
// begins in this process. Children follow their parents, as under a parent-based
// sampler.
func WithOTelSampler(s sdktrace.Sampler) Option {
	return optionFunc(func(c *config) { c.otelSampler = s })
}

// WithTracerProvider makes tasks spans of an existing provider, which samples and
// exports them. Reports still go out by the SDK's own client. To let client spans
// show as remote waits, add [NewSpanProcessor] to the provider and wrap its sampler
// with [WrapSampler].
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(c *config) { c.provider = p })
}

// WithGlobalTracerProvider makes the Inspector's provider OpenTelemetry's global
// one, so that instrumentation libraries use it.
func WithGlobalTracerProvider() Option {
	return optionFunc(func(c *config) { c.globalProvider = true })
}

// WithMaxTasks bounds the live tasks that are listed and can be seen. More are
// counted exactly and not listed. The default is 10,000.
func WithMaxTasks(n int) Option { return optionFunc(func(c *config) { c.maxTasks = n }) }

// WithMaxEvents bounds the inspection points that are kept for live tasks. More are
// counted exactly and not kept. The default is 100,000.
func WithMaxEvents(n int) Option { return optionFunc(func(c *config) { c.maxEvents = n }) }

// WithStuckAfter sets how long a wait lasts before it is reported. The default is a
// second.
func WithStuckAfter(d time.Duration) Option { return optionFunc(func(c *config) { c.stuckAfter = d }) }

// WithLongTask sets how long a task runs before it is reported. The default is 30 s.
func WithLongTask(d time.Duration) Option { return optionFunc(func(c *config) { c.longTask = d }) }

// WithMinWait sets how long a wait lasts before it becomes a span of a sampled
// trace. The default is 10 ms.
func WithMinWait(d time.Duration) Option { return optionFunc(func(c *config) { c.minWait = d }) }

// WithHeartbeatInterval sets how often the process says what is true. The default
// is 5 s.
func WithHeartbeatInterval(d time.Duration) Option {
	return optionFunc(func(c *config) { c.heartbeatInterval = d })
}

// WithBacktraces sets whether waits carry the stack of their goroutine. Places
// (function, file, line) are always there.
func WithBacktraces(on bool) Option { return optionFunc(func(c *config) { c.backtraces = on }) }

// WithTrackAllocations sets whether sampled tasks carry what was allocated while
// they ran. The runtime counts allocations of the whole process and not of
// goroutines: the numbers are those of one task only if nothing else ran.
func WithTrackAllocations(on bool) Option { return optionFunc(func(c *config) { c.allocations = on }) }

// WithPprofLabels sets whether goroutines carry the name of their task as a pprof
// label, so that CPU and goroutine profiles show tasks. On by default.
func WithPprofLabels(on bool) Option { return optionFunc(func(c *config) { c.labels = on }) }

// WithRemoteWaits sets whether open client spans show as waits. On by default.
func WithRemoteWaits(on bool) Option { return optionFunc(func(c *config) { c.remoteWaits = on }) }

// WithReports sets whether what is stuck is reported, and heartbeats are sent. On by
// default.
func WithReports(on bool) Option { return optionFunc(func(c *config) { c.reports = on }) }

// WithSpanExporter exports task spans by e instead of OTLP.
func WithSpanExporter(e sdktrace.SpanExporter) Option {
	return optionFunc(func(c *config) { c.spanExporter = e })
}

// WithReportClient sends reports by client instead of one made from the endpoint.
// Shutdown stops it.
func WithReportClient(client otlptrace.Client) Option {
	return optionFunc(func(c *config) { c.reportClient = client })
}

// WithLogger sets where the SDK logs what it has to say of itself, which is little.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) {
		if l != nil {
			c.logger = l
		}
	})
}
