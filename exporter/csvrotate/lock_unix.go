//go:build darwin || freebsd || linux

package csvrotate

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock, or returns errLocked. The system lets it go when the
// process ends, however it ends. The file stays: removing it would let a third
// process lock a name that a second one has open.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
