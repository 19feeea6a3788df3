package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The README shows all that a service takes on with the SDK.
func TestReadmeListsTheDependencies(t *testing.T) {
	_, after, _ := strings.Cut(read(t, "../README.md"), "## What the SDK brings")
	section, _, _ := strings.Cut(after, "\n## ")
	listed := matches(`(?m)^    (\S+)`, section)
	required := matches(`(?m)^\t(\S+) v`, read(t, "../sdk/go.mod"))
	if len(required) == 0 {
		t.Fatal("sdk/go.mod requires nothing: this test does not look right")
	}
	for _, module := range required {
		if !slices.Contains(listed, module) {
			t.Errorf("sdk/go.mod requires %s, which README.md does not list", module)
		}
	}
	for _, module := range listed {
		if !slices.Contains(required, module) {
			t.Errorf("README.md lists %s, which sdk/go.mod does not require", module)
		}
	}
}

func matches(pattern, text string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}
