package csvrotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/asyncinspect/asyncinspect/exporter/csvrotate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/exporter/csvrotate/internal/metadatatest"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// tasks makes a batch of tasks whose names are these.
func tasks(names ...string) ptrace.Traces {
	td := ptrace.NewTraces()
	spans := scopeOf(td, "app")
	for _, name := range names {
		span(spans, name).Attributes().PutStr(taskspan.TaskState, "completed")
	}
	return td
}

// host remembers what it is told of our health.
type host struct {
	component.Host
	extensions map[component.ID]component.Component
	mu         sync.Mutex
	events     []*componentstatus.Event
}

func newHost() *host { return &host{Host: componenttest.NewNopHost()} }

func (h *host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func (h *host) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

func (h *host) statuses() (out []componentstatus.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		out = append(out, e.Status())
	}
	return out
}

// direct takes queue and retries away: the caller sees what the disk says.
func direct(cfg *Config) {
	cfg.QueueConfig = configoptional.None[exporterhelper.QueueBatchConfig]()
	cfg.RetryConfig.Enabled = false
}

func created(t testing.TB, cfg *Config) exporter.Traces {
	t.Helper()
	require.NoError(t, cfg.Validate())
	f := NewFactory()
	set := exportertest.NewNopSettings(f.Type())
	set.ID = component.NewID(f.Type()) // it names the queue's storage, which the next process looks for
	e, err := f.CreateTraces(context.Background(), set, cfg)
	require.NoError(t, err)
	return e
}

func started(t testing.TB, cfg *Config, h component.Host) exporter.Traces {
	t.Helper()
	e := created(t, cfg)
	require.NoError(t, e.Start(context.Background(), h))
	return e
}

// taskNames reads the names of the tasks of all files of a directory.
func taskNames(t testing.TB, directory string) (out []string) {
	t.Helper()
	for _, name := range names(t, directory) {
		require.False(t, strings.Contains(name, suffixCorrupt), name)
		out = append(out, read(t, filepath.Join(directory, name))...)
	}
	return out
}

func TestAnIdleFileIsFinishedByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig(t)
		cfg.Columns, cfg.Compression = []string{"name"}, compressGzip
		cfg.Rotation.Interval, cfg.Rotation.Aligned = time.Hour, true
		direct(cfg)
		e := started(t, cfg, newHost())
		time.Sleep(30 * time.Minute) // the fake clock begins at 2000-01-01 00:00
		require.NoError(t, e.ConsumeTraces(context.Background(), tasks("a")))
		time.Sleep(29 * time.Minute)
		require.Equal(t, []string{"async-inspect-20000101-003000.csv.partial"}, names(t, cfg.Directory))
		time.Sleep(time.Minute + tickEvery)
		synctest.Wait()
		require.Equal(t, []string{"async-inspect-20000101-003000.csv.gz"}, names(t, cfg.Directory))
		require.Equal(t, []string{"a"}, taskNames(t, cfg.Directory))
		require.NoError(t, e.Shutdown(context.Background()))
	})
}

func TestShutdownDrainsTheQueueAndFinishesTheFile(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Columns, cfg.Compression = []string{"name"}, compressZstd
	cfg.Rotation.MaxRows = 10
	e := started(t, cfg, newHost())
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint("task ", i))
		require.NoError(t, e.ConsumeTraces(context.Background(), tasks(want[i])))
	}
	require.NoError(t, e.Shutdown(context.Background()))
	require.ElementsMatch(t, want, taskNames(t, cfg.Directory))
	for _, name := range names(t, cfg.Directory) {
		require.Equal(t, ".zst", filepath.Ext(name))
	}
}

