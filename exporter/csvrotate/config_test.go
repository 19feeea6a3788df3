package csvrotate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

// defaultConfig is the default configuration with a directory of the test.
func defaultConfig(t testing.TB) *Config {
	cfg := createDefaultConfig().(*Config)
	cfg.Directory = t.TempDir()
	cfg.MinFreeBytes = 0
	return cfg
}

func TestTheDefaultConfigNeedsADirectoryAndNothingElse(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.ErrorContains(t, cfg.Validate(), "directory: must be set")
	cfg.Directory = "somewhere"
	require.NoError(t, confmap.Validate(cfg))
}

func TestEveryFieldIsRead(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"directory": "d", "prefix": "p", "rows": "spans", "columns": []any{"trace_id", "resource.host.name"},
		"rotation":    map[string]any{"max_bytes": 1, "max_rows": 2, "interval": "3s", "aligned": true},
		"retention":   map[string]any{"max_age": "4s", "max_files": 5, "max_total_bytes": 6},
		"compression": "zstd", "bom": true, "defuse_formulas": false, "flush_interval": "7s", "fsync": "always", "min_free_bytes": 8,
		"timeout": "9s", "sending_queue": map[string]any{"queue_size": 10}, "retry_on_failure": map[string]any{"max_elapsed_time": "11m"},
	}).Unmarshal(cfg))
	require.NoError(t, confmap.Validate(cfg))
	want := createDefaultConfig().(*Config)
	want.Directory, want.Prefix, want.Rows, want.Columns = "d", "p", "spans", []string{"trace_id", "resource.host.name"}
	want.Rotation = Rotation{MaxBytes: 1, MaxRows: 2, Interval: 3 * time.Second, Aligned: true}
	want.Retention = Retention{MaxAge: 4 * time.Second, MaxFiles: 5, MaxTotalBytes: 6}
	want.Compression, want.BOM, want.DefuseFormulas, want.FlushInterval, want.Fsync, want.MinFreeBytes = "zstd", true, false, 7*time.Second, "always", 8
	want.TimeoutConfig.Timeout, want.QueueConfig.Get().QueueSize, want.RetryConfig.MaxElapsedTime = 9*time.Second, 10, 11*time.Minute
	require.Equal(t, want, cfg)
}

func TestAnErrorNamesItsField(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"directory: must be set":                                          func(c *Config) { c.Directory = " " },
		`prefix: "a/b" must be`:                                           func(c *Config) { c.Prefix = "a/b" },
		`prefix: "" must be`:                                              func(c *Config) { c.Prefix = "" },
		`prefix: "../x" must be`:                                          func(c *Config) { c.Prefix = "../x" },
		`rows: "logs" is not one of tasks, spans, deadlocks`:              func(c *Config) { c.Rows = "logs" },
		`columns[1]: "nam" is not a known column; use trace_id, span_id,`: func(c *Config) { c.Columns = []string{"name", "nam"} },
		`columns[0]: "" is not a known column`:                            func(c *Config) { c.Columns = []string{""} },
		`columns[0]: "resource." is not a known column`:                   func(c *Config) { c.Columns = []string{"resource."} },
		`columns[1]: "name" is listed twice`:                              func(c *Config) { c.Columns = []string{"name", "name"} },
		"rotation::max_bytes: must not be negative, is -1":                func(c *Config) { c.Rotation.MaxBytes = -1 },
		"rotation::max_rows: must not be negative, is -1":                 func(c *Config) { c.Rotation.MaxRows = -1 },
		"rotation::interval: must be 0 (off) or at least 1s, is 1ms":      func(c *Config) { c.Rotation.Interval = time.Millisecond },
		"rotation: max_bytes, max_rows and interval are all 0":            func(c *Config) { c.Rotation = Rotation{} },
		"rotation::aligned: needs rotation::interval":                     func(c *Config) { c.Rotation.Interval, c.Rotation.Aligned = 0, true },
		"retention::max_age: must be 0 (off) or at least 1s, is -1s":      func(c *Config) { c.Retention.MaxAge = -time.Second },
		"retention::max_files: must not be negative, is -1":               func(c *Config) { c.Retention.MaxFiles = -1 },
		"retention: max_age, max_files and max_total_bytes are all 0":     func(c *Config) { c.Retention = Retention{} },
		"retention::max_total_bytes: is 1; must be at least":              func(c *Config) { c.Retention.MaxTotalBytes = 1 },
		"retention::max_total_bytes: must not be negative, is -1":         func(c *Config) { c.Retention.MaxTotalBytes = -1 },
		`compression: "lz4" is not one of none, gzip, zstd`:               func(c *Config) { c.Compression = "lz4" },
		"flush_interval: must be at least 10ms, is 0s":                    func(c *Config) { c.FlushInterval = 0 },
		`fsync: "maybe" is not one of never, interval, always`:            func(c *Config) { c.Fsync = "maybe" },
		"min_free_bytes: must not be negative, is -1":                     func(c *Config) { c.MinFreeBytes = -1 },
	} {
		cfg := defaultConfig(t)
		edit(cfg)
		require.ErrorContains(t, cfg.Validate(), name)
	}
	err := (&Config{}).Validate()
	for _, field := range []string{"directory", "prefix", "rows", "compression", "fsync", "flush_interval", "rotation", "retention"} {
		require.ErrorContains(t, err, field+": ", "all errors are told at once")
	}
}
