package csvrotate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/asyncinspect/asyncinspect/exporter/csvrotate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/exporter/csvrotate/internal/metadatatest"
)

// The test binary is also the process that is killed: with this variable set it
// does nothing else.
const childVariable = "CSV_ROTATE_TEST_CHILD"

// child runs the test binary as that process, in a directory.
func child(t *testing.T, mode, directory string, from int) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", childVariable, mode, from, directory))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	return cmd, out
}

// TestChild is a process that writes until it is killed, and says on its output
// which tasks have been acknowledged. It is a test in name only.
func TestChild(t *testing.T) {
	word := os.Getenv(childVariable)
	if word == "" {
		return
	}
	parts := strings.SplitN(word, " ", 3)
	next, err := strconv.Atoi(parts[1])
	require.NoError(t, err)
	cfg := killConfig(parts[2])
	h := newHost()
	if parts[0] == "queue" {
		addStorage(t, cfg, h, filepath.Join(parts[2], "queue"))
	} else {
		direct(cfg)
	}
	e := created(t, cfg)
	if err := e.Start(context.Background(), h); err != nil {
		fmt.Println("refused", err)
		return
	}
	fmt.Println("started")
	if parts[0] == "hold" {
		select {} // until we are killed
	}
	for ; ; next++ {
		id := fmt.Sprintf("task %d", next)
		// Cells that a torn file is cut in: line ends, quotes, commas.
		td := tasks(id, id+"\r\n\",", id+" again")
		if err := e.ConsumeTraces(context.Background(), td); err != nil {
			continue // not acknowledged
		}
		fmt.Printf("acknowledged %d.\n", next)
	}
}

func killConfig(directory string) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = filepath.Join(directory, "csv")
	cfg.MinFreeBytes = 0
	cfg.Columns = []string{"name", "start", "service"}
	cfg.Fsync = fsyncAlways
	cfg.Rotation = Rotation{MaxRows: 40, Interval: time.Second}
	cfg.Retention = Retention{MaxAge: time.Hour}
	cfg.Compression = compressGzip
	return cfg
}

// addStorage gives the queue a file_storage, as a configuration does.
func addStorage(t testing.TB, cfg *Config, h *host, directory string) {
	require.NoError(t, os.MkdirAll(directory, 0o700))
	f := filestorage.NewFactory()
	id := component.NewID(f.Type())
	config := f.CreateDefaultConfig().(*filestorage.Config)
	config.Directory, config.FSync = directory, false // the machine goes on, only the process dies
	storage, err := f.Create(context.Background(), extensiontest.NewNopSettings(f.Type()), config)
	require.NoError(t, err)
	require.NoError(t, storage.Start(context.Background(), h))
	h.extensions = map[component.ID]component.Component{id: storage}
	cfg.QueueConfig.Get().StorageID = &id
	cfg.QueueConfig.Get().BlockOnOverflow = true
}

// killAgainAndAgain kills the process so often, each time after a moment of its
// own choice, and holds what is there against what was acknowledged.
func killAgainAndAgain(t *testing.T, mode string, kills int, inspect func(directory string, acknowledged int)) (directory string, acknowledged int) {
	directory = t.TempDir()
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	acknowledged = -1
	for range kills {
		cmd, out := child(t, mode, directory, acknowledged+1)
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan(), "the process starts again after it was killed")
		require.Equal(t, "started", lines.Text())
		kill := time.AfterFunc(time.Duration(random.Int64N(int64(60*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			var id int
			if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d.", &id); err == nil && strings.HasSuffix(lines.Text(), ".") {
				acknowledged = id // else the line was cut by the kill
			}
		}
		_ = cmd.Wait()
		kill.Stop()
		inspect(filepath.Join(directory, "csv"), acknowledged)
	}
	return directory, acknowledged
}

// written reads everything that is there, as often as it is there. Whole files are
// read to the letter.
func written(t testing.TB, directory string, open bool) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for _, name := range names(t, directory) {
		require.NotContains(t, name, suffixCorrupt)
		switch {
		case strings.HasSuffix(name, suffixCSV), strings.HasSuffix(name, suffixGzip), open && strings.HasSuffix(name, suffixPartial):
			if strings.HasSuffix(name, suffixCSV) && exists(filepath.Join(directory, name+".gz")) {
				continue // killed between the two; the next start takes the first away
			}
			for _, id := range read(t, filepath.Join(directory, name)) {
				got[id]++
			}
		}
	}
	return got
}

