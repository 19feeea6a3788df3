package csvrotate

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

const testHeader = "id,text\r\n"

// take opens a directory, and lets it go when the test ends.
func take(t testing.TB, cfg *Config, now time.Time) *writer {
	t.Helper()
	w, err := openDirectory(systemDisk{}, cfg, []byte(testHeader), zap.NewNop(), newCounts(), now)
	require.NoError(t, err)
	t.Cleanup(w.crash)
	return w
}

// crash is what kill -9 leaves: nothing is finished, only the system lets go.
func (w *writer) crash() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	if w.ended != nil {
		w.ended.Close()
		w.ended = nil
	}
	w.lock.release()
}

// settle finishes what has ended, as the exporter does on the side.
func (w *writer) settle(t testing.TB, now time.Time) {
	t.Helper()
	if w.ended != nil {
		require.NoError(t, w.finish(w.ended.Sync(), now))
	}
}

func (w *writer) put(t testing.TB, now time.Time, ids ...int) {
	t.Helper()
	require.NoError(t, w.write(records(ids...), int64(len(ids)), now))
	w.settle(t, now)
}

func records(ids ...int) (out []byte) {
	for _, id := range ids {
		out = fmt.Appendf(out, "%d,%q\r\n", id, "text\n")
	}
	return out
}

// names are the files of a directory but for the lock.
func names(t testing.TB, directory string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".lock") {
			out = append(out, entry.Name())
		}
	}
	return out
}

// read returns the first column of a file's rows, and fails if it is not CSV.
func read(t testing.TB, path string) (ids []string) {
	t.Helper()
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	switch filepath.Ext(path) {
	case ".gz":
		r, err := gzip.NewReader(bytes.NewReader(file))
		require.NoError(t, err)
		file, err = io.ReadAll(r)
		require.NoError(t, err)
	case ".zst":
		r, err := zstd.NewReader(bytes.NewReader(file), zstd.WithDecoderConcurrency(1))
		require.NoError(t, err)
		defer r.Close()
		file, err = io.ReadAll(r)
		require.NoError(t, err)
	}
	require.True(t, bytes.HasSuffix(file, []byte(recordEnd)), "%s ends with a whole record", path)
	all, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	require.NoError(t, err, path)
	for _, record := range all[1:] {
		ids = append(ids, record[0])
	}
	return ids
}

func TestAnOpenFileIsPartialAndAFinishedOneIsNot(t *testing.T) {
	cfg := defaultConfig(t)
	w := take(t, cfg, noon)
	require.Empty(t, names(t, cfg.Directory), "no row, no file")
	w.put(t, noon, 1, 2)
	require.Equal(t, []string{"async-inspect-20261123-120000.csv.partial"}, names(t, cfg.Directory))
	require.NoError(t, w.finishLast(noon))
	require.Equal(t, []string{"async-inspect-20261123-120000.csv"}, names(t, cfg.Directory))
	require.Equal(t, []string{"1", "2"}, read(t, filepath.Join(cfg.Directory, "async-inspect-20261123-120000.csv")))
}

