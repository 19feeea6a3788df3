package csvrotate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// takeOn is take with a disk.
func takeOn(t testing.TB, d disk, cfg *Config) *writer {
	t.Helper()
	w, err := openDirectory(d, cfg, []byte(testHeader), zap.NewNop(), newCounts(), noon)
	require.NoError(t, err)
	t.Cleanup(w.crash)
	return w
}

// compressAll compresses what is finished, as the exporter does on the side.
func (w *writer) compressAll(t testing.TB) {
	t.Helper()
	for {
		f, ok := w.index.uncompressed()
		if !ok {
			return
		}
		size, err := compressFile(t.Context(), w.disk, w.path(f.stamp, suffixCSV), w.path(f.stamp, compressedSuffix(w.cfg.Compression)), w.cfg.Compression)
		require.NoError(t, err)
		require.NoError(t, w.replaced(f, size))
	}
}

// A row is on the disk before it is acknowledged, and a file has the name of a finished
// one only when all of it is. No file is removed before its replacement is on the disk.
func TestTheOrderOfWhatIsDoneWithFiles(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Directory = filepath.Join(cfg.Directory, "a", "csv")
	cfg.Fsync, cfg.Rotation, cfg.Compression = fsyncAlways, Rotation{MaxRows: 2}, compressGzip
	cfg.Retention = Retention{MaxFiles: 1}
	r := newRecorder()

	w := takeOn(t, r, cfg)
	top := filepath.Base(filepath.Dir(filepath.Dir(cfg.Directory)))
	require.Equal(t, []string{"mkdir a", "syncdir " + top, "mkdir csv", "syncdir a"}, r.orders(), "the way to the files")

	w.put(t, noon, 1, 2)
	require.Equal(t, []string{
		"create 120000.csv.partial", "write 120000.csv.partial", "syncdir csv",
		"write 120000.csv.partial", "sync 120000.csv.partial",
	}, r.orders(), "the first batch")

	w.put(t, noon, 3)
	require.Equal(t, []string{
		"create 120000_001.csv.partial", "write 120000_001.csv.partial", "syncdir csv",
		"write 120000_001.csv.partial", "sync 120000_001.csv.partial",
		"sync 120000.csv.partial", "close 120000.csv.partial", "rename 120000.csv.partial 120000.csv", "syncdir csv",
	}, r.orders(), "rotation")

	w.compressAll(t)
	got := r.orders()
	got = slices.Compact(got) // as many writes as it takes
	require.Equal(t, []string{
		"overwrite 120000.csv.gz.tmp", "write 120000.csv.gz.tmp", "sync 120000.csv.gz.tmp", "close 120000.csv.gz.tmp", "close 120000.csv",
		"rename 120000.csv.gz.tmp 120000.csv.gz", "syncdir csv", "remove 120000.csv",
	}, moved(got, "close 120000.csv"), "compression")

	w.put(t, noon, 4)
	r.orders()
	require.NoError(t, w.finishLast(noon))
	require.Equal(t, []string{
		"sync 120000_001.csv.partial", "close 120000_001.csv.partial", "rename 120000_001.csv.partial 120000_001.csv", "syncdir csv",
		"remove 120000.csv.gz", // retention
	}, r.orders(), "shutdown")
	w.crash()

	leave(t, cfg, testHeader+string(records(5))+`6,"half`)
	w = takeOn(t, r, cfg)
	require.Equal(t, []string{"truncate 120000.csv.partial", "sync 120000.csv.partial"}, r.orders(), "recovery of a file that is continued")
	w.crash()
	r.orders()

	leave(t, cfg, "old\r\n5\r\n\x00\x00")
	w = takeOn(t, r, cfg)
	require.Equal(t, []string{
		"create 120000.csv.corrupt", "write 120000.csv.corrupt", "sync 120000.csv.corrupt", "close 120000.csv.corrupt", "syncdir csv",
		"truncate 120000.csv.partial", "sync 120000.csv.partial", // what cannot be read is safe before it is cut off
		"sync 120000.csv.partial", "close 120000.csv.partial", "rename 120000.csv.partial 120000.csv", "syncdir csv",
		"remove 120000.csv", // retention, which keeps one
	}, r.orders(), "recovery of a file that is finished")
	w.crash()

	leave(t, cfg, "\x00\x00")
	w = takeOn(t, r, cfg)
	require.Equal(t, []string{"close 120000.csv.partial", "rename 120000.csv.partial 120000_001.csv.corrupt", "syncdir csv"}, r.orders(), "nothing can be read")
	w.crash()
}

