package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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
