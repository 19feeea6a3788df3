package csvrotate

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// wholeFile is a file as we write it, and where each of its records ends.
func wholeFile() (file []byte, ends []int) {
	texts := [][]string{
		{"h1", "h2", "h,3"}, {"a", "b", "c"}, {"", "", ""}, {"line\nbreak", "quo\"te", "\r\n"}, {"é", "😀", "日本"}, {"\"\"", ",,,", "\n\n"}, {"x", "", "\n"},
	}
	for _, record := range texts {
		for i, s := range record {
			if i > 0 {
				file = append(file, ',')
			}
			file = appendText(file, s, true)
		}
		file = append(file, recordEnd...)
		ends = append(ends, len(file))
	}
	return file, ends
}

func TestAFileCutAnywhereKeepsItsWholeRecords(t *testing.T) {
	file, ends := wholeFile()
	for n := range len(file) + 1 {
		got, err := scan(iotest.OneByteReader(bytes.NewReader(file[:n])))
		require.NoError(t, err)
		want := torn{size: int64(n)}
		for i, end := range ends {
			if end > n {
				break
			}
			want.good, want.rows = int64(end), int64(i)
		}
		if want.good > 0 {
			want.header = int64(ends[0])
		}
		require.Equal(t, want, got, "%q", file[:n])
	}
}

func TestWhatWasNeverWrittenLikeThisIsBroken(t *testing.T) {
	const good = "h1,h2\r\n1,2\r\n"
	for _, tail := range []string{"\x00", "3,\x00\x00", "3\r\n", "3,4,5\r\n", "\r\n", "3\rx", "a\"b,c\r\n", "\"a\"b", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf5", "\xe2\x28"} {
		got, err := scan(strings.NewReader(good + tail))
		require.NoError(t, err)
		require.Equal(t, torn{header: 7, rows: 1, good: int64(len(good)), size: int64(len(good + tail)), broken: true}, got, "%q", tail)
	}
	for _, start := range []string{"\r\n", "\x00", bom + "\r\n", "\"a\"b\r\n"} {
		got, err := scan(strings.NewReader(start + good))
		require.NoError(t, err)
		require.True(t, got.broken, "%q", start)
		require.Zero(t, got.good)
	}
}

func TestAByteOrderMarkIsPartOfTheHeader(t *testing.T) {
	for _, header := range []string{"a,b\r\n", "\"a,b\",c\r\n", "\uFB00,c\r\n"} {
		for _, mark := range []string{"", bom} {
			got, err := scan(strings.NewReader(mark + header + "1,2\r\n"))
			require.NoError(t, err)
			require.False(t, got.broken, "%q", mark+header)
			require.EqualValues(t, 1, got.rows)
			require.EqualValues(t, len(mark+header), got.header)
		}
	}
}

// FuzzScan holds that what is kept of any file is a file that encoding/csv reads,
// with as many records as we say, and that scanning it again keeps all of it.
func FuzzScan(f *testing.F) {
	file, _ := wholeFile()
	for _, n := range []int{0, 1, len(file) / 2, len(file) - 1, len(file)} {
		f.Add(file[:n])
	}
	f.Add([]byte("a,b\r\n\x00\x00"))
	f.Add([]byte(bom + "a\n\"b\r\n\"\r\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := scan(bytes.NewReader(file))
		if err != nil || got.size != int64(len(file)) || got.good > got.size || got.header > got.good {
			t.Fatalf("%+v, %v", got, err)
		}
		kept := file[:got.good]
		again, _ := scan(bytes.NewReader(kept))
		if want := (torn{header: got.header, rows: got.rows, good: got.good, size: got.good}); again != want {
			t.Fatalf("%q: %+v, then %+v", kept, got, again)
		}
		records, err := csv.NewReader(bytes.NewReader(kept)).ReadAll()
		if err != nil {
			t.Fatalf("%q: %v", kept, err)
		}
		want := got.rows
		if got.header > 0 {
			want++
		}
		if int64(len(records)) != want {
			t.Fatalf("%q: %d records, want %d", kept, len(records), want)
		}
	})
}
