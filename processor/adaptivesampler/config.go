package adaptivesampler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/asyncinspect/asyncinspect/internal/durations"
)

// Config is the configuration of the adaptive_sampler processor.
type Config struct {
	// SamplingRate samples at a fixed rate. Without policies nothing is buffered then.
	SamplingRate *float64 `mapstructure:"sampling_rate"`
	// TraceTimeout is how long after its first span a trace is decided at the latest.
	TraceTimeout time.Duration `mapstructure:"trace_timeout"`
	// DecisionDelay is how long after its root span has come a trace is decided.
	DecisionDelay time.Duration `mapstructure:"decision_delay"`
	// DecisionInterval is how often due traces are decided and sent.
	DecisionInterval time.Duration `mapstructure:"decision_interval"`
	// NumShards is how many parts the pending traces are in; 0: one for each core.
	NumShards int `mapstructure:"num_shards"`
	// MinRate and MaxRate bound the probability of every key.
	MinRate float64 `mapstructure:"min_rate"`
	MaxRate float64 `mapstructure:"max_rate"`
	// Target is the budget. Of several the tightest wins.
	Target Target `mapstructure:"target"`
	// TargetOverhead is the share of all cores that the processor may use; 0: no limit.
	TargetOverhead float64 `mapstructure:"target_overhead"`
	// Burst is how much unspent budget is carried on, in time.
	Burst time.Duration `mapstructure:"burst"`
	// Enforcement says whether every tick stays within the budget, or their average.
	Enforcement Enforcement `mapstructure:"enforcement"`
	// Allocation says how the budget is shared between keys.
	Allocation Allocation `mapstructure:"allocation"`
	// KeyAttributes say what traces share a rate: resource.NAME, root.name or root.NAME.
	KeyAttributes []string `mapstructure:"key_attributes"`
	// MaxKeys bounds the keys that are told apart in one tick: the heaviest. The others
	// share one rate.
	MaxKeys int `mapstructure:"max_keys"`
	// Policies are rules of which the first that matches decides about a trace.
	Policies []Policy `mapstructure:"policies"`
	// Memory bounds what pending traces hold.
	Memory Memory `mapstructure:"memory"`
	// DecisionCache bounds what is remembered of decided traces, for late spans.
	DecisionCache DecisionCache `mapstructure:"decision_cache"`
	// Record says what is written onto the root span of a kept trace.
	Record Record `mapstructure:"record"`
	// DryRun decides and counts, and drops nothing.
	DryRun bool `mapstructure:"dry_run"`
}

// Target is a budget; 0 is no limit.
type Target struct {
	SpansPerSecond  float64 `mapstructure:"spans_per_second"`
	BytesPerSecond  float64 `mapstructure:"bytes_per_second"`
	TracesPerSecond float64 `mapstructure:"traces_per_second"`
}

func (t Target) any() bool {
	return t.SpansPerSecond > 0 || t.BytesPerSecond > 0 || t.TracesPerSecond > 0
}

// Enforcement says how strictly the budget is kept.
type Enforcement string

// The values of Enforcement.
const (
	Strict  Enforcement = "strict"  // no tick sends more
	Average Enforcement = "average" // the rates aim at it
)

// Allocation says how the budget is shared between keys.
type Allocation string

// The values of Allocation.
const (
	Fair         Allocation = "fair"         // every key gets as much
	Sqrt         Allocation = "sqrt"         // by the square root of its load
	Proportional Allocation = "proportional" // by its load: all have one rate
)

// Policy is a rule about traces.
type Policy struct {
	Name string     `mapstructure:"name"`
	Type PolicyType `mapstructure:"type"`
	// Attribute is what a span, or with resource. its resource, must have: attribute, drop.
	Attribute Attribute `mapstructure:"attribute"`
	// StatusCodes are those of a span: status_code. UNSET, OK, ERROR.
	StatusCodes []string `mapstructure:"status_codes"`
	// Threshold is how long the whole trace takes at least: latency.
	Threshold time.Duration `mapstructure:"threshold"`
	// Pattern is the name of a span, with * for anything: name.
	Pattern string `mapstructure:"pattern"`
	// Rate is the probability of a trace that matches, beside the budget. It is paid
	// from the budget first.
	Rate *float64 `mapstructure:"rate"`
	// MinRate and MaxRate bound the rate of the traces that match, which share the budget.
	MinRate *float64 `mapstructure:"min_rate"`
	MaxRate *float64 `mapstructure:"max_rate"`
}