func TestManyAtOnceWriteEveryRowOnce(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Columns, cfg.Rotation.MaxRows, cfg.FlushInterval, cfg.Compression = []string{"name"}, 50, 10*time.Millisecond, compressGzip
	direct(cfg)
	e := started(t, cfg, newHost())
	var all sync.WaitGroup
	var want []string
	for g := range 8 {
		for i := range 100 {
			want = append(want, fmt.Sprint(g, "-", i))
		}
		all.Go(func() {
			for i := range 100 {
				if err := e.ConsumeTraces(context.Background(), tasks(fmt.Sprint(g, "-", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, e.Shutdown(context.Background()))
	require.ElementsMatch(t, want, taskNames(t, cfg.Directory))
}

// inner is the exporter without its helper, so that a test can break its disk.
func inner(t testing.TB, cfg *Config, h component.Host) *csvExporter {
	t.Helper()
	e, err := newExporter(exportertest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	require.NoError(t, e.start(context.Background(), h))
	return e
}

func TestAFullDiskIsToldAndSoIsItsEnd(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Columns = []string{"name"}
	h := newHost()
	e := inner(t, cfg, h)
	room := 30
	var none error
	e.writer.disk = wrapping{systemDisk{}, func(f handle) handle { return brokenDisk{f, &room, &none, &none} }}
	require.NoError(t, e.consume(context.Background(), tasks("a")))
	for range 2 {
		require.ErrorIs(t, e.consume(context.Background(), tasks("b", "c", "d", "e", "f", "g", "h", "i", "j")), syscall.ENOSPC)
	}
	require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError}, h.statuses(), "told once")
	room = 1000
	require.NoError(t, e.consume(context.Background(), tasks("b", "c")))
	require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, h.statuses())
	require.NoError(t, e.shutdown(context.Background()))
	require.Equal(t, []string{"a", "b", "c"}, taskNames(t, cfg.Directory))
}

func TestRetriesCarryABatchOverAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig(t)
		cfg.Columns = []string{"name"}
		set := exportertest.NewNopSettings(metadata.Type)
		e, err := newExporter(set, cfg)
		require.NoError(t, err)
		helped, err := exporterhelper.NewTraces(context.Background(), set, cfg, e.consume, exporterhelper.WithStart(e.start),
			exporterhelper.WithShutdown(e.shutdown), exporterhelper.WithRetry(cfg.RetryConfig), exporterhelper.WithQueue(cfg.QueueConfig))
		require.NoError(t, err)
		require.NoError(t, helped.Start(context.Background(), newHost()))
		e.gate <- struct{}{}
		full := true
		e.writer.disk = fullDisk{systemDisk{}, &full}
		<-e.gate
		require.NoError(t, helped.ConsumeTraces(context.Background(), tasks("a")))
		time.Sleep(24 * time.Hour)
		e.gate <- struct{}{}
		full = false
		<-e.gate
		time.Sleep(time.Minute)
		require.Equal(t, []string{"a"}, taskNames(t, cfg.Directory), "after a day without room nothing is lost")
		require.NoError(t, helped.Shutdown(context.Background()))
	})
}

// hungDisk syncs when it is let go.
type hungDisk struct {
	handle
	until chan struct{}
}

func (d hungDisk) Sync() error { <-d.until; return d.handle.Sync() }

func TestADiskThatHangsHoldsNobodyLongerThanTheContext(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Columns, cfg.Fsync = []string{"name"}, fsyncAlways
	e := inner(t, cfg, newHost())
	until := make(chan struct{})
	e.writer.disk = wrapping{systemDisk{}, func(f handle) handle { return hungDisk{f, until} }}
	first := make(chan error)
	go func() { first <- e.consume(context.Background(), tasks("a")) }()
	require.Eventually(t, func() bool { return len(e.gate) == 1 }, 10*time.Second, time.Millisecond)
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, e.consume(short, tasks("b")), context.DeadlineExceeded)
	require.EqualValues(t, 1, e.counts.byFailure[failedTimeout].Load())
	require.ErrorIs(t, e.shutdown(short), context.DeadlineExceeded)
	close(until)
	require.NoError(t, <-first)
	require.Eventually(t, func() bool { return taskNamesOf(cfg.Directory) == 1 }, 10*time.Second, time.Millisecond, "it is finished when the disk is back")
	select {
	case <-e.workDone:
	case <-time.After(10 * time.Second):
		t.Fatal("a goroutine is left")
	}
	require.ErrorIs(t, e.consume(context.Background(), tasks("c")), errStopped)
}

// taskNamesOf counts the finished files.
func taskNamesOf(directory string) int {
	files, _ := filepath.Glob(filepath.Join(directory, "*.csv"))
	return len(files)
}

func TestTheMetricsSayWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := componenttest.NewTelemetry()
		cfg := defaultConfig(t)
		cfg.Columns, cfg.Rotation.MaxRows, cfg.Retention.MaxFiles = []string{"name"}, 2, 1
		e, err := newExporter(metadatatest.NewSettings(tel), cfg)
		require.NoError(t, err)
		require.NoError(t, e.start(context.Background(), newHost()))
		require.NoError(t, e.consume(context.Background(), everything())) // 5 rows
		time.Sleep(2 * tickEvery)
		require.NoError(t, e.consume(context.Background(), tasks("a", "b")))
		time.Sleep(2 * tickEvery)
		require.NoError(t, e.consume(context.Background(), tasks("c")))
		time.Sleep(3 * time.Second)
		synctest.Wait()

		ignoreTime := metricdatatest.IgnoreTimestamp()
		one := func(n int64) []metricdata.DataPoint[int64] { return []metricdata.DataPoint[int64]{{Value: n}} }
		by := func(kv ...any) (out []metricdata.DataPoint[int64]) {
			for i := 0; i < len(kv); i += 2 {
				out = append(out, metricdata.DataPoint[int64]{
					Attributes: attribute.NewSet(attribute.String("reason", kv[i].(string))), Value: int64(kv[i+1].(int)),
				})
			}
			return out
		}
		header := int64(len("name\r\n"))
		metadatatest.AssertEqualExporterCsvRotateRows(t, tel, one(8), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateBytes(t, tel, one(3*header+int64(len("told\r\nserver\r\nconsumer\r\nroot\r\nlost\r\na\r\nb\r\nc\r\n"))), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateFinishedFiles(t, tel,
			by("max_bytes", 0, "max_rows", 2, "interval", 0, "shutdown", 0, "recovered", 0), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateDeletedFiles(t, tel, by("max_age", 0, "max_files", 1, "max_total_bytes", 0), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateSkippedSpans(t, tel, by("report", 1, "other_rows", 5), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateErrors(t, tel, by("no_space", 0, "min_free_bytes", 0, "create", 0, "write", 0, "sync", 0,
			"finish", 0, "delete", 0, "compress", 0, "timeout", 0, "removed", 0, "changed", 0), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateCorruptFiles(t, tel, one(0), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateFileSize(t, tel, one(header+3), ignoreTime)
		metadatatest.AssertEqualExporterCsvRotateFileAge(t, tel, []metricdata.DataPoint[float64]{{Value: 3}}, ignoreTime)
		require.NoError(t, e.shutdown(context.Background()))
		require.NoError(t, tel.Shutdown(context.Background()))
	})
}

func TestASecondExporterOfADirectoryIsKeptOut(t *testing.T) {
	cfg := defaultConfig(t)
	e := started(t, cfg, newHost())
	second := created(t, cfg)
	err := second.Start(context.Background(), newHost())
	require.ErrorContains(t, err, fmt.Sprintf("directory: %q is in use by another csv_rotate exporter with the prefix %q (process %d)", cfg.Directory, cfg.Prefix, os.Getpid()))
	require.NoError(t, second.Shutdown(context.Background()))

	other := *cfg
	other.Prefix = "other"
	third := started(t, &other, newHost())
	require.NoError(t, third.Shutdown(context.Background()))
	require.NoError(t, e.Shutdown(context.Background()))
	again := started(t, cfg, newHost())
	require.NoError(t, again.Shutdown(context.Background()))
}

func TestABatchWithoutRowsMakesNoFile(t *testing.T) {
	cfg := defaultConfig(t)
	direct(cfg)
	e := started(t, cfg, newHost())
	td := ptrace.NewTraces()
	span(scopeOf(td, taskspan.ScopeReport), "report")
	require.NoError(t, e.ConsumeTraces(context.Background(), td))
	require.NoError(t, e.ConsumeTraces(context.Background(), ptrace.NewTraces()))
	require.NoError(t, e.Shutdown(context.Background()))
	require.Empty(t, names(t, cfg.Directory))
}

func TestJudgeTellsOnlyChanges(t *testing.T) {
	e := &csvExporter{}
	bad := errors.New("bad")
	require.Nil(t, e.judge(writing, nil))
	require.NotNil(t, e.judge(writing, bad))
	require.NotNil(t, e.judge(syncing, bad))
	require.Nil(t, e.judge(writing, bad))
	require.Nil(t, e.judge(writing, nil), "the sync still fails")
	require.Equal(t, componentstatus.StatusOK, e.judge(syncing, nil).Status())
}
