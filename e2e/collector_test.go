package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// collector is the distribution as a process.
type collector struct {
	grpc, http string // host:port
	metrics
	spans  string // the file that the pipeline ends in
	config string
	log    *output
	cmd    *exec.Cmd
	exited chan struct{}
}

const collectorConfig = `
receivers:
  otlp:
    protocols:
      grpc: {endpoint: %[1]q}
      http: {endpoint: %[2]q}
processors:
  deadlock_detector:
  task_state:
    log_interval: 1s
exporters:
  file:
    path: %[4]q
    append: true
    flush_interval: 100ms
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [deadlock_detector, task_state]
      exporters: [file]
  telemetry:
    metrics:
      readers:
        - pull:
            exporter:
              prometheus:
                host: localhost
                port: %[3]s
                without_type_suffix: true
                without_units: true
                without_scope_info: true
`

// startCollector starts the distribution on free ports and waits until it listens.
// Pairs of texts change its configuration.
func startCollector(t *testing.T, oldnew ...string) *collector {
	t.Helper()
	c := &collector{
		grpc: freeAddress(t), http: freeAddress(t), metrics: metrics(freeAddress(t)),
		spans:  filepath.Join(t.TempDir(), "spans.json"),
		config: filepath.Join(t.TempDir(), "config.yaml"),
		log:    new(output),
	}
	c.configure(t, oldnew...)
	c.start(t)
	t.Cleanup(func() {
		c.kill(os.Interrupt)
		if t.Failed() {
			t.Logf("collector:\n%s", c.log)
		}
	})
	return c
}

// configure writes the configuration, with pairs of texts replaced. It holds from the
// next start on.
func (c *collector) configure(t *testing.T, oldnew ...string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(string(c.metrics))
	yaml := fmt.Sprintf(collectorConfig, c.grpc, c.http, port, c.spans)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(yaml, oldnew[i]) {
			t.Fatalf("the configuration has no %q", oldnew[i])
		}
	}
	if err := os.WriteFile(c.config, []byte(strings.NewReplacer(oldnew...).Replace(yaml)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *collector) start(t *testing.T) {
	t.Helper()
	c.cmd = exec.Command(program(t, "ASYNCINSPECT_COLLECTOR"), "--config", c.config)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.exited = make(chan struct{})
	go func() { _ = c.cmd.Wait(); close(c.exited) }()
	for _, address := range []string{c.grpc, c.http, string(c.metrics)} {
		eventually(t, 30*time.Second, "the collector listens on "+address, func() error {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
			}
			return err
		})
	}
}

// kill ends the process with a signal and waits until it is gone.
func (c *collector) kill(signal os.Signal) {
	_ = c.cmd.Process.Signal(signal)
	<-c.exited
}

// endpoint returns where a client of a protocol sends to.
func (c *collector) endpoint(protocol string) string {
	if protocol == "grpc" {
		return "http://" + c.grpc
	}
	return "http://" + c.http
}

// metrics is where metrics for Prometheus are, host:port.
type metrics string

// sample is one line of them.
type sample struct {
	labels map[string]string
	value  float64
}

var (
	sampleLine  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	sampleLabel = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

// scrape returns the samples of one metric.
func (m metrics) scrape(metric string) ([]sample, error) {
	text, err := get(http.DefaultClient, "http://"+string(m)+"/metrics")
	if err != nil {
		return nil, err
	}
	var samples []sample
	for line := range strings.Lines(text) {
		parts := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil || parts[1] != metric {
			continue
		}
		value, err := strconv.ParseFloat(parts[3], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		s := sample{labels: make(map[string]string), value: value}
		for _, l := range sampleLabel.FindAllStringSubmatch(parts[2], -1) {
			s.labels[l[1]] = l[2]
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// sum adds up the samples of a metric that have the labels.
func (m metrics) sum(metric string, labels map[string]string) (float64, error) {
	samples, err := m.scrape(metric)
	if err != nil {
		return 0, err
	}
	var sum float64
next:
	for _, s := range samples {
		for k, v := range labels {
			if s.labels[k] != v {
				continue next
			}
		}
		sum += s.value
	}
	return sum, nil
}

// program returns the path of a program under test.
func program(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set: run these tests with `make test`", variable)
	}
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually polls until check succeeds. The bound is for a machine that is
// stuck; nothing is measured by it.
func eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

var killed = syscall.SIGKILL

// background starts a program that ends with the test.
func background(t *testing.T, name string, cmd *exec.Cmd) {
	t.Helper()
	log := new(output)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", name, log)
		}
	})
}

// get returns the body of an answer that is 200.
func get(client *http.Client, url string) (string, error) {
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, response.Status)
	}
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
