// Package goker runs kernels of real concurrency bugs under async-inspect. The kernels
// are those of GoKer (T. Yuan et al., "GoBench: A Benchmark Suite of Real-World Go
// Concurrency Bugs", CGO 2021), which the toolchain carries for the tests of its goroutine
// leak profile. Nothing of them is in this repository: they are read from the toolchain,
// converted, and built together with package kernels, which takes the place of their
// main function.
package goker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ErrNoKernels says that the toolchain has no kernels: it is older than Go 1.26.
var ErrNoKernels = errors.New("this toolchain has no kernels of GoKer; Go 1.26 has them")

// folder returns where the toolchain has the kernels.
func folder() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "src/runtime/testdata/testgoroutineleakprofile/goker")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoKernels
	}
	return path, err
}

// harness returns the folder of package kernels.
func harness() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "kernels")
}

// Names returns the names of all kernels.
func Names() ([]string, error) {
	from, err := folder()
	if err != nil {
		return nil, err
	}
	_, sources, err := kernelFiles(from, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	registered := regexp.MustCompile(`register\("([A-Za-z0-9]+)"`)
	for _, text := range sources {
		for _, match := range registered.FindAllStringSubmatch(text, -1) {
			names = append(names, match[1])
		}
	}
	slices.Sort(names)
	return names, nil
}

// Fixed returns the names of the kernels that have a form without their bug.
func Fixed() []string {
	var names []string
	for name := range fixes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Build converts the kernels and builds the program that runs them into a folder. With
// fixed the kernels that Fixed names have their bugs mended.
func Build(into string, to Form, fixed bool) (program string, err error) {
	from, err := folder()
	if err != nil {
		return "", err
	}
	var edits []edit
	if to == Everything {
		edits = editsOf(ends)
	}
	if fixed {
		edits = append(edits, editsOf(fixes)...)
	}
	files, err := convert(from, to, edits)
	if err != nil {
		return "", err
	}
	own, err := filepath.Glob(filepath.Join(harness(), "*.go"))
	if err != nil {
		return "", err
	}
	for _, path := range own {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		files["harness_"+filepath.Base(path)] = text
	}
	program = filepath.Join(into, "kernels")
	arguments := []string{"build", "-o", program}
	for name, text := range files {
		path := filepath.Join(into, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return "", err
		}
		arguments = append(arguments, path)
	}
	build := exec.Command("go", arguments...)
	build.Dir = harness() // whose module knows the SDK
	if to == Unchanged {
		build.Env = append(os.Environ(), "GOEXPERIMENT=goroutineleakprofile")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the kernels as %s: %w\n%s", to, err, out)
	}
	return program, nil
}

// A Report is what is known of a kernel once it has run.
type Report struct {
	// Deadlocks counts those that were found, by how certain they are.
	Deadlocks map[string]int
	// Waiting counts the goroutines that wait, by the kind and the place of the wait.
	Waiting map[string]int
	// Leaked is how many goroutines the runtime's leak profile has.
	Leaked int
	// Peer counts what go-deadlock has said, by kind.
	Peer map[string]int
}

// Run runs a kernel once, and looks at it when it has been left alone for a while.
func Run(program, name string, after time.Duration) (r Report, err error) {
	out, err := exec.Command(program, "-after", after.String(), name).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return r, fmt.Errorf("run %s: %w", name, err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("read what %s says: %w", name, err)
	}
	return r, nil
}