func TestModesAreNarrow(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Directory = filepath.Join(cfg.Directory, "a", "b")
	take(t, cfg, noon).put(t, noon, 1)
	for path, mode := range map[string]os.FileMode{"": 0o750, "async-inspect-20261123-120000.csv.partial": 0o640, ".async-inspect.lock": 0o640} {
		info, err := os.Stat(filepath.Join(cfg.Directory, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm()|mode&0o027, "%s, less the umask", path)
	}
}

func TestRotation(t *testing.T) {
	batch := int64(len(records(1, 2)))
	for _, c := range []struct {
		name     string
		rotation Rotation
		step     time.Duration
		want     []string
		reason   string
	}{
		{"rows", Rotation{MaxRows: 4}, 0, []string{"120000.csv", "120000_001.csv", "120000_002.csv.partial"}, finishedRows},
		{"rows, and a batch is never split", Rotation{MaxRows: 3}, time.Second, []string{"120000.csv", "120001.csv", "120002.csv", "120003.csv", "120004.csv.partial"}, finishedRows},
		{"bytes", Rotation{MaxBytes: int64(len(testHeader)) + 2*batch}, time.Second, []string{"120000.csv", "120002.csv", "120004.csv.partial"}, finishedBytes},
		{"a byte less", Rotation{MaxBytes: int64(len(testHeader)) + 2*batch - 1}, time.Minute, []string{"120000.csv", "120100.csv", "120200.csv", "120300.csv", "120400.csv.partial"}, finishedBytes},
		{"interval", Rotation{Interval: time.Minute}, 25 * time.Second, []string{"120000.csv", "120115.csv.partial"}, finishedInterval},
		{"interval, aligned", Rotation{Interval: time.Minute, Aligned: true}, 25 * time.Second, []string{"120000.csv", "120115.csv.partial"}, finishedInterval},
		{"interval of an hour, aligned", Rotation{Interval: time.Hour, Aligned: true}, 40 * time.Minute, []string{"120000.csv", "132000.csv", "140000.csv.partial"}, finishedInterval},
		{"whichever comes first", Rotation{Interval: 30 * time.Second, MaxRows: 4, MaxBytes: 1 << 20}, time.Second, []string{"120000.csv", "120002.csv", "120004.csv.partial"}, finishedRows},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := defaultConfig(t)
			cfg.Rotation = c.rotation
			w := take(t, cfg, noon)
			var all []string
			now := noon
			for i := range 5 {
				w.put(t, now, 2*i, 2*i+1)
				now = now.Add(c.step)
			}
			got := names(t, cfg.Directory)
			for _, name := range got {
				all = append(all, read(t, filepath.Join(cfg.Directory, name))...)
			}
			for i := range c.want {
				c.want[i] = "async-inspect-20261123-" + c.want[i]
			}
			require.Equal(t, c.want, got)
			require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, all)
			require.EqualValues(t, len(c.want)-1, w.counts.byFinish[c.reason].Load())
		})
	}
}

func TestAlignedFilesEndOnTheClock(t *testing.T) {
	r := Rotation{Interval: 15 * time.Minute, Aligned: true}
	require.Equal(t, noon.Add(15*time.Minute), r.endOf(noon))
	require.Equal(t, noon.Add(15*time.Minute), r.endOf(noon.Add(14*time.Minute)).UTC())
	zone := time.FixedZone("", 20*60) // not a multiple
	require.Equal(t, noon.Add(15*time.Minute), r.endOf(noon.In(zone)).UTC())
}

func TestAnIdleFileRotatesToo(t *testing.T) {
	cfg := defaultConfig(t)
	w := take(t, cfg, noon)
	w.put(t, noon, 1)
	require.NoError(t, w.tick(noon.Add(59*time.Minute)))
	require.NotNil(t, w.file)
	require.NoError(t, w.tick(noon.Add(time.Hour)))
	w.settle(t, noon.Add(time.Hour))
	require.Equal(t, []string{"async-inspect-20261123-120000.csv"}, names(t, cfg.Directory))
	require.NoError(t, w.tick(noon.Add(9*time.Hour)))
	require.Len(t, names(t, cfg.Directory), 1, "no empty file")
}

func TestNothingThatIsThereIsOverwritten(t *testing.T) {
	cfg := defaultConfig(t)
	w := take(t, cfg, noon)
	path := func(name string) string { return filepath.Join(cfg.Directory, "async-inspect-20261123-"+name) }
	target := filepath.Join(t.TempDir(), "target")
	require.NoError(t, os.WriteFile(target, []byte("precious"), 0o600))
	// These come after the start, when the directory is not read any more.
	require.NoError(t, os.Symlink(target, path("120000.csv.partial")))
	require.NoError(t, os.Symlink("nowhere", path("120000_001.csv")))
	require.NoError(t, os.WriteFile(path("120000_002.csv.zst"), []byte("precious"), 0o600))
	w.put(t, noon, 1)
	require.FileExists(t, path("120000_003.csv.partial"))
	require.NoError(t, os.WriteFile(path("120000_003.csv"), []byte("precious"), 0o600))
	require.NoError(t, w.finishLast(noon))
	require.Equal(t, []string{"1"}, read(t, path("120000_004.csv")))
	for _, name := range []string{target, path("120000_002.csv.zst"), path("120000_003.csv")} {
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "precious", string(file))
	}
}

