package inspect

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Option configures an Inspector. Options take precedence over environment variables;
// the package documentation has the whole order.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// config is what an Inspector is made from: the mode's defaults, then the
// environment, then the options.
type config struct {
	errs         []error // what is wrong with it, by the name of the option or variable
	resourceErrs []error // the same of what the resource is made from
	unused       error   // what is wrong with it while it is off

	enabled     bool
	mode        Mode
	rate        float64
	everySpan   bool // the rate decides about spans with a parent, too
	ratio       bool // the sampler of the environment takes a rate as its argument
	adaptive    *AdaptiveConfig
	sampler     Sampler
	otelSampler sdktrace.Sampler

	serviceName string
	resource    *resource.Resource
	attributes  []attribute.KeyValue

	endpoint      string // of an option or of async-inspect's variable
	fallback      string // of OpenTelemetry's variables
	fallbackExact bool   // and it has the path of traces already
	insecure      bool   // no TLS where the endpoint does not say
	protocol      string
	headers       map[string]string
	export        bool // spans are exported
	batch         batchConfig
	spanLimits    sdktrace.SpanLimits

	provider       trace.TracerProvider // somebody else's
	globalProvider bool
	spanExporter   sdktrace.SpanExporter
	reportClient   otlptrace.Client

	maxTasks      int
	maxEvents     int
	maxTaskEvents int
	lookLimit     int
	backtraces    bool
	lockOrder     bool
	allocations   bool
	labels        bool
	remoteWaits   bool
	serverTasks   bool
	reports       bool
	errorTexts    bool
	logger        *slog.Logger

	stuckAfter        time.Duration
	longTask          time.Duration
	minWait           time.Duration
	heartbeatInterval time.Duration
}

// batchConfig is that of the batch span processor.
type batchConfig struct {
	delay, timeout time.Duration
	queue, size    int
}

func defaultConfig() *config {
	return &config{
		enabled: compiledIn, export: true, protocol: protocolGRPC,
		maxTasks: 10_000, maxEvents: 100_000, maxTaskEvents: 128, lookLimit: lookAtMost,
		labels: true, remoteWaits: true, serverTasks: true, reports: true, errorTexts: true, logger: slog.Default(),
		stuckAfter: time.Second, longTask: 30 * time.Second,
		minWait: 10 * time.Millisecond, heartbeatInterval: 5 * time.Second,
		spanLimits: sdktrace.SpanLimits{
			AttributeValueLengthLimit: sdktrace.DefaultAttributeValueLengthLimit, AttributeCountLimit: sdktrace.DefaultAttributeCountLimit,
			EventCountLimit: sdktrace.DefaultEventCountLimit, LinkCountLimit: sdktrace.DefaultLinkCountLimit,
			AttributePerEventCountLimit: sdktrace.DefaultAttributePerEventCountLimit, AttributePerLinkCountLimit: sdktrace.DefaultAttributePerLinkCountLimit,
		},
		batch: batchConfig{
			delay: sdktrace.DefaultScheduleDelay * time.Millisecond, timeout: sdktrace.DefaultExportTimeout * time.Millisecond,
			queue: sdktrace.DefaultMaxQueueSize, size: sdktrace.DefaultMaxExportBatchSize,
		},
	}
}

func (c *config) bad(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *config) badResource(format string, args ...any) {
	c.resourceErrs = append(c.resourceErrs, fmt.Errorf(format, args...))
}

