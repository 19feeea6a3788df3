package csvrotate

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

var errLocked = errors.New("is locked")

// directoryLock keeps a second writer of a prefix out of a directory.
type directoryLock struct {
	file *os.File
	path string
}

// lockDirectory takes the lock. The file says who has it, for people only.
func lockDirectory(directory, prefix string) (*directoryLock, error) {
	path := filepath.Join(directory, lockName(prefix))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, fileMode)
	if err != nil {
		return nil, fmt.Errorf("directory: %q cannot be written: %w", directory, err)
	}
	if err := lockFile(f); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("directory: %q is in use by another csv_rotate exporter with the prefix %q (process %s); "+
				"give this one another directory or prefix", directory, prefix, strings.TrimSpace(string(owner)))
		}
		return nil, fmt.Errorf("directory: lock %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	return &directoryLock{f, path}, nil
}

// stands reports whether the lock still keeps others out: whether its file is the one
// that others would lock.
func (l *directoryLock) stands() bool {
	ours, err := l.file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Lstat(l.path)
	return err == nil && os.SameFile(ours, theirs)
}

func (l *directoryLock) release() { l.file.Close() }
