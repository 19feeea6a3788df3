package inspector

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The README lists every metric, and no other.
func TestTheREADMEListsTheMetrics(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var listed, served []string
	for _, row := range regexp.MustCompile("(?m)^\\| `async_inspect_[^|]*").FindAllString(string(readme), -1) {
		for _, name := range regexp.MustCompile("`(async_inspect_[a-z_]+)`").FindAllStringSubmatch(row, -1) {
			listed = append(listed, name[1])
		}
	}
	for _, f := range families {
		served = append(served, f.name)
	}
	slices.Sort(listed)
	slices.Sort(served)
	require.Equal(t, served, listed)
}
