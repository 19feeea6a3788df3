package e2e

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// setNamespace moves this thread to a network namespace.
func setNamespace(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", path, err)
	}
	return nil
}
