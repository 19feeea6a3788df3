package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The program of the README compiles against the SDK as it is.
func TestReadmeProgramCompiles(t *testing.T) {
	_, after, found := strings.Cut(read(t, "../README.md"), "```go\n")
	program, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("README.md has no Go program")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	// vet is a process of its own, and the test cache sees only what this one opens.
	sources, err := filepath.Glob("../sdk/inspect/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		read(t, source)
	}
	vet := exec.Command("go", "vet", file)
	vet.Dir = "../sdk"
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

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
