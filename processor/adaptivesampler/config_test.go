package adaptivesampler

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

func defaultConfig() *Config { return createDefaultConfig().(*Config) }

func TestTheDefaultConfigIsValid(t *testing.T) { require.NoError(t, defaultConfig().Validate()) }

func TestEveryFieldIsRead(t *testing.T) {
	cfg := defaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"trace_timeout": "20s", "decision_delay": "3s", "decision_interval": "2s", "num_shards": 3, "min_rate": 0.1,
		"max_rate": 0.2, "target": map[string]any{"spans_per_second": 1, "bytes_per_second": 2, "traces_per_second": 3},
		"target_overhead": 0.02, "burst": "5s", "enforcement": "average", "allocation": "sqrt", "key_attributes": []any{"root.name"}, "max_keys": 9,
		"policies": []any{
			map[string]any{"name": "health", "type": "drop", "attribute": map[string]any{"key": "url.path", "values": []any{"/healthz"}}},
			map[string]any{"name": "slow", "type": "latency", "threshold": "1s", "rate": 1},
			map[string]any{"name": "api", "type": "name", "pattern": "api::*", "min_rate": 0.1, "max_rate": 0.9},
			map[string]any{"name": "errors", "type": "status_code", "status_codes": []any{"ERROR"}, "rate": 0.5},
		},
		"memory":         map[string]any{"limit_mib": 7, "limit_percentage": 8, "max_trace_mib": 9},
		"decision_cache": map[string]any{"sampled_size": 10, "non_sampled_size": 11},
		"record":         map[string]any{"policy": false, "rate": false}, "dry_run": true,
	}).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	rate := func(r float64) *float64 { return &r }
	require.Equal(t, &Config{
		TraceTimeout: 20 * time.Second, DecisionDelay: 3 * time.Second, DecisionInterval: 2 * time.Second, NumShards: 3,
		MinRate: 0.1, MaxRate: 0.2, Target: Target{1, 2, 3}, TargetOverhead: 0.02, Burst: 5 * time.Second, Enforcement: Average, Allocation: Sqrt,
		KeyAttributes: []string{"root.name"}, MaxKeys: 9,
		Policies: []Policy{
			{Name: "health", Type: PolicyDrop, Attribute: Attribute{Key: "url.path", Values: []string{"/healthz"}}},
			{Name: "slow", Type: PolicyLatency, Threshold: time.Second, Rate: rate(1)},
			{Name: "api", Type: PolicyName, Pattern: "api::*", MinRate: rate(0.1), MaxRate: rate(0.9)},
			{Name: "errors", Type: PolicyStatusCode, StatusCodes: []string{"ERROR"}, Rate: rate(0.5)},
		},
		Memory: Memory{LimitMiB: 7, LimitPercentage: 8, MaxTraceMiB: 9}, DecisionCache: DecisionCache{10, 11}, DryRun: true,
	}, cfg)

	cfg = defaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"sampling_rate": 0.01}).Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	require.True(t, cfg.fixed(), "a fixed rate alone buffers nothing")
	require.Equal(t, 0.01, *cfg.SamplingRate)

	cfg = defaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"policies": []any{}}).Unmarshal(cfg))
	require.Empty(t, cfg.Policies)

	require.Error(t, confmap.NewFromStringMap(map[string]any{"samplingrate": 1}).Unmarshal(cfg), "a typing error")
}

