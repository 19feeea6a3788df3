package inspect_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inspected is what examples print of the inspection: it is not there while the SDK is
// off, or different. The rest of their output must be the same.
var inspected = []struct {
	line        *regexp.Regexp
	replacement string // "": the line is left out
}{
	{regexp.MustCompile(`^sampling rate: \S+$`), ""},
	{regexp.MustCompile(`^\S+: (completed|failed|cancelled)$`), ""}, // spans of tasks
	{regexp.MustCompile(`^[^:]*: tea$`), "<name of a task>: tea"},
}

// Every example runs while the SDK is on, off and compiled out. What it prints, and is not
// about inspection, is the same; off and compiled out, everything is.
func TestExamplesAreTheSameWithoutInspection(t *testing.T) {
	if testing.Short() {
		t.Skip("builds test programs")
	}
	names := 0
	for _, dir := range []string{".", "inspecttest", "../inspecthttp"} {
		on := runExamples(t, dir, "", "")
		off := runExamples(t, dir, "", "ASYNC_INSPECT_ENABLED=false")
		out := runExamples(t, dir, "noinspect", "")
		if len(on) == 0 || len(off) != len(on) || len(out) != len(on) {
			t.Errorf("%s: %d examples while it is on, %d off, %d compiled out", dir, len(on), len(off), len(out))
		}
		for name, want := range on {
			names++
			if !slices.Equal(off[name], out[name]) {
				t.Errorf("%s prints %q while it is off, and %q compiled out", name, off[name], out[name])
			}
			if want, got := besidesInspection(want), besidesInspection(off[name]); !slices.Equal(got, want) {
				t.Errorf("%s prints %q while it is off, want %q", name, got, want)
			}
		}
	}
	if names < 20 {
		t.Errorf("only %d examples: the test does not look right", names)
	}
}

func besidesInspection(lines []string) (rest []string) {
next:
	for _, line := range lines {
		if line == "" {
			continue
		}
		for _, i := range inspected {
			if i.line.MatchString(line) {
				if i.replacement != "" {
					rest = append(rest, i.replacement)
				}
				continue next
			}
		}
		rest = append(rest, line)
	}
	return rest
}

// runExamples returns what each example of a package prints.
func runExamples(t *testing.T, dir, tags, env string) map[string][]string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "examples")
	build := exec.Command("go", "test", "-c", "-vet=off", "-tags", tags, "-overlay", overlay(t, dir), "-o", program, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the examples of %s with the tags %q: %v\n%s", dir, tags, err, out)
	}
	run := exec.Command(program, "-test.run=^Example", "-test.timeout=2m")
	run.Dir = dir
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "OTEL_") && !strings.HasPrefix(kv, "ASYNC_INSPECT_") {
			run.Env = append(run.Env, kv)
		}
	}
	if env != "" {
		run.Env = append(run.Env, env)
	}
	out, _ := run.Output() // every example fails
	printed := make(map[string][]string)
	for _, part := range strings.Split("\n"+string(out), "\n--- FAIL: ")[1:] {
		name, rest, _ := strings.Cut(part, " ")
		_, rest, ok := strings.Cut(rest, "\ngot:\n")
		got, _, ended := strings.Cut(rest, "\nwant:\n")
		if !ok || !ended {
			t.Fatalf("cannot read what %s printed:\n%s", name, part)
		}
		printed[name] = strings.Split(got, "\n")
	}
	return printed
}

// overlay is a change of the examples of a package. A build constraint goes: with the tag
// go test leaves out the examples that print spans. And each gets an output to miss,
// because go test quotes only what is not as wanted.
func overlay(t *testing.T, dir string) (file string) {
	t.Helper()
	replace := make(map[string]string)
	out := t.TempDir()
	examples, err := filepath.Glob(filepath.Join(dir, "example*_test.go"))
	if err != nil || len(examples) == 0 {
		t.Fatal(examples, err)
	}
	write := func(name string, text []byte) string {
		to := filepath.Join(out, filepath.Base(name))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	for _, name := range examples {
		if filepath.Base(name) == "examples_test.go" {
			continue // this file
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.TrimPrefix(text, []byte("//go:build !noinspect\n"))
		text = wantedOutput.ReplaceAll(text, []byte("\t// Output: what no example prints\n\t//"))
		replace[path] = write(name, text)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return write("overlay.json", text)
}

var wantedOutput = regexp.MustCompile(`(?m)^\t// Output:`)
