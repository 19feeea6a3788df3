// Package image builds the images of distribution/Dockerfile and runs them, with buildah
// and no engine. `make test-image` runs it; it needs root, for mounts and a network of
// its own.
package image

import (
	"debug/elf"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const (
	version  = "1.2.3-test"
	revision = "0123456789abcdef"
	user     = 10001
	volume   = "/var/lib/async-inspect"
)

// The image holds what it needs and nothing else, and says of itself what is true. With
// its own command, as its own user, with nothing writable but its volume, it listens on
// what it exposes, is healthy, and writes what the demo's image sends to CSV files.
func TestImage(t *testing.T) {
	for _, program := range []string{"buildah", "unshare", "nsenter", "setpriv", "ip", "chroot"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not here; make test-image installs it where it may", program)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	images := newStore(t)
	collector := images.build(t, "collector", "VERSION="+version, "REVISION="+revision)
	demo := images.build(t, "demo", "VERSION="+version, "REVISION="+revision)

	checkLabels(t, "collector", collector)
	checkLabels(t, "demo", demo)
	checkFiles(t, collector, 128<<20, "LICENSE", "asyncinspect", "otelcol-asyncinspect", "etc/ssl/certs/ca-certificates.crt")
	checkFiles(t, demo, 64<<20, "LICENSE", "demo", "etc/ssl/certs/ca-certificates.crt")
	if got := slices.Collect(maps.Keys(collector.Volumes)); !slices.Equal(got, []string{volume}) {
		t.Errorf("volumes: %q", got)
	}
	if info, err := os.Stat(collector.root + volume); err != nil || owner(info) != user {
		t.Errorf("the volume belongs to %d (%v)", owner(info), err)
	}
	health := collector.Healthcheck
	if health == nil || len(health.Test) < 2 || health.Test[0] != "CMD" || health.Interval == 0 || health.Timeout == 0 {
		t.Fatalf("healthcheck: %+v", health)
	}
	if t.Failed() {
		return
	}

	box := newSandbox(t)
	// A new volume is a copy of what the image has there, with its owner.
	state := t.TempDir()
	if said, err := exec.Command("cp", "--archive", collector.root+volume+"/.", state).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, said)
	}
	healthy := func() (code int, said string) { return box.run(t, collector, state, health.Test[1:]...) }
	if code, said := healthy(); code != 1 {
		t.Errorf("before the collector is there the healthcheck exits with %d: %s", code, said)
	}
	running := box.start(t, collector, state)
	eventually(t, "healthy", func() error {
		select {
		case <-running.exited:
			t.Fatal("the collector has ended")
		default:
		}
		if code, said := healthy(); code != 0 {
			return fmt.Errorf("exit code %d: %s", code, said)
		}
		return nil
	})
	eventually(t, "the ports that it exposes are those that it listens on", func() error {
		if listening := running.listening(t); !maps.Equal(listening, asSet(collector.ExposedPorts)) {
			return fmt.Errorf("it listens on %v, and exposes %v", listening, collector.ExposedPorts)
		}
		return nil
	})
	checkPrivileges(t, running)

	shop := box.start(t, demo, "")
	eventually(t, "the demo listens on what it exposes", func() error {
		listening := shop.listening(t)
		for port := range demo.ExposedPorts {
			if !listening[port] {
				return fmt.Errorf("it does not listen on %s", port)
			}
		}
		return nil
	})
	eventually(t, "rows of the demo in a file of the volume", func() error {
		files, err := filepath.Glob(filepath.Join(state, "csv", "*.csv.partial"))
		if err != nil {
			return err
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), ",reserve,") {
				return nil
			}
		}
		return errors.New("none yet")
	})
	shop.stop(t, syscall.SIGTERM)
	if code := running.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("the collector exits with %d", code)
	}
	checkRows(t, filepath.Join(state, "csv"))
	if code, said := healthy(); code != 1 || !strings.Contains(said, "refused") {
		t.Errorf("after its end the healthcheck exits with %d: %s", code, said)
	}
	if _, said := box.run(t, collector, state, append(collector.Entrypoint, "--version")...); !strings.Contains(said, version) {
		t.Errorf("--version: %s", said)
	}
}

