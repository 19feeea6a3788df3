package csvrotate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

const leftOpen = "async-inspect-20261123-120000"

// leave puts a file there that a crash has left open.
func leave(t testing.TB, cfg *Config, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Directory, leftOpen+suffixPartial), []byte(content), 0o600))
}

func TestAFileThatACrashLeftGoesOn(t *testing.T) {
	cfg := defaultConfig(t)
	whole := testHeader + string(records(1, 2))
	for n := len(whole) - len(records(2)); n < len(whole); n++ {
		leave(t, cfg, whole[:n])
		w := take(t, cfg, noon.Add(time.Minute))
		w.put(t, noon.Add(time.Minute), 3)
		require.NoError(t, w.finishLast(noon))
		w.lock.release()
		require.Equal(t, []string{leftOpen + suffixCSV}, names(t, cfg.Directory))
		require.Equal(t, []string{"1", "3"}, read(t, filepath.Join(cfg.Directory, leftOpen+suffixCSV)))
		require.NoError(t, os.Remove(filepath.Join(cfg.Directory, leftOpen+suffixCSV)))
	}
}

func TestWhatIsLeftOfARecordIsCutOff(t *testing.T) {
	cfg := defaultConfig(t)
	long := `2,"` + strings.Repeat("a line of a cell that has not ended\r\n", 1000)
	leave(t, cfg, testHeader+string(records(1))+long)
	w := take(t, cfg, noon)
	require.Equal(t, []string{"1"}, read(t, w.file.path))
	w.put(t, noon, 3)
	require.Equal(t, []string{"1", "3"}, read(t, w.file.path))
}

func TestItsAgeAndRowsCountForRotation(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Rotation = Rotation{MaxRows: 3, Interval: time.Hour}
	leave(t, cfg, testHeader+string(records(1, 2)))
	w := take(t, cfg, noon.Add(time.Minute))
	require.EqualValues(t, 2, w.file.rows)
	require.NoError(t, w.tick(noon.Add(time.Hour)))
	require.Nil(t, w.file)
}

func TestWhatCannotBeReadIsSetAside(t *testing.T) {
	zeros := strings.Repeat("\x00", 4096)
	for _, c := range []struct {
		name, content, corrupt string
		rows                   []string
	}{
		{"blocks that were never written", testHeader + string(records(1)) + zeros, zeros, []string{"1"}},
		{"rows after such blocks", testHeader + string(records(1)) + zeros + string(records(2)), zeros + string(records(2)), []string{"1"}},
		{"no row can be read", zeros, zeros, nil},
		{"not even the header", "id,te\x00", "id,te\x00", nil},
		{"only a header that is not ours", "other\r\n", "other\r\n", nil},
	} {
		cfg := defaultConfig(t)
		leave(t, cfg, c.content)
		w := take(t, cfg, noon)
		require.NoError(t, w.finishLast(noon))
		corrupt, err := os.ReadFile(filepath.Join(cfg.Directory, leftOpen+suffixCorrupt))
		require.NoError(t, err, c.name)
		require.Equal(t, c.corrupt, string(corrupt), c.name)
		require.EqualValues(t, 1, w.counts.corrupt.Load())
		if c.rows != nil {
			require.Equal(t, c.rows, read(t, filepath.Join(cfg.Directory, leftOpen+suffixCSV)), c.name)
		} else {
			require.Equal(t, []string{leftOpen + suffixCorrupt}, names(t, cfg.Directory), c.name)
		}
	}
}

func TestWhatWasSetAsideBeforeStays(t *testing.T) {
	cfg := defaultConfig(t)
	for range 3 {
		leave(t, cfg, "\x00")
		take(t, cfg, noon).crash()
	}
	require.Equal(t, []string{leftOpen + suffixCorrupt, leftOpen + "_001" + suffixCorrupt, leftOpen + "_002" + suffixCorrupt}, names(t, cfg.Directory))
}

