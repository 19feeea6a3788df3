package inspector

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// timed reads the components, and records how long that took.
func timed[T any](x *inspector, what string, read func(now time.Time) *T, now time.Time) *T {
	v := read(now)
	x.telemetry.ExtensionInspectorReadDuration.Record(context.Background(), time.Since(now).Seconds(),
		metric.WithAttributeSet(attribute.NewSet(attribute.String("picture", what))))
	return v
}

// registerTelemetry makes the metrics read the counts when they are collected.
func (x *inspector) registerTelemetry() error {
	t := x.telemetry
	one := func(read func() int) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error { o.Observe(int64(read())); return nil }
	}
	return errors.Join(
		t.RegisterExtensionInspectorStreamsCallback(one(x.streams.count)),
		t.RegisterExtensionInspectorSeriesCallback(one(x.metrics.series)),
		t.RegisterExtensionInspectorSeriesMergedCallback(one(x.metrics.admitted.overflown)),
		t.RegisterExtensionInspectorHistoryPointsCallback(one(func() int { n, _ := x.history.size(); return n })),
		t.RegisterExtensionInspectorStreamEventsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(x.streams.sent.Load())
			return nil
		}),
		t.RegisterExtensionInspectorStreamEventsCutCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(x.streams.cut.Load())
			return nil
		}),
		t.RegisterExtensionInspectorStreamsRefusedCallback(func(_ context.Context, o metric.Int64Observer) error {
			reason := func(r string) metric.MeasurementOption {
				return metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", r)))
			}
			o.Observe(x.streams.slow.Load(), reason("slow"))
			o.Observe(x.streams.full.Load(), reason("full"))
			return nil
		}),
	)
}
