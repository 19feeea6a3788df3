package scrubber

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTextThatAnExpressionNeeds(t *testing.T) {
	for expression, want := range map[string]string{
		`abc`: "abc", `a[bc]d+e`: "a", `ab|cd`: "", `(ab)+c`: "ab", `(?:ab)?c`: "c", `(?i)abc`: "", `x{0,3}yz`: "yz", `x{2,3}`: "x",
		`\d+`: "", `(`: "", `a.*bcd`: "bcd", `^$`: "",
	} {
		require.Equal(t, want, literalIn(expression), expression)
	}
	values, err := newPatterns(defaultConfig().BlockedValues)
	require.NoError(t, err)
	require.Equal(t, []string{"@", "", "eyJ"}, []string{values[0].needs, values[1].needs, values[2].needs})
}

// Looking for the needed text first never changes what matches.
func TestPatternsMatchAsTheirExpressionsDo(t *testing.T) {
	expressions := append(defaultConfig().BlockedValues, `(ab)+@`, `(?:x|y)eyJ?`, `(?i)SECRET`)
	all, err := newPatterns(expressions)
	require.NoError(t, err)
	var compiled []*regexp.Regexp
	for _, e := range expressions {
		compiled = append(compiled, regexp.MustCompile(e))
	}
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"a", "b", "ab", "@", ".", "de", "1", "4111", " ", "-", "eyJ", "x", "abcdefghij", "secret", "é"}
	for range 20_000 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		text := b.String()
		for i, e := range expressions {
			require.Equal(t, compiled[i].MatchString(text), all[i].match(text), "%s %q", e, text)
		}
	}
}

func TestKnownKeysAreBounded(t *testing.T) {
	all, err := newPatterns([]string{"secret"})
	require.NoError(t, err)
	k := &keyPatterns{patterns: all}
	for i := range maxKnown + 7 {
		require.False(t, k.match(fmt.Sprint("key ", i)))
		require.True(t, k.match(fmt.Sprint("secret ", i)), "past the limit, too")
	}
	require.Len(t, k.known, maxKnown)
	require.True(t, k.match("secret 3"))
	require.True(t, k.match(strings.Repeat("x", 300)+"secret"))
}
