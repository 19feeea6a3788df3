package adaptivesampler

import (
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

const (
	resourcePrefix = "resource."
	rootPrefix     = "root."
	rootName       = "root.name"
)

var statusCodes = map[string]ptrace.StatusCode{
	"UNSET": ptrace.StatusCodeUnset, "OK": ptrace.StatusCodeOk, "ERROR": ptrace.StatusCodeError,
}

// rules are the policies, made ready to be asked about each span once, when it comes.
// What a span answers is a bit for each policy; those of a trace are the bits of its
// spans together, so nobody has to look at a span again.
type rules struct {
	policies  []policy
	attrs     []attributeRule // of spans
	resource  []attributeRule
	names     []nameRule
	status    [3]uint64 // bits by status code
	latencies []latencyRule
	keys      []keyPart
}

// policy is what happens to a trace of which it is the first that matches.
type policy struct {
	name     string
	drop     bool
	override bool    // rate stands beside the budget
	rate     float64 // of an override
	min, max float64 // of others; below 0: those of the configuration
}

type attributeRule struct {
	key    string
	values []string
	bit    uint64
}

type nameRule struct {
	pattern string
	bit     uint64
}

type latencyRule struct {
	threshold time.Duration
	bit       uint64
}

// keyPart is an attribute of the key of a trace.
type keyPart struct {
	name     string
	resource bool
	rootName bool
}

func compile(c *Config) *rules {
	r := new(rules)
	for i := range c.Policies {
		p, bit := &c.Policies[i], uint64(1)<<i
		compiled := policy{name: p.Name, drop: p.Type == PolicyDrop, min: -1, max: -1}
		if p.Rate != nil {
			compiled.override, compiled.rate = true, *p.Rate
		}
		if p.MinRate != nil {
			compiled.min = *p.MinRate
		}
		if p.MaxRate != nil {
			compiled.max = *p.MaxRate
		}
		r.policies = append(r.policies, compiled)
		if p.Pattern != "" && (p.Type == PolicyName || p.Type == PolicyDrop) {
			r.names = append(r.names, nameRule{p.Pattern, bit})
		}
		if p.Attribute.Key != "" && (p.Type == PolicyAttribute || p.Type == PolicyDrop) {
			if key, ok := strings.CutPrefix(p.Attribute.Key, resourcePrefix); ok {
				r.resource = append(r.resource, attributeRule{key, p.Attribute.Values, bit})
			} else {
				r.attrs = append(r.attrs, attributeRule{p.Attribute.Key, p.Attribute.Values, bit})
			}
		}
		if p.Type == PolicyStatusCode {
			for _, code := range p.StatusCodes {
				r.status[statusCodes[code]] |= bit
			}
		}
		if p.Type == PolicyLatency {
			r.latencies = append(r.latencies, latencyRule{p.Threshold, bit})
		}
	}
	for _, key := range c.KeyAttributes {
		part := keyPart{name: key, rootName: key == rootName}
		if name, ok := strings.CutPrefix(key, resourcePrefix); ok {
			part.name, part.resource = name, true
		} else {
			part.name = strings.TrimPrefix(key, rootPrefix)
		}
		r.keys = append(r.keys, part)
	}
	return r
}

// Sizes in memory, of what a span is beside its texts.
const (
	spanSize      = 320 // the span, and where it is in its batch
	attributeSize = 64
	eventSize     = 160
	linkSize      = 160
	traceSize     = 320 // a pending trace
	batchSize     = 512 // a batch, and each resource in it
)

// resourceBits are those of all spans of a resource.
func (r *rules) resourceBits(attrs pcommon.Map) (bits uint64) {
	for i := range r.resource {
		if v, ok := attrs.Get(r.resource[i].key); ok && r.resource[i].matches(v) {
			bits |= r.resource[i].bit
		}
	}
	return bits
}

// span looks at a span: which policies match it, and what it holds in memory beside
// spanSize.
func (r *rules) span(s ptrace.Span) (bits uint64, bytes int64) {
	if code := s.Status().Code(); code >= 0 && int(code) < len(r.status) {
		bits = r.status[code]
	}
	name := s.Name()
	bytes = int64(len(name))
	for i := range r.names {
		if glob(r.names[i].pattern, name) {
			bits |= r.names[i].bit
		}
	}
	for key, v := range s.Attributes().All() {
		bytes += int64(len(key)) + valueSize(v)
		for i := range r.attrs {
			if rule := &r.attrs[i]; len(rule.key) == len(key) && rule.key == key && rule.matches(v) {
				bits |= rule.bit
			}
		}
	}
	if n := s.Events().Len(); n > 0 {
		for _, e := range s.Events().All() {
			bytes += eventSize + int64(len(e.Name())) + mapSize(e.Attributes())
		}
	}
	if n := s.Links().Len(); n > 0 {
		for _, l := range s.Links().All() {
			bytes += linkSize + mapSize(l.Attributes())
		}
	}
	return bits, bytes
}

func mapSize(m pcommon.Map) (bytes int64) {
	for key, v := range m.All() {
		bytes += int64(len(key)) + valueSize(v)
	}
	return bytes
}

// valueSize is what an attribute with this value holds in memory.
func valueSize(v pcommon.Value) int64 {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return attributeSize + int64(len(v.Str()))
	case pcommon.ValueTypeBytes:
		return attributeSize + int64(v.Bytes().Len())
	case pcommon.ValueTypeMap:
		return attributeSize + mapSize(v.Map())
	case pcommon.ValueTypeSlice:
		size := int64(attributeSize)
		for _, e := range v.Slice().All() {
			size += valueSize(e)
		}
		return size
	}
	return attributeSize
}

