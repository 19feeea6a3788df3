package inspector

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

func TestTheDefaultConfigIsValid(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, cfg.Validate())
	require.Equal(t, "localhost:9090", cfg.NetAddr.Endpoint)
}

func TestEveryFieldIsRead(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"endpoint": "localhost:1", "auth": map[string]any{"authenticator": "basicauth"}, "open_livez": true, "not_ready_on_deadlock": true,
		"trace_url": "https://x/{trace_id}", "metrics": map[string]any{"max_series": 7}, "events": map[string]any{"max_clients": 8},
		"history": map[string]any{"interval": "2s", "length": "1m"},
	}).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	require.Equal(t, "localhost:1", cfg.NetAddr.Endpoint)
	require.Equal(t, "basicauth", cfg.Auth.Get().AuthenticatorID.String())
	cfg.ServerConfig = createDefaultConfig().(*Config).ServerConfig
	require.Equal(t, &Config{
		ServerConfig: cfg.ServerConfig, OpenLivez: true, NotReadyOnDeadlock: true, TraceURL: "https://x/{trace_id}",
		Metrics: Metrics{MaxSeries: 7}, Events: Events{MaxClients: 8}, History: History{Interval: 2 * time.Second, Length: time.Minute},
	}, cfg)
}

func TestAnErrorNamesItsField(t *testing.T) {
	for _, test := range []struct {
		field   string
		breakIt func(*Config)
	}{
		{"endpoint", func(c *Config) { c.NetAddr.Endpoint = "" }},
		{"trace_url", func(c *Config) { c.TraceURL = "https://x/" }},
		{"trace_url", func(c *Config) { c.TraceURL = "javascript:alert('{trace_id}')" }},
		{"trace_url", func(c *Config) { c.TraceURL = "/relative/{trace_id}" }},
		{"trace_url", func(c *Config) { c.TraceURL = "https://{trace_id}\x00" }},
		{"metrics::max_series", func(c *Config) { c.Metrics.MaxSeries = 0 }},
		{"events::max_clients", func(c *Config) { c.Events.MaxClients = -1 }},
		{"history::interval", func(c *Config) { c.History.Interval = time.Millisecond }},
		{"history::length", func(c *Config) { c.History.Length = 0 }},
		{"history::length", func(c *Config) { c.History.Length = 24 * time.Hour }},
	} {
		cfg := createDefaultConfig().(*Config)
		test.breakIt(cfg)
		require.ErrorContains(t, cfg.Validate(), test.field+": ")
	}
}
