package csvrotate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"
)

// openFile is the file that is being written. Up to size it holds whole records
// only; beyond it, if torn is set, what is left of a write that failed.
type openFile struct {
	handle
	stamp  stamp
	header []byte // what it begins with
	path   string // ends in .csv.partial
	opened time.Time
	size   int64
	rows   int64
	synced int64 // what is on the disk for certain; at most size
	torn   bool
	// dueAfter is set when it was due and could not be ended.
	dueAfter time.Time
	head     []byte // what check reads into
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

// The ways in which somebody else can have laid hands on the open file.
var (
	errRemoved = errors.New("another program removed or renamed the open file")
	errChanged = errors.New("another program changed the open file")
)

// check returns an error if the file is not as it was left: if another one, or none, has
// its name, or if it has another size or does not begin with the header. A rotator that
// copies and truncates files does the latter; writing on would leave a hole of NULs, and
// rows without a header. What cannot be looked at is taken for whole, for the next write
// shows what is wrong.
func (f *openFile) check() error {
	if err := f.mend(); err != nil {
		return nil //nolint:nilerr // the write that comes next reports it
	}
	open, err := f.Stat()
	if err != nil {
		return nil //nolint:nilerr // the same
	}
	named, err := os.Lstat(f.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(open, named) {
		return errRemoved
	}
	if open.Size() != f.size {
		return fmt.Errorf("%w: its size is %d bytes and not %d", errChanged, open.Size(), f.size)
	}
	if f.head == nil {
		f.head = make([]byte, len(f.header))
	}
	if _, err := f.ReadAt(f.head, 0); err == nil && !bytes.Equal(f.head, f.header) {
		return fmt.Errorf("%w: it no longer begins with the header", errChanged)
	}
	return nil
}
