//go:build !linux

package e2e

import "errors"

func setNamespace(string) error { return errors.ErrUnsupported }
