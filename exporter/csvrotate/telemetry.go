package csvrotate

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// counts are what the metrics tell. They are read when metrics are collected, and
// cost an addition where something happens. Each is exact; two of them are not of
// one instant.
type counts struct {
	rows, bytes, corrupt atomic.Int64
	reports, others      atomic.Int64 // spans that are no rows
	capped, corrected    atomic.Int64 // rows in which a weight or a duration was bounded
	fileSize, fileOpened atomic.Int64 // of the open file: bytes, unix nanoseconds; 0 without one

	byFinish, byFailure, byDeletion reasons
}

// reasons counts by a closed list.
type reasons map[string]*atomic.Int64

func newReasons(names ...string) reasons {
	r := make(reasons, len(names))
	for _, name := range names {
		r[name] = new(atomic.Int64)
	}
	return r
}

func newCounts() *counts {
	return &counts{
		byFinish: newReasons(finishedBytes, finishedRows, finishedInterval, finishedShutdown, finishedRecovered),
		byFailure: newReasons(failedNoSpace, failedMinFree, failedCreate, failedWrite, failedSync, failedFinish,
			failedDelete, failedCompress, failedTimeout, failedRemoved, failedChanged),
		byDeletion: newReasons(overAge, overFiles, overBytes),
	}
}

func (c *counts) finished(reason string) { c.byFinish[reason].Add(1) }
func (c *counts) failed(reason string)   { c.byFailure[reason].Add(1) }
func (c *counts) deleted(reason string)  { c.byDeletion[reason].Add(1) }

// registerTelemetry makes the metrics read the counts when they are collected.
func (e *csvExporter) registerTelemetry() error {
	t, c := e.telemetry, e.counts
	one := func(n *atomic.Int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(n.Load())
			return nil
		}
	}
	by := func(r reasons) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for reason, n := range r {
				o.Observe(n.Load(), metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", reason))))
			}
			return nil
		}
	}
	return errors.Join(
		t.RegisterExporterCsvRotateRowsCallback(one(&c.rows)),
		t.RegisterExporterCsvRotateBytesCallback(one(&c.bytes)),
		t.RegisterExporterCsvRotateCorruptFilesCallback(one(&c.corrupt)),
		t.RegisterExporterCsvRotateSkippedSpansCallback(by(reasons{"report": &c.reports, "other_rows": &c.others})),
		t.RegisterExporterCsvRotateCorrectedRowsCallback(by(reasons{"weight_capped": &c.capped, "times_corrected": &c.corrected})),
		t.RegisterExporterCsvRotateFinishedFilesCallback(by(c.byFinish)),
		t.RegisterExporterCsvRotateErrorsCallback(by(c.byFailure)),
		t.RegisterExporterCsvRotateDeletedFilesCallback(by(c.byDeletion)),
		t.RegisterExporterCsvRotateFileSizeCallback(one(&c.fileSize)),
		t.RegisterExporterCsvRotateFileAgeCallback(func(_ context.Context, o metric.Float64Observer) error {
			var age time.Duration
			if opened := c.fileOpened.Load(); opened != 0 {
				age = time.Since(time.Unix(0, opened))
			}
			o.Observe(max(age, 0).Seconds())
			return nil
		}),
	)
}
