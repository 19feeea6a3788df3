// Package release tests what `make release` builds.
package release

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const version = "1.2.3-test"

// A release of this platform: its checksums are right, its programs run and tell their
// version, its lists of modules are whole, and built again it is the same.
func TestRelease(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("release.sh needs a shell")
	}
	first := build(t)
	directory := unpack(t, filepath.Join(first, "async-inspect_"+version+"_"+runtime.GOOS+"_"+runtime.GOARCH+".tar.gz"))
	for _, file := range []string{
		"LICENSE", "README.md", "CHANGELOG.md", "config/default.yaml", "prometheus/rules.yaml", "grafana/dashboard.json",
	} {
		if _, err := os.Stat(filepath.Join(directory, file)); err != nil {
			t.Error(err)
		}
	}
	for program, command := range map[string]string{"otelcol-asyncinspect": "--version", "asyncinspect": "version"} {
		path := filepath.Join(directory, program)
		says, err := exec.Command(path, command).CombinedOutput()
		if err != nil || !strings.Contains(string(says), version) {
			t.Errorf("%s %s: %v, %s", program, command, err, says)
		}
		if _, err := exec.Command("ldd", path).Output(); err == nil {
			t.Errorf("%s is not static", program)
		}
		checkModules(t, path, filepath.Join(first, "async-inspect_"+version+"_"+runtime.GOOS+"_"+runtime.GOARCH+"_"+program+".cdx.json"))
	}

	sums := checkSums(t, first)
	if again := checkSums(t, build(t)); sums != again {
		t.Errorf("the second build differs:\n%s\n%s", sums, again)
	}
}

func build(t *testing.T) (out string) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "dist")
	cmd := exec.Command("../../distribution/release.sh")
	cmd.Env = append(os.Environ(), "VERSION=v"+version, "PLATFORMS="+runtime.GOOS+"/"+runtime.GOARCH, "OUT="+out)
	if says, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("release.sh: %v\n%s", err, says)
	}
	return out
}

// checkSums compares the files of a release with its checksums, and returns these.
func checkSums(t *testing.T, directory string) string {
	t.Helper()
	sums, err := os.ReadFile(filepath.Join(directory, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(sums), "\n"); lines != len(files)-1 || lines == 0 {
		t.Errorf("%d checksums for %d files", lines, len(files)-1)
	}
	for line := range strings.Lines(string(sums)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		content, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
			t.Errorf("the checksum of %s is wrong", name)
		}
	}
	return string(sums)
}

// checkModules compares a list of modules with what the program says of itself.
func checkModules(t *testing.T, program, list string) {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BomFormat  string
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(content, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BomFormat != "CycloneDX" || !strings.Contains(bom.Metadata.Component.Version, version) {
		t.Errorf("%s is a list of %q, version %q", list, bom.BomFormat, bom.Metadata.Component.Version)
	}
	listed := make(map[string]bool)
	for _, c := range bom.Components {
		listed[c.Name] = true
	}
	for _, module := range info.Deps {
		if !listed[module.Path] {
			t.Errorf("%s does not list %s", list, module.Path)
		}
	}
	if !listed["std"] {
		t.Errorf("%s does not list Go itself", list)
	}
}

// unpack unpacks an archive, whose files lie in one directory, and returns that.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	top := ""
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(root.Name(), top)
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.FileInfo().IsDir() {
			if top == "" {
				top = header.Name
			}
			if err := root.Mkdir(strings.TrimSuffix(header.Name, "/"), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		into, err := root.OpenFile(header.Name, os.O_CREATE|os.O_WRONLY, header.FileInfo().Mode().Perm())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(into, files); err != nil {
			t.Fatal(err)
		}
		into.Close()
	}
}
