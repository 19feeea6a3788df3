package inspect

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// newResource describes this start of this process: what can be found out, then
// the environment, then the options. The instance id is random unless one of them
// fixes it; the epoch is always ours.
func (c *config) newResource(ctx context.Context) (*resource.Resource, error) {
	attrs := append([]attribute.KeyValue{}, c.attributes...)
	if c.serviceName != "" {
		attrs = append(attrs, semconv.ServiceName(c.serviceName))
	}
	attrs = append(attrs, attribute.Int64(taskspan.ProcessEpoch, processStart.UnixNano()))
	found, err := resource.New(ctx,
		resource.WithSchemaURL(semconv.SchemaURL),
		resource.WithAttributes(attribute.String(taskspan.ServiceInstanceID, newInstanceID())),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithProcessExecutableName(), resource.WithProcessRuntimeName(), resource.WithProcessRuntimeVersion(),
		resource.WithContainer(), resource.WithFromEnv(), resource.WithAttributes(attrs...))
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	r, err := resource.Merge(resource.Default(), found)
	if err != nil {
		return found, nil // schemas differ: what we found says it all but a default service name
	}
	return r, nil
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
