package spreadsheet

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatAFormulaIs(t *testing.T) {
	for text, want := range map[string]bool{
		"=1+1": true, "+1": true, "-1": true, "@SUM(A1)": true, "\ta": true, "\ra": true, "\na": true, "\n=1": true, "\r\n=1": true,
		"＝1": true, "＋1": true, "－1": true, "＠a": true,
		" =1": true, "  +1": true, "\u00a0=1": true, "\u3000＝1": true, "\v=1": true, "\f@a": true, "\u0085-1": true, "\u2028=1": true,
		"\ufeff=1": true, "\u200b=1": true, "\u202e=1": true, " \n": true,
		"'=1": true, "''@": true, "' =1": true, " '=1": true,
		"": false, "a=1": false, "'a": false, "'": false, " ": false, " a": false, "\u200ba": false, "1+1": false, "_=": false,
		"\x00=1": false, "\xff=1": false, "\uFFFD=1": false, "é=": false, "−1": false,
	} {
		require.Equal(t, want, IsFormula(text), "%q", text)
	}
	require.Equal(t, "'=1", Defuse("=1"))
	require.Equal(t, "1", Defuse("1"))
}

// The README of csv_rotate has the expression that finds what was defused. It and
// IsFormula are one rule, so the original comes back.
func TestWhatWasDefusedComesBack(t *testing.T) {
	readme, err := os.ReadFile("../../exporter/csvrotate/README.md")
	require.NoError(t, err)
	quoted := regexp.MustCompile("`(\\^'\\S+)`").FindSubmatch(readme)
	require.NotNil(t, quoted, "the README has no expression")
	defused := regexp.MustCompile(string(quoted[1]))
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"'", " ", "=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "a", "\v", "\f", "\u0085", "\u00a0", "\u3000", "\u2028", "\u2029", "\ufeff", "\u200b", "\u202e", "\uFFFD", "é"}
	for range 50_000 {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		text := b.String()
		cell := Defuse(text)
		if defused.MatchString(cell) {
			cell = cell[1:]
		}
		require.Equal(t, text, cell, "%q", text)
	}
}