// PolicyType says what a policy looks at.
type PolicyType string

// The types of policies.
const (
	PolicyDrop       PolicyType = "drop"
	PolicyAttribute  PolicyType = "attribute"
	PolicyStatusCode PolicyType = "status_code"
	PolicyLatency    PolicyType = "latency"
	PolicyName       PolicyType = "name"
)

// Attribute is a key and the values that match; none: any value.
type Attribute struct {
	Key    string   `mapstructure:"key"`
	Values []string `mapstructure:"values"`
}

// Memory bounds what pending traces hold.
type Memory struct {
	LimitMiB        int     `mapstructure:"limit_mib"`
	LimitPercentage float64 `mapstructure:"limit_percentage"`
	// MaxTraceMiB is from when on a trace is decided at once.
	MaxTraceMiB int `mapstructure:"max_trace_mib"`
}

// DecisionCache bounds the decided traces that are remembered.
type DecisionCache struct {
	SampledSize    int `mapstructure:"sampled_size"`
	NonSampledSize int `mapstructure:"non_sampled_size"`
}

// Record says what is written onto the root span of a kept trace.
type Record struct {
	Policy bool `mapstructure:"policy"`
	Rate   bool `mapstructure:"rate"`
}

// maxPolicies is how many a bit set holds.
const maxPolicies = 64

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	return &Config{
		TraceTimeout:     30 * time.Second,
		DecisionDelay:    2 * time.Second,
		DecisionInterval: time.Second,
		MinRate:          0.001,
		MaxRate:          1,
		Target:           Target{SpansPerSecond: 1000},
		Burst:            2 * time.Second,
		Enforcement:      Strict,
		Allocation:       Fair,
		KeyAttributes:    []string{"resource.service.name", "root.name"},
		MaxKeys:          1000,
		Policies:         defaultPolicies(),
		Memory:           Memory{LimitMiB: 512, MaxTraceMiB: 32},
		DecisionCache:    DecisionCache{SampledSize: 100_000, NonSampledSize: 1_000_000},
		Record:           Record{Policy: true, Rate: true},
	}
}

func defaultPolicies() []Policy {
	one := 1.0
	return []Policy{
		{Name: "deadlocks", Type: PolicyAttribute, Attribute: Attribute{Key: "async_inspect.task.state", Values: []string{"deadlocked"}}, Rate: &one},
		{Name: "errors", Type: PolicyStatusCode, StatusCodes: []string{"ERROR"}, Rate: &one},
		{Name: "slow", Type: PolicyLatency, Threshold: 2 * time.Second, Rate: &one},
	}
}

// Unmarshal reads the configuration. A fixed rate alone takes the place of the budget
// and the policies of the defaults, so that nothing has to wait.
func (c *Config) Unmarshal(conf *confmap.Conf) error {
	if conf.IsSet("sampling_rate") {
		c.Target, c.Policies = Target{}, nil
	}
	if conf.IsSet("policies") {
		c.Policies = nil // a list takes the place of the other, it is not merged into it
	}
	return conf.Unmarshal(c)
}

// fixed reports whether spans are sampled at a fixed rate as they come.
func (c *Config) fixed() bool { return c.SamplingRate != nil && len(c.Policies) == 0 }