// validate names every option whose value cannot be used. The environment has been
// checked where it was read.
func (c *config) validate() {
	if !(c.rate >= 0 && c.rate <= 1) {
		c.bad("WithSamplingRate: must be between 0 and 1, is %v", c.rate)
	}
	if a := c.adaptive; a != nil {
		if !(a.MinRate > 0 && a.MinRate <= a.MaxRate && a.MaxRate <= 1) {
			c.bad("WithAdaptiveSampler: must be 0 < MinRate <= MaxRate <= 1, are %v and %v", a.MinRate, a.MaxRate)
		}
		if !(a.TargetOverhead > 0 && a.TargetOverhead < 1) {
			c.bad("WithAdaptiveSampler: TargetOverhead must be above 0 and below 1, is %v", a.TargetOverhead)
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"WithMaxTasks", c.maxTasks}, {"WithMaxEvents", c.maxEvents}, {"WithMaxTaskEvents", c.maxTaskEvents}, {"WithLookLimit", c.lookLimit}} {
		if n.value <= 0 || n.value > math.MaxInt32 {
			c.bad("%s: must be between 1 and %d, is %d", n.name, math.MaxInt32, n.value)
		}
	}
	for _, d := range []struct {
		name       string
		value      time.Duration
		from, upTo time.Duration
	}{
		{"WithStuckAfter", c.stuckAfter, 10 * time.Millisecond, time.Hour},
		{"WithLongTask", c.longTask, 10 * time.Millisecond, 24 * time.Hour},
		{"WithMinWait", c.minWait, 0, time.Hour},
		{"WithHeartbeatInterval", c.heartbeatInterval, 100 * time.Millisecond, 10 * time.Minute},
	} {
		if d.value < d.from || d.value > d.upTo {
			c.bad("%s: must be between %v and %v, is %v", d.name, d.from, d.upTo, d.value)
		}
	}
	c.batch.size = min(c.batch.size, c.batch.queue) // as the specification demands
	for name, v := range c.headers {
		if err := checkHeaderName(name); err != nil {
			c.bad("WithHeaders: %w", err)
		} else if err := checkHeaderValue(v); err != nil {
			c.bad("WithHeaders: the value of header %s: %w", name, err)
		}
	}
	samplers := 0
	for _, set := range []bool{c.adaptive != nil, c.sampler != nil, c.otelSampler != nil} {
		if set {
			samplers++
		}
	}
	if samplers > 1 {
		c.bad("WithAdaptiveSampler, WithSampler, WithOTelSampler: only one of them can decide")
	}
	if c.provider == nil {
		return
	}
	if samplers > 0 {
		c.bad("WithTracerProvider: the provider's own sampler decides, so no other can be given")
	}
	if c.spanExporter != nil {
		c.bad("WithTracerProvider: the provider exports its spans itself, so WithSpanExporter has no effect")
	}
}

// WithMode sets the defaults for a purpose. Whatever is set one by one, by an option
// or by the environment, goes before it.
func WithMode(m Mode) Option { return modeOption(m) }

// modeOption is applied before all other options, wherever it stands.
type modeOption Mode

func (m modeOption) apply(*config) {}

// WithServiceName sets service.name.
func WithServiceName(name string) Option {
	return optionFunc(func(c *config) {
		if c.serviceName = name; name == "" {
			c.badResource("WithServiceName: the name is empty")
		}
	})
}

// WithResourceAttributes adds attributes to the resource, such as
// deployment.environment.name or a fixed service.instance.id.
func WithResourceAttributes(attrs ...attribute.KeyValue) Option {
	return optionFunc(func(c *config) { c.attributes = append(c.attributes, attrs...) })
}

// WithResource sets attributes of the resource from one that is there already, such
// as that of your own provider; see [NewResource].
func WithResource(r *resource.Resource) Option {
	return optionFunc(func(c *config) {
		if c.resource = r; r == nil {
			c.badResource("WithResource: the resource is nil")
		}
	})
}

// WithEndpoint sets where spans and reports go: a URL, whose scheme says whether TLS
// is used, or host:port, which means TLS unless the host is localhost or
// [WithInsecure] is given. The default is localhost:4317, or localhost:4318 with the
// protocol http/protobuf. Certificates come from OTEL_EXPORTER_OTLP_CERTIFICATE,
// _CLIENT_CERTIFICATE and _CLIENT_KEY.
func WithEndpoint(endpoint string) Option {
	return optionFunc(func(c *config) {
		c.endpoint = endpoint
		if err := checkEndpoint(endpoint); err != nil {
			c.bad("WithEndpoint: %w", err)
		}
	})
}

// WithInsecure means no TLS for an endpoint that is given as host:port.
func WithInsecure() Option { return optionFunc(func(c *config) { c.insecure = true }) }

// WithProtocol sets the OTLP protocol: grpc, the default, or http/protobuf.
func WithProtocol(protocol string) Option {
	return optionFunc(func(c *config) {
		c.protocol = protocol
		if err := checkProtocol(protocol); err != nil {
			c.bad("WithProtocol: %w", err)
		}
	})
}

// WithHeaders sets headers that go with every export, such as an authorization, in
// place of those of OTEL_EXPORTER_OTLP_HEADERS.
func WithHeaders(headers map[string]string) Option {
	headers = maps.Clone(headers)
	return optionFunc(func(c *config) { c.headers = headers })
}