// moved puts one operation, of which the place does not matter, where a table has it.
func moved(orders []string, which string) []string {
	if i := slices.Index(orders, which); i >= 0 {
		orders = slices.Delete(orders, i, i+1)
		return slices.Insert(orders, min(4, len(orders)), which)
	}
	return orders
}

// With fsync interval and never, the file is synced when it ends and nothing before.
func TestFsyncIsAsConfigured(t *testing.T) {
	for fsync, want := range map[string][]string{
		fsyncAlways:   {"create", "write", "syncdir", "write", "sync", "write", "sync"},
		fsyncInterval: {"create", "write", "syncdir", "write", "write"},
		fsyncNever:    {"create", "write", "write", "write"},
	} {
		cfg := defaultConfig(t)
		cfg.Fsync = fsync
		r := newRecorder()
		w := takeOn(t, r, cfg)
		w.put(t, noon, 1)
		w.put(t, noon, 2)
		var whats []string
		for _, o := range r.operations {
			whats = append(whats, o.what)
		}
		require.Equal(t, want, whats, fsync)
		r.orders()
		require.NoError(t, w.finishLast(noon))
		require.Equal(t, []string{
			"sync 120000.csv.partial", "close 120000.csv.partial", "rename 120000.csv.partial 120000.csv", "syncdir " + filepath.Base(cfg.Directory),
		}, r.orders(), fsync)
	}
}

// A power cut at any point, whatever of the unsynced changes has reached the disk, loses
// no row that was promised: with fsync always each acknowledged one, with interval what
// was synced since, with never what is in finished files.
func TestAPowerCutLosesNothingThatWasPromised(t *testing.T) {
	for _, fsync := range []string{fsyncAlways, fsyncInterval, fsyncNever} {
		t.Run(fsync, func(t *testing.T) {
			r := newRecorder()
			cfg := defaultConfig(t)
			base := cfg.Directory
			cfg.Directory = filepath.Join(base, "csv")
			cfg.Fsync, cfg.Rotation, cfg.Compression = fsync, Rotation{MaxRows: 3}, compressGzip
			live(t, r, cfg)
			checked := make(map[string]bool)
			for k := range len(r.operations) + 1 {
				for _, tree := range powerCut(r.operations[:k], base) {
					want := promised(r.operations[:k])
					same := fmt.Sprint(tree, len(want)) // many cuts leave what others leave
					if checked[same] {
						continue
					}
					checked[same] = true
					checkTree(t, cfg, tree, want, fmt.Sprintf("after %d operations, the last of which are %v", k, r.operations[max(0, k-3):k]))
				}
			}
			t.Log(len(checked), "different power cuts")
		})
	}
}

// live is the life of a directory: rotations, compression, a crash within a batch,
// recovery, and a shutdown.
func live(t *testing.T, r *recorder, cfg *Config) {
	w := takeOn(t, r, cfg)
	var open []int // rows of files that are not finished
	put := func(ids ...int) {
		before := w.file
		require.NoError(t, w.write(records(ids...), int64(len(ids)), noon))
		if cfg.Fsync == fsyncAlways {
			r.promise(ids...)
		}
		if before != nil && w.file != before {
			w.settle(t, noon)
			r.promise(open...)
			open = nil
		}
		open = append(open, ids...)
	}
	flush := func() {
		if cfg.Fsync == fsyncInterval {
			require.NoError(t, w.file.Sync())
			r.promise(open...)
		}
	}
	put(1)
	put(2)
	flush()
	put(3, 4)
	put(5)
	put(6, 7, 8)
	w.compressAll(t)
	flush()
	_, err := w.file.WriteAt([]byte(`9,"ha`), w.file.size) // kill -9 within a write
	require.NoError(t, err)
	w.crash()
	w = takeOn(t, r, cfg)
	r.promise(open...) // recovery syncs what it finds
	put(10)
	flush()
	put(11, 12)
	require.NoError(t, w.finishLast(noon))
	r.promise(open...)
	w.compressAll(t)
	w.crash()
}

func promised(operations []operation) (rows []string) {
	for _, o := range operations {
		rows = append(rows, o.rows...)
	}
	return rows
}

// inode is a file: what a process sees of it, and what is on the disk for certain.
type inode struct{ now, synced []byte }

