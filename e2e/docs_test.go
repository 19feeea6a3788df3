package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The configurations of docs/backends.md are ones that the distribution and
// Prometheus take.
func TestBackendConfigurations(t *testing.T) {
	t.Parallel()
	page := docsPage(t, "backends.md")
	directory := t.TempDir()
	overlays := page.blocks("", "yaml")
	if len(overlays) < 6 {
		t.Fatalf("the page has only %d: this test does not look right", len(overlays))
	}
	for i, overlay := range overlays {
		file := filepath.Join(directory, fmt.Sprintf("%d.yaml", i))
		writeFile(t, file, overlay)
		validate := exec.Command(program(t, "ASYNCINSPECT_COLLECTOR"), "validate", "--config=embedded:default", "--config="+file)
		validate.Env = append(os.Environ(), "OTLP_TOKEN=token", "OTLP_TOKEN_FILE="+file)
		if said, err := validate.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, said, overlay)
		}
	}

	// promtool wants what the configuration names.
	for _, name := range []string{"read-token", "ca.crt"} {
		writeFile(t, filepath.Join(directory, name), name)
	}
	rules, err := os.ReadFile("../distribution/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(directory, "rules.yaml"), string(rules))
	configurations := page.blocks("", "yaml prometheus")
	if len(configurations) != 1 {
		t.Fatalf("the page has %d configurations for Prometheus", len(configurations))
	}
	file := filepath.Join(directory, "prometheus.yaml")
	writeFile(t, file, configurations[0])
	if said, err := exec.Command(debianProgram(t, "promtool"), "check", "config", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, said, configurations[0])
	}
}

// page is a page of the documentation.
type page string

func docsPage(t *testing.T, name string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return page(text)
}

// blocks returns the blocks below a heading, or all, that are marked as language.
func (p page) blocks(heading, language string) (found []string) {
	text := string(p)
	if heading != "" {
		_, text, _ = strings.Cut(text, "# "+heading+"\n")
		text, _, _ = strings.Cut(text, "\n#")
	}
	for _, block := range regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		if block[1] == language {
			found = append(found, block[2])
		}
	}
	return found
}
