package csvrotate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// openDirectory takes the directory: the lock, the index of what is there, and
// what a crash has left.
func openDirectory(d disk, cfg *Config, header []byte, logger *zap.Logger, c *counts, now time.Time) (*writer, error) {
	if err := makeDirectories(d, cfg.Directory); err != nil {
		return nil, fmt.Errorf("directory: create %q: %w", cfg.Directory, err)
	}
	lock, err := lockDirectory(cfg.Directory, cfg.Prefix)
	if err != nil {
		return nil, err
	}
	w := &writer{
		cfg: cfg, header: header, logger: logger, counts: c, lock: lock, disk: d,
		toFinish: make(chan struct{}, 1), toCompress: make(chan struct{}, 1),
	}
	if err := w.takeOver(now); err != nil {
		if w.file != nil {
			err = errors.Join(err, w.file.Close())
		}
		lock.release()
		return nil, fmt.Errorf("directory: take over %q: %w", cfg.Directory, err)
	}
	w.observe()
	return w, nil
}

// takeOver reads the directory, the only time that it is read.
func (w *writer) takeOver(now time.Time) error {
	entries, err := os.ReadDir(w.cfg.Directory)
	if err != nil {
		return err
	}
	var partial []stamp
	for _, entry := range entries {
		s, suffix, ok := parseName(w.cfg.Prefix, entry.Name())
		if !ok {
			continue
		}
		switch {
		case suffix == suffixPartial:
			partial = append(partial, s)
		case strings.HasSuffix(suffix, suffixTemp):
			// What it was made of is still there.
			if err := w.disk.remove(w.path(s, suffix)); err != nil {
				return err
			}
		case suffix != suffixCorrupt && entry.Type().IsRegular():
			info, err := entry.Info()
			if err != nil {
				return err
			}
			w.index.add(finished{stamp: s, suffix: suffix, bytes: info.Size(), at: info.ModTime().Unix()})
		}
	}
	// The newest last: it may be the one that goes on.
	slices.SortFunc(partial, stamp.compare)
	for _, s := range partial {
		if err := w.recover(s, now); err != nil {
			return err
		}
	}
	w.sweep(now)
	return nil
}

// recover makes a file whole that a crash has left open. It goes on as the open
// file if it has our header; what came before it is finished.
func (w *writer) recover(s stamp, now time.Time) error {
	if w.file != nil {
		if err := w.endAndFinish(finishedRecovered, now); err != nil {
			return err
		}
	}
	f, err := w.reopen(s)
	if err != nil || f == nil {
		return err
	}
	w.file = f
	if !bytes.Equal(f.header, w.header) {
		ended := now
		if info, err := f.Stat(); err == nil {
			ended = info.ModTime()
		}
		return w.endAndFinish(finishedRecovered, ended)
	}
	return nil
}

// reopen opens an unfinished file and cuts it to its last whole record. It returns nil
// if there is no row in it, which then is removed or set aside.
func (w *writer) reopen(s stamp) (*openFile, error) {
	path := w.path(s, suffixPartial)
	f, err := w.disk.open(path)
	if err != nil {
		return nil, err
	}
	t, header, err := examine(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	switch {
	case t.rows == 0 && !t.broken && bytes.HasPrefix(w.header, header):
		// It ended before the first row was whole.
		return nil, errors.Join(f.Close(), w.disk.remove(path))
	case t.rows == 0:
		return nil, errors.Join(f.Close(), w.setAside(s))
	}
	if err := w.cut(f, s, t); err != nil {
		return nil, errors.Join(fmt.Errorf("cut %s to its last whole record: %w", path, err), f.Close())
	}
	w.logger.Info("A file that was left open has been recovered.", zap.String("file", path),
		zap.Int64("rows", t.rows), zap.Int64("cut_bytes", t.size-t.good))
	return &openFile{
		handle: f, stamp: s, header: header, path: path, opened: s.time(), size: t.good, rows: t.rows, synced: t.good,
	}, nil
}

// examine scans a file and returns the first bytes of it, as far as they are or
// could become a header.
func examine(f handle) (t torn, header []byte, err error) {
	if t, err = scan(io.NewSectionReader(f, 0, math.MaxInt64)); err != nil {
		return t, nil, err
	}
	n := t.header
	if n == 0 {
		n = t.size
	}
	header = make([]byte, min(n, 1<<20))
	_, err = f.ReadAt(header, 0)
	return t, header, err
}

// cut ends a file after its last whole record. The beginning of a record, which is
// what is left of a write that was never acknowledged, goes; anything else is set
// aside.
func (w *writer) cut(f handle, s stamp, t torn) error {
	if t.broken {
		path := w.path(w.freeCorrupt(s), suffixCorrupt)
		rest, err := w.disk.create(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.NewOffsetWriter(rest, 0), io.NewSectionReader(f, t.good, t.size-t.good))
		if err = errors.Join(err, rest.Sync(), rest.Close(), w.disk.syncDirectory(w.cfg.Directory)); err != nil {
			return err
		}
		w.warnCorrupt(path)
	}
	if err := f.Truncate(t.good); err != nil {
		return err
	}
	return f.Sync()
}

// setAside keeps a file of which no row can be read.
func (w *writer) setAside(s stamp) error {
	path := w.path(w.freeCorrupt(s), suffixCorrupt)
	if err := w.disk.rename(w.path(s, suffixPartial), path); err != nil {
		return err
	}
	w.warnCorrupt(path)
	return w.disk.syncDirectory(w.cfg.Directory)
}

func (w *writer) freeCorrupt(s stamp) stamp {
	for exists(w.path(s, suffixCorrupt)) {
		s.number++
	}
	return s
}

func (w *writer) warnCorrupt(path string) {
	w.counts.corrupt.Add(1)
	w.logger.Warn("What cannot be read of a file that was left open has been set aside; it is never deleted.", zap.String("file", path))
}
