package scrubber

import (
	"encoding/json"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// rules are what a configuration comes to. They do not change.
type rules struct {
	values      patterns
	keys        keyPatterns
	ignored     map[string]bool
	replacement string
}

func newRules(cfg *Config) (*rules, error) {
	values, err := newPatterns(cfg.BlockedValues)
	if err != nil {
		return nil, err
	}
	keys, err := newPatterns(cfg.BlockedKeys)
	if err != nil {
		return nil, err
	}
	r := &rules{values: values, keys: keyPatterns{patterns: keys}, ignored: make(map[string]bool), replacement: cfg.Replacement}
	for _, key := range cfg.IgnoredKeys {
		r.ignored[key] = true
	}
	return r, nil
}

// text returns a text with what is blocked replaced, and whether that is another one.
func (r *rules) text(s string) (string, bool) {
	return r.values.replace(s, r.replacement)
}

// attributes scrubs a map, and returns in how many texts something was replaced.
func (r *rules) attributes(attrs pcommon.Map) (replaced int64) {
	for key, v := range attrs.All() {
		switch {
		case key == taskspan.TasksByName:
			replaced += r.countsByName(v)
		case identifies(key) || r.ignored[key]:
		case !strings.HasPrefix(key, protocolPrefix) && r.keys.match(key):
			v.SetStr(r.replacement)
			replaced++
		default:
			replaced += r.value(v)
		}
	}
	return replaced
}

// value scrubs a value and all that is nested in it.
func (r *rules) value(v pcommon.Value) (replaced int64) {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		if s, is := r.text(v.Str()); is {
			v.SetStr(s)
			return 1
		}
	case pcommon.ValueTypeBytes:
		if s, is := r.text(string(v.Bytes().AsRaw())); is {
			v.SetEmptyBytes().FromRaw([]byte(s))
			return 1
		}
	case pcommon.ValueTypeMap:
		return r.attributes(v.Map())
	case pcommon.ValueTypeSlice:
		for i := range v.Slice().Len() {
			replaced += r.value(v.Slice().At(i))
		}
	}
	return replaced
}

// countsByName scrubs the names in the counts of a heartbeat, and leaves the numbers
// alone, some of which have as many digits as a card.
func (r *rules) countsByName(v pcommon.Value) (replaced int64) {
	if v.Type() != pcommon.ValueTypeSlice {
		return r.value(v)
	}
	for i := range v.Slice().Len() {
		element := v.Slice().At(i)
		var counts taskspan.NameCounts
		if element.Type() != pcommon.ValueTypeStr || json.Unmarshal([]byte(element.Str()), &counts) != nil {
			replaced += r.value(element) // nobody can use it
			continue
		}
		name, is := r.text(counts.Name)
		if !is {
			continue
		}
		counts.Name = name
		if text, err := json.Marshal(counts); err == nil {
			element.SetStr(string(text))
			replaced++
		}
	}
	return replaced
}

// tracestate scrubs the members of others. OpenTelemetry's own has numbers only.
func (r *rules) tracestate(state pcommon.TraceState) (replaced int64) {
	raw := state.AsRaw()
	if raw == "" || !r.values.match(raw) {
		return 0
	}
	members := strings.Split(raw, ",")
	for i, m := range members {
		if strings.HasPrefix(strings.TrimSpace(m), "ot=") {
			continue
		}
		if s, is := r.text(m); is {
			members[i] = s
			replaced++
		}
	}
	if replaced > 0 {
		state.FromRaw(strings.Join(members, ","))
	}
	return replaced
}