// Validate reports every field that cannot be used, by its name in the YAML.
func (c *Config) Validate() error {
	errs := durations.Check(c, createDefaultConfig())
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	rate := func(field string, v float64) {
		if !(v >= 0 && v <= 1) {
			fail("%s: must be between 0 and 1, is %v", field, v)
		}
	}
	if c.SamplingRate != nil {
		rate("sampling_rate", *c.SamplingRate)
		if c.Target.any() {
			fail("sampling_rate: cannot stand beside target; a budget sets the rate itself, between min_rate and max_rate")
		}
	}
	rate("min_rate", c.MinRate)
	rate("max_rate", c.MaxRate)
	if c.MinRate > c.MaxRate {
		fail("min_rate: is %v and must not be above max_rate, which is %v", c.MinRate, c.MaxRate)
	}
	for _, t := range []struct {
		field string
		value float64
	}{
		{"target::spans_per_second", c.Target.SpansPerSecond},
		{"target::bytes_per_second", c.Target.BytesPerSecond},
		{"target::traces_per_second", c.Target.TracesPerSecond},
	} {
		if !(t.value >= 0) || math.IsInf(t.value, 0) {
			fail("%s: must be 0 (no limit) or more, is %v", t.field, t.value)
		}
	}
	if !c.Target.any() && c.SamplingRate == nil && c.MaxRate == 1 && c.MinRate == 1 {
		fail("target: there is no target, no sampling_rate and no rate below 1, so nothing would be sampled")
	}
	if !(c.TargetOverhead >= 0 && c.TargetOverhead < 1) {
		fail("target_overhead: must be between 0 (no limit) and 1, is %v", c.TargetOverhead)
	}
	if c.DecisionInterval < 10*time.Millisecond || c.DecisionInterval > time.Minute {
		fail("decision_interval: must be between 10ms and 1m, is %v", c.DecisionInterval)
	}
	if c.DecisionDelay < 0 {
		fail("decision_delay: must not be negative, is %v", c.DecisionDelay)
	}
	if c.TraceTimeout <= c.DecisionDelay {
		fail("trace_timeout: is %v and must be above decision_delay, which is %v", c.TraceTimeout, c.DecisionDelay)
	}
	if c.Burst < 0 {
		fail("burst: must not be negative, is %v", c.Burst)
	}
	if c.NumShards < 0 || c.NumShards > 1024 {
		fail("num_shards: must be between 0 (one for each core) and 1024, is %d", c.NumShards)
	}
	if c.MaxKeys < 1 || c.MaxKeys > math.MaxInt32 {
		fail("max_keys: must be between 1 and %d, is %d", math.MaxInt32, c.MaxKeys)
	}
	switch c.Enforcement {
	case Strict, Average:
	default:
		fail("enforcement: %q is not one of strict, average", c.Enforcement)
	}
	switch c.Allocation {
	case Fair, Sqrt, Proportional:
	default:
		fail("allocation: %q is not one of fair, sqrt, proportional", c.Allocation)
	}
	for i, key := range c.KeyAttributes {
		if !strings.HasPrefix(key, resourcePrefix) && !strings.HasPrefix(key, rootPrefix) || strings.HasSuffix(key, ".") {
			fail("key_attributes[%d]: %q is not resource.NAME, root.name or root.NAME", i, key)
		}
	}
	errs = append(errs, c.Memory.validate()...)
	if c.DecisionCache.SampledSize < 1 || c.DecisionCache.SampledSize > math.MaxInt32 {
		fail("decision_cache::sampled_size: must be between 1 and %d, is %d", math.MaxInt32, c.DecisionCache.SampledSize)
	}
	if c.DecisionCache.NonSampledSize < 1 || c.DecisionCache.NonSampledSize > math.MaxInt32 {
		fail("decision_cache::non_sampled_size: must be between 1 and %d, is %d", math.MaxInt32, c.DecisionCache.NonSampledSize)
	}
	if len(c.Policies) > maxPolicies {
		fail("policies: at most %d, are %d", maxPolicies, len(c.Policies))
	}
	names := make(map[string]bool)
	for i := range c.Policies {
		p := &c.Policies[i]
		at := fmt.Sprintf("policies[%d]", i)
		if p.Name == "" {
			fail("%s::name: is missing", at)
		} else {
			at = fmt.Sprintf("policies[%d] (%s)", i, p.Name)
		}
		if names[p.Name] {
			fail("%s::name: there is another policy of this name", at)
		}
		names[p.Name] = true
		for _, err := range p.validate() {
			fail("%s::%w", at, err)
		}
		for k := range c.Policies[:i] {
			if before := &c.Policies[k]; before.covers(p) {
				fail("%s: can never decide, for policies[%d] (%s) matches the same traces before it", at, k, before.Name)
				break
			}
		}
	}
	return errors.Join(errs...)
}

