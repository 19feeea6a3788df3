package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

// limits are the parts of a configuration that bound what a sender may cost.
type limits struct {
	Receivers struct {
		OTLP struct {
			Protocols map[string]struct {
				MaxRequestBodySize int `mapstructure:"max_request_body_size"`
				MaxRecvMsgSizeMiB  int `mapstructure:"max_recv_msg_size_mib"`
				Middlewares        []struct {
					ID string `mapstructure:"id"`
				} `mapstructure:"middlewares"`
				Rest map[string]any `mapstructure:",remain"`
			} `mapstructure:"protocols"`
		} `mapstructure:"otlp"`
	} `mapstructure:"receivers"`
	Processors struct {
		MemoryLimiter struct {
			LimitMiB             int            `mapstructure:"limit_mib"`
			SpikeLimitMiB        int            `mapstructure:"spike_limit_mib"`
			LimitPercentage      float64        `mapstructure:"limit_percentage"`
			SpikeLimitPercentage float64        `mapstructure:"spike_limit_percentage"`
			Rest                 map[string]any `mapstructure:",remain"`
		} `mapstructure:"memory_limiter"`
		Sampler *struct {
			Memory struct {
				LimitMiB        int     `mapstructure:"limit_mib"`
				LimitPercentage float64 `mapstructure:"limit_percentage"`
			} `mapstructure:"memory"`
			Rest map[string]any `mapstructure:",remain"`
		} `mapstructure:"adaptive_sampler"`
		Rest map[string]any `mapstructure:",remain"`
	} `mapstructure:"processors"`
	Rest map[string]any `mapstructure:",remain"`
}

// In every embedded configuration a request is at most 4 MiB and not nested too deeply,
// and the sampler sheds traces well before memory_limiter refuses reports.
func TestEveryConfigurationBoundsItsSenders(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	require.NoError(t, err)
	samplers := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		retrieved, err := confmap.NewRetrievedFromYAML(text)
		require.NoError(t, err)
		conf, err := retrieved.AsConf()
		require.NoError(t, err)
		var l limits
		require.NoError(t, conf.Unmarshal(&l), file)
		require.NotEmpty(t, l.Receivers.OTLP.Protocols, file)
		for protocol, p := range l.Receivers.OTLP.Protocols {
			last := p.Middlewares[len(p.Middlewares)-1].ID
			require.Equal(t, "nesting_limiter", last, "%s, %s", file, protocol)
			if protocol == "http" {
				require.Equal(t, 4<<20, p.MaxRequestBodySize, file)
			} else {
				require.Equal(t, 4, p.MaxRecvMsgSizeMiB, file)
			}
		}
		limiter, sampler := l.Processors.MemoryLimiter, l.Processors.Sampler
		require.Positive(t, limiter.LimitPercentage+float64(limiter.LimitMiB), file)
		if sampler == nil {
			continue
		}
		samplers++
		const share = 0.75 // the rest is for what is not waiting for a decision
		if limiter.LimitMiB > 0 {
			require.Positive(t, sampler.Memory.LimitMiB, file)
			require.LessOrEqual(t, float64(sampler.Memory.LimitMiB), share*float64(limiter.LimitMiB-limiter.SpikeLimitMiB), file)
		} else {
			require.Positive(t, sampler.Memory.LimitPercentage, file)
			require.LessOrEqual(t, sampler.Memory.LimitPercentage, share*(limiter.LimitPercentage-limiter.SpikeLimitPercentage), file)
		}
	}
	require.Equal(t, 3, samplers)
}