func (r *attributeRule) matches(v pcommon.Value) bool {
	if len(r.values) == 0 {
		return true
	}
	if v.Type() == pcommon.ValueTypeStr {
		return slices.Contains(r.values, v.Str())
	}
	return slices.Contains(r.values, v.AsString())
}

// latencyBits are those of a trace that takes so long.
func (r *rules) latencyBits(d time.Duration) (bits uint64) {
	for _, l := range r.latencies {
		if d >= l.threshold {
			bits |= l.bit
		}
	}
	return bits
}

// first returns the policy that decides, nil if none matches.
func (r *rules) first(bits uint64) *policy {
	for i := range r.policies {
		if bits&(1<<i) != 0 {
			return &r.policies[i]
		}
	}
	return nil
}

// protects reports whether bits decide that a trace is kept whatever the budget says,
// so that it must be the last to go when memory is short.
func (r *rules) protects(bits uint64) bool {
	if bits == 0 {
		return false
	}
	p := r.first(bits)
	return p != nil && p.override && p.rate >= 1
}

// key appends the key of a trace whose root, if there is one, is given.
func (r *rules) key(b []byte, resource pcommon.Map, root ptrace.Span, rooted bool) []byte {
	for i, part := range r.keys {
		if i > 0 {
			b = append(b, '|')
		}
		switch {
		case part.resource:
			b = appendValue(b, resource, part.name)
		case !rooted:
		case part.rootName:
			b = append(b, root.Name()...)
		default:
			b = appendValue(b, root.Attributes(), part.name)
		}
	}
	return b[:min(len(b), maxKey)]
}

// maxKey is where a key is cut, in bytes: keys outlive the traces that bring them.
const maxKey = 256

func appendValue(b []byte, m pcommon.Map, key string) []byte {
	v, ok := m.Get(key)
	switch {
	case !ok:
		return b
	case v.Type() == pcommon.ValueTypeStr:
		return append(b, v.Str()...)
	}
	return append(b, v.AsString()...)
}

// glob reports whether a name matches a pattern in which * stands for anything.
func glob(pattern, name string) bool {
	before, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, before) {
		return false
	}
	name = name[len(before):]
	for {
		var part string
		part, rest, star = strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
}