func (m Memory) validate() (errs []error) {
	if m.LimitMiB < 0 || m.LimitMiB > 1<<20 {
		errs = append(errs, fmt.Errorf("memory::limit_mib: must be between 0 and %d, is %d", 1<<20, m.LimitMiB))
	}
	if !(m.LimitPercentage >= 0 && m.LimitPercentage <= 100) {
		errs = append(errs, fmt.Errorf("memory::limit_percentage: must be between 0 and 100, is %v", m.LimitPercentage))
	}
	if m.LimitMiB == 0 && m.LimitPercentage == 0 {
		errs = append(errs, errors.New("memory::limit_mib: there must be a limit, limit_mib or limit_percentage"))
	}
	if m.MaxTraceMiB < 1 || m.MaxTraceMiB > 1<<20 {
		errs = append(errs, fmt.Errorf("memory::max_trace_mib: must be between 1 and %d, is %d", 1<<20, m.MaxTraceMiB))
	}
	return errs
}

func (p *Policy) validate() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch p.Type {
	case PolicyAttribute:
		if p.Attribute.Key == "" {
			fail("attribute::key: is missing")
		}
	case PolicyDrop:
		if p.Attribute.Key == "" && p.Pattern == "" {
			fail("attribute::key: is missing; a drop policy needs an attribute or a pattern")
		}
		if p.Rate != nil || p.MinRate != nil || p.MaxRate != nil {
			fail("rate: a drop policy has none")
		}
	case PolicyStatusCode:
		if len(p.StatusCodes) == 0 {
			fail("status_codes: must list UNSET, OK or ERROR")
		}
		for _, code := range p.StatusCodes {
			if _, ok := statusCodes[code]; !ok {
				fail("status_codes: %q is not one of UNSET, OK, ERROR", code)
			}
		}
	case PolicyLatency:
		if p.Threshold <= 0 {
			fail("threshold: must be positive, is %v", p.Threshold)
		}
	case PolicyName:
		if p.Pattern == "" {
			fail("pattern: is missing")
		}
	default:
		fail("type: %q is not one of drop, attribute, status_code, latency, name", p.Type)
	}
	for _, r := range []struct {
		field string
		value *float64
	}{{"rate", p.Rate}, {"min_rate", p.MinRate}, {"max_rate", p.MaxRate}} {
		if r.value != nil && !(*r.value >= 0 && *r.value <= 1) {
			fail("%s: must be between 0 and 1, is %v", r.field, *r.value)
		}
	}
	if p.Rate != nil && (p.MinRate != nil || p.MaxRate != nil) {
		fail("rate: cannot stand beside min_rate or max_rate")
	}
	if p.Rate == nil && p.MinRate == nil && p.MaxRate == nil && p.Type != PolicyDrop && p.Type != "" {
		fail("rate: is missing, or min_rate or max_rate")
	}
	if p.MinRate != nil && p.MaxRate != nil && *p.MinRate > *p.MaxRate {
		fail("min_rate: is %v and must not be above max_rate, which is %v", *p.MinRate, *p.MaxRate)
	}
	return errs
}

// covers reports whether every trace that another policy matches is surely matched by
// this one.
func (p *Policy) covers(other *Policy) bool {
	subset := func(part, of []string) bool {
		return !slices.ContainsFunc(part, func(v string) bool { return !slices.Contains(of, v) })
	}
	switch other.Type {
	case PolicyLatency:
		return p.Type == PolicyLatency && p.Threshold <= other.Threshold
	case PolicyStatusCode:
		return p.Type == PolicyStatusCode && subset(other.StatusCodes, p.StatusCodes)
	}
	attribute := other.Attribute.Key == "" || p.Attribute.Key == other.Attribute.Key &&
		(len(p.Attribute.Values) == 0 || len(other.Attribute.Values) > 0 && subset(other.Attribute.Values, p.Attribute.Values))
	name := other.Pattern == "" || p.Pattern == other.Pattern || p.Pattern == "*"
	return attribute && name && (other.Attribute.Key != "" || other.Pattern != "")
}
