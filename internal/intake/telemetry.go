package intake

import (
	"context"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

// The metrics read the counts when they are collected, so that they cost nothing on the
// way of the spans.

// ObserveReports is the callback of a counter of used reports.
func (in *Intake) ObserveReports(_ context.Context, o metric.Int64Observer) error {
	for i, kind := range Kinds {
		o.Observe(in.reports[i].Load(), With("kind", string(kind)))
	}
	return nil
}

// ObserveDropped is the callback of a counter of refused reports.
func (in *Intake) ObserveDropped(_ context.Context, o metric.Int64Observer) error {
	for d := report.Used + 1; d < report.Drops; d++ {
		o.Observe(in.dropped[d].Load(), With("reason", d.String()))
	}
	return nil
}

// ObserveEvictions makes the callback of a counter of evictions.
func ObserveEvictions(read func() []Eviction) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for _, e := range read() {
			o.Observe(e.Count, With("table", e.Table, "reason", e.Reason))
		}
		return nil
	}
}

// ObserveSizes makes the callback of a gauge of how much is in each table.
func ObserveSizes(read func() []view.Table) metric.Int64Callback {
	return observeTables(read, func(t view.Table) int { return t.Size })
}

// ObserveLimits makes the callback of a gauge of how much each table takes.
func ObserveLimits(read func() []view.Table) metric.Int64Callback {
	return observeTables(read, func(t view.Table) int { return t.Limit })
}

func observeTables(read func() []view.Table, of func(view.Table) int) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		for _, t := range read() {
			o.Observe(int64(of(t)), With("table", t.Name))
		}
		return nil
	}
}

// Observe makes the callback of a single number.
func Observe(read func() int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error { o.Observe(read()); return nil }
}

// With are attributes, as key, value, key, value. One value that is not valid UTF-8 would make
// the whole scrape fail.
func With(pairs ...string) metric.MeasurementOption {
	attrs := make([]attribute.KeyValue, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		attrs = append(attrs, attribute.String(pairs[i], strings.ToValidUTF8(pairs[i+1], string(utf8.RuneError))))
	}
	return metric.WithAttributeSet(attribute.NewSet(attrs...))
}
