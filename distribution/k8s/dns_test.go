package k8s

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pod is a collector as a process, at an address of its own.
type pod struct {
	address string
	spans   string // the file that the pipeline ends in, for a gateway
	cmd     *exec.Cmd
	exited  chan struct{}
}

// startPod starts a collector as its manifest says. hosts is the file that answers for
// DNS. A gateway sends its spans to a file.
func startPod(t *testing.T, c collector, address, hosts string) *pod {
	t.Helper()
	p := &pod{address: address, exited: make(chan struct{}), spans: filepath.Join(t.TempDir(), "spans.json")}
	if strings.HasSuffix(c.GetName(), "gateway") {
		c.arguments = append(c.arguments, fmt.Sprintf(
			"--config=yaml:exporters: {file: {path: %q, append: true}}\nservice: {pipelines: {traces: {exporters: [file]}}}", p.spans))
	}
	cmd := c.command(t, nil, map[string]string{"ASYNC_INSPECT_LISTEN": address, "ASYNC_INSPECT_BUDGET": "1000000"})
	p.cmd = exec.Command("unshare", append([]string{
		"--mount", "--propagation", "private", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts,
	}, cmd.Args...)...)
	p.cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s at %s:\n%s", c.GetName(), address, text)
		}
		log.Close()
	})
	probe := c.container().ReadinessProbe.HTTPGet
	port, err := c.port(probe.Port.StrVal)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, c.GetName()+" is ready", func() error {
		response, err := http.Get(fmt.Sprintf("http://%s:%d%s", address, port, probe.Path))
		if err == nil {
			response.Body.Close()
		}
		return err
	})
	return p
}

// stop is SIGTERM, after which a gateway has sent on all that it has.
func (p *pod) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

// learns waits until an agent has got so many new lists of addresses from DNS, the first
// of the gateways and of the detectors among them.
func (p *pod) learns(t *testing.T, lists int) {
	t.Helper()
	eventually(t, "the agent has new addresses", func() error {
		response, err := http.Get("http://" + p.address + ":8888/metrics")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		found := ""
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "otelcol_loadbalancer_num_backend_updates") {
				found = lines.Text()
			}
		}
		if !strings.HasSuffix(found, fmt.Sprint(" ", lists)) {
			return fmt.Errorf("it says %q, want %d", found, lists)
		}
		return nil
	})
}

// A gateway that leaves DNS before it ends, as one with a preStop hook does, takes no
// span with it, and one that comes with a new address gets its part.
func TestAgentsFollowDNS(t *testing.T) {
	if _, err := exec.LookPath("unshare"); err != nil || os.Getuid() != 0 {
		t.Skip("only root may mount, which this test needs to answer for DNS")
	}
	t.Parallel()
	collectors := render(t, tiers).collectors(t)
	agent, detector, gateway := collectors["agent"], collectors["detector"], collectors["gateway"]
	network := fmt.Sprintf("127.%d.%d.", 1+rand.IntN(250), rand.IntN(250))
	hosts := filepath.Join(t.TempDir(), "hosts")
	dns := func(gateways ...*pod) {
		t.Helper()
		names := network + "1 " + detector.GetName() + "\n"
		for _, g := range gateways {
			names += g.address + " " + gateway.GetName() + "\n"
		}
		if err := os.WriteFile(hosts, []byte(names), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dns()
	old, other := startPod(t, gateway, network+"2", hosts), startPod(t, gateway, network+"3", hosts)
	dns(old, other)
	near := startPod(t, agent, network+"9", hosts)
	near.learns(t, 2)

	sent := make(map[string]bool)
	send := func() {
		t.Helper()
		trace := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
		body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"%016x","name":"step","kind":2,
			"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, trace, rand.Uint64()|1)
		response, err := http.Post("http://"+near.address+":4318/v1/traces", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", response.Status, said)
		}
		sent[trace] = true
	}
	for range 100 {
		send()
	}
	dns(other) // the old one is about to go, and still takes what comes
	for range 100 {
		send()
	}
	near.learns(t, 3)
	old.stop(t)
	for range 100 {
		send()
	}
	young := startPod(t, gateway, network+"4", hosts)
	dns(other, young)
	near.learns(t, 4)
	for range 100 {
		send()
	}
	near.stop(t) // what waits in its queues goes first
	for _, g := range []*pod{other, young} {
		g.stop(t)
	}
	for _, g := range []*pod{old, other, young} {
		spans, err := os.ReadFile(g.spans)
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		for trace := range sent {
			if strings.Contains(string(spans), trace) {
				delete(sent, trace)
				kept++
			}
		}
		if kept == 0 {
			t.Errorf("the gateway at %s got nothing", g.address)
		}
	}
	if len(sent) > 0 {
		t.Errorf("%d of 400 traces are lost", len(sent))
	}
}
