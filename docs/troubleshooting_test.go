package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every message of ours that is logged is explained.
func TestMessagesAreExplained(t *testing.T) {
	page := read(t, "troubleshooting.md")
	found := 0
	for _, root := range []string{"processor", "exporter", "extension", "internal", "confmap", "sdk"} {
		err := filepath.WalkDir("../"+root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, message := range messages(t, path) {
				found++
				if !strings.Contains(page, message) {
					t.Errorf("troubleshooting.md does not explain %q of %s", message, path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("found only %d messages: this test does not look right", found)
	}
}

// messages returns the texts with which loggers are called. Of a text that is put
// together it is the beginning.
func messages(t *testing.T, path string) (found []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, is := n.(*ast.CallExpr)
		if !is || len(call.Args) == 0 {
			return true
		}
		function, is := call.Fun.(*ast.SelectorExpr)
		if !is || !slices.Contains([]string{"Info", "Warn", "Error"}, function.Sel.Name) {
			return true
		}
		logger, is := function.X.(*ast.SelectorExpr)
		if !is || logger.Sel.Name != "logger" {
			return true
		}
		argument := call.Args[0]
		for {
			sum, is := argument.(*ast.BinaryExpr)
			if !is {
				break
			}
			argument = sum.X
		}
		if text, is := argument.(*ast.BasicLit); is {
			message, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, strings.TrimSpace(message))
		}
		return true
	})
	return found
}

// Every metric of ours is explained, and what is explained is a metric.
func TestMetricsAreExplained(t *testing.T) {
	page := read(t, "troubleshooting.md")
	var have []string
	files, err := filepath.Glob("../*/*/metadata.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		_, telemetry, _ := strings.Cut(read(t, file), "\ntelemetry:")
		for _, name := range matches(`(?m)^    ([a-z_]+):$`, telemetry) {
			have = append(have, "otelcol_"+name)
		}
	}
	sources, err := filepath.Glob("../extension/inspector/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if !strings.HasSuffix(source, "_test.go") {
			have = append(have, matches(`"(async_inspect_[a-z_]+)"`, read(t, source))...)
		}
	}
	if len(have) < 80 {
		t.Errorf("found only %d metrics: this test does not look right", len(have))
	}
	for _, name := range have {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("troubleshooting.md does not explain %s", name)
		}
	}
	ours := regexp.MustCompile(`^(async_inspect_|otelcol_(processor|exporter_csv_rotate|extension)_)`)
	for _, name := range matches("`((?:async_inspect|otelcol)_[a-z_]+)`", page) {
		if ours.MatchString(name) && !slices.Contains(have, name) {
			t.Errorf("troubleshooting.md explains %s, which is no metric", name)
		}
	}
}

func TestAlertsAreExplained(t *testing.T) {
	page := read(t, "troubleshooting.md")
	alerts := matches(`(?m)^ +- alert: (\S+)`, read(t, "../distribution/prometheus/rules.yaml"))
	if len(alerts) == 0 {
		t.Fatal("found no alerts: this test does not look right")
	}
	for _, alert := range alerts {
		if !strings.Contains(page, "\n### "+alert+"\n") {
			t.Errorf("troubleshooting.md does not explain the alert %s", alert)
		}
	}
}

// Every reason for which something is dropped is explained.
func TestReasonsAreExplained(t *testing.T) {
	_, page, _ := strings.Cut(read(t, "troubleshooting.md"), "\n## Reasons\n")
	for file, list := range map[string]string{
		"../internal/report/drop.go":          `(?s)dropNames = .*?\{(.*?)\}`,
		"../sdk/inspect/drops.go":             `(?s)return \[\.\.\.\]string\{(.*?)\}`,
		"../exporter/csvrotate/metadata.yaml": `by what failed \((.*?)\)`,
	} {
		lists := matches(list, read(t, file))
		if len(lists) != 1 {
			t.Fatalf("%s: found %d lists", file, len(lists))
		}
		for _, reason := range matches(`([a-z_]+)`, lists[0]) {
			if reason != "used" && !strings.Contains(page, "`"+reason+"`") {
				t.Errorf("troubleshooting.md does not explain the reason %s of %s", reason, file)
			}
		}
	}
}
