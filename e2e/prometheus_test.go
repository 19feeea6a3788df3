package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A real Prometheus scrapes the inspector with TLS and a token, and its queries give
// the demo's own numbers while the sampler drops 99 spans of 100.
func TestPrometheusHasTheTrueNumbers(t *testing.T) {
	t.Parallel()
	prometheus := debianProgram(t, "prometheus")
	directory := t.TempDir()
	certificate, key, roots := selfSigned(t, directory)
	inspector, token := freeAddress(t), "a-secret-token"
	tokenFile := filepath.Join(directory, "token")
	writeFile(t, tokenFile, token)

	collector := startCollector(t,
		"processors:\n  deadlock", fmt.Sprintf(`extensions:
  bearertokenauth: {token: %q}
  rate_limiter: {requests: 40, per: 1s}
  inspector:
    endpoint: %q
    tls: {cert_file: %q, key_file: %q}
    auth: {authenticator: bearertokenauth}
    middlewares: [{id: rate_limiter}]
    open_livez: true
processors:
  adaptive_sampler: {target: {spans_per_second: 4}, min_rate: 0, policies: []}
  deadlock`, token, inspector, certificate, key),
		"processors: [deadlock_detector, task_state]", "processors: [deadlock_detector, task_state, adaptive_sampler]",
		"service:\n", "service:\n  extensions: [bearertokenauth, rate_limiter, inspector]\n")

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	ask := func(path, token string) (int, http.Header, string) {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, "https://"+inspector+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.Header, string(body)
	}

	server := startPrometheus(t, prometheus, directory, inspector, fmt.Sprintf(`
    scheme: https
    authorization: {credentials_file: %q}
    tls_config: {ca_file: %q}`, tokenFile, certificate))
	demo := startDemo(t, sendTo(collector, "grpc", "1.0"), "-orders", "60", "-for", "20s")
	demo.chaos(t, "deadlock")
	eventually(t, 18*time.Second, "something in every panel of the dashboard, while the demo runs", func() error {
		var empty []error
		for _, expression := range dashboard(t) {
			if n, err := server.series(expression); err != nil || n == 0 {
				empty = append(empty, fmt.Errorf("%s: %d series (%v)", expression, n, err))
			}
		}
		return errors.Join(empty...)
	})
	demo.wait(t)
	counted := demo.counted(t)
	eventually(t, 30*time.Second, "the demo's numbers in Prometheus", func() error {
		var differ []error
		for service, names := range counted {
			for name, n := range names {
				started, err := server.query(fmt.Sprintf(`sum(async_inspect_tasks_total{service=%q,task=%q})`, service, name))
				if err != nil || started != n.Started {
					differ = append(differ, fmt.Errorf("%s, %s: started %v (%v), want %v", service, name, started, err, n.Started))
				}
				completed, err := server.query(fmt.Sprintf(`sum(async_inspect_tasks_ended_total{service=%q,task=%q,state="completed"})`, service, name))
				if err != nil || completed != n.Completed {
					differ = append(differ, fmt.Errorf("%s, %s: completed %v (%v), want %v", service, name, completed, err, n.Completed))
				}
			}
		}
		return errors.Join(differ...)
	})
	eventually(t, 40*time.Second, "what happened in Prometheus", func() error {
		var differ []error
		for query, least := range map[string]float64{
			`max_over_time(async_inspect_deadlocks_active{confidence="certain"}[1m])`: 1,
			`async_inspect_deadlocks_detected{kind="local",confidence="certain"}`:     1,
			// A native histogram, for that is what Prometheus takes where it can.
			`histogram_quantile(0.5, sum(async_inspect_task_duration_seconds{service="shop"}))`: 1e-6,
			`(sum(async_inspect_sampling_spans_total{outcome="dropped"}) + sum(async_inspect_sampling_late_spans_total{decision="dropped"}))
				/ sum(async_inspect_sampling_received_spans_total)`: 0.97,
		} {
			if got, err := server.query(query); err != nil || !(got >= least) {
				differ = append(differ, fmt.Errorf("%s: got %v (%v), want at least %v", query, got, err, least))
			}
		}
		return errors.Join(differ...)
	})

	eventually(t, 30*time.Second, "exemplars that name a trace, as Grafana asks for them", func() error {
		var answer struct {
			Data []struct {
				Exemplars []struct{ Labels map[string]string }
			}
		}
		now := time.Now().Unix()
		err := askJSON(fmt.Sprintf("http://%s/api/v1/query_exemplars?query=async_inspect_task_duration_seconds&start=%d&end=%d",
			server.address, now-300, now), &answer)
		if err != nil {
			return err
		}
		for _, series := range answer.Data {
			for _, exemplar := range series.Exemplars {
				if len(exemplar.Labels["trace_id"]) == 32 && len(exemplar.Labels["span_id"]) == 16 {
					return nil
				}
			}
		}
		return fmt.Errorf("none: %+v", answer)
	})

	if status, _, _ := ask("/metrics", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong token is answered %d", status)
	}
	if status, _, _ := ask("/api/v1/overview", ""); status != http.StatusUnauthorized {
		t.Errorf("no token is answered %d", status)
	}
	if status, _, _ := ask("/livez", ""); status != http.StatusOK {
		t.Errorf("the open /livez is answered %d", status)
	}
	status, _, metrics := ask("/metrics", token)
	if status != http.StatusOK {
		t.Fatalf("the right token is answered %d", status)
	}
	lint := exec.Command(debianProgram(t, "promtool"), "check", "metrics")
	lint.Stdin = strings.NewReader(metrics)
	if said, err := lint.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool: %v\n%s", err, said)
	}

	var limited sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				status, header, _ := ask("/api/v1/overview", token)
				limited.Store(status, header.Get("Retry-After"))
			}
		})
	}
	all.Wait()
	if after, ok := limited.Load(http.StatusTooManyRequests); !ok || after != "1" {
		t.Errorf("160 requests at once, of which 40 a second are allowed: 429 %v, Retry-After %v", ok, after)
	}
}

