package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// production is the distribution with its production configuration, on ports of its
// own.
type production struct {
	grpc, http, inspector string
	ingest, read          string // tokens
	certificate           string
	client                *http.Client
	queue                 string
	*embedded
}

// embedded is the distribution with a configuration that is compiled in.
type embedded struct {
	*host
	name        string
	environment []string
	arguments   []string
	log         *output
	cmd         *exec.Cmd
}

// newEmbedded prepares a process; set changes what tests must not share, its ports.
func newEmbedded(t *testing.T, on *host, name string, environment []string, set ...string) *embedded {
	t.Helper()
	e := &embedded{host: on, name: name, environment: environment, log: new(output), arguments: []string{"--config=embedded:" + name}}
	for _, s := range append([]string{"extensions.health_check.endpoint=" + on.freeAddress(t), "service.telemetry.metrics.level=none"}, set...) {
		e.arguments = append(e.arguments, "--set="+s)
	}
	t.Cleanup(func() {
		e.kill()
		if t.Failed() {
			t.Logf("%s:\n%s", name, e.log)
		}
	})
	return e
}

// merge merges a file over the configuration, if there is one.
func (e *embedded) merge(file string) {
	if file != "" {
		e.arguments = append(e.arguments, "--config="+file)
	}
}

// start starts the process and waits until something listens on an address.
func (e *embedded) start(t *testing.T, address string) {
	t.Helper()
	e.cmd = e.command(program(t, "ASYNCINSPECT_COLLECTOR"), e.arguments...)
	e.cmd.Env = append(os.Environ(), e.environment...)
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, e.name+" listens", func() error {
		conn, err := e.dial(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// stop interrupts the process and waits until it has written what it has.
func (e *embedded) stop(t *testing.T) {
	t.Helper()
	if err := e.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := e.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (e *embedded) kill() {
	if e.cmd != nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
	}
}

func startProduction(t *testing.T, backend *collector) *production {
	t.Helper()
	p := prepareProduction(t, backend)
	p.start(t, p.http) // the last that listens
	return p
}

// prepareProduction makes what it needs and starts nothing.
func prepareProduction(t *testing.T, backend *collector) *production {
	t.Helper()
	directory := t.TempDir()
	certificate, key, roots := selfSigned(t, directory)
	p := &production{
		grpc: freeAddress(t), http: freeAddress(t), inspector: freeAddress(t),
		ingest: "may-send", read: "may-read", certificate: certificate, queue: filepath.Join(directory, "queue"),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
	}
	ingest, read := filepath.Join(directory, "ingest"), filepath.Join(directory, "read")
	writeFile(t, ingest, p.ingest)
	writeFile(t, read, p.read)
	p.embedded = newEmbedded(t, loopback, "production", []string{
		"ASYNC_INSPECT_TLS_CERT=" + certificate, "ASYNC_INSPECT_TLS_KEY=" + key,
		"ASYNC_INSPECT_INGEST_TOKEN=" + ingest, "ASYNC_INSPECT_READ_TOKEN=" + read,
		"ASYNC_INSPECT_BACKEND=" + backend.grpc, "ASYNC_INSPECT_BACKEND_INSECURE=true", "ASYNC_INSPECT_STATE=" + directory,
	},
		"receivers.otlp.protocols.grpc.endpoint="+p.grpc, "receivers.otlp.protocols.http.endpoint="+p.http,
		"extensions.inspector.endpoint="+p.inspector)
	return p
}

func (p *production) get(path, token string) (int, error) {
	return p.do(http.MethodGet, "https://"+p.inspector+path, token, "")
}

// post sends a span with an attribute.
func (p *production) post(name, key, value, token string) (int, error) {
	return p.do(http.MethodPost, "https://"+p.http+"/v1/traces", token, fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{
		"traceId":"%032x","spanId":"%016x","name":%q,"kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"2",
		"attributes":[{"key":%q,"value":{"stringValue":%q}}]}]}]}]}`, rand.Uint64()|1, rand.Uint64()|1, name, key, value))
}

func (p *production) do(method, url, token, body string) (int, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// The production configuration lets nobody in without a token, takes out what must not
// be stored, still finds a deadlock, and loses nothing while the backend is away and it
// is killed itself.
func TestProductionConfiguration(t *testing.T) {
	t.Parallel()
	backend := startCollector(t)
	p := startProduction(t, backend)
	for _, c := range []struct {
		what string
		do   func() (int, error)
		want int
	}{
		{"sending without a token", func() (int, error) { return p.post("no", "a", "b", "") }, http.StatusUnauthorized},
		{"sending with the token for reading", func() (int, error) { return p.post("no", "a", "b", p.read) }, http.StatusUnauthorized},
		{"reading without a token", func() (int, error) { return p.get("/metrics", "") }, http.StatusUnauthorized},
		{"reading with the token for sending", func() (int, error) { return p.get("/", p.ingest) }, http.StatusUnauthorized},
		{"reading", func() (int, error) { return p.get("/api/v1/overview", p.read) }, http.StatusOK},
		{"a probe", func() (int, error) { return p.get("/livez", "") }, http.StatusOK},
	} {
		if status, err := c.do(); err != nil || status != c.want {
			t.Errorf("%s: %d (%v), want %d", c.what, status, err, c.want)
		}
	}

	for name, attribute := range map[string][2]string{
		"login": {"user.password", "hunter2"}, "signup": {"note", "write to ann@example.org please"},
		"payment": {"card", "4111 1111 1111 1111"}, "harmless": {"url.path", "/orders/17"},
	} {
		if status, err := p.post(name, attribute[0], attribute[1], p.ingest); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %v", name, status, err)
		}
	}
	backendHas := func(what ...string) {
		t.Helper()
		eventually(t, time.Minute, strings.Join(what, ", "), func() error {
			spans, err := os.ReadFile(backend.spans)
			if err != nil {
				return err
			}
			for _, text := range what {
				if !strings.Contains(string(spans), text) {
					return fmt.Errorf("no %s", text)
				}
			}
			return nil
		})
	}
	backendHas(`"login"`, `"signup"`, `"payment"`, `"harmless"`, "/orders/17", "please")
	spans, err := os.ReadFile(backend.spans)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "ann@example.org", "4111"} {
		if strings.Contains(string(spans), secret) {
			t.Errorf("%s has come through", secret)
		}
	}

	demo := startDemo(t, []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://" + p.grpc, "OTEL_EXPORTER_OTLP_CERTIFICATE=" + p.certificate,
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20" + p.ingest, "ASYNC_INSPECT_SAMPLING=0.01",
	}, "-orders", "20")
	demo.chaos(t, "deadlock")
	eventually(t, 30*time.Second, "the deadlock in the backend", func() error {
		_, err := backend.deadlock("shop")
		return err
	})

	backend.kill(os.Interrupt)
	if status, err := p.post("while the backend is away", "a", "b", p.ingest); err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	eventually(t, time.Minute, "the span in the queue on disk", func() error {
		files, err := filepath.Glob(filepath.Join(p.queue, "exporter_*"))
		if err != nil {
			return err
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err == nil && strings.Contains(string(data), "while the backend is away") {
				return nil
			}
		}
		return errors.New("not yet")
	})
	// The bytes are in the file before the transaction ends that makes them valid, which
	// waits for the disk.
	time.Sleep(time.Second)
	p.kill()
	p.start(t, p.http) // the last that listens
	backend.start(t)
	backendHas("while the backend is away")
}
