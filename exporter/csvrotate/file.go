package csvrotate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Nobody but the group needs to read what services do.
const (
	fileMode      = 0o640
	directoryMode = 0o750
)

// handle is what is needed of an open file. Tests put one in its place whose disk
// is full or fails.
type handle interface {
	io.WriterAt
	Truncate(int64) error
	Sync() error
	Close() error
}

// openFile is the file that is being written. Up to size it holds whole records
// only; beyond it, if torn is set, what is left of a write that failed.
type openFile struct {
	handle
	stamp  stamp
	path   string // ends in .csv.partial
	opened time.Time
	size   int64
	rows   int64
	synced int64 // what is on the disk for certain; at most size
	torn   bool
	// dueAfter is set when it was due and could not be ended.
	dueAfter time.Time
}

// append writes whole records behind those that are there: all of them or none.
func (f *openFile) append(records []byte, rows int64, sync bool) error {
	if err := f.mend(); err != nil {
		return err
	}
	f.torn = true
	if _, err := f.WriteAt(records, f.size); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", f.path, err), f.mend())
	}
	if sync {
		if err := f.Sync(); err != nil {
			return errors.Join(fmt.Errorf("sync %s: %w", f.path, err), f.mend())
		}
	}
	f.torn = false
	f.size += int64(len(records))
	f.rows += rows
	if sync {
		f.synced = f.size
	}
	return nil
}

// mend cuts off what a failed write has left.
func (f *openFile) mend() error {
	if !f.torn {
		return nil
	}
	if err := f.Truncate(f.size); err != nil {
		return fmt.Errorf("cut %s back to its last whole record: %w", f.path, err)
	}
	f.torn = false
	return nil
}

// createFile makes a file that was not there. Whatever has its name already, a
// symbolic link to elsewhere too, is an error.
func createFile(path string) (handle, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
}

// openRegular opens a file that is there, if it is one and no symbolic link or
// anything else in its place.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDWR|noFollow, 0)
	if err != nil {
		if info, linkErr := os.Lstat(path); linkErr == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, nil, fmt.Errorf("%s is a symbolic link, which is refused: remove it", path)
		}
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file, which is refused: remove it", path)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// exists also sees what a symbolic link hides.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// syncDirectory makes names that were created or changed in it survive a crash of
// the machine.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil // its directories cannot be synced, and need not be
	}
	d, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
