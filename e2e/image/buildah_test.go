package image

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goImage is what the Dockerfile begins with.
const goImage = "docker.io/library/golang:1.26"

// store is where buildah keeps its images: a directory of the test.
type store struct{ flags []string }

// newStore prepares a store in which nothing is but a stand-in for the image of Go.
func newStore(t *testing.T) *store {
	t.Helper()
	directory := t.TempDir()
	s := &store{flags: []string{"--root", filepath.Join(directory, "root"), "--runroot", filepath.Join(directory, "run")}}
	t.Cleanup(func() {
		// What is still mounted could not be removed.
		_ = exec.Command("buildah", append(s.flags, "rm", "--all")...).Run()
		_ = exec.Command("umount", "--recursive", filepath.Join(directory, "root", "overlay")).Run()
	})
	s.makeGoImage(t)
	return s
}

// makeGoImage commits a stand-in for the official image: no registry is needed. It has
// no programs of its own; build lends it those of this machine.
func (s *store) makeGoImage(t *testing.T) {
	t.Helper()
	root := t.TempDir()
	for _, directory := range []string{"usr", "goroot", "go", "root", "tmp", "etc/ssl/certs"} {
		if err := os.MkdirAll(filepath.Join(root, directory), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+link, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	const certificates = "/etc/ssl/certs/ca-certificates.crt"
	data, err := os.ReadFile(certificates)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, certificates), data, 0o644); err != nil {
		t.Fatal(err)
	}
	container := s.run(t, "from", "scratch")
	s.run(t, "copy", container, root, "/")
	s.run(t, "config", "--env", "PATH=/goroot/bin:/usr/bin", "--env", "HOME=/root", "--env", "GOPATH=/go", "--env", "GOTOOLCHAIN=local",
		"--env", "GOPROXY="+goEnv(t, "GOPROXY"), container)
	s.run(t, "commit", "--rm", container, goImage)
}

// build builds a target of the Dockerfile, with Go and the caches of this machine.
func (s *store) build(t *testing.T, target string, arguments ...string) *image {
	t.Helper()
	build := []string{
		"build", "--format", "docker", "--isolation", "chroot", "--pull-never", "--file", "../../distribution/Dockerfile", "--target", target, "--tag", target,
		"--volume", "/usr:/usr:ro", "--volume", goEnv(t, "GOROOT") + ":/goroot:ro",
		"--volume", goEnv(t, "GOMODCACHE") + ":/go/pkg/mod", "--volume", goEnv(t, "GOCACHE") + ":/root/.cache/go-build",
	}
	for _, a := range arguments {
		build = append(build, "--build-arg", a)
	}
	s.run(t, append(build, "../..")...)

	i := new(image)
	var description struct{ Docker struct{ Config *imageConfig } }
	if err := json.Unmarshal([]byte(s.run(t, "inspect", "--type", "image", target)), &description); err != nil {
		t.Fatal(err)
	}
	i.imageConfig = *description.Docker.Config
	i.root = s.run(t, "mount", s.run(t, "from", "--pull-never", target))
	return i
}

// run runs buildah and returns what it prints at its end, which is the name of what it
// has made, or all of it if that is JSON.
func (s *store) run(t *testing.T, arguments ...string) string {
	t.Helper()
	cmd := exec.Command("buildah", append(s.flags, arguments...)...)
	complaints := new(strings.Builder)
	cmd.Stderr = complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("buildah %s: %v\n%s%s", strings.Join(arguments, " "), err, out, complaints)
	}
	text := strings.TrimSpace(string(out))
	if strings.HasPrefix(text, "{") {
		return text
	}
	return text[strings.LastIndex(text, "\n")+1:]
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// image is a built image, and a container of it.
type image struct {
	imageConfig
	root string // where its files are mounted
}

// imageConfig is what Docker knows of an image.
type imageConfig struct {
	User         string
	Env          []string
	Entrypoint   []string
	Cmd          []string
	ExposedPorts map[string]struct{}
	Volumes      map[string]struct{}
	Labels       map[string]string
	Healthcheck  *struct {
		Test              []string
		Interval, Timeout int64
	}
}