func checkLabels(t *testing.T, name string, i *image) {
	t.Helper()
	for label, want := range map[string]string{"version": version, "revision": revision, "licenses": "Apache-2.0", "source": "https://", "title": "", "description": ""} {
		if got, found := i.Labels["org.opencontainers.image."+label]; !found || got == "" || !strings.HasPrefix(got, want) {
			t.Errorf("%s: label %s is %q, want %q", name, label, got, want)
		}
	}
	if want := fmt.Sprintf("%d:%d", user, user); i.User != want {
		t.Errorf("%s: the user is %q, want %q", name, i.User, want)
	}
}

// checkFiles checks that an image has these files and no other, so also no shell, and
// that its programs need no library of it.
func checkFiles(t *testing.T, i *image, most int64, want ...string) {
	t.Helper()
	var files []string
	var size int64
	err := filepath.WalkDir(i.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, i.root+"/")
		files, size = append(files, name), size+info.Size()
		if info.Mode()&0o111 != 0 {
			program, err := elf.Open(path)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			defer program.Close()
			if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 || program.Section(".interp") != nil {
				t.Errorf("%s is not static: it needs %q (%v)", name, libraries, err)
			}
		}
		if writable := info.Mode()&0o022 != 0; writable || owner(info) != 0 {
			t.Errorf("%s: mode %v, owner %d", name, info.Mode(), owner(info))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(want); !slices.Equal(files, want) {
		t.Errorf("the image has %q, want %q", files, want)
	}
	t.Logf("%s: %d bytes", i.Labels["org.opencontainers.image.title"], size)
	if size > most {
		t.Errorf("the image has %d bytes, more than %d", size, most)
	}
}

// checkPrivileges checks what the sandbox promises, because the rest proves nothing
// without it.
func checkPrivileges(t *testing.T, p *process) {
	t.Helper()
	for name, want := range map[string]string{
		"Uid": strings.TrimSpace(strings.Repeat(fmt.Sprint(user, " "), 4)), "Gid": strings.TrimSpace(strings.Repeat(fmt.Sprint(user, " "), 4)),
		"Groups": "", "CapEff": "0000000000000000", "CapPrm": "0000000000000000", "NoNewPrivs": "1",
	} {
		if got := p.status(t, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	options := make(map[string]string)
	for line := range strings.Lines(p.proc(t, "mountinfo")) {
		if fields := strings.Fields(line); len(fields) > 5 {
			options[fields[4]], _, _ = strings.Cut(fields[5], ",") // of those at one place the last counts
		}
	}
	if options["/"] != "ro" || options[volume] != "rw" {
		t.Errorf("/ is %q and %s is %q", options["/"], volume, options[volume])
	}
}

// checkRows checks that a finished file has tasks of the demo, and belongs to the user.
func checkRows(t *testing.T, directory string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(directory, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no finished file (%v)", err)
	}
	names := make(map[string]int)
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if info, err := file.Stat(); err != nil || owner(info) != user {
			t.Errorf("%s belongs to %d (%v)", name, owner(info), err)
		}
		rows, err := csv.NewReader(file).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		column := slices.Index(rows[0], "name")
		for _, row := range rows[1:] {
			names[row[column]]++
		}
	}
	if names["reserve"] == 0 || names["pay"] == 0 {
		t.Errorf("the rows are %v", names)
	}
}

func owner(info fs.FileInfo) int {
	if info == nil {
		return -1
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func asSet(ports map[string]struct{}) map[string]bool {
	set := make(map[string]bool)
	for port := range ports {
		set[port] = true
	}
	return set
}
