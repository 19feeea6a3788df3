package inspect

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/failure"
	"github.com/asyncinspect/asyncinspect/sdk/internal/propagator"
)

// Start starts an Inspector and makes it the default one, which the functions of this
// package use. Without options it sends to localhost:4317. It returns an error if the
// configuration is invalid, or if a default Inspector is already running. It does not
// wait for a collector, and works without one.
//
// If the environment turns async-inspect off, or the build tag noinspect compiles it
// out, Start returns an Inspector that inspects nothing. Options that are not about
// inspection still apply: [Inspector.TracerProvider] returns the provider of
// [WithTracerProvider], [WithGlobalTracerProvider] makes it the global one, and
// Shutdown shuts down the exporter of [WithSpanExporter].
func Start(ctx context.Context, opts ...Option) (*Inspector, error) {
	if Default() != nil {
		return nil, errStarted
	}
	ins, err := New(ctx, opts...)
	if err != nil || !ins.running() {
		return ins, err
	}
	if !defaultInspector.CompareAndSwap(nil, ins) {
		return nil, errors.Join(errStarted, ins.Shutdown(ctx))
	}
	return ins, nil
}

var errStarted = errors.New("async-inspect: already started; shut the running Inspector down first, or use New for another one")

// New starts an Inspector beside the default one. Only its own methods, and
// contexts of its tasks, use it. Goroutines that wait without a task belong to the
// default one.
func New(ctx context.Context, opts ...Option) (*Inspector, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("async-inspect: %w", err)
	}
	ins := &Inspector{
		config: c, names: newNames(),
		maxTasks: int64(c.maxTasks), maxEvents: int64(c.maxEvents), maxTaskEvents: c.maxTaskEvents, minWait: c.minWait, backtraces: c.backtraces, labels: c.labels,
		allocations: c.allocations,
	}
	c.warnOfUnknown()
	c.warnOfUnused()
	if !c.errorTexts {
		ins.showErrorTexts = failure.KeepTextsOut()
	}
	if !compiledIn || !c.enabled {
		ins.beOff()
		return ins, nil
	}
	ins.ended = make(chan struct{})
	if err := ins.start(ctx); err != nil {
		ins.stopKeepingTextsOut()
		return nil, fmt.Errorf("async-inspect: %w", err)
	}
	return ins, nil
}

// stopKeepingTextsOut ends what WithErrorTexts(false) has begun.
func (ins *Inspector) stopKeepingTextsOut() {
	if ins.showErrorTexts != nil {
		ins.showErrorTexts()
	}
}

// beOff does what is not about inspection.
func (ins *Inspector) beOff() {
	c := ins.config
	ins.stopped.Store(true)
	ins.provider, ins.unused = c.provider, c.spanExporter
	ins.setGlobals()
	if c.unused != nil {
		c.logger.Warn("async-inspect: the SDK is off; errors in its configuration are ignored", "error", c.unused)
	}
}

// setGlobals changes what OpenTelemetry has for the whole process, as far as it is
// asked to.
func (ins *Inspector) setGlobals() {
	if !ins.config.globalProvider {
		return
	}
	if ins.provider != nil {
		otel.SetTracerProvider(ins.provider)
	}
	if propagator.Global() == nil {
		otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	}
}

func (ins *Inspector) start(ctx context.Context) error {
	c := ins.config
	res, err := c.newResource(ctx)
	if err != nil {
		return err
	}
	ins.resource = res
	if ins.provider = c.provider; ins.provider == nil {
		if err := ins.startProvider(ctx); err != nil {
			return err
		}
	}
	ins.tracer = ins.provider.Tracer(ScopeName, c.scope()...)

	client := c.reportClient
	if client == nil && c.reports {
		client = c.newClient(false)
	}
	ins.lookAtOverhead()
	ins.reporter = newReporter(ins, client, res, reporterConfig{
		stuckAfter: c.stuckAfter, longTask: c.longTask,
		heartbeatInterval: c.heartbeatInterval, reports: c.reports,
	})
	if err := ins.reporter.start(ctx); err != nil {
		if ins.own != nil {
			err = errors.Join(err, ins.own.Shutdown(ctx))
		}
		return fmt.Errorf("start reporting: %w", err)
	}
	if c.adaptive != nil {
		ins.steering = startSteering(ins)
	}
	ins.setGlobals()
	if c.lockOrder && c.reports {
		ins.stopOrders = useHeldLocks()
	}
	inspectors.Add(1)
	return nil
}

// startProvider makes a provider of our own.
func (ins *Inspector) startProvider(ctx context.Context) error {
	c := ins.config
	ins.head = newHeadSampler(c)
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(ins.resource), sdktrace.WithIDGenerator(idGenerator{}),
		sdktrace.WithRawSpanLimits(c.spanLimits),
		sdktrace.WithSampler(spanSampler{head: ins.head, clients: c.remoteWaits, servers: c.remoteWaits || c.serverTasks}),
	}
	if c.remoteWaits || c.serverTasks {
		opts = append(opts, sdktrace.WithSpanProcessor(spanProcessor{ins: ins, clients: c.remoteWaits, servers: c.serverTasks}))
	}
	exporter := c.spanExporter
	if exporter == nil && c.export {
		var err error
		if exporter, err = otlptrace.New(ctx, c.newClient(true)); err != nil {
			return fmt.Errorf("make the span exporter: %w", err)
		}
	}
	if exporter != nil {
		opts = append(opts, sdktrace.WithSpanProcessor(newSpanQueue(ins, exporter)))
		ins.viewsTasks = true
	}
	ins.own = sdktrace.NewTracerProvider(opts...)
	ins.provider = ins.own
	return nil
}

// TracerProvider returns the provider whose spans the tasks are, for
// instrumentation libraries.
func (ins *Inspector) TracerProvider() trace.TracerProvider {
	if ins == nil || ins.provider == nil {
		return otel.GetTracerProvider()
	}
	return ins.provider
}

// SamplingRate returns the rate in force, or -1 if a sampler that has no rate
// decides.
func (ins *Inspector) SamplingRate() float64 {
	if ins == nil {
		return -1
	}
	return ins.head.rate()
}