// powerCut returns the trees that a power cut can leave after operations below base: the
// files by name. Names change on the disk in their order, and all at once with a sync of
// their directory. Of unsynced bytes either all survive, or none, or only the length of the file.
func powerCut(operations []operation, base string) (trees []map[string][]byte) {
	opened := make(map[string]*inode) // by the path at which it was opened
	names, durable := make(map[string]*inode), make(map[string]*inode)
	type change struct {
		directory string
		apply     func(map[string]*inode)
	}
	var pending []change
	rename := func(path string, apply func(map[string]*inode)) {
		apply(names)
		pending = append(pending, change{filepath.Dir(path), apply})
	}
	for _, o := range operations {
		switch o.what {
		case "create", "overwrite":
			f := &inode{}
			if old := names[o.path]; old != nil {
				f = old
				f.now = nil
			}
			opened[o.path] = f
			rename(o.path, func(m map[string]*inode) { m[o.path] = f })
		case "mkdir":
			f := &inode{}
			rename(o.path, func(m map[string]*inode) { m[o.path] = f })
		case "open":
			opened[o.path] = names[o.path]
		case "write":
			f := opened[o.path]
			f.now = append(f.now[:min(len(f.now), int(o.at))], make([]byte, max(0, int(o.at)-len(f.now)))...)
			f.now = append(slices.Clip(f.now), o.data...)
		case "truncate":
			f := opened[o.path]
			f.now = append(slices.Clone(f.now[:min(len(f.now), int(o.at))]), make([]byte, max(0, int(o.at)-len(f.now)))...)
		case "sync":
			opened[o.path].synced = slices.Clone(opened[o.path].now)
		case "rename":
			rename(o.path, func(m map[string]*inode) { m[o.to] = m[o.path]; delete(m, o.path) })
		case "remove":
			rename(o.path, func(m map[string]*inode) { delete(m, o.path) })
		case "syncdir":
			pending = slices.DeleteFunc(pending, func(c change) bool {
				if c.directory != o.path {
					return false
				}
				c.apply(durable)
				return true
			})
		}
	}
	for n := range len(pending) + 1 {
		survived := make(map[string]*inode)
		for path, f := range durable {
			survived[path] = f
		}
		for _, c := range pending[:n] {
			c.apply(survived)
		}
		for _, bytes := range []func(*inode) []byte{
			func(f *inode) []byte { return f.now },
			func(f *inode) []byte { return f.synced },
			func(f *inode) []byte {
				zeros := make([]byte, len(f.now))
				copy(zeros, f.synced)
				return zeros
			},
		} {
			tree := make(map[string][]byte)
			for path, f := range survived {
				if f != nil && survived[filepath.Dir(path)] != nil { // a file without its directory is nowhere
					tree[filepath.Base(path)] = bytes(f)
				}
			}
			trees = append(trees, tree)
		}
	}
	return trees
}

// checkTree starts on what a power cut has left, and reads the rows.
func checkTree(t *testing.T, like *Config, tree map[string][]byte, want []string, at string) {
	t.Helper()
	cfg := *like
	cfg.Directory = t.TempDir()
	for name, content := range tree {
		require.NoError(t, os.WriteFile(filepath.Join(cfg.Directory, name), content, 0o600))
	}
	w, err := openDirectory(unsynced{systemDisk{}}, &cfg, []byte(testHeader), zap.NewNop(), newCounts(), noon.Add(time.Minute))
	require.NoError(t, err, at)
	require.NoError(t, w.finishLast(noon.Add(time.Minute)))
	w.crash()
	var rows []string
	for _, name := range namesOfRows(t, cfg.Directory) {
		rows = append(rows, read(t, filepath.Join(cfg.Directory, name))...)
	}
	for _, row := range want {
		require.Contains(t, rows, row, "%s: row %s was promised; there are %v", at, row, tree)
	}
	for _, row := range rows {
		require.NotEqual(t, "9", row, "%s: half of a batch that was never acknowledged", at)
	}
}

// unsynced is a disk without syncs, which take most of the time of these tests.
type unsynced struct{ disk }

func (unsynced) syncDirectory(string) error { return nil }

func (d unsynced) open(path string) (handle, error) {
	f, err := d.disk.open(path)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

type unsyncedFile struct{ handle }

func (unsyncedFile) Sync() error { return nil }

func namesOfRows(t *testing.T, directory string) (out []string) {
	for _, name := range names(t, directory) {
		if ext := filepath.Ext(name); ext == ".csv" || ext == ".gz" {
			out = append(out, name)
		}
	}
	return out
}
