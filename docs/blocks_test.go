package docs

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pages calls visit for every page of the repository.
func pages(t *testing.T, visit func(path, page string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			visit(path, read(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// block is fenced code: "```kind", its text, "```".
type block struct {
	kind, text string
	line       int
}

func blocks(page string) (found []block) {
	var open *block
	for i, line := range strings.Split(page, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case !isFence && open != nil:
			open.text += line + "\n"
		case isFence && open == nil:
			open = &block{kind: fence, line: i + 1}
		case isFence:
			found, open = append(found, *open), nil
		}
	}
	return found
}

// Every block of Go is a file that compiles against the SDK as it is.
func TestGoBlocksCompile(t *testing.T) {
	// vet is a process of its own, and the test cache sees only what this one opens.
	for _, pattern := range []string{"../sdk/*/*.go", "../sdk/*/*/*.go"} {
		sources, err := filepath.Glob(pattern)
		if err != nil || len(sources) == 0 {
			t.Fatal(sources, err)
		}
		for _, source := range sources {
			read(t, source)
		}
	}
	count := 0
	pages(t, func(path, page string) {
		for _, b := range blocks(page) {
			if b.kind != "go" {
				continue
			}
			count++
			t.Run(fmt.Sprintf("%s:%d", filepath.ToSlash(path), b.line), func(t *testing.T) {
				t.Parallel()
				if !strings.HasPrefix(b.text, "package ") {
					t.Fatal("a block of Go is a whole file, so that it can be tried")
				}
				name := "block.go"
				if strings.Contains(b.text, "testing.T") {
					name = "block_test.go"
				}
				file := filepath.Join(t.TempDir(), name)
				if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
					t.Fatal(err)
				}
				vet := exec.Command("go", "vet", file)
				vet.Dir = "../sdk"
				if out, err := vet.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	})
	if count == 0 {
		t.Error("found no Go: this test does not look right")
	}
}