func TestAFileWithoutRowsGoes(t *testing.T) {
	for n := range len(testHeader) + 1 {
		cfg := defaultConfig(t)
		leave(t, cfg, testHeader[:n])
		take(t, cfg, noon)
		require.Empty(t, names(t, cfg.Directory), "%q", testHeader[:n])
	}
}

func TestAnotherSetOfColumnsBeginsAnotherFile(t *testing.T) {
	cfg := defaultConfig(t)
	leave(t, cfg, "old\r\n1\r\n2\r\n3")
	w := take(t, cfg, noon)
	w.put(t, noon, 9)
	require.Equal(t, []string{leftOpen + ".csv", leftOpen + "_001.csv.partial"}, names(t, cfg.Directory))
	require.Equal(t, []string{"1", "2"}, read(t, filepath.Join(cfg.Directory, leftOpen+".csv")))
	require.EqualValues(t, 1, w.counts.byFinish[finishedRecovered].Load())
}

func TestACrashBetweenTwoFilesLeavesTwo(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Rotation = Rotation{MaxRows: 1}
	w := take(t, cfg, noon)
	require.NoError(t, w.write(records(1), 1, noon))
	require.NoError(t, w.write(records(2), 1, noon)) // the first has ended and is not finished
	w.crash()
	require.Equal(t, []string{leftOpen + ".csv.partial", leftOpen + "_001.csv.partial"}, names(t, cfg.Directory))
	w = take(t, cfg, noon)
	require.NoError(t, w.finishLast(noon))
	require.Equal(t, []string{"1"}, read(t, filepath.Join(cfg.Directory, leftOpen+".csv")))
	require.Equal(t, []string{"2"}, read(t, filepath.Join(cfg.Directory, leftOpen+"_001.csv")))
}

func TestACrashWhileCompressingLosesNothing(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Compression = compressGzip
	w := take(t, cfg, noon)
	w.put(t, noon, 1)
	require.NoError(t, w.finishLast(noon))
	f, _ := w.index.uncompressed()
	size, err := compressFile(t.Context(), systemDisk{}, w.path(f.stamp, suffixCSV), w.path(f.stamp, suffixGzip), compressGzip)
	require.NoError(t, err)
	w.crash() // both are there
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Directory, leftOpen+suffixZstd+suffixTemp), []byte("half"), 0o600))
	w = take(t, cfg, noon)
	require.Len(t, w.index.files, 2)
	f, ok := w.index.uncompressed()
	require.True(t, ok)
	require.NoError(t, w.replaced(f, size))
	require.Equal(t, []string{leftOpen + suffixGzip}, names(t, cfg.Directory))
	require.Len(t, w.index.files, 1)
	require.Equal(t, size, w.index.bytes)
}

func TestASymbolicLinkIsRefused(t *testing.T) {
	cfg := defaultConfig(t)
	target := filepath.Join(t.TempDir(), "target")
	require.NoError(t, os.WriteFile(target, []byte(testHeader+string(records(1))), 0o600))
	link := filepath.Join(cfg.Directory, leftOpen+suffixPartial)
	require.NoError(t, os.Symlink(target, link))
	_, err := openDirectory(systemDisk{}, cfg, []byte(testHeader), zap.NewNop(), newCounts(), noon)
	require.ErrorContains(t, err, link+" is a symbolic link, which is refused: remove it")
	require.NoError(t, os.Remove(link))
	take(t, cfg, noon)

	lock := defaultConfig(t)
	require.NoError(t, os.Symlink(target, filepath.Join(lock.Directory, lockName(lock.Prefix))))
	_, err = openDirectory(systemDisk{}, lock, []byte(testHeader), zap.NewNop(), newCounts(), noon)
	require.ErrorContains(t, err, "directory: ")
}

func TestADirectoryThatCannotBeUsedIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	cfg := defaultConfig(t)
	cfg.Directory = filepath.Join(file, "below")
	_, err := openDirectory(systemDisk{}, cfg, []byte(testHeader), zap.NewNop(), newCounts(), noon)
	require.ErrorContains(t, err, `directory: create "`+cfg.Directory+`"`)
}
