// Package config holds the configurations that are compiled into the
// distribution. `--config=embedded:NAME` uses NAME.yaml of this folder.
package config

import "embed"

// Files are the YAML files of this folder.
//
//go:embed *.yaml
var Files embed.FS
