package scrubber

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

func TestTheDefaultConfigIsValid(t *testing.T) { require.NoError(t, defaultConfig().Validate()) }

func TestEveryFieldIsRead(t *testing.T) {
	cfg := defaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"blocked_values": []any{"a+"}, "blocked_keys": []any{"b"}, "ignored_keys": []any{"c"}, "replacement": "-",
	}).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	require.Equal(t, &Config{BlockedValues: []string{"a+"}, BlockedKeys: []string{"b"}, IgnoredKeys: []string{"c"}, Replacement: "-"}, cfg)
}

func TestAnErrorNamesItsField(t *testing.T) {
	for want, breakIt := range map[string]func(*Config){
		"blocked_values[1]: error parsing regexp":        func(c *Config) { c.BlockedValues = []string{"a", "("} },
		"blocked_keys[0]: error parsing regexp":          func(c *Config) { c.BlockedKeys = []string{"[a"} },
		`blocked_values[0]: "a*" matches the empty text`: func(c *Config) { c.BlockedValues = []string{"a*"} },
		"blocked_values: blocked_values and blocked_keys": func(c *Config) {
			c.BlockedValues, c.BlockedKeys = nil, nil
		},
		"ignored_keys[1]: must not be empty":        func(c *Config) { c.IgnoredKeys = []string{"a", ""} },
		`replacement: "a@b.de" matches blocked_val`: func(c *Config) { c.Replacement = "a@b.de" },
	} {
		cfg := defaultConfig()
		breakIt(cfg)
		require.ErrorContains(t, cfg.Validate(), want)
	}
	for _, one := range []*Config{{BlockedKeys: []string{"x"}}, {BlockedValues: []string{"x"}}} {
		require.NoError(t, one.Validate(), "one of them is enough")
		p, _ := newScrubber(t, one)
		require.NoError(t, p.ConsumeTraces(t.Context(), full("y")))
	}
}