// debianProgram returns the path of a program of Debian's package prometheus, which
// `make test` installs where it can.
func debianProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not here: install Debian's package prometheus", name)
	}
	return path
}

// prometheusServer is a Prometheus as a process.
type prometheusServer struct{ address string }

// startPrometheus starts one that scrapes a target, with further keys of its job.
func startPrometheus(t *testing.T, program, directory, target, job string) *prometheusServer {
	t.Helper()
	p := &prometheusServer{address: freeAddress(t)}
	config := filepath.Join(directory, "prometheus.yaml")
	writeFile(t, config, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: async-inspect
    static_configs: [{targets: [%q]}]%s
`, target, job))
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(directory, "data"), "--web.listen-address="+p.address,
		"--enable-feature=native-histograms,exemplar-storage")
	background(t, "Prometheus", cmd)
	eventually(t, 30*time.Second, "Prometheus is ready", func() error {
		_, err := get(http.DefaultClient, "http://"+p.address+"/-/ready")
		return err
	})
	return p
}

// query returns the only value of an instant query.
func (p *prometheusServer) query(query string) (float64, error) {
	values, err := p.values(query)
	if err != nil {
		return 0, err
	}
	if len(values) != 1 {
		return 0, fmt.Errorf("%d results", len(values))
	}
	var value float64
	_, err = fmt.Sscan(values[0], &value)
	return value, err
}

// series returns how many series a query has.
func (p *prometheusServer) series(query string) (int, error) {
	values, err := p.values(query)
	return len(values), err
}

func (p *prometheusServer) values(query string) ([]string, error) {
	response, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	var values []string
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}

// dashboard returns the expressions of the Grafana dashboard, with its variables set.
func dashboard(t *testing.T) (expressions []string) {
	t.Helper()
	data, err := os.ReadFile("../distribution/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, panel := range board.Panels {
		if seen[panel.ID] || len(panel.Targets) == 0 {
			t.Errorf("panel %d (%s) has another's id, or asks nothing", panel.ID, panel.Title)
		}
		seen[panel.ID] = true
		for _, target := range panel.Targets {
			expressions = append(expressions, strings.NewReplacer("$__rate_interval", "30s", "$job", ".*", "$service", ".*").Replace(target.Expr))
		}
	}
	return expressions
}

// selfSigned makes a certificate for localhost.
func selfSigned(t *testing.T, directory string) (certificate, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certificate, key = filepath.Join(directory, "server.crt"), filepath.Join(directory, "server.key")
	writeFile(t, certificate, string(public))
	writeFile(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(public)
	return certificate, key, roots
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
