package ratelimiter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/asyncinspect/asyncinspect/internal/durations"
)

// Config is the configuration of the rate_limiter extension.
type Config struct {
	// Requests is how many requests a client may send in Per, in the long run.
	Requests int           `mapstructure:"requests"`
	Per      time.Duration `mapstructure:"per"`
	// Burst is how many it may send at once; 0: as many as Requests.
	Burst int `mapstructure:"burst"`
	// Key says what a client is.
	Key Key `mapstructure:"key"`
	// Header is the header, or the key of the gRPC metadata, for Key header.
	Header string `mapstructure:"header"`
	// MaxClients bounds the clients that are remembered.
	MaxClients int `mapstructure:"max_clients"`
	// ExemptPaths are paths of an HTTP server that are not limited.
	ExemptPaths []string `mapstructure:"exempt_paths"`
}

// Key says what a client is.
type Key string

// The values of Key.
const (
	KeyAddress Key = "address" // the address that the connection comes from
	KeyHeader  Key = "header"  // what a header says
	KeySubject Key = "subject" // who has authenticated
	KeyAll     Key = "all"     // all share one limit
)

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{Requests: 100, Per: time.Second, Key: KeyAddress, MaxClients: 10_000}
}

// Validate reports every field that cannot be used, by its name in the YAML.
func (c *Config) Validate() error {
	errs := durations.Check(c, createDefaultConfig())
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Requests < 1 {
		fail("requests: must be positive, is %d", c.Requests)
	}
	if c.Per <= 0 {
		fail("per: must be positive, is %v", c.Per)
	}
	if c.Burst < 0 {
		fail("burst: must be 0 (as many as requests) or more, is %d", c.Burst)
	}
	if keys := []Key{KeyAddress, KeyHeader, KeySubject, KeyAll}; !slices.Contains(keys, c.Key) {
		fail("key: %q is not one of %v", c.Key, keys)
	}
	switch {
	case c.Key == KeyHeader && !isToken(c.Header):
		fail("header: %q is not the name of a header, which key: header needs", c.Header)
	case c.Key != KeyHeader && c.Header != "":
		fail("header: is %q, but key is %q; set key to header", c.Header, c.Key)
	}
	if c.MaxClients < 1 {
		fail("max_clients: must be positive, is %d", c.MaxClients)
	}
	for i, path := range c.ExemptPaths {
		if !strings.HasPrefix(path, "/") {
			fail("exempt_paths[%d]: %q does not begin with /", i, path)
		}
	}
	return errors.Join(errs...)
}

// isToken reports whether a text can be the name of a header (RFC 9110).
func isToken(text string) bool {
	for _, r := range text {
		if r > '~' || r <= ' ' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) {
			return false
		}
	}
	return text != ""
}
