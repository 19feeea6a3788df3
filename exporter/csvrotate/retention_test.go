package csvrotate

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func hours(n int) finished {
	at := noon.Add(time.Duration(n) * time.Hour).Unix()
	return finished{stamp: stamp{second: at}, suffix: suffixCSV, bytes: 100, at: at}
}

func TestEachLimitDeletesTheOldestFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Retention
		open   int64
		left   []int
		reason string
	}{
		{"age", Retention{MaxAge: 2 * time.Hour}, 0, []int{7, 8, 9}, overAge},
		{"files", Retention{MaxFiles: 4}, 0, []int{6, 7, 8, 9}, overFiles},
		{"bytes", Retention{MaxTotalBytes: 250}, 0, []int{8, 9}, overBytes},
		{"bytes with those of the open file", Retention{MaxTotalBytes: 250}, 100, []int{9}, overBytes},
		{"none", Retention{MaxAge: 100 * time.Hour, MaxFiles: 100, MaxTotalBytes: 10_000}, 0, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, ""},
	} {
		var x index
		for _, i := range rand.Perm(10) {
			x.add(hours(i))
		}
		next := 0
		x.sweep(c.limits, c.open, noon.Add(9*time.Hour), func(f finished, reason string) bool {
			require.Equal(t, hours(next), f, c.name)
			require.Equal(t, c.reason, reason, c.name)
			next++
			return true
		})
		var left []finished
		for _, i := range c.left {
			left = append(left, hours(i))
		}
		require.Equal(t, left, x.files, c.name)
		require.EqualValues(t, 100*len(left), x.bytes, c.name)
	}
}

func TestAFileThatCannotBeDeletedDoesNotSaveTheOthers(t *testing.T) {
	var x index
	for i := range 5 {
		x.add(hours(i))
	}
	x.sweep(Retention{MaxFiles: 2}, 0, noon, func(f finished, _ string) bool { return f != hours(1) })
	require.Equal(t, []finished{hours(1), hours(3), hours(4)}, x.files)
}

func TestTheIndexForgetsWhatIsRemoved(t *testing.T) {
	var x index
	for i := range 3 {
		x.add(hours(i))
	}
	require.True(t, x.remove(hours(1)))
	require.False(t, x.remove(hours(1)))
	require.EqualValues(t, 200, x.bytes)
	f, ok := x.uncompressed()
	require.True(t, ok)
	require.Equal(t, hours(0), f)
}