// WithSamplingRate samples this share of traces, decided by the trace id, so that
// services with the same rate keep the same traces.
func WithSamplingRate(rate float64) Option {
	return optionFunc(func(c *config) {
		c.rate, c.everySpan = rate, false
		c.adaptive, c.sampler, c.otelSampler = nil, nil, nil
	})
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

// WithSampler lets s decide about each trace that begins in this process. Spans with
// a parent follow it. To use s beside OpenTelemetry samplers, see [OTelSampler].
func WithSampler(s Sampler) Option {
	return optionFunc(func(c *config) {
		if c.sampler = s; s == nil {
			c.bad("WithSampler: the sampler is nil")
		}
	})
}

// WithOTelSampler lets any OpenTelemetry sampler decide. It is asked about every
// span, as in any provider: most want a [sdktrace.ParentBased] one. An unsampled
// task then costs what an unsampled span costs.
func WithOTelSampler(s sdktrace.Sampler) Option {
	return optionFunc(func(c *config) {
		if c.otelSampler = s; s == nil {
			c.bad("WithOTelSampler: the sampler is nil")
		}
	})
}

// WithTracerProvider makes tasks spans of an existing provider, which samples and
// exports them. Reports still go out by the SDK's own client. To show client spans as
// remote waits and server spans as tasks, add [NewSpanProcessor] to the provider and
// wrap its sampler with [WrapSampler]. Create its resource with [NewResource], so that
// the collector can match its spans and the reports to one process.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(c *config) {
		if c.provider = p; p == nil {
			c.bad("WithTracerProvider: the provider is nil")
		}
	})
}

// WithGlobalTracerProvider makes the Inspector's provider OpenTelemetry's global one,
// so that instrumentation libraries use it. Without this option the SDK leaves the
// global provider alone. If no global propagator is set, it sets the W3C propagators
// for trace context and baggage. Without a propagator, calls between services cannot be
// joined.
func WithGlobalTracerProvider() Option {
	return optionFunc(func(c *config) { c.globalProvider = true })
}

// WithMaxTasks bounds the live tasks that are listed and can be seen. More are
// counted exactly and not listed. The default is 10,000.
func WithMaxTasks(n int) Option { return optionFunc(func(c *config) { c.maxTasks = n }) }

// WithMaxEvents limits the inspection points kept for all live tasks together. Points
// beyond the limit are counted exactly and are not kept, or replace older points of
// their task. The default is 100,000.
func WithMaxEvents(n int) Option { return optionFunc(func(c *config) { c.maxEvents = n }) }

// WithMaxTaskEvents limits the inspection points kept for one live task; the newest are
// kept. The default is 128, which is also OpenTelemetry's limit for the events of a
// span. A task uses memory only for the points that it has.
func WithMaxTaskEvents(n int) Option { return optionFunc(func(c *config) { c.maxTaskEvents = n }) }

// WithLookLimit sets the number of goroutines in the process above which the SDK does not
// examine them. The default is 5,000. It examines goroutines to find out whether a call
// behind an open client span is still waited for, and whether the holder of a lock has
// ended. That takes a dump of all goroutines, which stops the process for about 10 µs for
// each of them, and takes up to 4 kB of memory for each. All dumps of a minute together
// take as long as two at the limit, and at least 100 ms. A dump that is not taken is
// counted, and the first one is logged.
func WithLookLimit(n int) Option { return optionFunc(func(c *config) { c.lookLimit = n }) }

// WithStuckAfter sets how long a wait lasts before it is reported. The default is a
// second.
func WithStuckAfter(d time.Duration) Option { return optionFunc(func(c *config) { c.stuckAfter = d }) }

// WithLongTask sets how long a task runs before it is reported. The default is 30 s.
func WithLongTask(d time.Duration) Option { return optionFunc(func(c *config) { c.longTask = d }) }

// WithMinWait sets how long a wait lasts before it becomes a span of a sampled
// trace. The default is 10 ms.
func WithMinWait(d time.Duration) Option { return optionFunc(func(c *config) { c.minWait = d }) }

// WithHeartbeatInterval sets the interval between heartbeats. The default is 5 s.
func WithHeartbeatInterval(d time.Duration) Option {
	return optionFunc(func(c *config) { c.heartbeatInterval = d })
}

