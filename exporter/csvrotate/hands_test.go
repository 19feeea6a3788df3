package csvrotate

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// What others do to the open file or its directory is noticed before the next row is
// written: no file gets a hole or loses its header, what rows are left are finished, and
// later rows go into another file.
func TestWhatOthersDoToTheOpenFileIsNoticed(t *testing.T) {
	two := int64(len(testHeader) + len(records(1, 2)))
	truncate := func(size int64) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, size)) }
	}
	for name, c := range map[string]struct {
		hands  func(t *testing.T, path string)
		saved  []string // rows of the file that was changed; nil: it is gone
		reason string
	}{
		"copied and truncated":              {truncate(0), nil, failedChanged},
		"truncated to a part of the header": {truncate(3), nil, failedChanged},
		"truncated to the header":           {truncate(int64(len(testHeader))), nil, failedChanged},
		"truncated within a record":         {truncate(two - 3), []string{"1"}, failedChanged},
		"truncated after a record":          {truncate(int64(len(testHeader) + len(records(1)))), []string{"1"}, failedChanged},
		"something is appended": {func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			require.NoError(t, err)
			_, err = f.WriteString(`3,"half a rec`)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, []string{"1", "2"}, failedChanged},
		// The size is right again: rows were written while it was truncated.
		"a hole": {func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(path, 0))
			require.NoError(t, os.Truncate(path, two))
		}, nil, failedChanged},
		"removed": {func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, nil, failedRemoved},
		"renamed, and made anew": {func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+".1"))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}, nil, failedRemoved},
	} {
		for when, notice := range map[string]func(*writer) error{
			"the next batch": func(w *writer) error { return w.write(records(3), 1, noon) },
			"a tick": func(w *writer) error {
				if err := w.tick(noon); err != nil {
					return err
				}
				require.Nil(t, w.file)
				return w.write(records(3), 1, noon)
			},
			"the end of the file": func(w *writer) error {
				if err := w.end(finishedRows, noon); err != nil {
					return err
				}
				if err := w.finish(w.ended.Sync(), noon); err != nil {
					return err
				}
				return w.write(records(3), 1, noon)
			},
		} {
			t.Run(name+", "+when, func(t *testing.T) {
				cfg := defaultConfig(t)
				w := take(t, cfg, noon)
				w.put(t, noon, 1, 2)
				path := w.file.path
				c.hands(t, path)
				require.NoError(t, notice(w))
				require.EqualValues(t, 1, w.counts.byFailure[c.reason].Load())
				require.Zero(t, w.counts.byFailure[failedFinish].Load())
				w.settle(t, noon)
				w.put(t, noon, 4)
				require.NoError(t, w.finishLast(noon))

				var rows [][]string
				for _, file := range names(t, cfg.Directory) {
					at := filepath.Join(cfg.Directory, file)
					switch filepath.Ext(file) {
					case suffixCSV:
						content, err := os.ReadFile(at)
						require.NoError(t, err)
						require.True(t, bytes.HasPrefix(content, []byte(testHeader)), "%q", content)
						require.NotContains(t, string(content), "\x00")
						rows = append(rows, read(t, at))
					case ".corrupt", ".1", ".partial": // others' files, and what nobody can read
					default:
						t.Errorf("there is %s", file)
					}
				}
				want := [][]string{{"3", "4"}}
				if c.saved != nil {
					want = [][]string{c.saved, {"3", "4"}}
				}
				require.Equal(t, want, rows)
				require.EqualValues(t, 1, w.counts.byFailure[c.reason].Load(), "once")
			})
		}
	}
}

func TestADirectoryThatIsDeletedIsMadeAgain(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Directory = filepath.Join(cfg.Directory, "a", "b")
	cfg.Rotation = Rotation{MaxRows: 2}
	w := take(t, cfg, noon)
	w.put(t, noon, 1, 2)
	w.put(t, noon, 3)
	require.Len(t, w.index.files, 1)
	require.NoError(t, os.RemoveAll(filepath.Dir(cfg.Directory)))

	w.put(t, noon, 4)
	require.Empty(t, w.index.files, "what is gone counts for no limit")
	require.Zero(t, w.index.bytes)
	require.EqualValues(t, 2, w.counts.byFailure[failedRemoved].Load(), "the file and the directory")
	_, err := openDirectory(systemDisk{}, cfg, []byte(testHeader), zap.NewNop(), newCounts(), noon)
	require.ErrorContains(t, err, "is in use by another csv_rotate exporter", "it is locked again")

	w.put(t, noon, 5)
	w.put(t, noon, 6)
	require.NoError(t, w.finishLast(noon))
	require.Equal(t, []string{"4", "5"}, read(t, filepath.Join(cfg.Directory, leftOpen+suffixCSV)))
	require.Equal(t, []string{"6"}, read(t, filepath.Join(cfg.Directory, leftOpen+"_001"+suffixCSV)))
	require.EqualValues(t, 2, w.counts.byFailure[failedRemoved].Load())
	w.lock.release()
	take(t, cfg, noon).crash()
}

// Somebody who has put another directory in its place, and another exporter into that,
// keeps it until that exporter is gone.
func TestADirectoryThatAnotherHasTakenIsLeftToIt(t *testing.T) {
	cfg := defaultConfig(t)
	cfg.Directory = filepath.Join(cfg.Directory, "csv")
	w := take(t, cfg, noon)
	w.put(t, noon, 1)
	require.NoError(t, os.Rename(cfg.Directory, cfg.Directory+".old"))
	other := take(t, cfg, noon)
	require.ErrorContains(t, w.write(records(2), 1, noon), "is in use by another csv_rotate exporter")
	require.EqualValues(t, 1, w.counts.byFailure[failedCreate].Load())
	other.put(t, noon, 3)
	require.NoError(t, other.finishLast(noon))
	other.crash()
	w.put(t, noon, 2)
	require.NoError(t, w.finishLast(noon))
	require.Equal(t, []string{"3"}, read(t, filepath.Join(cfg.Directory, leftOpen+suffixCSV)))
	require.Equal(t, []string{"2"}, read(t, filepath.Join(cfg.Directory, leftOpen+"_001"+suffixCSV)))
}
