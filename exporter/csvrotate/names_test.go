package csvrotate

import (
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestAFileIsNamedForItsSecond(t *testing.T) {
	s := stampOf(time.Date(2026, 11, 23, 11, 15, 0, 999, time.FixedZone("", 3600)))
	require.Equal(t, "async-inspect-20261123-101500.csv", s.name("async-inspect", suffixCSV))
	s.number = 7
	require.Equal(t, "async-inspect-20261123-101500_007.csv.gz", s.name("async-inspect", suffixGzip))
}

func TestNamesSortAsTheFilesWereBegun(t *testing.T) {
	var names []string
	for i := range 3 {
		for n := range 12 {
			names = append(names, stamp{noon.Unix() + int64(i), n}.name("p", suffixCSV))
		}
	}
	require.True(t, sort.StringsAreSorted(names), names)
}

func TestOnlyOurOwnNamesAreOurs(t *testing.T) {
	for _, suffix := range []string{suffixCSV, suffixGzip, suffixZstd, suffixPartial, suffixCorrupt, suffixGzip + suffixTemp, suffixZstd + suffixTemp} {
		for _, number := range []int{0, 1, 999, 1000} {
			want := stamp{noon.Unix(), number}
			got, gotSuffix, ok := parseName("a-b", want.name("a-b", suffix))
			require.True(t, ok)
			require.Equal(t, want, got)
			require.Equal(t, suffix, gotSuffix)
		}
	}
	for _, name := range []string{
		"", "a.csv", "a-20261123-101500", "a-20261123-101500.csv.bz2", "a-20261123-101500.csvx", "a-2026-11-23.csv",
		"b-20261123-101500.csv", "a-b-20261123-101500.csv", "aa-20261123-101500.csv", "a-20261323-101500.csv",
		"a-20261123-101500_0.csv", "a-20261123-101500_000.csv", "a-20261123-101500_1.csv", "a-20261123-101500_-01.csv",
		"a-20261123-101500_001", "a-20261123-101500_001.csv ", "a-20261123-101500 (copy).csv", "a-20261123-101500.csv.gz.csv",
		"a-20261123-101500_01x.csv", "a-20261123-101500_0001.csv",
	} {
		_, _, ok := parseName("a", name)
		require.False(t, ok, "%q", name)
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("a-20261123-101500_001.csv")
	f.Add("a-20261123-101500.csv.partial")
	f.Fuzz(func(t *testing.T, name string) {
		if s, suffix, ok := parseName("a", name); ok && s.name("a", suffix) != name {
			t.Fatalf("%q is taken for %q", name, s.name("a", suffix))
		}
	})
}
