package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// demo is the demo as a process.
type demo struct {
	address string
	client  *http.Client
	out     *output // the counts
	log     *output
	cmd     *exec.Cmd
	exited  chan struct{}
}

// startDemo starts the shop, which starts the bank, and waits until it is open.
func startDemo(t *testing.T, environment []string, arguments ...string) *demo {
	t.Helper()
	address := freeAddress(t)
	d := &demo{address: "http://" + address, client: http.DefaultClient, out: new(output), log: new(output), exited: make(chan struct{})}
	d.cmd = exec.Command(program(t, "ASYNCINSPECT_DEMO"), append([]string{"-listen", address}, arguments...)...)
	d.cmd.Env = append(os.Environ(), environment...)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.cmd.Wait(); close(d.exited) }()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.exited
		if t.Failed() {
			t.Logf("demo:\n%s%s", d.log, d.out)
		}
	})
	eventually(t, 30*time.Second, "the shop opens", func() error {
		if !strings.Contains(d.log.String(), "open at") {
			return fmt.Errorf("it says: %s", d.log)
		}
		return nil
	})
	return d
}

// chaos tells the shop to misbehave.
func (d *demo) chaos(t *testing.T, what string) {
	t.Helper()
	response, err := d.client.Post(d.address+"/chaos/"+what, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		t.Fatalf("chaos %s: %s", what, response.Status)
	}
}

// stop interrupts the demo and waits until it has closed.
func (d *demo) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	d.wait(t)
}

func (d *demo) wait(t *testing.T) {
	t.Helper()
	select {
	case <-d.exited:
	case <-time.After(time.Minute):
		t.Fatalf("the demo does not end:\n%s", d.log)
	}
}

// tasks is what a service says about its tasks, by name.
type tasks map[string]struct {
	Started, Completed, Failed, Cancelled float64
}

// counted returns the demo's own counts, by service.
func (d *demo) counted(t *testing.T) map[string]tasks {
	t.Helper()
	services := make(map[string]tasks)
	lines := bufio.NewScanner(strings.NewReader(d.out.String()))
	for lines.Scan() {
		var line struct {
			Service string
			Tasks   tasks
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		services[line.Service] = line.Tasks
	}
	if len(services["shop"]) == 0 || len(services["bank"]) == 0 {
		t.Fatalf("the demo printed no counts of both services:\n%s%s", d.out, d.log)
	}
	return services
}
