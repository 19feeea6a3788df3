package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Every block of YAML in the pages is one that the program takes that it is for. Its
// kind says which: nothing is a file that is merged over the default configuration,
// "gateway" one over that of this name, and "processors::x" the part of a file below
// these keys.
func TestConfigurationsInPages(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	// Programs want what a configuration names.
	for _, name := range []string{"read-token", "token", "ca.crt", "rules.yaml"} {
		writeFile(t, filepath.Join(directory, name), "groups: []")
	}
	overlays := 0
	limit := make(chan struct{}, 2)
	eachPage(t, func(path, text string) {
		for i, block := range fencedBlock.FindAllStringSubmatch(text, -1) {
			kind, isYAML := strings.CutPrefix(block[1], "yaml")
			if !isYAML {
				continue
			}
			kind = strings.TrimSpace(kind)
			t.Run(fmt.Sprintf("%s %d", path, i), func(t *testing.T) {
				limit <- struct{}{}
				defer func() { <-limit }()
				switch kind {
				case "prometheus":
					file := filepath.Join(directory, fmt.Sprintf("prometheus-%d.yaml", i))
					writeFile(t, file, block[2])
					checkWith(t, exec.Command(debianProgram(t, "promtool"), "check", "config", file), block[2])
				case "tempo", "grafana", "kubernetes":
					if err := yaml.Unmarshal([]byte(block[2]), new(any)); err != nil {
						t.Errorf("%v\n%s", err, block[2])
					}
				default:
					overlays++
					base := "default"
					if _, err := os.Stat("../distribution/config/" + kind + ".yaml"); err == nil {
						base, kind = kind, ""
					}
					file := filepath.Join(t.TempDir(), "overlay.yaml")
					writeFile(t, file, below(kind, block[2]))
					validate := exec.Command(program(t, "ASYNCINSPECT_COLLECTOR"), "validate", "--config=embedded:"+base, "--config="+file)
					validate.Env = append(os.Environ(), "OTLP_TOKEN=token", "INSPECTOR_TOKEN=token", "OTLP_TOKEN_FILE="+filepath.Join(directory, "read-token"))
					checkWith(t, validate, block[2])
				}
			})
		}
	})
	if overlays < 10 {
		t.Errorf("found only %d configurations: this test does not look right", overlays)
	}
}

func checkWith(t *testing.T, cmd *exec.Cmd, text string) {
	t.Helper()
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, said, text)
	}
}

// below puts a text below keys.
func below(keys, text string) string {
	if keys == "" {
		return text
	}
	head := ""
	for depth, key := range strings.Split(keys, "::") {
		head += strings.Repeat("  ", depth) + key + ":\n"
	}
	indent := strings.Repeat("  ", strings.Count(keys, "::")+1)
	return head + indent + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+indent) + "\n"
}

var fencedBlock = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// Any OTLP backend gets the spans with the configurations of the page: over HTTP with a
// token in a header, over gRPC with TLS and a token from a file.
func TestBackendWithAToken(t *testing.T) {
	t.Parallel()
	overlays := docsPage(t, "backends.md").blocks("Any OTLP backend", "yaml")
	if len(overlays) != 2 {
		t.Fatalf("the page has %d configurations for any backend, want 2", len(overlays))
	}
	directory := t.TempDir()
	certificate, key, _ := selfSigned(t, directory)
	token := filepath.Join(directory, "token")
	writeFile(t, token, "secret")
	backend := startCollector(t,
		"receivers:\n", "extensions: {bearertokenauth: {token: secret}}\nreceivers:\n", "service:\n", "service:\n  extensions: [bearertokenauth]\n",
		"\n      grpc: {", fmt.Sprintf("\n      grpc: {auth: {authenticator: bearertokenauth}, tls: {cert_file: %q, key_file: %q}, ", certificate, key),
		"\n      http: {", "\n      http: {auth: {authenticator: bearertokenauth}, ")
	for i, environment := range [][]string{
		{"OTLP_BACKEND=http://" + backend.http, "OTLP_TOKEN=secret"},
		// The certificate is not one that a machine knows.
		{"OTLP_BACKEND=" + backend.grpc, "OTLP_TOKEN_FILE=" + token, "SSL_CERT_FILE=" + certificate},
	} {
		name := fmt.Sprintf("configuration %d", i)
		d := startDefault(t, overlays[i:i+1], environment)
		d.post(t, name)
		eventually(t, time.Minute, "the span of "+name, func() error {
			spans, err := os.ReadFile(backend.spans)
			if err == nil && !strings.Contains(string(spans), name) {
				err = errors.New("not yet")
			}
			return err
		})
	}
}

// eachPage visits every page of the repository.
func eachPage(t *testing.T, visit func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			visit(filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator))), string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
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
	for _, block := range fencedBlock.FindAllStringSubmatch(text, -1) {
		if block[1] == language {
			found = append(found, block[2])
		}
	}
	return found
}