func requireAcknowledged(t testing.TB, got map[string]int, acknowledged int) {
	t.Helper()
	for i := range acknowledged + 1 {
		id := fmt.Sprintf("task %d", i)
		for _, want := range []string{id, id + "\n\",", id + " again"} { // encoding/csv makes LF of CRLF
			require.Positive(t, got[want], "%q was acknowledged, up to %d, and is missing", want, acknowledged)
		}
	}
}

func TestKilledWhileItWrites(t *testing.T) {
	t.Parallel()
	directory, acknowledged := killAgainAndAgain(t, "direct", 50, func(directory string, _ int) {
		written(t, directory, false) // every whole file is whole, at any moment
	})
	e := created(t, killConfig(directory))
	require.NoError(t, e.Start(context.Background(), newHost()))
	require.NoError(t, e.Shutdown(context.Background()))
	got := written(t, filepath.Join(directory, "csv"), false)
	require.Greater(t, acknowledged, 50, "there was something to lose")
	requireAcknowledged(t, got, acknowledged)
	t.Logf("%d kills, %d batches acknowledged, none missing", 50, acknowledged+1)
}

func TestKilledWithAPersistentQueue(t *testing.T) {
	t.Parallel()
	directory, acknowledged := killAgainAndAgain(t, "queue", 20, func(directory string, _ int) {
		written(t, directory, false)
	})
	cfg := killConfig(directory)
	h := newHost()
	addStorage(t, cfg, h, filepath.Join(directory, "queue"))
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	set := metadatatest.NewSettings(tel)
	set.ID = component.NewID(metadata.Type)
	e, err := NewFactory().CreateTraces(context.Background(), set, cfg)
	require.NoError(t, err)
	require.NoError(t, e.Start(context.Background(), h))
	// Shutdown leaves in a persistent queue what is in it, so wait until it is empty.
	metric := func() int64 {
		m, err := tel.GetMetric("otelcol_exporter_queue_size")
		require.NoError(t, err)
		return m.Data.(metricdata.Gauge[int64]).DataPoints[0].Value
	}
	for deadline := time.Now().Add(40 * time.Second); metric() > 0; time.Sleep(50 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "the queue does not get empty")
	}
	require.NoError(t, e.Shutdown(context.Background()))
	for _, extension := range h.extensions {
		require.NoError(t, extension.Shutdown(context.Background()))
	}
	require.Greater(t, acknowledged, 20, "there was something to lose")
	requireAcknowledged(t, written(t, cfg.Directory, false), acknowledged)
	t.Logf("%d kills, %d batches acknowledged, none missing", 20, acknowledged+1)
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	first, out := child(t, "hold", directory, 0)
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "started", lines.Text())

	_, err := openDirectory(systemDisk{}, killConfig(directory), []byte(testHeader), nil, newCounts(), time.Now())
	require.ErrorContains(t, err, fmt.Sprintf("is in use by another csv_rotate exporter with the prefix \"async-inspect\" (process %d)", first.Process.Pid))
	second, out2 := child(t, "hold", directory, 0)
	said, err := io.ReadAll(out2)
	require.NoError(t, err)
	require.NoError(t, second.Wait())
	require.Contains(t, string(said), "is in use by another csv_rotate exporter")

	require.NoError(t, first.Process.Kill())
	_ = first.Wait()
	third, out3 := child(t, "hold", directory, 0)
	lines = bufio.NewScanner(out3)
	require.True(t, lines.Scan())
	require.Equal(t, "started", lines.Text(), "the lock ends with its process")
	require.NoError(t, third.Process.Kill())
	_ = third.Wait()
}
