package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A newcomer reads the README from top to bottom and does what it says: `make run`, the
// program of five minutes, the check in the terminal. He sees what it shows, and Ctrl-C
// ends all of it.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme := docsPage(t, "../README.md")
	commands := readme.blocks("Two commands", "sh")
	shown := readme.blocks("Two commands", "")
	programs := readme.blocks("Five minutes to your own service", "go")
	if len(commands) != 1 || len(shown) != 2 || len(programs) != 1 {
		t.Fatalf("the README has %d blocks of commands, %d of output, %d programs: this test does not look right", len(commands), len(shown), len(programs))
	}
	command, _, _ := strings.Cut(commands[0], "#")

	// The ports are those of the default configuration.
	network := newNetwork(t)
	if network.why != nil {
		t.Skipf("these ports may be taken here, and without network namespaces there is no other place: %v", network.why)
	}
	h := network.first
	csv := filepath.Join(t.TempDir(), "csv")
	run := h.command("bash", "-c", "exec "+command)
	run.Dir = ".."
	run.Env = append(environmentOfAShell(), "ASYNC_INSPECT_CSV_DIRECTORY="+csv)
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a terminal does
	said := new(output)
	run.Stdout, run.Stderr = said, said
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = run.Wait(); close(exited) }()
	ctrlC := func() {
		_ = syscall.Kill(-run.Process.Pid, syscall.SIGINT)
		<-exited
	}
	t.Cleanup(func() {
		ctrlC()
		if t.Failed() {
			t.Logf("%s\n%s", command, said)
		}
	})

	shop := demo{address: "http://localhost:8080", client: h.client}
	eventually(t, 2*time.Minute, "the shop opens", func() error {
		if !strings.Contains(said.String(), "open at") {
			return errors.New("not yet")
		}
		return nil
	})
	shop.chaos(t, "block")
	shows(t, said, shown[0])
	shop.chaos(t, "deadlock")
	shows(t, said, shown[1])

	t.Run("five minutes", func(t *testing.T) {
		directory := t.TempDir()
		writeFile(t, filepath.Join(directory, "main.go"), programs[0])
		service := filepath.Join(directory, "service")
		// Inside this module, which knows the SDK.
		if said, err := exec.Command("go", "build", "-o", service, filepath.Join(directory, "main.go")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		if said, err := h.command(service).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		eventually(t, 30*time.Second, "the task of the program is counted", func() error {
			text, err := get(h.client, "http://localhost:9090/metrics")
			if err == nil && !regexp.MustCompile(`(?m)^async_inspect_tasks_ended_total\{service="shop",state="completed",task="checkout"\} 1$`).MatchString(text) {
				err = fmt.Errorf("not in /metrics: %q", regexp.MustCompile(`(?m)^async_inspect_tasks.*checkout.*$`).FindAllString(text, 5))
			}
			return err
		})
	})
	t.Run("in a terminal", func(t *testing.T) {
		build, check := "make cli", "bin/asyncinspect deadlocks --fail"
		for _, command := range []string{build, check} {
			if !strings.Contains(string(readme), command) {
				t.Fatalf("the README does not say %q any more", command)
			}
		}
		cmd := h.command("bash", "-c", build+" && "+check)
		cmd.Dir, cmd.Env = "..", environmentOfAShell()
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "Take these locks in the same order everywhere") {
			t.Errorf("the deadlock stands, and the check says %v\n%s", err, out)
		}
	})

	ctrlC()
	files, err := filepath.Glob(filepath.Join(csv, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Errorf("after Ctrl-C there is no CSV file: %v", err)
	}
	for _, file := range files {
		if _, rows := readCSV(t, file); len(rows) == 0 {
			t.Errorf("%s has no rows", file)
		}
	}
}

// shows waits until each line of what the README shows has been printed.
func shows(t *testing.T, said *output, block string) {
	t.Helper()
	for line := range strings.Lines(block) {
		// How many are stuck behind a deadlock when it is found is a matter of the moment.
		if want := shape(line); want != "" && !strings.HasPrefix(want, "certain") {
			eventually(t, time.Minute, fmt.Sprintf("a line like %q", line), func() error {
				for printed := range strings.Lines(said.String()) {
					if strings.Contains(shape(printed), want) { // the first line stands behind a time
						return nil
					}
				}
				return errors.New("not yet")
			})
		}
	}
}

var (
	traceID = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	number  = regexp.MustCompile(`\b[0-9][0-9,.]*(ms|s|m)?\b`)
	place   = regexp.MustCompile(`\.go:[0-9]+`)
)

// shape is a line without what is different each time; places in code are not.
func shape(line string) string {
	places := place.FindAllString(line, -1)
	line = place.ReplaceAllString(line, "PLACE")
	line = number.ReplaceAllString(traceID.ReplaceAllString(line, "TRACE"), "#")
	for _, p := range places {
		line = strings.Replace(line, "PLACE", p, 1)
	}
	return strings.Join(strings.Fields(line), " ")
}

// environmentOfAShell is ours, without what `make test` adds for the make below it.
func environmentOfAShell() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name == "MAKEFLAGS" || name == "MFLAGS" || name == "MAKELEVEL"
	})
}
