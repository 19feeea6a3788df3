package csvrotate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// The development dependency of this test, and of nothing else.
const duckDB = "@duckdb/node-api@1.5.6-r.1"

const (
	rowsPerFile = 100
	durationNS  = 1_000_000
)

// awkward is part of every name that is read back: it has what CSV has to quote.
const awkward = ` "a", b` + "\n" + `é =1 \`

// keepWriting writes files of 100 rows until the test ends.
func keepWriting(t *testing.T) (directory string) {
	cfg := defaultConfig(t)
	const files = 150 // fewer than are kept: on a slow machine a reader must not lose one of them
	cfg.Rotation, cfg.Retention = Rotation{MaxRows: rowsPerFile}, Retention{MaxFiles: 200}
	cfg.Columns = append(append([]string{}, defaultColumns[rowsTasks]...), "attributes")
	direct(cfg)
	e := started(t, cfg, newHost())
	ctx, stop := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ctx.Err() == nil && i < 4*files; i++ {
			td := ptrace.NewTraces()
			spans := scopeOf(td, "app")
			for j := range rowsPerFile / 4 {
				s := span(spans, fmt.Sprint(i, " ", j, awkward))
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now()))
				s.SetEndTimestamp(s.StartTimestamp() + durationNS)
				s.Attributes().PutStr(taskspan.TaskState, "completed")
				s.Attributes().PutInt(taskspan.TaskBlockedNS, int64(j))
				s.Attributes().PutStr(taskspan.WaitKind, "mutex")
				s.TraceState().FromRaw("ot=th:c")
			}
			if err := e.ConsumeTraces(context.Background(), td); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	t.Cleanup(func() {
		stop()
		writing.Wait()
		require.NoError(t, e.Shutdown(context.Background()))
	})
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(filepath.Join(cfg.Directory, "*.csv"))
		return len(files) >= 2
	}, 10*time.Second, 10*time.Millisecond)
	return cfg.Directory
}

func TestDuckDBReadsWhatIsBeingWritten(t *testing.T) {
	t.Parallel()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not here, so DuckDB cannot be fetched and does not read the files")
	}
	node := t.TempDir()
	script, err := os.ReadFile("testdata/duckdb.mjs")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(node, "duckdb.mjs"), script, 0o600))
	install := exec.Command(npm, "install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix", node, duckDB)
	install.Dir = node
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot fetch %s, so DuckDB does not read the files: %v\n%s", duckDB, err, out)
	}
	directory := keepWriting(t)
	const times = 10
	run := exec.Command("node", "duckdb.mjs", directory, fmt.Sprint(times))
	run.Dir = node
	var said, failed bytes.Buffer
	run.Stdout, run.Stderr = &said, &failed
	require.NoError(t, run.Run(), "%s", &failed)

	lines := bufio.NewScanner(&said)
	lines.Buffer(nil, 1<<20)
	files := 0
	for range times {
		require.True(t, lines.Scan())
		var got struct {
			Types   map[string]string `json:"types"`
			PerFile [][]int64         `json:"perFile"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &got))
		require.Equal(t, map[string]string{
			"trace_id": "VARCHAR", "span_id": "VARCHAR", "parent_span_id": "VARCHAR", "name": "VARCHAR", "service": "VARCHAR", "state": "VARCHAR",
			"start": "TIMESTAMP WITH TIME ZONE", "end": "TIMESTAMP WITH TIME ZONE", "start_unix_nano": "BIGINT", "duration_ns": "BIGINT", "blocked_ns": "BIGINT",
			"wait_kind": "VARCHAR", "wait_resource": "VARCHAR", "wait_place": "VARCHAR", "status_code": "VARCHAR", "status_message": "VARCHAR",
			"sampling_rate": "DOUBLE", "adjusted_count": "BIGINT", "attributes": "VARCHAR",
		}, got.Types)
		for _, file := range got.PerFile {
			require.Equal(t, []int64{rowsPerFile, rowsPerFile, rowsPerFile * durationNS}, file)
		}
		require.GreaterOrEqual(t, len(got.PerFile), files, "files come and none goes")
		files = len(got.PerFile)
	}
	require.True(t, lines.Scan())
	var name string
	require.NoError(t, json.Unmarshal(lines.Bytes(), &name))
	require.True(t, strings.HasSuffix(name, awkward), "%q", name)
	t.Logf("%d readings, %d files at the last", times, files)
}

func TestSQLiteReadsWhatIsBeingWritten(t *testing.T) {
	t.Parallel()
	sqlite, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("sqlite3 is not here and does not read the files")
	}
	directory := keepWriting(t)
	for range 10 {
		files, err := filepath.Glob(filepath.Join(directory, "*.csv"))
		require.NoError(t, err)
		columns := "trace_id TEXT, span_id TEXT, parent_span_id TEXT, name TEXT, service TEXT, state TEXT, start TEXT, \"end\" TEXT, start_unix_nano INTEGER, " +
			"duration_ns INTEGER, blocked_ns INTEGER, wait_kind TEXT, wait_resource TEXT, wait_place TEXT, status_code TEXT, status_message TEXT, " +
			"sampling_rate REAL, adjusted_count REAL, attributes TEXT"
		run := exec.Command(sqlite, "-bail", ":memory:", "CREATE TABLE tasks ("+columns+");")
		for _, file := range files {
			run.Args = append(run.Args, fmt.Sprintf(".import --csv --skip 1 %s tasks", file))
		}
		run.Args = append(run.Args, `SELECT count(*), count(DISTINCT name), sum(duration_ns), typeof(start_unix_nano), typeof(sampling_rate), typeof(trace_id),
			typeof(duration_ns), min(datetime(start) IS NOT NULL), sum(json_extract(attributes, '$."async_inspect.task.blocked_ns"') = blocked_ns) FROM tasks;`)
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s", out)
		n := len(files) * rowsPerFile
		require.Equal(t, fmt.Sprintf("%d|%d|%d|integer|real|text|integer|1|%d", n, n, n*durationNS, n), strings.TrimSpace(string(out)))
	}
}

func TestZstdReadsWhatWeCompress(t *testing.T) {
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("zstd is not here and does not read the files")
	}
	cfg := defaultConfig(t)
	cfg.Compression, cfg.Columns = compressZstd, []string{"name"}
	e := started(t, cfg, newHost())
	require.NoError(t, e.ConsumeTraces(context.Background(), tasks("a", "b")))
	require.NoError(t, e.Shutdown(context.Background()))
	out, err := exec.Command(zstd, "-dc", filepath.Join(cfg.Directory, names(t, cfg.Directory)[0])).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "name\r\na\r\nb\r\n", string(out))
}