func TestAnErrorNamesItsField(t *testing.T) {
	half := 0.5
	policy := func(p Policy) func(*Config) { return func(c *Config) { c.Policies = []Policy{p} } }
	for field, breakIt := range map[string]func(*Config){
		"sampling_rate: ":                           func(c *Config) { two := 2.0; c.SamplingRate = &two },
		"min_rate: must be between":                 func(c *Config) { c.MinRate = math.NaN() },
		"min_rate: is 0.5":                          func(c *Config) { c.MinRate, c.MaxRate = 0.5, 0.1 },
		"max_rate: ":                                func(c *Config) { c.MaxRate = 1.5 },
		"target::spans_per_second: ":                func(c *Config) { c.Target.SpansPerSecond = -1 },
		"target: there is no target":                func(c *Config) { c.Target, c.MinRate = Target{}, 1 },
		"target_overhead: ":                         func(c *Config) { c.TargetOverhead = 1 },
		"decision_interval: ":                       func(c *Config) { c.DecisionInterval = 0 },
		"decision_delay: ":                          func(c *Config) { c.DecisionDelay = -1 },
		"trace_timeout: ":                           func(c *Config) { c.TraceTimeout = c.DecisionDelay },
		"burst: ":                                   func(c *Config) { c.Burst = -1 },
		"num_shards: ":                              func(c *Config) { c.NumShards = -1 },
		"max_keys: ":                                func(c *Config) { c.MaxKeys = 0 },
		"enforcement: ":                             func(c *Config) { c.Enforcement = "lax" },
		"allocation: ":                              func(c *Config) { c.Allocation = "unfair" },
		"key_attributes[0]: ":                       func(c *Config) { c.KeyAttributes = []string{"service.name"} },
		"memory::limit_mib: ":                       func(c *Config) { c.Memory.LimitMiB = 0 },
		"memory::limit_percentage: ":                func(c *Config) { c.Memory.LimitPercentage = 101 },
		"memory::max_trace_mib: ":                   func(c *Config) { c.Memory.MaxTraceMiB = 0 },
		"decision_cache::sampled_size: ":            func(c *Config) { c.DecisionCache.SampledSize = 0 },
		"decision_cache::non_sampled_size: ":        func(c *Config) { c.DecisionCache.NonSampledSize = 0 },
		"policies[0]::name: is missing":             policy(Policy{Type: PolicyLatency, Threshold: 1, Rate: &half}),
		"policies[0] (x)::type: ":                   policy(Policy{Name: "x", Type: "magic"}),
		"policies[0] (x)::threshold: ":              policy(Policy{Name: "x", Type: PolicyLatency, Rate: &half}),
		"sampling_rate: cannot stand beside target": func(c *Config) { c.SamplingRate = &half },
		"policies[3] (late): can never decide, for policies[2] (slow)": func(c *Config) {
			c.Policies = append(defaultPolicies(), Policy{Name: "late", Type: PolicyLatency, Threshold: time.Hour, Rate: &half})
		},
		"policies[1] (b): can never decide": func(c *Config) {
			c.Policies = []Policy{
				{Name: "a", Type: PolicyAttribute, Attribute: Attribute{Key: "tenant"}, Rate: &half},
				{Name: "b", Type: PolicyAttribute, Attribute: Attribute{Key: "tenant", Values: []string{"x"}}, Rate: &half},
			}
		},
		"policies[1] (d): can never decide": func(c *Config) {
			c.Policies = []Policy{
				{Name: "c", Type: PolicyName, Pattern: "*", Rate: &half}, {Name: "d", Type: PolicyName, Pattern: "api::*", Rate: &half},
			}
		},
		"policies[0] (x)::status_codes: \"BAD\"":   policy(Policy{Name: "x", Type: PolicyStatusCode, StatusCodes: []string{"BAD"}, Rate: &half}),
		"policies[0] (x)::pattern: ":               policy(Policy{Name: "x", Type: PolicyName, Rate: &half}),
		"policies[0] (x)::attribute::key: ":        policy(Policy{Name: "x", Type: PolicyAttribute, Rate: &half}),
		"policies[0] (x)::rate: is missing":        policy(Policy{Name: "x", Type: PolicyLatency, Threshold: 1}),
		"policies[0] (x)::rate: cannot stand":      policy(Policy{Name: "x", Type: PolicyLatency, Threshold: 1, Rate: &half, MinRate: &half}),
		"policies[0] (x)::rate: a drop policy has": policy(Policy{Name: "x", Type: PolicyDrop, Pattern: "a", Rate: &half}),
		"policies[1] (x)::name: there is another": func(c *Config) {
			p := Policy{Name: "x", Type: PolicyLatency, Threshold: 1, Rate: &half}
			c.Policies = []Policy{p, p}
		},
	} {
		cfg := defaultConfig()
		breakIt(cfg)
		require.ErrorContains(t, cfg.Validate(), field)
	}
}

func TestTheMemoryLimitIsThatOfTheCgroupOrTheMachine(t *testing.T) {
	root := t.TempDir() + "/"
	_, err := memoryOf(root)
	require.ErrorContains(t, err, "limit_mib")
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(root+path), 0o700))
		require.NoError(t, os.WriteFile(root+path, []byte(text), 0o600))
	}
	write("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n")
	n, err := memoryOf(root)
	require.NoError(t, err)
	require.EqualValues(t, 2<<20, n)
	write("sys/fs/cgroup/memory.max", "max\n")
	n, _ = memoryOf(root)
	require.EqualValues(t, 2<<20, n)
	write("sys/fs/cgroup/memory.max", "1048576\n")
	n, _ = memoryOf(root)
	require.EqualValues(t, 1<<20, n)
	limit, err := Memory{LimitMiB: 3}.bytes()
	require.NoError(t, err)
	require.EqualValues(t, 3<<20, limit)
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"api::*", "api::get", true},
		{"api::*", "api:get", false},
		{"*get", "api::get", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXcYb", false},
		{"*", "", true},
		{"x", "x", true},
		{"x", "xy", false},
		{"a*a", "a", false},
		{"**", "z", true},
	} {
		require.Equal(t, c.want, glob(c.pattern, c.name), "%s %s", c.pattern, c.name)
	}
}
