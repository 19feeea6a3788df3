package csvrotate

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/internal/spreadsheet"
)

// clean is what a text becomes, said in a slow way.
func clean(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			r = utf8.RuneError
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// strict reads one record of RFC 4180 to the letter. encoding/csv makes LF of
// CRLF within cells, so it cannot tell whether those come back.
func strict(t testing.TB, record string) (cells []string) {
	record, ok := strings.CutSuffix(record, recordEnd)
	require.True(t, ok, "%q", record)
	for {
		var cell strings.Builder
		if rest, ok := strings.CutPrefix(record, `"`); ok {
			for {
				i := strings.IndexByte(rest, '"')
				require.GreaterOrEqual(t, i, 0, "a quoted cell ends: %q", record)
				cell.WriteString(rest[:i])
				if rest = rest[i+1:]; !strings.HasPrefix(rest, `"`) {
					break
				}
				cell.WriteByte('"')
				rest = rest[1:]
			}
			record = rest
		} else {
			i := strings.IndexByte(record, ',')
			if i < 0 {
				i = len(record)
			}
			require.False(t, strings.ContainsAny(record[:i], "\"\r\n"), "%q", record)
			cell.WriteString(record[:i])
			record = record[i:]
		}
		cells = append(cells, cell.String())
		if record == "" {
			return cells
		}
		require.Equal(t, byte(','), record[0])
		record = record[1:]
	}
}

func checkText(t testing.TB, texts []string, defuse bool) {
	t.Helper()
	var record []byte
	want := make([]string, len(texts))
	for i, s := range texts {
		if i > 0 {
			record = append(record, ',')
		}
		record = appendText(record, s, defuse)
		want[i] = clean(s)
		if defuse && spreadsheet.IsFormula(s) {
			want[i] = "'" + want[i]
		}
	}
	record = append(record, recordEnd...)
	require.Equal(t, want, strict(t, string(record)))

	got, err := csv.NewReader(strings.NewReader(string(record))).Read()
	if len(texts) == 1 && texts[0] == "" {
		return // a blank line, which the encoder never writes
	}
	require.NoError(t, err)
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "\r\n", "\n")
	}
	require.Equal(t, want, got)

	read, err := scan(strings.NewReader("h" + strings.Repeat(",h", len(texts)-1) + recordEnd + string(record)))
	require.NoError(t, err)
	require.False(t, read.broken)
	require.EqualValues(t, 1, read.rows)
}

func TestAnyTextComesBack(t *testing.T) {
	pieces := []string{"", "a", `"`, `""`, ",", "\r", "\n", "\r\n", "\x00", "\xff", "\xed\xa0\x80", "é", "😀", "\uFEFF", "\uFFFD", " ", "\t", "=", "'", "-", "+1", "@x", "\u2028", "\\", "＝", "\u200b"}
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 20_000 {
		texts := make([]string, 1+random.IntN(4))
		for i := range texts {
			for range random.IntN(5) {
				texts[i] += pieces[random.IntN(len(pieces))]
			}
		}
		checkText(t, texts, random.IntN(2) == 0)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a", "=1+1", true)
	f.Add("\r\n\"", " \x00\xff", false)
	f.Fuzz(func(t *testing.T, a, b string, defuse bool) { checkText(t, []string{a, b}, defuse) })
}

func TestFormulasAreDefusedAndCanBeBroughtBack(t *testing.T) {
	for text, want := range map[string]string{
		"=1": "'=1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\ta": "'\ta", "\ra": "\"'\ra\"", "'=1": "''=1", "''@": "'''@",
		"a=1": "a=1", "'a": "'a", "'": "'", " =1": "\"' =1\"", "\n=1": "\"'\n=1\"", "＝1": "'＝1", " a": "\" a\"", "=a,b": "\"'=a,b\"",
	} {
		require.Equal(t, want, string(appendText(nil, text, true)))
	}
	require.Equal(t, "=1", string(appendText(nil, "=1", false)))
}

func TestValuesAreWrittenAsWhatTheyAre(t *testing.T) {
	value := func(raw any) pcommon.Value {
		v := pcommon.NewValueEmpty()
		require.NoError(t, v.FromRaw(raw))
		return v
	}
	for _, c := range []struct {
		raw  any
		want string
	}{
		{"-5", "'-5"},
		{int64(-5), "-5"},
		{int64(math.MinInt64), "-9223372036854775808"},
		{true, "true"},
		{nil, ""},
		{"", ""},
		{0.25, "0.25"},
		{-2.0, "-2"},
		{1e6, "1000000"},
		{1e300, "1e+300"},
		{1e-9, "1e-09"},
		{math.Copysign(0, -1), "-0"},
		{math.NaN(), "NaN"},
		{math.Inf(1), "Infinity"},
		{math.Inf(-1), "-Infinity"},
		{[]byte("hello!!"), "aGVsbG8hIQ=="},
		{[]byte{}, ""},
		{[]any{"a", int64(1), nil}, `"[""a"",1,null]"`},
		{map[string]any{"k": map[string]any{"=x": "\"\\\n\x01\x00\xff"}}, `"{""k"":{""=x"":""\""\\\n\u0001` + "\uFFFD\uFFFD" + `""}}"`},
		{map[string]any{"n": math.NaN()}, `"{""n"":""NaN""}"`},
		{map[string]any{"b": []byte("a")}, `"{""b"":""YQ==""}"`},
	} {
		require.Equal(t, c.want, string(appendValue(nil, value(c.raw), true)))
	}
}

func FuzzAttributesAreJSON(f *testing.F) {
	f.Add("key", "a\"\\\x00\n\u2028\xff")
	f.Fuzz(func(t *testing.T, key, text string) {
		m := pcommon.NewMap()
		m.PutStr(key, text)
		m.PutEmptySlice(key + "s").AppendEmpty().SetStr(text)
		cell := append(appendJSONMap([]byte{'"'}, m), '"')
		var got map[string]any
		if err := json.Unmarshal([]byte(strict(t, string(cell)+recordEnd)[0]), &got); err != nil {
			t.Fatalf("%s: %v", cell, err)
		}
		if got[clean(key)] != clean(text) {
			t.Fatalf("%q: %q became %q", key, text, got[clean(key)])
		}
	})
}