func TestRetentionDeletesOnlyWhatIsOurs(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Retention = Retention{MaxAge: time.Hour}
	cfg.Rotation = Rotation{Interval: time.Minute}
	old := noon.Add(-24 * time.Hour)
	kept := []string{
		"async-inspect-20261122-120000.csv.corrupt", "async-inspect-20261122-120000.csv.bak", "async-inspect.csv", "notes.csv",
		"async-inspect-a-20261122-120000.csv", "other-20261122-120000.csv", "async-inspect-20261122-120000_1.csv",
	}
	gone := []string{"async-inspect-20261122-120000.csv", "async-inspect-20261122-120000_001.csv.gz", "async-inspect-20261122-120001.csv.zst"}
	for _, name := range append(slices.Clone(kept), gone...) {
		path := filepath.Join(cfg.Directory, name)
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		require.NoError(t, os.Chtimes(path, old, old))
	}
	directory := "async-inspect-20261121-120000.csv" // has our name and is no file
	require.NoError(t, os.Mkdir(filepath.Join(cfg.Directory, directory), 0o700))
	w := take(t, cfg, noon)
	require.ElementsMatch(t, append(kept, directory), names(t, cfg.Directory))
	require.EqualValues(t, len(gone), w.counts.byDeletion[overAge].Load())

	// From here on the directory is not read: the index knows.
	w.put(t, noon, 1)
	w.put(t, noon.Add(2*time.Minute), 2)
	require.FileExists(t, filepath.Join(cfg.Directory, "async-inspect-20261123-120000.csv"))
	require.NoError(t, w.tick(noon.Add(62*time.Minute+time.Second)))
	w.settle(t, noon.Add(62*time.Minute))
	require.NoFileExists(t, filepath.Join(cfg.Directory, "async-inspect-20261123-120000.csv"))
	require.FileExists(t, filepath.Join(cfg.Directory, "async-inspect-20261123-120200.csv"), "it is an hour old when it was finished an hour ago")
}

func TestTotalBytesAreHeldWhileWriting(t *testing.T) {
	cfg := defaultConfig(t)
	size := int64(len(testHeader) + len(records(10, 11)))
	cfg.Rotation = Rotation{MaxRows: 2, MaxBytes: 1 << 20}
	cfg.Retention = Retention{MaxTotalBytes: 3 * size}
	w := take(t, cfg, noon)
	for i := 10; i < 40; i += 2 {
		w.put(t, noon.Add(time.Duration(i)*time.Second), i, i+1)
		var total int64
		for _, name := range names(t, cfg.Directory) {
			info, err := os.Stat(filepath.Join(cfg.Directory, name))
			require.NoError(t, err)
			total += info.Size()
		}
		require.LessOrEqual(t, total, cfg.Retention.MaxTotalBytes)
	}
	require.Len(t, names(t, cfg.Directory), 3)
	require.EqualValues(t, 12, w.counts.byDeletion[overBytes].Load())
}

// wrapping is a disk whose new files are wrapped.
type wrapping struct {
	disk
	wrap func(handle) handle
}

func (d wrapping) create(path string) (handle, error) {
	f, err := d.disk.create(path)
	if err != nil {
		return nil, err
	}
	return d.wrap(f), nil
}

// fullDisk takes no new file for as long as it is full.
type fullDisk struct {
	disk
	full *bool
}

func (d fullDisk) create(path string) (handle, error) {
	if *d.full {
		return nil, &os.PathError{Op: "open", Err: syscall.ENOSPC}
	}
	return d.disk.create(path)
}

// brokenDisk is a file whose disk takes room more bytes, and then what is left of
// a write; its errors are those of the system.
type brokenDisk struct {
	handle
	room           *int
	sync, truncate *error
}

func (d brokenDisk) WriteAt(p []byte, at int64) (int, error) {
	if len(p) > *d.room {
		n, _ := d.handle.WriteAt(p[:*d.room], at)
		*d.room = 0
		return n, &os.PathError{Op: "write", Err: syscall.ENOSPC}
	}
	*d.room -= len(p)
	return d.handle.WriteAt(p, at)
}

