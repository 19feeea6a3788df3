package csvrotate

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes the lock, or returns errLocked. The system lets it go when the
// process ends, however it ends. It is on a byte that the file does not have, so
// that what the file says can still be read.
func lockFile(f *os.File) error {
	at := windows.Overlapped{OffsetHigh: 1}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
