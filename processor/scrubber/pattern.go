package scrubber

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// patterns are expressions of which one has to match.
type patterns []pattern

// pattern is an expression, and a text without which it cannot match: looking for that
// first is a hundred times as fast, and most texts have no @ in them.
type pattern struct {
	expression *regexp.Regexp
	needs      string
}

func newPatterns(expressions []string) (patterns, error) {
	var all patterns
	for _, e := range expressions {
		re, err := regexp.Compile(e)
		if err != nil {
			return nil, err
		}
		all = append(all, pattern{re, literalIn(e)})
	}
	return all, nil
}

func (p pattern) match(s string) bool {
	return strings.Contains(s, p.needs) && p.expression.MatchString(s)
}

func (all patterns) match(s string) bool {
	for _, p := range all {
		if p.match(s) {
			return true
		}
	}
	return false
}

// replace returns s with all that matches replaced, and whether anything was.
func (all patterns) replace(s, with string) (string, bool) {
	replaced := false
	for _, p := range all {
		if p.match(s) {
			s, replaced = p.expression.ReplaceAllLiteralString(s, with), true
		}
	}
	return s, replaced
}

// literalIn returns the longest text that is in everything that an expression matches, as
// far as that is easily seen; empty if there is none.
func literalIn(expression string) string {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return ""
	}
	return literalOf(re)
}

func literalOf(re *syntax.Regexp) (longest string) {
	switch {
	case re.Op == syntax.OpLiteral && re.Flags&syntax.FoldCase == 0:
		return string(re.Rune)
	case re.Op == syntax.OpCapture, re.Op == syntax.OpPlus, re.Op == syntax.OpRepeat && re.Min > 0:
		return literalOf(re.Sub[0])
	case re.Op == syntax.OpConcat:
		for _, part := range re.Sub {
			if l := literalOf(part); len(l) > len(longest) {
				longest = l
			}
		}
	}
	return longest
}

// maxKnown bounds the keys that are remembered. Keys of attributes are few; a sender
// that makes up ever new ones has them matched each time.
const maxKnown = 10_000

// keyPatterns remember which keys match. It is safe for concurrent use.
type keyPatterns struct {
	patterns
	mu    sync.RWMutex // guards known
	known map[string]bool
}

func (k *keyPatterns) match(key string) bool {
	k.mu.RLock()
	matches, known := k.known[key]
	k.mu.RUnlock()
	if known {
		return matches
	}
	matches = k.patterns.match(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) < maxKnown && len(key) < 256 {
		if k.known == nil {
			k.known = make(map[string]bool)
		}
		k.known[strings.Clone(key)] = matches
	}
	return matches
}