// WithBacktraces sets whether waits carry the stack of their goroutine, and sampled
// tasks the stack of the call that started them. Places (function, file, line) are
// always recorded.
func WithBacktraces(on bool) Option { return optionFunc(func(c *config) { c.backtraces = on }) }

// WithLockOrder sets whether the orders in which locks are taken are reported, so that
// a collector can warn of orders that contradict each other before a task hangs. It is
// on in the modes Development and Analysis, and applies to the whole process if any
// Inspector turns it on.
//
// A named lock is identified by its name, an unnamed lock by itself, an external lock
// by its name in all services. A call to another process counts as a lock that the
// caller takes and the answering task holds. Two locks of one name are in no order, and
// neither is a lock that was only tried; a read lock that a goroutine takes twice is
// reported by itself.
//
// While it is on, an uncontended Lock and Unlock of a named lock cost about 30 ns more,
// those of an unnamed lock more than that; sdk/README.md has the numbers.
func WithLockOrder(on bool) Option { return optionFunc(func(c *config) { c.lockOrder = on }) }

// WithTrackAllocations sets whether sampled tasks carry what was allocated while
// they ran. The runtime counts allocations of the whole process and not of
// goroutines: the numbers are those of one task only if nothing else ran.
func WithTrackAllocations(on bool) Option { return optionFunc(func(c *config) { c.allocations = on }) }

// WithPprofLabels sets whether goroutines carry the name of their task as a pprof
// label, so that CPU and goroutine profiles show tasks. On by default.
func WithPprofLabels(on bool) Option { return optionFunc(func(c *config) { c.labels = on }) }

// WithRemoteWaits sets whether open client spans show as waits. On by default.
func WithRemoteWaits(on bool) Option { return optionFunc(func(c *config) { c.remoteWaits = on }) }

// WithServerTasks sets whether open server and consumer spans of other instrumentation,
// such as otelhttp and otelgrpc, are tasks; see [NewSpanProcessor]. On by default. It
// applies to the Inspector's own provider; for your own provider, use
// [WithoutServerTasks].
func WithServerTasks(on bool) Option { return optionFunc(func(c *config) { c.serverTasks = on }) }

// WithReports sets whether what is stuck is reported, and heartbeats are sent. On by
// default.
func WithReports(on bool) Option { return optionFunc(func(c *config) { c.reports = on }) }

// WithErrorTexts sets whether spans of failed tasks and of inspecthttp carry the texts of
// their errors and panics, which may hold personal data. On by default. Without texts,
// the types of the errors remain, in error.type and exception.type. It applies to the whole
// process if any Inspector turns the texts off, until that Inspector has shut down. Spans
// of other instrumentation are not changed.
func WithErrorTexts(on bool) Option { return optionFunc(func(c *config) { c.errorTexts = on }) }

// WithSpanExporter exports spans by e instead of OTLP. Shutdown shuts it down.
func WithSpanExporter(e sdktrace.SpanExporter) Option {
	return optionFunc(func(c *config) {
		if c.spanExporter = e; e == nil {
			c.bad("WithSpanExporter: the exporter is nil")
		}
	})
}

// WithReportClient sends reports by client instead of one made from the endpoint.
// Shutdown stops it.
func WithReportClient(client otlptrace.Client) Option {
	return optionFunc(func(c *config) {
		c.reportClient, c.reports = client, true
		if client == nil {
			c.bad("WithReportClient: the client is nil")
		}
	})
}

// WithLogger sets where the SDK logs what it has to say of itself, which is little.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c *config) {
		if l != nil {
			c.logger = l
		}
	})
}

// WithoutExport keeps spans from being exported. Reports still go out, other than with
// OTEL_TRACES_EXPORTER=none, which says that nothing does.
func WithoutExport() Option { return optionFunc(func(c *config) { c.export = false }) }

func parseMode(s string) (Mode, error) {
	for _, m := range []Mode{Development, Analysis, Production} {
		if strings.EqualFold(s, m.String()) {
			return m, nil
		}
	}
	return Development, fmt.Errorf("%q is not a mode; must be development, analysis or production", s)
}

// apply sets what the mode decides, in a configuration that nothing else has
// changed yet.
func (m Mode) apply(c *config) {
	c.mode = m
	switch m {
	case Development:
		c.rate, c.backtraces, c.allocations, c.lockOrder = 1, true, true, true
	case Analysis:
		c.rate, c.backtraces, c.lockOrder = 0.1, true, true
	case Production:
		c.rate = 0.01
	}
}
