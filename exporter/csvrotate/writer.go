package csvrotate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// writer is the directory: the open file, the finished ones, and when one becomes
// the other. It has no clock and no lock of its own; its callers come one at a
// time and bring the time.
type writer struct {
	cfg    *Config
	header []byte
	logger *zap.Logger
	counts *counts

	file   *openFile // nil: none is open; the next row opens one
	index  index
	space  freeSpace
	unlock func()
	// compress has room for one word that a file has been finished.
	compress chan struct{}

	// create makes a new file; another one in tests.
	create func(path string) (handle, error)
}

// Why a file was finished.
const (
	finishedBytes     = "max_bytes"
	finishedRows      = "max_rows"
	finishedInterval  = "interval"
	finishedShutdown  = "shutdown"
	finishedRecovered = "recovered"
)

// Why a write, or something else that has to be done on the disk, failed.
const (
	failedNoSpace  = "no_space"
	failedMinFree  = "min_free_bytes"
	failedCreate   = "create"
	failedWrite    = "write"
	failedSync     = "sync"
	failedFinish   = "finish"
	failedDelete   = "delete"
	failedCompress = "compress"
	failedTimeout  = "timeout"
)

// finishAgain is how long a file that could not be finished goes on before the
// next attempt.
const finishAgain = time.Second

func (w *writer) path(s stamp, suffix string) string {
	return filepath.Join(w.cfg.Directory, s.name(w.cfg.Prefix, suffix))
}

// write puts a batch into the file, whole or not at all. It finishes the file
// before that if it is due.
func (w *writer) write(records []byte, rows int64, now time.Time) error {
	if reason := w.due(int64(len(records)), rows, now); reason != "" {
		// A file that cannot be finished goes on: too long is better than lost.
		_ = w.finish(reason, now)
	}
	if err := w.append(records, rows, now); err != nil {
		w.counts.failed(w.reasonOf(err))
		w.sweep(now)
		return err
	}
	w.counts.rows.Add(rows)
	w.counts.bytes.Add(int64(len(records)))
	if limit := w.cfg.Retention.MaxTotalBytes; limit > 0 && w.index.bytes+w.file.size > limit {
		w.sweep(now)
	}
	w.observe()
	return nil
}

var (
	errMinFree = errors.New("the file system has less than min_free_bytes left")
	errCreate  = errors.New("create a file")
)

func (w *writer) append(records []byte, rows int64, now time.Time) error {
	need := int64(len(records) + len(w.header))
	if free, ok := w.space.left(w.cfg, need, now); !ok {
		return fmt.Errorf("%w: %d bytes are free in %s, min_free_bytes is %d", errMinFree, free, w.cfg.Directory, w.cfg.MinFreeBytes)
	}
	if w.file == nil {
		if err := w.open(now); err != nil {
			return fmt.Errorf("%w in %s: %w", errCreate, w.cfg.Directory, err)
		}
	}
	err := w.file.append(records, rows, w.cfg.Fsync == fsyncAlways)
	w.space.used(need)
	return err
}

func (w *writer) reasonOf(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, errMinFree):
		return failedMinFree
	case isNoSpace(err):
		return failedNoSpace
	case errors.Is(err, errCreate):
		return failedCreate
	case errors.As(err, &path) && path.Op == "sync":
		return failedSync
	}
	return failedWrite
}

// open begins a file with its header. A name that anything has already is not
// taken, so two files of one second do not clobber each other.
func (w *writer) open(now time.Time) error {
	s := w.free(stampOf(now))
	path := w.path(s, suffixPartial)
	h, err := w.create(path)
	if err != nil {
		return err
	}
	f := &openFile{handle: h, stamp: s, path: path, opened: now}
	if err = f.append(w.header, 0, false); err == nil && w.cfg.Fsync != fsyncNever {
		err = syncDirectory(w.cfg.Directory)
	}
	if err != nil {
		return errors.Join(err, h.Close(), os.Remove(path))
	}
	w.counts.bytes.Add(int64(len(w.header)))
	w.file = f
	return nil
}

// free returns the first stamp from s on of which there is no file.
func (w *writer) free(s stamp) stamp {
	taken := func() bool {
		for _, suffix := range []string{suffixCSV, suffixGzip, suffixZstd, suffixPartial, suffixCorrupt} {
			if exists(w.path(s, suffix)) {
				return true
			}
		}
		return false
	}
	for taken() {
		s.number++
	}
	return s
}

