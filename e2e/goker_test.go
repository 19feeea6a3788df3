package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// GoKer is a collection of kernels of real bugs (T. Yuan et al., "GoBench: a benchmark
// suite of real-world Go concurrency bugs", CGO 2021). It comes with Go, as test data of
// the runtime, and is read from there.

var (
	syncLocks  = regexp.MustCompile(`\bsync\.(RWMutex|Mutex)\b`)
	usesSync   = regexp.MustCompile(`\bsync\.`)
	writesLeak = regexp.MustCompile(`prof\.WriteTo\(os\.Stdout, 2\)`)
)

// gokerMain runs the kernel that it is told, for some seconds, and says goodbye.
const gokerMain = `package main

import (
	"context"
	"os"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

const yieldCount = 10

var kernels = make(map[string]func())

func register(name string, kernel func()) { kernels[name] = kernel }

func main() {
	ins, err := inspect.Start(context.Background(), inspect.WithServiceName(os.Args[1]))
	if err != nil {
		panic(err)
	}
	go kernels[os.Args[1]]()
	time.Sleep(3 * time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = ins.Shutdown(ctx)
}
`

// buildGoker builds the kernels with our locks in the place of those of package sync. The
// files are in no directory of the module: go build is told that they are.
func buildGoker(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	kernels, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src/runtime/testdata/testgoroutineleakprofile/goker/*.go"))
	if err != nil || len(kernels) == 0 {
		t.Skipf("this toolchain has no kernels (%v)", err)
	}
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	write := func(name, source string) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(here, "goker", name)] = path
	}
	write("main.go", gokerMain)
	for _, path := range kernels {
		if filepath.Base(path) == "main.go" {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Base(path), withOurLocks(string(source)))
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "goker")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-overlay", file, "-o", program, "./goker").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// withOurLocks changes the locks of a kernel, and takes its own leak profile away.
func withOurLocks(source string) string {
	source = writesLeak.ReplaceAllString(source, "_, _ = prof, os.Stdout")
	if !syncLocks.MatchString(source) {
		return source
	}
	source = syncLocks.ReplaceAllString(source, "inspect.$1")
	imported := "\t\"github.com/asyncinspect/asyncinspect/sdk/inspect\"\n"
	if !usesSync.MatchString(source) {
		source = strings.Replace(source, "\t\"sync\"\n", "", 1)
	}
	return strings.Replace(source, "import (\n", "import (\n"+imported, 1)
}

// The kernels whose locks are taken in orders that contradict each other, or twice for
// reading, are warned of, whether or not they hang.
func TestKernelsThatCouldDeadlockAreWarnedOf(t *testing.T) {
	program := buildGoker(t)
	t.Parallel()
	collector := startCollector(t)
	for kernel, says := range map[string]string{
		"Cockroach10214":  "orders that contradict",
		"Cockroach7504":   "orders that contradict",
		"Hugo3251":        "orders that contradict",
		"Kubernetes13135": "orders that contradict",
		"Kubernetes30872": "orders that contradict",
		"Moby4951":        "orders that contradict",
		"Cockroach3710":   "takes the read lock",
		"Cockroach6181":   "takes the read lock",
		"Kubernetes62464": "takes the read lock",
	} {
		t.Run(kernel, func(t *testing.T) {
			warned := regexp.MustCompile(`POTENTIAL DEADLOCK .*\b` + kernel + `\b.*` + says)
			// They race, so one run can miss one of the two orders.
			var err error
			for range 4 {
				cmd := exec.Command(program, kernel)
				cmd.Env = append(append(os.Environ(), sendTo(collector, "grpc", "0")...), "ASYNC_INSPECT_MODE=analysis")
				if out, failed := cmd.CombinedOutput(); failed != nil {
					err = fmt.Errorf("%w\n%s", failed, out)
					continue
				}
				for range 20 {
					if warned.MatchString(collector.log.String()) {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
				err = fmt.Errorf("no warning")
			}
			t.Error(err)
		})
	}
}
