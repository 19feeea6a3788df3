package bench

import (
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/exporter/csvrotate"
)

const fileBytes = 64 << 20 // of each file before it is rotated

// csvRotate without a queue, so that the caller pays for the write.
func csvRotate(edit func(*csvrotate.Config)) func(testing.TB) consumer.Traces {
	return func(tb testing.TB) consumer.Traces {
		f := csvrotate.NewFactory()
		cfg := f.CreateDefaultConfig().(*csvrotate.Config)
		cfg.Directory = tb.TempDir()
		cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
		cfg.RetryConfig.Enabled = false
		cfg.Rotation.MaxBytes = fileBytes
		cfg.Retention.MaxFiles = 1
		cfg.MinFreeBytes = 0
		edit(cfg)
		require.NoError(tb, cfg.Validate())
		c, err := f.CreateTraces(context.Background(), exportertest.NewNopSettings(f.Type()), cfg)
		return startedConsumer(tb, c, err)
	}
}

func jsonFile(tb testing.TB) consumer.Traces {
	f := fileexporter.NewFactory()
	cfg := f.CreateDefaultConfig().(*fileexporter.Config)
	cfg.Path = filepath.Join(tb.TempDir(), "spans.json")
	cfg.Rotation.MaxMegabytes, cfg.Rotation.MaxBackups = fileBytes>>20, 1
	cfg.FlushInterval = time.Second
	c, err := f.CreateTraces(context.Background(), exportertest.NewNopSettings(f.Type()), cfg)
	return startedConsumer(tb, c, err)
}

// csvLoop is what somebody would write in an afternoon: encoding/csv, the same
// columns, one file.
func csvLoop(tb testing.TB) consumer.Traces {
	f, err := os.Create(filepath.Join(tb.TempDir(), "spans.csv"))
	require.NoError(tb, err)
	tb.Cleanup(func() { f.Close() })
	out := csv.NewWriter(f)
	record := make([]string, 18)
	var written int
	c, err := consumer.NewTraces(func(_ context.Context, td ptrace.Traces) error {
		for i := range td.ResourceSpans().Len() {
			rs := td.ResourceSpans().At(i)
			service, _ := rs.Resource().Attributes().Get("service.name")
			for j := range rs.ScopeSpans().Len() {
				spans := rs.ScopeSpans().At(j).Spans()
				for k := range spans.Len() {
					span := spans.At(k)
					start, end := span.StartTimestamp(), span.EndTimestamp()
					record[0], record[1], record[2] = span.TraceID().String(), span.SpanID().String(), span.ParentSpanID().String()
					record[3], record[4], record[5] = span.Name(), service.Str(), "completed"
					record[6] = start.AsTime().Format("2006-01-02T15:04:05.000000000Z07:00")
					record[7] = end.AsTime().Format("2006-01-02T15:04:05.000000000Z07:00")
					record[8] = strconv.FormatUint(uint64(start), 10)
					record[9] = strconv.FormatInt(int64(end-start), 10)
					for c, key := range []string{"async_inspect.task.blocked_ns", "async_inspect.wait.kind", "async_inspect.wait.resource.name", "code.function.name"} {
						record[10+c] = ""
						if v, ok := span.Attributes().Get(key); ok {
							record[10+c] = v.AsString()
						}
					}
					record[14], record[15] = "unset", span.Status().Message()
					record[16], record[17] = "1", "1"
					if err := out.Write(record); err != nil {
						return err
					}
					for _, cell := range record {
						written += len(cell) + 1
					}
				}
			}
		}
		if written > fileBytes { // or the disk fills up
			written = 0
			if err := f.Truncate(0); err != nil {
				return err
			}
			if _, err := f.Seek(0, 0); err != nil {
				return err
			}
		}
		out.Flush()
		return out.Error()
	})
	require.NoError(tb, err)
	return c
}

// copied bytes are the limit: the rows are ready, and only copied into a buffer
// and from there into the page cache, a write for each batch.
func bytesOnly(tb testing.TB) consumer.Traces {
	dir := tb.TempDir()
	probe := csvRotate(func(c *csvrotate.Config) { c.Directory = dir })(tb)
	require.NoError(tb, probe.ConsumeTraces(context.Background(), batch(spansPerTrace)))
	files, err := filepath.Glob(filepath.Join(dir, "*.csv.partial"))
	require.NoError(tb, err)
	require.Len(tb, files, 1)
	rows, err := os.ReadFile(files[0])
	require.NoError(tb, err)

	f, err := os.Create(filepath.Join(tb.TempDir(), "bytes"))
	require.NoError(tb, err)
	tb.Cleanup(func() { f.Close() })
	var at int64
	buffer := make([]byte, 0, len(rows))
	c, err := consumer.NewTraces(func(context.Context, ptrace.Traces) error {
		buffer = append(buffer[:0], rows...)
		if at > fileBytes {
			at = 0
			if err := f.Truncate(0); err != nil {
				return err
			}
		}
		n, err := f.WriteAt(buffer, at)
		at += int64(n)
		return err
	})
	require.NoError(tb, err)
	return c
}

// BenchmarkFiles gives all of them the same batches, of which every span is a row.
// None of them changes what it gets.
func BenchmarkFiles(b *testing.B) {
	td := copied(batch(spansPerTrace))
	for _, peer := range []struct {
		name string
		make func(testing.TB) consumer.Traces
	}{
		{"csv_rotate", csvRotate(func(c *csvrotate.Config) {})},
		{"csv_rotate_with_attributes", csvRotate(func(c *csvrotate.Config) { c.Rows = "spans" })},
		{"csv_rotate_fsync_never", csvRotate(func(c *csvrotate.Config) { c.Fsync = "never" })},
		{"csv_rotate_fsync_always", csvRotate(func(c *csvrotate.Config) { c.Fsync = "always" })},
		{"file_json", jsonFile},
		{"encoding_csv", csvLoop},
		{"bytes_only", bytesOnly},
	} {
		b.Run(peer.name, func(b *testing.B) {
			c := peer.make(b)
			for range 16 { // steady state: buffers have grown
				require.NoError(b, c.ConsumeTraces(context.Background(), td))
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.ConsumeTraces(context.Background(), td); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSpans, "ns/span")
		})
	}
}

// BenchmarkFilesMemory writes a file for each batch and says by how much the heap
// has grown with each: what retention has to know of them.
func BenchmarkFilesMemory(b *testing.B) {
	td := copied(batch(spansPerTrace))
	c := csvRotate(func(cfg *csvrotate.Config) {
		cfg.Rotation.MaxRows, cfg.Retention.MaxFiles, cfg.Fsync = 1, 10_000, "never"
		cfg.Columns = []string{"kind"}
	})(b)
	for range 100 {
		require.NoError(b, c.ConsumeTraces(context.Background(), td))
	}
	settled := func() int64 {
		heap() // a pool lets its buffers go at the second collection
		return int64(heap())
	}
	before := settled()
	for range b.N {
		require.NoError(b, c.ConsumeTraces(context.Background(), td))
	}
	b.StopTimer()
	b.ReportMetric(float64(settled()-before)/float64(b.N), "B/file")
	runtime.KeepAlive(td)
}
