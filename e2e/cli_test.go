package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// `asyncinspect deadlocks --fail` is a check for CI: 0 while all is well, 1 with the
// story when a deadlock stands, and 3 when nobody knows.
func TestTheCheckForCI(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "asyncinspect")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../cmd/asyncinspect"
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	inspector := freeAddress(t)
	collector := startCollector(t,
		"exporters:\n  file", fmt.Sprintf("extensions:\n  inspector: {endpoint: %q}\nexporters:\n  file", inspector),
		"service:\n", "service:\n  extensions: [inspector]\n")
	check := func() (code int, said string) {
		out, err := exec.Command(program, "deadlocks", "--fail", "--endpoint", "http://"+inspector).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if exit != nil {
			code = exit.ExitCode()
		}
		return code, string(out)
	}
	if code, said := check(); code != 3 || !strings.Contains(said, "no process of the SDK has reported") {
		t.Errorf("before anybody reports it exits with %d: %s", code, said)
	}
	demo := startDemo(t, sendTo(collector, "grpc", "0.01"), "-orders", "20")
	eventually(t, 30*time.Second, "exit code 0 before there is a deadlock", func() error {
		if code, said := check(); code != 0 || !strings.Contains(said, "No deadlock stands.") {
			return fmt.Errorf("it exits with %d: %s", code, said)
		}
		return nil
	})
	demo.chaos(t, "deadlock")
	eventually(t, 30*time.Second, "exit code 1 and the story", func() error {
		if code, said := check(); code != 1 || !strings.Contains(said, `Take these locks in the same order everywhere`) {
			return fmt.Errorf("it exits with %d: %s", code, said)
		}
		return nil
	})
	collector.kill(os.Interrupt)
	if code, said := check(); code != 3 {
		t.Errorf("without a collector it exits with %d: %s", code, said)
	}
}