// due says why the file has to be finished before that many more bytes and rows,
// or "" if it does not.
func (w *writer) due(bytes, rows int64, now time.Time) string {
	f, r := w.file, w.cfg.Rotation
	switch {
	case f == nil || f.rows == 0 || now.Before(f.finishAfter):
		return ""
	case r.MaxBytes > 0 && (f.size+bytes > r.MaxBytes || f.size == r.MaxBytes):
		return finishedBytes
	case r.MaxRows > 0 && (f.rows+rows > r.MaxRows || f.rows == r.MaxRows):
		return finishedRows
	case r.Interval > 0 && !now.Before(r.end(f.opened)):
		return finishedInterval
	}
	return ""
}

// end is when a file that was begun at that time is finished.
func (r Rotation) end(opened time.Time) time.Time {
	if r.Aligned {
		return opened.UTC().Truncate(r.Interval).Add(r.Interval)
	}
	return opened.Add(r.Interval)
}

// tick does what time does: it finishes an idle file and deletes old ones.
func (w *writer) tick(now time.Time) error {
	var err error
	if reason := w.due(0, 0, now); reason != "" {
		err = w.finish(reason, now)
	}
	w.sweep(now)
	w.observe()
	return err
}

// finish makes the open file a whole one: synced, closed, under its final name. A
// file without rows is removed. On an error it stays open, and what it holds is
// safe: the next tick tries again.
func (w *writer) finish(reason string, now time.Time) error {
	f := w.file
	err := w.tryFinish(reason, now)
	if err != nil {
		f.finishAfter = now.Add(finishAgain)
		w.counts.failed(failedFinish)
		w.logger.Error("A file could not be finished.", zap.String("file", f.path), zap.Error(err))
	}
	w.observe()
	return err
}

func (w *writer) tryFinish(reason string, now time.Time) error {
	f := w.file
	if err := f.mend(); err != nil {
		return err
	}
	if f.rows == 0 {
		if err := os.Remove(f.path); err != nil {
			return err
		}
		w.file = nil
		return f.Close()
	}
	if err := f.Sync(); err != nil {
		return err
	}
	f.synced = f.size
	final := f.stamp
	if exists(w.path(final, suffixCSV)) {
		final = w.free(final)
	}
	if err := os.Rename(f.path, w.path(final, suffixCSV)); err != nil {
		return err
	}
	w.file = nil
	w.index.add(finished{stamp: final, suffix: suffixCSV, bytes: f.size, at: now.Unix()})
	w.counts.finished(reason)
	select {
	case w.compress <- struct{}{}:
	default: // the compressor knows already that there is work
	}
	w.logger.Debug("A file is finished.", zap.String("file", w.path(final, suffixCSV)),
		zap.Int64("rows", f.rows), zap.Int64("bytes", f.size), zap.String("reason", reason))
	w.sweep(now)
	return errors.Join(syncDirectory(w.cfg.Directory), f.Close())
}

// sweep deletes the finished files that retention does not keep.
func (w *writer) sweep(now time.Time) {
	var open int64
	if w.file != nil {
		open = w.file.size
	}
	w.index.sweep(w.cfg.Retention, open, now, func(f finished, reason string) bool {
		path := w.path(f.stamp, f.suffix)
		err := os.Remove(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.counts.failed(failedDelete)
			w.logger.Warn("A file that retention does not keep could not be deleted; it is tried again.",
				zap.String("file", path), zap.String("limit", "retention::"+reason), zap.Error(err))
			return false
		}
		if err == nil {
			w.counts.deleted(reason)
			w.space.returned(f.bytes)
		}
		return true
	})
}

// observe shows the open file to the metrics.
func (w *writer) observe() {
	if w.file == nil {
		w.counts.fileSize.Store(0)
		w.counts.fileOpened.Store(0)
		return
	}
	w.counts.fileSize.Store(w.file.size)
	w.counts.fileOpened.Store(w.file.opened.UnixNano())
}

// finishLast finishes what is open, for nothing more will come.
func (w *writer) finishLast(now time.Time) error {
	if w.file == nil {
		return nil
	}
	err := w.finish(finishedShutdown, now)
	if w.file != nil {
		// The next start recovers it.
		err = errors.Join(err, w.file.Close())
		w.file = nil
	}
	return err
}
