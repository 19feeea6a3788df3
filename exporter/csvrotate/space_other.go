//go:build !darwin && !freebsd && !linux

package csvrotate

import (
	"errors"
	"syscall"
)

const noFollow = 0

// freeBytes cannot be told here, so min_free_bytes does nothing.
func freeBytes(string) (int64, bool) { return 0, false }

func isNoSpace(err error) bool {
	const windowsDiskFull = syscall.Errno(112) // ERROR_DISK_FULL
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, windowsDiskFull)
}
