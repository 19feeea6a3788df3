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

// disk is every operation that changes files, so that tests see their order and make
// them fail. What only looks (exists, the first reading of the directory) goes by it.
type disk interface {
	// create makes a file that was not there. Whatever has its name already, a
	// symbolic link to elsewhere too, is an error.
	create(path string) (handle, error)
	// overwrite creates a file, or truncates an existing one.
	overwrite(path string) (handle, error)
	// open opens a file that is there, if it is one and no symbolic link or anything
	// else in its place.
	open(path string) (handle, error)
	rename(from, to string) error
	remove(path string) error
	setTime(path string, to time.Time) error
	// makeDirectory creates one directory; its parent must exist.
	makeDirectory(path string) error
	// syncDirectory makes names that were created or changed in it survive a crash of
	// the machine.
	syncDirectory(path string) error
}

// handle is an open file.
type handle interface {
	io.ReaderAt
	io.WriterAt
	Stat() (fs.FileInfo, error)
	Truncate(int64) error
	Sync() error
	Close() error
}

// Nobody but the group needs to read what services do.
const (
	fileMode      = 0o640
	directoryMode = 0o750
)

// systemDisk is the operating system's.
type systemDisk struct{}

func (systemDisk) create(path string) (handle, error) {
	return openSystem(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (systemDisk) overwrite(path string) (handle, error) {
	return openSystem(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|noFollow)
}

// openSystem keeps a nil *os.File from becoming a handle that is not nil.
func openSystem(path string, flags int) (handle, error) {
	f, err := os.OpenFile(path, flags, fileMode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (systemDisk) open(path string) (handle, error) {
	f, err := openSystem(path, os.O_RDWR|noFollow)
	if err != nil {
		if info, linkErr := os.Lstat(path); linkErr == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%s is a symbolic link, which is refused: remove it", path)
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file, which is refused: remove it", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (systemDisk) rename(from, to string) error { return os.Rename(from, to) }
func (systemDisk) remove(path string) error     { return os.Remove(path) }

func (systemDisk) setTime(path string, to time.Time) error {
	return os.Chtimes(path, time.Time{}, to)
}
func (systemDisk) makeDirectory(path string) error { return os.Mkdir(path, directoryMode) }

func (systemDisk) syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil // its directories cannot be synced, and need not be
	}
	d, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDirectories makes a directory and those above it that are missing, and syncs the
// names of all of them: a file is only as safe as the way to it.
func makeDirectories(d disk, path string) error {
	path = filepath.Clean(path)
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("is not a directory")}
		}
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeDirectories(d, above); err != nil {
			return err
		}
	}
	if err := d.makeDirectory(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.syncDirectory(above)
}

// exists also sees what a symbolic link hides.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