func (d brokenDisk) Sync() error {
	if *d.sync != nil {
		return &os.PathError{Op: "sync", Err: *d.sync}
	}
	return d.handle.Sync()
}

func (d brokenDisk) Truncate(n int64) error {
	if *d.truncate != nil {
		return &os.PathError{Op: "truncate", Err: *d.truncate}
	}
	return d.handle.Truncate(n)
}

func TestABatchIsWrittenWholeOrNotAtAll(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Fsync = fsyncAlways
	w := take(t, cfg, noon)
	var syncErr, truncateErr error
	room := len(testHeader) + len(records(1)) + 5
	w.disk = wrapping{systemDisk{}, func(f handle) handle { return brokenDisk{f, &room, &syncErr, &truncateErr} }}
	partial := filepath.Join(cfg.Directory, "async-inspect-20261123-120000.csv.partial")
	w.put(t, noon, 1)

	err := w.write(records(2, 3), 2, noon)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, []string{"1"}, read(t, partial))
	require.EqualValues(t, 1, w.counts.byFailure[failedNoSpace].Load())
	require.EqualValues(t, 1, w.counts.rows.Load())

	room = 1 << 20
	w.put(t, noon, 2, 3)
	require.Equal(t, []string{"1", "2", "3"}, read(t, partial), "it recovers by itself")

	syncErr = syscall.EIO
	require.ErrorIs(t, w.write(records(4), 1, noon), syscall.EIO)
	require.EqualValues(t, 1, w.counts.byFailure[failedSync].Load())
	require.Equal(t, []string{"1", "2", "3"}, read(t, partial), "what was not synced was not acknowledged")

	truncateErr = syscall.EIO
	require.Error(t, w.write(records(4), 1, noon))
	require.Error(t, w.end(finishedInterval, noon), "what cannot be cut cannot be finished")
	syncErr = nil
	require.ErrorContains(t, w.write(records(5), 1, noon), "cut "+partial+" back to its last whole record")
	truncateErr = nil
	w.put(t, noon, 6)
	require.NoError(t, w.finishLast(noon))
	require.Equal(t, []string{"1", "2", "3", "6"}, read(t, strings.TrimSuffix(partial, ".partial")))
}

func TestAFileThatCannotBeFinishedStaysAndIsTriedAgain(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Rotation = Rotation{MaxRows: 1}
	w := take(t, cfg, noon)
	var syncErr, truncateErr error
	room := 1 << 20
	w.disk = wrapping{systemDisk{}, func(f handle) handle { return brokenDisk{f, &room, &syncErr, &truncateErr} }}
	w.put(t, noon, 1)
	syncErr = syscall.EIO
	require.NoError(t, w.write(records(2), 1, noon), "rows go on, into the next file")
	require.ErrorIs(t, w.finish(w.ended.Sync(), noon), syscall.EIO)
	require.NoError(t, w.write(records(3), 1, noon), "and then into the same file, too long as it is")
	require.EqualValues(t, 2, w.counts.byFailure[failedFinish].Load())
	syncErr = nil
	now := noon.Add(2 * time.Second)
	require.NoError(t, w.write(records(4), 1, now))
	require.NoError(t, w.finishLast(now))
	var all []string
	for _, name := range names(t, cfg.Directory) {
		require.Equal(t, ".csv", filepath.Ext(name))
		all = append(all, read(t, filepath.Join(cfg.Directory, name))...)
	}
	require.Equal(t, []string{"1", "2", "3", "4"}, all)
}

func TestAFullDiskRunsRetention(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Rotation, cfg.Retention = Rotation{MaxRows: 1}, Retention{MaxAge: time.Hour}
	w := take(t, cfg, noon)
	w.put(t, noon, 1)
	w.put(t, noon, 2)
	full := true
	w.disk = fullDisk{systemDisk{}, &full}
	require.ErrorContains(t, w.write(records(3), 1, noon.Add(2*time.Hour)), "create a file in "+cfg.Directory)
	require.Len(t, names(t, cfg.Directory), 1, "what was old has gone")
}

