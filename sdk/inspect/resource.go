package inspect

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// NewResource describes this process as Start would, for a provider of your own:
//
//	res, err := inspect.NewResource(ctx, inspect.WithServiceName("shop"))
//	...
//	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), ...)
//	inspect.Start(ctx, inspect.WithResource(res), inspect.WithTracerProvider(provider))
//
// Spans and reports then identify the same process. Otherwise the collector counts the
// tasks of a service twice: from the heartbeats, and from the spans of what looks like
// a process without heartbeats.
//
// The result is the same whether the SDK is on, off or compiled out. NewResource
// returns errors in the resource only; Start returns errors in other options.
func NewResource(ctx context.Context, opts ...Option) (*resource.Resource, error) {
	c, _ := newConfig(opts)
	if err := errors.Join(c.resourceErrs...); err != nil {
		return nil, fmt.Errorf("async-inspect: %w", err)
	}
	r, err := c.newResource(ctx)
	if err != nil {
		return nil, fmt.Errorf("async-inspect: %w", err)
	}
	return r, nil
}

// newResource describes this start of the SDK: what can be found out, then the
// environment, then the options. The instance id is random and the epoch is now,
// unless one of them fixes it. What cannot be found out is left out.
func (c *config) newResource(ctx context.Context) (*resource.Resource, error) {
	followWallClock() // which may have stepped since the process began
	fixed := append(c.resource.Attributes(), c.attributes...)
	if c.serviceName != "" {
		fixed = append(fixed, semconv.ServiceName(c.serviceName))
	}
	ours := []attribute.KeyValue{semconv.ServiceInstanceID(newInstanceID())}
	if c.reports { // without heartbeats the collector counts the spans
		ours = append(ours, attribute.Int64(taskspan.ProcessEpoch, now().unix()))
		fixed = append(fixed, durationsInHeartbeats)
	}
	r, err := resource.New(ctx,
		resource.WithService(), // the default service name
		resource.WithAttributes(ours...),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithProcessExecutableName(), resource.WithProcessRuntimeName(), resource.WithProcessRuntimeVersion(),
		resource.WithContainer(), resource.WithFromEnv(), resource.WithAttributes(fixed...))
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	validResource(&r)
	return withinLimits(r), nil
}

// withinLimits shortens names of the process that a collector would refuse.
func withinLimits(r *resource.Resource) *resource.Resource {
	attrs := r.Attributes()
	shortened := false
	for i, a := range attrs {
		if a.Key != semconv.ServiceNameKey && a.Key != semconv.ServiceInstanceIDKey || a.Value.Type() != attribute.STRING {
			continue
		}
		if id := wire.ID(a.Value.AsString()); id != a.Value.AsString() {
			attrs[i].Value, shortened = attribute.StringValue(id), true
		}
	}
	if !shortened {
		return r
	}
	return resource.NewWithAttributes(r.SchemaURL(), attrs...)
}

// durationsInHeartbeats marks resource and scope of a process that sends heartbeats:
// the resource for the spans of other instrumentation, the scope for tasks of a
// provider with another resource.
var durationsInHeartbeats = attribute.Bool(taskspan.ProcessDurations, true)

// scope describes the instrumentation scope of task and wait spans.
func (c *config) scope() []trace.TracerOption {
	opts := []trace.TracerOption{trace.WithInstrumentationVersion(Version)}
	if c.reports {
		opts = append(opts, trace.WithInstrumentationAttributes(durationsInHeartbeats))
	}
	return opts
}

// newInstanceID is a random UUID (RFC 9562, version 4).
func newInstanceID() string {
	var b [16]byte
	putRandom(b[:8])
	putRandom(b[8:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// checkIdentity warns if the spans of somebody else's provider do not say that they
// come from the process that the reports come from.
func (ins *Inspector) checkIdentity(span trace.Span) {
	s, ok := span.(sdktrace.ReadOnlySpan)
	if !ok {
		return
	}
	for _, key := range []attribute.Key{semconv.ServiceNameKey, semconv.ServiceInstanceIDKey, taskspan.ProcessEpoch} {
		want, _ := ins.resource.Set().Value(key)
		if got, _ := s.Resource().Set().Value(key); got != want {
			ins.config.logger.Warn("async-inspect: the resource of the TracerProvider is not that of the reports, so the collector "+
				"takes them for two processes; make it with inspect.NewResource and pass it to WithResource, too",
				"attribute", string(key), "provider", got.String(), "reports", want.String())
			return
		}
	}
}
