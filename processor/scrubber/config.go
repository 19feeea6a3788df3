package scrubber

import (
	"errors"
	"fmt"
	"regexp"

	"go.opentelemetry.io/collector/component"
)

// Config is the configuration of the scrubber processor.
type Config struct {
	// BlockedValues are regular expressions (RE2) of what is replaced in a text.
	BlockedValues []string `mapstructure:"blocked_values"`
	// BlockedKeys are regular expressions of the keys of attributes, also of nested ones,
	// whose whole value is replaced.
	BlockedKeys []string `mapstructure:"blocked_keys"`
	// IgnoredKeys are keys of attributes that are left alone, besides the identities.
	IgnoredKeys []string `mapstructure:"ignored_keys"`
	// Replacement stands for what was replaced.
	Replacement string `mapstructure:"replacement"`
}

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		BlockedValues: []string{
			`\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b`,        // e-mail addresses
			`(?:\b|_)(?:\d[ _-]?){12,18}\d(?:\b|_)`,                     // card numbers
			`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`, // JSON web tokens
		},
		BlockedKeys: []string{`(?i)password|passwd|secret|token|authorization|api[-_.]?key|cookie`},
		Replacement: "****",
	}
}

// Validate reports every field that cannot be used, by its name in the YAML.
func (c *Config) Validate() error {
	var errs []error
	for _, list := range []struct {
		field       string
		expressions []string
	}{{"blocked_values", c.BlockedValues}, {"blocked_keys", c.BlockedKeys}} {
		for i, expression := range list.expressions {
			re, err := regexp.Compile(expression)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("%s[%d]: %w", list.field, i, err))
			case re.MatchString(""):
				errs = append(errs, fmt.Errorf("%s[%d]: %q matches the empty text, so it would match everything", list.field, i, expression))
			}
		}
	}
	if len(c.BlockedValues) == 0 && len(c.BlockedKeys) == 0 {
		errs = append(errs, errors.New("blocked_values: blocked_values and blocked_keys are both empty, so nothing would be replaced"))
	}
	for i, key := range c.IgnoredKeys {
		if key == "" {
			errs = append(errs, fmt.Errorf("ignored_keys[%d]: must not be empty", i))
		}
	}
	if values, err := newPatterns(c.BlockedValues); err == nil && values.match(c.Replacement) {
		errs = append(errs, fmt.Errorf("replacement: %q matches blocked_values", c.Replacement))
	}
	return errors.Join(errs...)
}