func TestMinFreeBytesStopsBeforeTheDiskIsFull(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.MinFreeBytes = 1000
	w := take(t, cfg, noon)
	free, asked := int64(1100+inBlocks), 0
	w.space.ask = func(string) (int64, bool) { asked++; return free, true }
	w.put(t, noon, 1)
	w.put(t, noon, 2)
	require.Equal(t, 1, asked, "the file system is asked once a second")
	var err error
	for i := 3; err == nil; i++ {
		if err = w.write(records(i), 1, noon); err == nil {
			free -= int64(len(records(i)))
		}
		require.Less(t, i, 100)
	}
	require.ErrorIs(t, err, errMinFree)
	require.EqualValues(t, 1, w.counts.byFailure[failedMinFree].Load())
	free = 2000 + inBlocks
	w.put(t, noon, 200)
}

func TestCompressionKeepsEveryRowAndTheAge(t *testing.T) {
	for _, compression := range []string{compressGzip, compressZstd} {
		cfg := defaultConfig(t)
		cfg.Compression = compression
		w := take(t, cfg, noon)
		w.put(t, noon, 1, 2, 3)
		require.NoError(t, w.finishLast(noon))
		f, ok := w.index.uncompressed()
		require.True(t, ok)
		path := w.path(f.stamp, suffixCSV)
		require.NoError(t, os.Chtimes(path, noon, noon))
		to := w.path(f.stamp, compressedSuffix(compression))

		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := compressFile(ctx, systemDisk{}, path, to, compression)
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, names(t, cfg.Directory), 1, "nothing is left of an attempt")

		size, err := compressFile(context.Background(), systemDisk{}, path, to, compression)
		require.NoError(t, err)
		require.NoError(t, w.replaced(f, size))
		require.Equal(t, []string{filepath.Base(to)}, names(t, cfg.Directory))
		require.Equal(t, []string{"1", "2", "3"}, read(t, to))
		info, err := os.Stat(to)
		require.NoError(t, err)
		require.True(t, info.ModTime().Equal(noon))
		require.Equal(t, info.Size(), w.index.bytes)
		_, ok = w.index.uncompressed()
		require.False(t, ok)

		require.NoError(t, w.tick(noon.Add(8*24*time.Hour)))
		require.Empty(t, names(t, cfg.Directory), "retention knows compressed files")
	}
}

func TestAFileThatRetentionDeletedWhileItWasCompressedIsGone(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Compression = compressGzip
	w := take(t, cfg, noon)
	w.put(t, noon, 1)
	require.NoError(t, w.finishLast(noon))
	f, _ := w.index.uncompressed()
	size, err := compressFile(context.Background(), systemDisk{}, w.path(f.stamp, suffixCSV), w.path(f.stamp, suffixGzip), compressGzip)
	require.NoError(t, err)
	require.NoError(t, w.tick(noon.Add(8*24*time.Hour)))
	require.NoError(t, w.replaced(f, size))
	require.Empty(t, names(t, cfg.Directory))
}

func TestAFileThatSomebodyTakesAwayIsNotWrittenToForEver(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Rotation = Rotation{MaxRows: 1}
	w := take(t, cfg, noon)
	w.put(t, noon, 1)
	require.NoError(t, os.Remove(w.file.path))
	require.NoError(t, w.tick(noon))
	w.put(t, noon, 2)
	require.NoError(t, os.Remove(w.file.path))
	require.NoError(t, w.write(records(3), 1, noon))
	w.settle(t, noon)
	require.NoError(t, w.finishLast(noon))
	require.EqualValues(t, 2, w.counts.byFailure[failedRemoved].Load())
	require.Len(t, names(t, cfg.Directory), 1)
	require.Equal(t, []string{"3"}, read(t, filepath.Join(cfg.Directory, names(t, cfg.Directory)[0])))
}

func TestFailuresHaveReasons(t *testing.T) {
	w := &writer{}
	require.Equal(t, failedWrite, w.reasonOf(errors.New("what")))
	require.Equal(t, failedCreate, w.reasonOf(fmt.Errorf("%w: %w", errCreate, os.ErrPermission)))
	require.Equal(t, failedNoSpace, w.reasonOf(fmt.Errorf("%w: %w", errCreate, syscall.ENOSPC)))
}
