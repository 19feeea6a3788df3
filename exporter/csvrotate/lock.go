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

// lockDirectory keeps a second writer of this prefix out of the directory. The
// file says who has it, for people only.
func lockDirectory(directory, prefix string) (unlock func(), err error) {
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
	return func() { f.Close() }, nil
}
