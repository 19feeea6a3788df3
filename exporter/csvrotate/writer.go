package csvrotate

import (
	"errors"
	"fmt"
	"io/fs"
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

	file *openFile // nil: none is open; the next row opens one
	// ended gets no more rows, and is not a finished file yet: syncing takes time,
	// and the next file is written meanwhile. There is one at most.
	ended *endedFile
	index index
	space freeSpace
	disk  disk
	lock  *directoryLock
	// toFinish and toCompress have room for one word that there is work.
	toFinish, toCompress chan struct{}
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
	failedRemoved  = "removed" // by somebody else
	failedChanged  = "changed" // by somebody else
)

// endAgain is how long a file that could not be ended goes on before the next
// attempt.
const endAgain = time.Second

func (w *writer) path(s stamp, suffix string) string {
	return filepath.Join(w.cfg.Directory, s.name(w.cfg.Prefix, suffix))
}

// write puts a batch into the file, whole or not at all. If the file is due before
// that, it ends and another one begins.
func (w *writer) write(records []byte, rows int64, now time.Time) error {
	w.checkOpen(now)
	if reason := w.due(int64(len(records)), rows, now); reason != "" {
		// A file that cannot be ended goes on: too long is better than lost.
		_ = w.end(reason, now)
	}
	if err := w.append(records, rows, now); err != nil {
		w.counts.failed(w.reasonOf(err))
		w.sweep(now)
		return err
	}
	w.counts.rows.Add(rows)
	w.counts.bytes.Add(int64(len(records)))
	if limit := w.cfg.Retention.MaxTotalBytes; limit > 0 && w.index.bytes+w.unfinished() > limit {
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
	if err := w.keepDirectory(); err != nil {
		return err
	}
	s := w.free(stampOf(now))
	path := w.path(s, suffixPartial)
	h, err := w.disk.create(path)
	if err != nil {
		return err
	}
	f := &openFile{handle: h, stamp: s, header: w.header, path: path, opened: now}
	if err = f.append(w.header, 0, false); err == nil && w.cfg.Fsync != fsyncNever {
		err = w.disk.syncDirectory(w.cfg.Directory)
	}
	if err != nil {
		return errors.Join(err, h.Close(), w.disk.remove(path))
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
	case f == nil || f.rows == 0 || now.Before(f.dueAfter):
		return ""
	case r.MaxBytes > 0 && (f.size+bytes > r.MaxBytes || f.size == r.MaxBytes):
		return finishedBytes
	case r.MaxRows > 0 && (f.rows+rows > r.MaxRows || f.rows == r.MaxRows):
		return finishedRows
	case r.Interval > 0 && !now.Before(r.endOf(f.opened)):
		return finishedInterval
	}
	return ""
}

// endOf is when a file that was begun at that time ends.
func (r Rotation) endOf(opened time.Time) time.Time {
	if r.Aligned {
		return opened.UTC().Truncate(r.Interval).Add(r.Interval)
	}
	return opened.Add(r.Interval)
}

// tick does what time does: it ends an idle file, deletes old ones, and sees what
// others have done to the open one.
func (w *writer) tick(now time.Time) error {
	w.checkOpen(now)
	var err error
	if reason := w.due(0, 0, now); reason != "" {
		err = w.end(reason, now)
	}
	w.sweep(now)
	w.observe()
	return err
}

// endedFile is a file that is to be finished.
type endedFile struct {
	*openFile
	reason string
	closed bool // nothing more is written to it, and some systems rename no open file
}

// end takes the open file away from the rows. One without rows is removed. If the
// one before it is still not finished, this waits for it.
func (w *writer) end(reason string, now time.Time) error {
	if w.ended != nil {
		if err := w.finish(w.ended.Sync(), now); err != nil {
			w.file.dueAfter = now.Add(endAgain)
			return err
		}
	}
	f := w.file
	err := f.mend()
	if err == nil && f.rows == 0 {
		w.file = nil
		return errors.Join(f.Close(), w.disk.remove(f.path))
	}
	if err != nil {
		f.dueAfter = now.Add(endAgain)
		return w.notFinished(f, err)
	}
	w.file, w.ended = nil, &endedFile{openFile: f, reason: reason}
	signal(w.toFinish)
	return nil
}

// finish gives the ended file, which has been synced with this result, its final
// name. On an error what it holds is safe, and it stays to be tried again.
func (w *writer) finish(synced error, now time.Time) error {
	f := w.ended
	if !f.closed {
		if synced != nil {
			return w.notFinished(f.openFile, synced)
		}
		if err := f.check(); err != nil {
			w.ended = nil
			w.abandon(f.openFile, err, now)
			return nil
		}
		if err := f.Close(); err != nil {
			return w.notFinished(f.openFile, err)
		}
		f.closed, f.synced = true, f.size
	}
	final := f.stamp
	if exists(w.path(final, suffixCSV)) {
		final = w.free(final)
	}
	if err := w.disk.rename(f.path, w.path(final, suffixCSV)); err != nil {
		if !exists(f.path) {
			w.ended = nil
			w.warnRemoved(f.openFile)
			return nil
		}
		return w.notFinished(f.openFile, err)
	}
	w.ended = nil
	w.index.add(finished{stamp: final, suffix: suffixCSV, bytes: f.size, at: now.Unix()})
	w.counts.finished(f.reason)
	signal(w.toCompress)
	w.logger.Debug("A file is finished.", zap.String("file", w.path(final, suffixCSV)),
		zap.Int64("rows", f.rows), zap.Int64("bytes", f.size), zap.String("reason", f.reason))
	err := w.disk.syncDirectory(w.cfg.Directory)
	w.sweep(now)
	if err != nil {
		return w.notFinished(f.openFile, err)
	}
	return nil
}

// checkOpen gives up the open file if somebody else has laid hands on it. The next row
// begins another one.
func (w *writer) checkOpen(now time.Time) {
	if f := w.file; f != nil {
		if wrong := f.check(); wrong != nil {
			w.file = nil
			w.abandon(f, wrong, now)
		}
	}
}

// abandon closes a file that somebody else has removed or changed, and saves the rows
// that are left in it.
func (w *writer) abandon(f *openFile, wrong error, now time.Time) {
	if errors.Is(wrong, errRemoved) {
		w.warnRemoved(f)
		_ = f.Close() // nobody can read it any more
		return
	}
	w.counts.failed(failedChanged)
	w.logger.Error("Another program changed the open file, for example a rotator with copytruncate; whole rows that remain are kept, and a new file is begun",
		zap.String("file", f.path), zap.Int64("rows", f.rows), zap.Error(wrong))
	if err := w.salvage(f, now); err != nil {
		w.counts.failed(failedFinish)
		w.logger.Error("Cannot finish the rest of a file that another program changed; the next start tries again",
			zap.String("file", f.path), zap.Error(err))
	}
}

// salvage ends a file after its last whole record.
func (w *writer) salvage(f *openFile, now time.Time) error {
	if err := f.Close(); err != nil {
		return err
	}
	saved, err := w.reopen(f.stamp)
	if err != nil || saved == nil {
		return err
	}
	if w.ended != nil { // there is one at most
		if err := w.finish(w.ended.Sync(), now); err != nil {
			return errors.Join(err, saved.Close())
		}
	}
	w.ended = &endedFile{openFile: saved, reason: finishedRecovered}
	signal(w.toFinish)
	return nil
}

// keepDirectory makes the directory again if somebody has deleted it, and takes its lock
// anew if that is not the one that others would find.
func (w *writer) keepDirectory() error {
	if w.lock.stands() {
		return nil
	}
	if err := makeDirectories(w.disk, w.cfg.Directory); err != nil {
		return err
	}
	lock, err := lockDirectory(w.cfg.Directory, w.cfg.Prefix)
	if err != nil {
		return err
	}
	w.lock.release()
	w.lock = lock
	gone := w.index.keep(func(f finished) bool { return exists(w.path(f.stamp, f.suffix)) })
	w.counts.failed(failedRemoved)
	w.logger.Error("Another program deleted the directory or its lock file; it is created again, and rows go there",
		zap.String("directory", w.cfg.Directory), zap.Int("finished_files_gone", gone))
	return nil
}

// warnRemoved tells of a file that somebody has taken away while it was open. Its
// rows cannot be brought back; the next ones go into another file.
func (w *writer) warnRemoved(f *openFile) {
	w.counts.failed(failedRemoved)
	w.logger.Error("The open file has been removed or renamed by somebody else; its rows are gone from here.",
		zap.String("file", f.path), zap.Int64("rows", f.rows))
}

func (w *writer) notFinished(f *openFile, err error) error {
	w.counts.failed(failedFinish)
	return fmt.Errorf("finish %s: %w", f.path, err)
}

// signal says that there is work, if that has not been said already.
func signal(work chan<- struct{}) {
	select {
	case work <- struct{}{}:
	default:
	}
}

// unfinished is the size of what is not in the index.
func (w *writer) unfinished() (bytes int64) {
	if w.file != nil {
		bytes += w.file.size
	}
	if w.ended != nil {
		bytes += w.ended.size
	}
	return bytes
}

// sweep deletes the finished files that retention does not keep.
func (w *writer) sweep(now time.Time) {
	w.index.sweep(w.cfg.Retention, w.unfinished(), now, func(f finished, reason string) bool {
		path := w.path(f.stamp, f.suffix)
		err := w.disk.remove(path)
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

// endAndFinish does both at once.
func (w *writer) endAndFinish(reason string, now time.Time) error {
	if err := w.end(reason, now); err != nil || w.ended == nil {
		return err
	}
	return w.finish(w.ended.Sync(), now)
}

// finishLast finishes everything, for nothing more will come. What cannot be
// finished is left to the next start.
func (w *writer) finishLast(now time.Time) (err error) {
	if w.file != nil {
		err = w.endAndFinish(finishedShutdown, now)
	}
	if w.ended != nil && err == nil {
		err = w.finish(w.ended.Sync(), now)
	}
	if w.ended != nil && !w.ended.closed {
		err = errors.Join(err, w.ended.Close())
	}
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
	}
	w.file, w.ended = nil, nil
	w.observe()
	return err
}
