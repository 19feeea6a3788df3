package nestinglimiter

import (
	"fmt"

	"go.opentelemetry.io/collector/component"
)

// Config is the configuration of the nesting_limiter extension.
type Config struct {
	// MaxDepth is how many arrays and maps may be in each other in one attribute.
	MaxDepth int `mapstructure:"max_depth"`
}

// mostDepth is the largest MaxDepth: a value so deep takes some 10 MiB of a stack.
const mostDepth = 10_000

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config { return &Config{MaxDepth: 64} }

// Validate reports every field that cannot be used, by its name in the YAML.
func (c *Config) Validate() error {
	if c.MaxDepth < 1 || c.MaxDepth > mostDepth {
		return fmt.Errorf("max_depth: must be between 1 and %d, is %d", mostDepth, c.MaxDepth)
	}
	return nil
}
