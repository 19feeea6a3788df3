package csvrotate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compressedSuffix is what the name of a compressed file ends in.
func compressedSuffix(compression string) string {
	if compression == compressZstd {
		return suffixZstd
	}
	return suffixGzip
}

// compressFile writes a compressed copy of a finished file and gives it its name
// when it is whole and on the disk. The original is left to the caller, which has
// both until it removes it: a crash at any point loses nothing. The copy keeps the
// time of the original, by which its age is counted.
func compressFile(ctx context.Context, d disk, from, to, compression string) (size int64, err error) {
	in, err := d.open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	temp := to + suffixTemp
	out, err := d.overwrite(temp)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = d.remove(temp)
			err = fmt.Errorf("compress %s: %w", from, err)
		}
	}()
	source := readerUntil{ctx, io.NewSectionReader(in, 0, info.Size())}
	err = errors.Join(copyCompressed(io.NewOffsetWriter(out, 0), source, compression), out.Sync())
	if compressed, statErr := out.Stat(); statErr == nil {
		size = compressed.Size()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return 0, err
	}
	if err = d.setTime(temp, info.ModTime()); err != nil {
		return 0, err
	}
	if err = d.rename(temp, to); err != nil {
		return 0, err
	}
	return size, d.syncDirectory(filepath.Dir(to))
}

func copyCompressed(out io.Writer, in io.Reader, compression string) error {
	buffered := bufio.NewWriterSize(out, 256<<10)
	var encoder io.WriteCloser
	if compression == compressZstd {
		// One goroutine: compression has time, the pipeline does not.
		e, err := zstd.NewWriter(buffered, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		encoder = e
	} else {
		encoder = gzip.NewWriter(buffered)
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{encoder}, in, make([]byte, 256<<10))
	return errors.Join(err, encoder.Close(), buffered.Flush())
}

// readerUntil reads until its context ends.
type readerUntil struct {
	ctx context.Context
	io.Reader
}

func (r readerUntil) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// replaced exchanges a file for its compressed copy. If retention has deleted the
// file meanwhile, the copy goes as well.
func (w *writer) replaced(f finished, size int64) error {
	compressed := finished{stamp: f.stamp, suffix: compressedSuffix(w.cfg.Compression), bytes: size, at: f.at}
	if !w.index.remove(f) {
		return w.disk.remove(w.path(f.stamp, compressed.suffix))
	}
	w.index.remove(compressed) // it was left by a crash, and has just been written again
	w.index.add(compressed)
	return w.disk.remove(w.path(f.stamp, f.suffix))
}
